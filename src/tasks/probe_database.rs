//! Probes whether the database can be read and written, so that `/readyz` reports it even while no row is written.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

const PERIOD: Duration = Duration::from_secs(1);

/// Probes until the server stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let result = app.db.probe().await;
        app.recorder.record_probe(&result, app.db.path());
    }
}
