//! Moves the write-ahead log into the database file, beside the writer and not within its commits.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::ticks;
use crate::storage::db::MAX_WAL_BYTES;
use crate::storage::wal_watch::WalWatch;

/// How often the task decides whether to copy.
const PERIOD: Duration = Duration::from_secs(1);
/// While something is written all the time, a copy is made after so many periods.
const LONGEST: u32 = 10;
/// The number of writes after which one is made sooner.
const MANY_WRITES: u64 = 2_000;

/// Runs checkpoints until the server stops: after writes, and until a log that is too long is cut.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    let mut log = WalWatch::new(app.db.path());
    let mut growth = Growth::default();
    let mut uncopied = Uncopied::default();
    loop {
        ticks.tick().await;
        let committed = app.recorder.committed();
        if !uncopied.is_due(log.has_changed(), committed) {
            continue;
        }
        match app.db.checkpoint().await {
            Ok(wal_bytes) => {
                growth.report(wal_bytes);
                uncopied = if wal_bytes <= MAX_WAL_BYTES {
                    Uncopied::after(committed)
                } else {
                    uncopied.after_prevented_cut(committed)
                };
            }
            Err(error) => tracing::debug!("no checkpoint this time: {error}"),
        }
    }
}

/// What the log has that was not copied. A copy costs the next commit too: it begins the log anew, and waits for the disk.
#[derive(Debug, Default)]
struct Uncopied {
    is_any: bool,
    periods: u32,
    /// The least number of periods before a copy while nothing is written. It is more than one where a program that reads prevents the
    /// log from being cut, which may take months (Litestream).
    pause: u32,
    /// The number of writes that were committed before.
    committed_before: u64,
}

impl Uncopied {
    /// After a copy that was made when so many writes were committed.
    fn after(committed: u64) -> Self {
        Self {
            committed_before: committed,
            ..Self::default()
        }
    }

    /// After a copy of a log that is too long and could not be cut: it is tried again after a pause that doubles.
    fn after_prevented_cut(&self, committed: u64) -> Self {
        Self {
            is_any: true,
            periods: 0,
            pause: (2 * self.pause).clamp(1, LONGEST),
            committed_before: committed,
        }
    }

    /// Whether to copy at the end of a period: when the writes pause, are many, or have not paused for long.
    fn is_due(&mut self, has_changed: bool, committed: u64) -> bool {
        self.is_any |= has_changed;
        self.periods += u32::from(self.is_any);
        let are_many = committed.saturating_sub(self.committed_before) >= MANY_WRITES;
        let has_paused = !has_changed && self.periods >= self.pause;
        self.is_any && (has_paused || are_many || self.periods >= LONGEST)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_when_writes_pause_are_many_or_do_not_pause() {
        let mut uncopied = Uncopied::default();
        assert!(!uncopied.is_due(false, 0), "nothing was written");
        assert!(!uncopied.is_due(true, 1));
        assert!(uncopied.is_due(false, 1));
        assert!(uncopied.is_due(true, 1 + MANY_WRITES), "the copy failed");

        let mut uncopied = Uncopied::after(5);
        assert!(!uncopied.is_due(true, 4 + MANY_WRITES));
        assert!(uncopied.is_due(true, 5 + MANY_WRITES));

        let mut uncopied = Uncopied::after(5);
        for pause in [1, 2, 4, 8, LONGEST, LONGEST] {
            uncopied = uncopied.after_prevented_cut(5);
            for _ in 1..pause {
                assert!(!uncopied.is_due(false, 5), "{pause}");
            }
            assert!(uncopied.is_due(false, 5), "{pause}");
        }
        assert!(!uncopied.after_prevented_cut(5).is_due(false, 6));
        let mut uncopied = uncopied.after_prevented_cut(5);
        assert!(uncopied.is_due(false, 5 + MANY_WRITES));

        let mut uncopied = Uncopied::after(5);
        for _ in 1..LONGEST {
            assert!(!uncopied.is_due(true, 6));
        }
        assert!(uncopied.is_due(true, 6));
    }
}
