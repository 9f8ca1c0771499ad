//! Moves the write-ahead log into the database file, beside the writer and not within its commits.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

const PERIOD: Duration = Duration::from_secs(1);
/// How many pages (64 MiB of 4 KiB) the log may grow to before the writer is asked to begin it anew.
const MAX_WAL_PAGES: i64 = 16_384;

/// Makes checkpoints for ever.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let result = app.db.checkpoint(false).await;
        let result = match result {
            Ok(pages) if pages > MAX_WAL_PAGES => app.db.checkpoint(true).await,
            result => result,
        };
        if let Err(error) = result {
            tracing::debug!("no checkpoint this time: {error}");
        }
    }
}
