//! Moves the write-ahead log into the database file, beside the writer and not within its commits.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::ticks;
use crate::storage::db::MAX_WAL_BYTES;
use crate::storage::wal_watch::WalWatch;

const PERIOD: Duration = Duration::from_secs(1);

/// Runs checkpoints until the server stops: after writes, and until a log that is too long is cut.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    let mut log = WalWatch::new(app.db.path());
    let mut growth = Growth::default();
    let mut is_over = true;
    loop {
        ticks.tick().await;
        if !log.has_changed() && is_over {
            continue;
        }
        match app.db.checkpoint().await {
            Ok(wal_bytes) => {
                growth.report(wal_bytes);
                is_over = wal_bytes <= MAX_WAL_BYTES;
            }
            Err(error) => {
                tracing::debug!("no checkpoint this time: {error}");
                is_over = false;
            }
        }
    }
}

/// The last reported size of a log that a long reader prevents from being truncated.
#[derive(Debug, Default)]
struct Growth {
    /// 0: nothing was reported since the log was truncated.
    warned_at_bytes: u64,
}

impl Growth {
    /// Warns at twice the limit and each time the log has doubled since, and once when it was cut after that.
    fn report(&mut self, wal_bytes: u64) {
        let mebibytes = wal_bytes / (1024 * 1024);
        if wal_bytes >= 2 * self.warned_at_bytes.max(MAX_WAL_BYTES) {
            self.warned_at_bytes = wal_bytes;
            tracing::warn!(
                wal_bytes,
                "the write-ahead log has grown to {mebibytes} MiB and cannot be cut while a program reads the database for \
                 long (a backup, a sqlite3 shell): end it before the disk is full"
            );
        } else if wal_bytes <= MAX_WAL_BYTES && self.warned_at_bytes > 0 {
            self.warned_at_bytes = 0;
            tracing::info!(wal_bytes, "the write-ahead log was cut to {mebibytes} MiB");
        }
    }
}
