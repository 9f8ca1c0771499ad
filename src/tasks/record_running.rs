//! Records rows of running requests, so that each request that runs for a second has its row.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;

const PERIOD: Duration = Duration::from_millis(200);
/// Makes the row visible within a second, including the period and the commit.
const MIN_AGE: Duration = Duration::from_millis(600);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    loop {
        app.wait_for_unrecorded().await;
        tokio::time::sleep(PERIOD).await;
        app.record_running(clock::now() - MIN_AGE);
    }
}
