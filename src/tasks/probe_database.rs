//! Probes whether the database can be written, so that `/readyz` reports it even while no row is written.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::storage::error::Result;

const PERIOD: Duration = Duration::from_secs(1);

/// Probes until the server stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        app.recorder.record_probe(pass(&app).await.is_ok());
    }
}

/// Commits nothing, which writes nothing. A rollback would cost the connection: the writer's is replaced after each.
async fn pass(app: &App) -> Result<()> {
    Ok(app.db.begin().await?.commit().await?)
}
