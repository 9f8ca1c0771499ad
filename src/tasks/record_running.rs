//! Gives requests that run for a second their row.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;

const PERIOD: Duration = Duration::from_millis(200);
/// So that the row is there within a second, the period and the commit included.
const MIN_AGE: Duration = Duration::from_millis(600);

/// Hands in rows for ever.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        app.record_running(clock::now() - MIN_AGE);
    }
}
