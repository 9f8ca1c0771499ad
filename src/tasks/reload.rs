//! Loads changes that a command or an admin has made in the database.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;

const PERIOD: Duration = Duration::from_millis(500);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        match app.reload(clock::now()).await {
            Ok(true) => tracing::info!("keys, client keys or settings were changed and are in use"),
            Ok(false) => {}
            Err(error) => tracing::warn!("changes could not be loaded: {error}"),
        }
    }
}
