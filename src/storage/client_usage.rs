//! Usage of client keys, computed from log rows and hourly rollups, for their limits and for pages.

use std::collections::HashMap;
use std::ops::AddAssign;

use jiff::tz::TimeZone;
use sqlx::{SqliteExecutor, SqlitePool};

use crate::clock::Timestamp;
use crate::pool::calendar::{CalendarPeriod, day_of, month_of};
use crate::pool::clients::admission::LoggedUsage;
use crate::pool::clients::client_key::{ClientKeyId, ClientLimits};
use crate::pool::quota::windows::{MinuteWindow, QuotaAmount};
use crate::pool::request_id::{MAX_BEHIND, RequestId};
use crate::storage::error::Result;
use crate::storage::log_pruning;

const HOUR_MS: i64 = 3_600_000;
/// Oldest age of a request or of tokens that a sliding minute can still contain.
const MINUTE_MS: i64 = 61_000;
/// Maximum duration of a request whose tokens are counted in the last minute.
const MAX_DURATION_MS: i64 = 15 * 60_000;

/// Usage of a client key in an hour, or since the start of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientKeyUsage {
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub tokens: i64,
    pub cost_nano_usd: i64,
}

impl AddAssign for ClientKeyUsage {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.successes += other.successes;
        self.failures += other.failures;
        self.tokens += other.tokens;
        self.cost_nano_usd += other.cost_nano_usd;
    }
}

/// The usage in a row of a checked query, whose type has no name.
macro_rules! usage {
    ($row:ident) => {
        ClientKeyUsage {
            requests: $row.requests,
            successes: $row.successes,
            failures: $row.failures,
            tokens: $row.tokens,
            cost_nano_usd: $row.cost_nano_usd,
        }
    };
}

/// Whether any request has ever succeeded.
pub async fn has_succeeded(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM client_key_hours WHERE successes > 0) AS "found!: bool""#
    );
    Ok(found.fetch_one(db).await?)
}

