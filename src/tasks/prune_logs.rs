//! Deletes log rows and kept bodies that exceed a limit, strings that no row names, and what has expired: cooldowns,
//! daily quota usage, resources and upload sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::clock::{self, Timestamp, ticks};
use crate::pool::request_id::RequestId;
use crate::pool::retention::{DiskSpace, LowDisk, PruneGoal, RetentionLimits, spared_ends};
use crate::storage::error::Result;
use crate::storage::log_pruning::PruneScope;
use crate::storage::wal_watch::WalWatch;
use crate::storage::{
    cooldowns, log_pruning, log_size, quotas, request_logs, resources, upload_sessions,
};
use crate::tasks::log_pruner::LogPruner;
use crate::tasks::prune_bodies;

/// How often limits are checked, while something is written.
const PERIOD: Duration = Duration::from_mins(1);
/// The interval of a complete pass, which an idle server makes too.
const CLEANUP_PERIOD: Duration = Duration::from_hours(1);
/// Expired resources and uploads per transaction.
const EXPIRED_PER_TRANSACTION: u32 = 100;
/// Strings per transaction, and transactions per pass that find none to delete.
const STRINGS_PER_TRANSACTION: u32 = 200;
const STRING_TRANSACTIONS: u32 = 50;
/// Pause between two transactions, in which other writes can happen.
const PAUSE_BETWEEN_TRANSACTIONS: Duration = Duration::from_millis(30);
/// Retention of daily usage: only the current day is needed, the others are for inspection.
const QUOTA_DAYS_KEPT: Duration = Duration::from_hours(8 * 24);

/// A clock that jumps ahead by more than this is distrusted.
const MAX_CLOCK_JUMP: Duration = Duration::from_hours(24);
/// Time during which it is distrusted, so that the admin can correct it.
const DISTRUST_PERIOD: Duration = Duration::from_hours(24);

/// Runs for ever: a complete pass each hour, and between them a check of the limits each minute and when they are changed. A check of an
/// idle server looks at the write-ahead log's file and at the disk, and reads nothing.
pub async fn run(app: Arc<App>) {
    let mut clock_check = match request_logs::last_id(&app.db.readers).await {
        Ok(newest) => ClockCheck::since(newest, clock::now(), clock::instant()),
        Err(error) => {
            tracing::warn!("the newest log row could not be read: {error}");
            ClockCheck::since(RequestId(0), clock::now(), clock::instant())
        }
    };
    if matches!(app.db.can_shrink().await, Ok(false)) {
        tracing::info!(
            "the database file was made without auto_vacuum: what deleted rows leave is used again, but the file does not shrink; a copy \
             that `gemini-pool backup` makes can shrink once it is restored"
        );
    }
    let mut ticks = ticks(PERIOD);
    let mut log = WalWatch::new(app.db.path());
    let mut cleaned_at: Option<Instant> = None;
    let mut unreported_rows = 0;
    loop {
        let is_requested = tokio::select! {
            _ = ticks.tick() => false,
            () = app.wait_for_retention_change() => true,
        };
        let (now, at) = (clock::now(), clock::instant());
        let is_clock_trusted = clock_check.is_trusted(now, at);
        let disk = app.db.disk_space();
        let is_cleanup_due =
            cleaned_at.is_none_or(|cleaned| at.duration_since(cleaned) >= CLEANUP_PERIOD);
        let is_low = disk.is_some_and(DiskSpace::is_nearly_full);
        let was_low = app.low_disk.lock().is_some();
        if !(log.has_changed() || is_requested || is_cleanup_due || is_low || was_low) {
            continue;
        }
        if is_cleanup_due {
            cleaned_at = Some(at);
            if !is_clock_trusted {
                tracing::warn!(
                    "the clock jumped ahead by more than a day since the last log row or check: no log rows are deleted by age for \
                     a day, in case it is wrong; the current time is {now}"
                );
            }
            if let Err(error) = clean_up(&app, now).await {
                tracing::warn!("expired rows could not be deleted: {error}");
            }
        }
        match prune(&app, now, disk, is_clock_trusted).await {
            Ok(rows) => unreported_rows += rows,
            Err(error) => tracing::warn!("log rows could not be deleted: {error}"),
        }
        // Else a server at its limit would log each minute.
        if (is_cleanup_due || is_requested) && unreported_rows > 0 {
            let rows = std::mem::take(&mut unreported_rows);
            tracing::info!(
                rows,
                "the oldest {rows} log rows were deleted because of a limit of the log"
            );
        }
    }
}

