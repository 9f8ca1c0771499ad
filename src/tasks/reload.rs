//! Loads changes that a command or an admin has made in the database.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::{self, ticks};
use crate::storage::wal_watch::WalWatch;

const PERIOD: Duration = Duration::from_secs(1);
/// The pause after a reload is so many times as long as the reload: while an import adds thousands of keys, four fifths of
/// the time are left to requests. It is at most a [`PERIOD`]: a reload that waited for a locked database must not delay the next one.
const PAUSE_FACTOR: u32 = 4;

/// Runs for ever. Every change is a write, so that the revision is read only after one.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    let mut log = WalWatch::new(app.db.path());
    let mut has_failed = false;
    loop {
        ticks.tick().await;
        if !log.has_changed() && !has_failed {
            continue;
        }
        let begin = clock::instant();
        let reloaded = app.reload(clock::now()).await;
        let took = begin.elapsed();
        has_failed = reloaded.is_err();
        match reloaded {
            Ok(true) => tracing::info!("keys, client keys or settings were changed and are in use"),
            Ok(false) => {}
            Err(error) => tracing::warn!("changes could not be loaded: {error}"),
        }
        tokio::time::sleep((took * PAUSE_FACTOR).min(PERIOD)).await;
    }
}