/// Usage of a key for each hour from `since` to `until` that has any, oldest first.
pub async fn list_hours(
    db: impl SqliteExecutor<'_>,
    id: ClientKeyId,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<(Timestamp, ClientKeyUsage)>> {
    let first = since.start_of_hour();
    // One primary key look-up per hour: the rows of an hour range would be those of all keys.
    let rows = sqlx::query!(
        r#"
        WITH RECURSIVE hours (hour_ms) AS (
            SELECT ?2
            UNION ALL
            SELECT hour_ms + ?4 FROM hours WHERE hour_ms + ?4 < ?3
        )
        SELECT
            hour_ms AS "hour!: Timestamp", requests, successes, failures,
            max(total_tokens, prompt_tokens + output_tokens + thought_tokens) AS "tokens!: i64", cost_nano_usd
        FROM hours
        CROSS JOIN client_key_hours USING (hour_ms)
        WHERE client_key_id = ?1
        ORDER BY hour_ms
        "#,
        id,
        first,
        until,
        HOUR_MS,
    );
    let hours = rows.fetch_all(db).await?.into_iter();
    Ok(hours.map(|row| (row.hour, usage!(row))).collect())
}

/// Usage of each key since the hour of `since`, without unused keys.
pub async fn list_since(
    db: impl SqliteExecutor<'_>,
    since: Timestamp,
) -> Result<HashMap<ClientKeyId, ClientKeyUsage>> {
    let first = since.start_of_hour();
    let rows = sqlx::query!(
        r#"
        SELECT
            client_key_id AS "id: ClientKeyId", sum(requests) AS "requests!: i64", sum(successes) AS "successes!: i64",
            sum(failures) AS "failures!: i64",
            sum(max(total_tokens, prompt_tokens + output_tokens + thought_tokens)) AS "tokens!: i64",
            sum(cost_nano_usd) AS "cost_nano_usd!: i64"
        FROM client_key_hours
        WHERE hour_ms >= ?1
        GROUP BY client_key_id
        "#,
        first,
    );
    let keys = rows.fetch_all(db).await?.into_iter();
    Ok(keys.map(|row| (row.id, usage!(row))).collect())
}

/// The logged usage of a key that these limits need.
pub async fn find_logged_usage(
    db: &SqlitePool,
    id: ClientKeyId,
    limits: &ClientLimits,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<LoggedUsage> {
    let (today, this_month) = (day_of(now, zone), month_of(now, zone));
    let mut past = LoggedUsage::default();
    if limits.requests_per_minute.is_some() || limits.tokens_per_minute.is_some() {
        past.minute = Some(find_last_minute(db, id, now).await?);
    }
    if limits.requests_per_day.is_some() {
        past.requests_of_the_day = Some(sum_in(db, id, today).await?.requests);
    }
    if limits.tokens_per_day.is_some() {
        past.tokens_of_the_day = Some(sum_in(db, id, today).await?.tokens);
    }
    if limits.cost_per_month_nano_usd.is_some() {
        past.nano_usd_of_the_month = Some(sum_in(db, id, this_month).await?.nano_usd);
    }
    Ok(past)
}

async fn find_last_minute(
    db: &SqlitePool,
    id: ClientKeyId,
    now: Timestamp,
) -> Result<MinuteWindow> {
    let since = now.as_millis().saturating_sub(MINUTE_MS);
    let first = RequestId::first_at(Timestamp::from_millis(
        since.saturating_sub(MAX_DURATION_MS),
    ));
    // Later rows are from a time when the clock was ahead.
    let end = RequestId::first_at(now + MAX_BEHIND);
    let rows = sqlx::query!(
        r#"
        SELECT
            started_at_ms, started_at_ms + coalesce(duration_ms, 0) AS "ended_at_ms!: i64",
            coalesce(
                total_tokens,
                coalesce(prompt_tokens, 0) + coalesce(output_tokens, 0) + coalesce(thought_tokens, 0)
            ) AS "tokens!: i64"
        FROM request_logs
        WHERE client_key_id = ?1 AND id >= ?2 AND id < ?4 AND attempts > 0 AND outcome IS NOT NULL
            AND started_at_ms + coalesce(duration_ms, 0) > ?3
        "#,
        id,
        first,
        since,
        end,
    );
    // A request counts at its start, its tokens at its end.
    let mut counted = Vec::new();
    for row in rows.fetch_all(db).await? {
        if row.started_at_ms > since {
            counted.push((row.started_at_ms, 1, 0));
        }
        counted.push((row.ended_at_ms, 0, non_negative(row.tokens)));
    }
    counted.sort_unstable();
    let mut minute = MinuteWindow::default();
    for (at, requests, tokens) in counted {
        let at = Timestamp::from_millis(at.min(now.as_millis()));
        minute.add(QuotaAmount { requests, tokens }, at);
    }
    Ok(minute)
}

/// Usage in a period.
#[derive(Debug, Clone, Copy, Default)]
struct UsageTotals {
    /// Sent to Google.
    requests: u64,
    tokens: u64,
    nano_usd: u64,
}

/// Adds up whole hours of rollups, which stay when log rows are deleted, and a part of the hour in which the period begins.
async fn sum_in(db: &SqlitePool, id: ClientKeyId, period: CalendarPeriod) -> Result<UsageTotals> {
    let first_hour = period.begins.start_of_hour();
    if first_hour == period.begins {
        return sum_hours(db, id, first_hour, period.ends).await;
    }
    let second_hour = Timestamp::from_millis(first_hour.as_millis() + HOUR_MS);
    let mut totals = sum_hours(db, id, second_hour, period.ends).await?;
    let part = if log_pruning::is_pruned(db, first_hour, second_hour).await? {
        // Rows of the hour may be gone: it is taken for even.
        let hour = sum_hours(db, id, first_hour, second_hour).await?;
        let inside_ms = (second_hour - period.begins).as_millis();
        hour.scaled(u64::try_from(inside_ms).unwrap_or(0))
    } else {
        sum_rows(db, id, period.begins, second_hour).await?
    };
    totals.requests += part.requests;
    totals.tokens += part.tokens;
    totals.nano_usd += part.nano_usd;
    Ok(totals)
}

impl UsageTotals {
    /// The share of so many milliseconds of an hour.
    fn scaled(self, part_ms: u64) -> Self {
        let scale = |number: u64| {
            let scaled =
                u128::from(number) * u128::from(part_ms) / u128::from(HOUR_MS.unsigned_abs());
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Self {
            requests: scale(self.requests),
            tokens: scale(self.tokens),
            nano_usd: scale(self.nano_usd),
        }
    }
}

async fn sum_hours(
    db: &SqlitePool,
    id: ClientKeyId,
    since: Timestamp,
    until: Timestamp,
) -> Result<UsageTotals> {
    // A rollup's total misses requests without a total; the sum of the parts contains them.
    let hours = sqlx::query!(
        r#"
        SELECT
            coalesce(sum(sent_requests), 0) AS "requests!: i64",
            coalesce(sum(max(total_tokens, prompt_tokens + output_tokens + thought_tokens)), 0) AS "tokens!: i64",
            coalesce(sum(cost_nano_usd), 0) AS "nano_usd!: i64"
        FROM client_key_hours
        WHERE hour_ms >= ?2 AND hour_ms < ?3 AND client_key_id = ?1
        "#,
        id,
        since,
        until,
    );
    let hours = hours.fetch_one(db).await?;
    Ok(UsageTotals {
        requests: non_negative(hours.requests),
        tokens: non_negative(hours.tokens),
        nano_usd: non_negative(hours.nano_usd),
    })
}

async fn sum_rows(
    db: &SqlitePool,
    id: ClientKeyId,
    since: Timestamp,
    until: Timestamp,
) -> Result<UsageTotals> {
    let (first, end) = (RequestId::first_at(since), RequestId::first_at(until));
    let rows = sqlx::query!(
        r#"
        SELECT
            coalesce(sum(attempts > 0), 0) AS "requests!: i64",
            coalesce(sum(coalesce(
                total_tokens,
                coalesce(prompt_tokens, 0) + coalesce(output_tokens, 0) + coalesce(thought_tokens, 0)
            )), 0) AS "tokens!: i64",
            coalesce(sum(cost_nano_usd), 0) AS "nano_usd!: i64"
        FROM request_logs
        WHERE client_key_id = ?1 AND id >= ?2 AND id < ?3 AND outcome IS NOT NULL
        "#,
        id,
        first,
        end,
    );
    let rows = rows.fetch_one(db).await?;
    Ok(UsageTotals {
        requests: non_negative(rows.requests),
        tokens: non_negative(rows.tokens),
        nano_usd: non_negative(rows.nano_usd),
    })
}

fn non_negative(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::pool::retention::spared_ends;
    use crate::storage::db::Db;
    use crate::storage::db::tests::open_migrated;
    use crate::storage::log_pruning::PruneScope;
    use crate::storage::recorder::tests::write;
    use crate::storage::request_logs::NewRequestLog;
    use crate::storage::request_logs::tests::{row, running};

    /// The start of `row(0)`: 2026-11-22T08:00:00Z.
    const START: Timestamp = Timestamp::from_millis(1_795_334_400_000);
    const ID: ClientKeyId = ClientKeyId(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(START.as_millis() + seconds * 1_000)
    }

    fn refused(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        row.outcome = Some(Outcome::Refused);
        row.attempts.clear();
        (row.usage, row.cost_nano_usd) = (crate::pool::quota::usage::TokenUsage::default(), None);
        row
    }

    fn of_another(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        row.client_key_id = Some(ClientKeyId(2));
        row
    }

    #[sqlx::test]
    async fn logged_usage_counts_requests_sent_since_the_start_of_the_day_and_month(
        pool: SqlitePool,
    ) {
        let hour = 3_600;
        let rows = vec![
            // The day before, and the month before.
            row(-9 * hour),
            row(-23 * 24 * hour),
            row(0),
            row(hour),
            refused(10),
            running(20),
            of_another(30),
        ];
        write(&Db::from_pool(pool.clone()), rows).await;
        let limits = ClientLimits {
            requests_per_day: Some(1),
            tokens_per_day: Some(1),
            cost_per_month_nano_usd: Some(1),
            ..ClientLimits::default()
        };

        let found = find_logged_usage(&pool, ID, &limits, &TimeZone::UTC, at(2 * hour)).await;

        let expected = LoggedUsage {
            minute: None,
            requests_of_the_day: Some(2),
            tokens_of_the_day: Some(14),
            nano_usd_of_the_month: Some(4_500_000_000),
        };
        assert_eq!(found.unwrap(), expected);
        let none =
            find_logged_usage(&pool, ID, &ClientLimits::default(), &TimeZone::UTC, at(0)).await;
        assert_eq!(none.unwrap(), LoggedUsage::default());
    }

    #[sqlx::test]
    async fn only_hours_with_usage_of_the_key_are_listed(pool: SqlitePool) {
        let hour = 3_600;
        let rows = vec![
            row(-hour),
            row(0),
            row(10),
            row(3 * hour),
            refused(3 * hour),
            of_another(hour),
            row(4 * hour),
        ];
        write(&Db::from_pool(pool.clone()), rows).await;

        let found = list_hours(&pool, ID, at(600), at(4 * hour)).await.unwrap();

        let requests: Vec<_> = found
            .iter()
            .map(|(at, used)| (*at, used.requests, used.successes, used.failures))
            .collect();
        // A refusal is neither success nor failure.
        assert_eq!(requests, [(at(0), 2, 2, 0), (at(3 * hour), 2, 1, 0)]);
        assert_eq!(found[0].1.tokens, 14);
        assert_eq!(found[0].1.cost_nano_usd, 3_000_000_000);
        let all = list_since(&pool, at(600)).await.unwrap();
        assert_eq!((all[&ID].requests, all[&ClientKeyId(2)].requests), (5, 1));
    }

    #[sqlx::test]
    async fn a_day_may_begin_within_an_hour(pool: SqlitePool) {
        // Midnight in this zone is 18:15 UTC, 10 hours 15 minutes after the start.
        let zone = TimeZone::get("Asia/Kathmandu").unwrap();
        let midnight = 36_900;
        let rows = vec![
            row(midnight - 1),
            row(midnight),
            row(midnight + 2_000),
            of_another(midnight + 1),
            row(midnight + 4_000),
            // From a time when the clock was ahead.
            row(midnight + 400 * 86_400),
        ];
        write(&Db::from_pool(pool.clone()), rows).await;
        let limits = ClientLimits {
            requests_per_day: Some(1),
            tokens_per_day: Some(1),
            ..ClientLimits::default()
        };

        let found = find_logged_usage(&pool, ID, &limits, &zone, at(midnight + 5_000))
            .await
            .unwrap();

        assert_eq!(found.requests_of_the_day, Some(3));
        assert_eq!(found.tokens_of_the_day, Some(21));
    }

    #[tokio::test]
    async fn limits_are_restored_without_the_rows_that_were_deleted() {
        let (_folder, db) = open_migrated().await;
        let (hour, now) = (3_600, at(7_210));
        let rows = (0..24).map(|number| row(number * 300)).chain([
            refused(10),
            of_another(30),
            row(7_190),
            row(-9 * hour),
        ]);
        write(&db, rows.collect()).await;
        let limits = ClientLimits {
            requests_per_minute: Some(1),
            requests_per_day: Some(1),
            tokens_per_minute: Some(1),
            tokens_per_day: Some(1),
            cost_per_month_nano_usd: Some(1),
            ..ClientLimits::default()
        };
        // Its day begins at 8:30 UTC, in an hour with a request each five minutes.
        let half_past = TimeZone::fixed(Offset::from_seconds(-8 * 3_600 - 1_800).unwrap());
        let found = async |zone: &TimeZone| {
            find_logged_usage(&db.readers, ID, &limits, zone, now)
                .await
                .unwrap()
        };
        let before = found(&TimeZone::UTC).await;
        assert_eq!(before.requests_of_the_day, Some(25));
        assert_eq!(
            before
                .minute
                .as_ref()
                .map(|minute| minute.used(now).requests),
            Some(1)
        );
        let half_before = found(&half_past).await;
        assert_eq!(half_before.requests_of_the_day, Some(19));

        for scope in [PruneScope::Selected, PruneScope::Oldest] {
            let spared = spared_ends(now);
            let ids = log_pruning::list_oldest(&db.readers, None, &spared, 10).await;
            log_pruning::delete(&db, &ids.unwrap(), scope)
                .await
                .unwrap();

            assert_eq!(found(&TimeZone::UTC).await, before, "{scope:?}");
            assert_eq!(found(&half_past).await, half_before, "{scope:?}");
        }
        let spared = spared_ends(now);
        let ids = log_pruning::list_oldest(&db.readers, None, &spared, 100).await;
        log_pruning::delete(&db, &ids.unwrap(), PruneScope::Oldest)
            .await
            .unwrap();
        assert_eq!(found(&TimeZone::UTC).await, before);
    }

    #[sqlx::test]
    async fn the_last_minute_counts_requests_by_their_start_and_tokens_by_their_end(
        pool: SqlitePool,
    ) {
        let mut long = row(-600);
        long.duration_ms = Some(590_000);
        let mut parts = row(-20);
        parts.usage.total = None;
        parts.usage.thoughts = Some(10);
        write(
            &Db::from_pool(pool.clone()),
            vec![
                row(-70),
                long,
                parts,
                row(-5),
                refused(-4),
                of_another(-3),
                row(400 * 86_400),
            ],
        )
        .await;
        let limits = ClientLimits {
            tokens_per_minute: Some(1),
            ..ClientLimits::default()
        };

        let found = find_logged_usage(&pool, ID, &limits, &TimeZone::UTC, START).await;

        let minute = found.unwrap().minute.unwrap();
        let expected = QuotaAmount {
            requests: 2,
            tokens: 31,
        };
        assert_eq!(minute.used(START), expected);
        assert_eq!(minute.used(at(42)).requests, 1);
    }
}