/// A complete pass at `now`. Returns the number of deleted requests.
pub async fn pass(app: &App, now: Timestamp) -> Result<u64> {
    clean_up(app, now).await?;
    prune(app, now, app.db.disk_space(), true).await
}

/// Deletes what is of no use any more at `now`.
async fn clean_up(app: &App, now: Timestamp) -> Result<()> {
    let mut tx = app.db.begin().await?;
    quotas::delete_days_before(&mut *tx, now - QUOTA_DAYS_KEPT).await?;
    cooldowns::delete_expired(&mut *tx, now).await?;
    tx.commit().await?;
    delete_expired(app, now).await?;
    prune_strings(app).await
}

/// Deletes the oldest rows until no limit is exceeded and the disk is not nearly full, and returns free pages of the file. Ends early when a
/// limit is changed. Returns the number of deleted requests.
pub async fn prune(
    app: &App,
    now: Timestamp,
    disk: Option<DiskSpace>,
    is_clock_trusted: bool,
) -> Result<u64> {
    let limits = RetentionLimits::of(&app.settings());
    let mut pruner = LogPruner::new(&app.db, PruneScope::Oldest);
    let was_log_short = app.low_disk.lock().is_some_and(|low| low.is_log_short);
    report_disk(app, disk, was_log_short);
    let bodies = prune_bodies::prune(app, &mut pruner, now, is_clock_trusted).await?;
    if bodies > 0 {
        tracing::debug!(bodies, "kept bodies were deleted");
    }
    let size = log_size::find(&app.db.readers).await?;
    let (mut deleted, mut is_log_short) = (0, false);
    for goal in limits.goals(size, disk, now, is_clock_trusted) {
        let (rows, is_reached) = delete_until(app, &mut pruner, goal, limits, now).await?;
        deleted += rows;
        if rows > 0 {
            let reason = goal.reason();
            tracing::debug!(rows, reason, "log rows were deleted");
        }
        match goal {
            PruneGoal::Bytes(_) if !is_reached && rows > 0 => tracing::warn!(
                "the database file is larger than log_max_bytes, and no log rows are left that may be deleted"
            ),
            PruneGoal::Disk { .. } => is_log_short = !is_reached,
            PruneGoal::Age(_) | PruneGoal::Rows(_) | PruneGoal::Bytes(_) => {}
        }
    }
    report_disk(app, disk, is_log_short);
    let size = log_size::find(&app.db.readers).await?;
    let bytes = limits.bytes_to_return(size, disk);
    if bytes > 0 {
        let bytes = pruner.return_bytes(bytes).await?;
        if bytes > 0 {
            tracing::info!(
                bytes,
                "{bytes} bytes of the database file were returned to the disk"
            );
        }
    }
    Ok(deleted)
}

/// Returns how many rows were deleted, and whether the goal was reached with them.
async fn delete_until(
    app: &App,
    pruner: &mut LogPruner<'_>,
    goal: PruneGoal,
    limits: RetentionLimits,
    now: Timestamp,
) -> Result<(u64, bool)> {
    let (db, spared) = (&app.db.readers, spared_ends(now));
    let mut deleted = 0;
    // Hours may pass with millions of rows: the admin may change the limit meanwhile.
    while RetentionLimits::of(&app.settings()) == limits {
        let excess = goal.excess_rows(log_size::find(db).await?);
        let limit = u32::try_from(excess).unwrap_or(u32::MAX);
        let limit = limit.min(pruner.batch_size());
        if limit == 0 {
            break;
        }
        let ids = log_pruning::list_oldest(db, goal.before(), &spared, limit).await?;
        if ids.is_empty() {
            return Ok((deleted, matches!(goal, PruneGoal::Age(_))));
        }
        deleted += pruner.delete(&ids).await?;
    }
    Ok((deleted, true))
}

