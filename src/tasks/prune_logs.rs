//! Deletes expired log rows and cooldowns, old daily usage counts, and records of resources that Google has deleted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::{cooldowns, log_pruning, quotas, request_logs, resources, upload_sessions};

const PERIOD: Duration = Duration::from_hours(1);
/// Requests per transaction: with a million rows whose clients invented all names it blocks the writer for some 4 ms.
const REQUESTS_PER_TRANSACTION: u32 = 100;
/// Strings per transaction, and transactions per pass.
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

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut clock_check = match request_logs::last_id(&app.db.readers).await {
        Ok(newest) => ClockCheck::since(newest, clock::now(), clock::instant()),
        Err(error) => {
            tracing::warn!("the newest log row could not be read: {error}");
            ClockCheck::since(RequestId(0), clock::now(), clock::instant())
        }
    };
    loop {
        let now = clock::now();
        if clock_check.is_trusted(now, clock::instant()) {
            match pass(&app, now).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "log rows were deleted by age"),
                Err(error) => tracing::warn!("old log rows could not be deleted: {error}"),
            }
        } else {
            tracing::warn!(
                "the clock jumped ahead by more than a day since the last log row or check: no log rows are deleted for a day, \
                 in case it is wrong; the current time is {now}"
            );
        }
        tokio::time::sleep(PERIOD).await;
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

/// Deletes the rows that are too old at `now`, in small transactions. Returns the number of requests.
pub async fn pass(app: &App, now: Timestamp) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    quotas::delete_days_before(&mut *tx, now - QUOTA_DAYS_KEPT).await?;
    cooldowns::delete_expired(&mut *tx, now).await?;
    tx.commit().await?;
    delete_expired(app, now).await?;
    let deleted = prune_rows(app, now).await?;
    prune_strings(app).await?;
    Ok(deleted)
}

async fn prune_rows(app: &App, now: Timestamp) -> Result<u64> {
    let days = app.settings().log_retention_days;
    if days == 0 {
        return Ok(0);
    }
    let time = now - Duration::from_hours(24 * days);
    let mut deleted = 0;
    loop {
        let step = log_pruning::prune(&app.db, time, REQUESTS_PER_TRANSACTION).await?;
        deleted += step;
        if step < u64::from(REQUESTS_PER_TRANSACTION) {
            return Ok(deleted);
        }
        tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await;
    }
}

/// Checks a part of the strings, so that all are checked within some days; begins anew after the last one.
async fn prune_strings(app: &App) -> Result<()> {
    for _ in 0..STRING_TRANSACTIONS {
        let after = app.checked_strings.load(Ordering::Relaxed);
        let checked = log_pruning::prune_strings(&app.db, after, STRINGS_PER_TRANSACTION).await?;
        let last = checked.map_or(0, |(last, _)| last);
        app.checked_strings.store(last, Ordering::Relaxed);
        match checked {
            None => break,
            Some((_, 0)) => {}
            Some(_) => tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await,
        }
    }
    Ok(())
}

async fn delete_expired(app: &App, now: Timestamp) -> Result<()> {
    while resources::delete_expired(&app.db.writer, now, REQUESTS_PER_TRANSACTION).await?
        == u64::from(REQUESTS_PER_TRANSACTION)
    {
        tokio::time::sleep(PAUSE_BETWEEN_TRANSACTIONS).await;
    }
    while upload_sessions::delete_expired(&app.db.writer, now, REQUESTS_PER_TRANSACTION).await?
        == u64::from(REQUESTS_PER_TRANSACTION)
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