/// Shows on the status page that the disk is nearly full; in the log when that changes.
fn report_disk(app: &App, disk: Option<DiskSpace>, is_log_short: bool) {
    let low = disk.filter(|disk| disk.is_nearly_full());
    let low = low.map(|disk| LowDisk {
        free_bytes: disk.free_bytes,
        is_log_short,
    });
    let before = std::mem::replace(&mut *app.low_disk.lock(), low);
    let path = app.db.path().display();
    let Some(LowDisk { free_bytes, .. }) = low else {
        if before.is_some() {
            tracing::info!("the disk of {path} is not nearly full any more");
        }
        return;
    };
    if before.is_some_and(|before| before.is_log_short == is_log_short) {
        return;
    }
    if is_log_short {
        tracing::error!(
            free_bytes,
            "the disk of {path} is nearly full ({free_bytes} bytes are free), and only log rows of the last day are left, which are not \
             deleted for it: free space before rows cannot be written any more"
        );
    } else {
        tracing::warn!(
            free_bytes,
            "the disk of {path} is nearly full ({free_bytes} bytes are free): the oldest log rows are deleted early, except those of the \
             last day; free space on it"
        );
    }
}

/// Whether the clock is trusted: a jump ahead by a year must not delete the whole log.
#[derive(Debug)]
struct ClockCheck {
    last_time: Timestamp,
    at: Instant,
    distrusted_at: Option<Instant>,
}

impl ClockCheck {
    /// The newest row, if any, contains the last known time.
    fn since(newest: RequestId, now: Timestamp, at: Instant) -> Self {
        let last_time = if newest.0 > 0 { newest.time() } else { now };
        Self {
            last_time,
            at,
            distrusted_at: None,
        }
    }

    fn is_trusted(&mut self, now: Timestamp, at: Instant) -> bool {
        let expected = self.last_time + at.duration_since(self.at);
        if now > expected + MAX_CLOCK_JUMP {
            self.distrusted_at = Some(at);
        }
        (self.last_time, self.at) = (now, at);
        self.distrusted_at
            .is_none_or(|since| at.duration_since(since) >= DISTRUST_PERIOD)
    }
}

/// Checks a part of the strings, so that all are checked within some days; begins anew after the last one. Goes on while it finds unused
/// ones: a command may have deleted many rows.
async fn prune_strings(app: &App) -> Result<()> {
    let mut transactions = 0;
    while transactions < STRING_TRANSACTIONS {
        let after = app.checked_strings.load(Ordering::Relaxed);
        let checked = log_pruning::prune_strings(&app.db, after, STRINGS_PER_TRANSACTION).await?;
        let last = checked.map_or(0, |(last, _)| last);
        app.checked_strings.store(last, Ordering::Relaxed);
        match checked {
            None => break,
            Some((_, 0)) => transactions += 1,
            Some(_) => tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await,
        }
    }
    Ok(())
}

async fn delete_expired(app: &App, now: Timestamp) -> Result<()> {
    while resources::delete_expired(&app.db.writer, now, EXPIRED_PER_TRANSACTION).await?
        == u64::from(EXPIRED_PER_TRANSACTION)
    {
        tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await;
    }
    while upload_sessions::delete_expired(&app.db.writer, now, EXPIRED_PER_TRANSACTION).await?
        == u64::from(EXPIRED_PER_TRANSACTION)
    {
        tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR: Duration = Duration::from_hours(365 * 24);

    #[test]
    fn a_clock_that_jumps_ahead_is_distrusted_for_a_day() {
        let (start, at) = (Timestamp::from_millis(1_795_334_400_000), clock::instant());
        let mut clock_check = ClockCheck::since(RequestId::first_at(start), start + HOUR, at);

        assert!(clock_check.is_trusted(start + HOUR, at));
        assert!(clock_check.is_trusted(start + 40 * HOUR, at + 39 * HOUR));
        assert!(!clock_check.is_trusted(start + YEAR, at + 40 * HOUR));
        assert!(!clock_check.is_trusted(start + YEAR + 23 * HOUR, at + 63 * HOUR));
        assert!(clock_check.is_trusted(start + YEAR + 24 * HOUR, at + 64 * HOUR));
    }

    #[test]
    fn a_clock_far_ahead_of_the_newest_row_at_the_start_is_distrusted() {
        let (start, at) = (Timestamp::from_millis(1_795_334_400_000), clock::instant());

        let mut clock_check = ClockCheck::since(RequestId::first_at(start), start + YEAR, at);
        assert!(!clock_check.is_trusted(start + YEAR, at));
        assert!(clock_check.is_trusted(start + YEAR + 24 * HOUR, at + 24 * HOUR));
        // Without rows no time is known, and no row can be lost.
        let mut clock_check = ClockCheck::since(RequestId(0), start + YEAR, at);
        assert!(clock_check.is_trusted(start + YEAR, at));
        // A clock that is set back deletes nothing.
        assert!(clock_check.is_trusted(start, at + HOUR));
    }
}
