//! The history of an upstream key: usage by day, failures by rule, checks, and its project's cooldowns with evidence.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;

/// Maximum number of a key's last attempts to read: each needs its own look-up.
const MAX_ATTEMPTS: i64 = 2_000;

/// A key's usage on one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamKeyDay {
    pub day: Timestamp,
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub total_tokens: i64,
    pub cost_nano_usd: i64,
}

/// The number of a key's failed attempts by rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailuresByRule {
    pub rule: String,
    pub count: i64,
    pub last_at: Timestamp,
    /// The last request with this rule.
    pub request_id: RequestId,
    /// Google's message to it, redacted.
    pub error: Option<String>,
}

/// A key's recent failures, and the period they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentFailures {
    pub attempts: i64,
    /// When the first of them began; `None` if there is none.
    pub since: Option<Timestamp>,
    /// Most frequent first.
    pub failures: Vec<FailuresByRule>,
}

/// A check of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCheck {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub status: Option<u16>,
    /// `None`: the check succeeded or is running.
    pub rule: Option<String>,
    pub error: Option<String>,
    pub duration_ms: Option<i64>,
}

/// A cooldown of a project, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CooldownEvidence {
    pub model: String,
    pub rule: String,
    pub status: Option<u16>,
    pub message: String,
    pub request_id: RequestId,
    pub until: Timestamp,
}

/// The days from `first` on, oldest first; days without requests have no row.
pub async fn list_days(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    first: Timestamp,
    days: u32,
) -> Result<Vec<UpstreamKeyDay>> {
    // One primary key look-up per day, because the key begins with the day.
    let rows = sqlx::query_as!(
        UpstreamKeyDay,
        r#"
        WITH RECURSIVE days (day_ms, number) AS (
            SELECT ?2, 1
            UNION ALL
            SELECT day_ms + 86400000, number + 1
            FROM days
            WHERE number < ?3
        )
        SELECT
            d.day_ms AS "day!: Timestamp", d.requests AS "requests!", d.successes AS "successes!",
            d.failures AS "failures!", d.total_tokens AS "total_tokens!", d.cost_nano_usd AS "cost_nano_usd!"
        FROM days
        CROSS JOIN upstream_key_days AS d ON d.day_ms = days.day_ms AND d.upstream_key_id = ?1
        ORDER BY d.day_ms
        "#,
        id,
        first,
        days,
    );
    Ok(rows.fetch_all(db).await?)
}

/// The failures among the key's last attempts that began after `since`.
pub async fn recent_failures(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    since: Timestamp,
) -> Result<RecentFailures> {
    let since_id = RequestId::first_at(since);
    let rows = sqlx::query!(
        r#"
        WITH requests AS (
            SELECT request_id
            FROM (
                SELECT request_id
                FROM requests_by_upstream_key
                WHERE upstream_key_id = ?1 AND request_id >= ?2
                ORDER BY request_id DESC
                LIMIT ?3
            )
            UNION ALL
            SELECT request_id
            FROM (
                SELECT DISTINCT request_id
                FROM attempts
                WHERE upstream_key_id = ?1
                    AND request_id >= ?2
                    AND request_id > (SELECT until_id FROM indexed_requests)
                ORDER BY request_id DESC
                LIMIT ?3
            )
        ),
        recent AS (
            SELECT a.rule, a.outcome, a.error, a.started_at_ms, a.request_id
            FROM attempts AS a
            WHERE a.request_id IN (SELECT request_id FROM requests) AND a.upstream_key_id = ?1
            ORDER BY a.request_id DESC
            LIMIT ?3
        )
        SELECT
            rule, outcome AS "outcome: String", count(*) AS "count!: i64",
            (SELECT min(started_at_ms) FROM recent) AS "first_at!: Timestamp", max(started_at_ms) AS "last_at!: Timestamp", request_id AS "request_id!: RequestId", error
        FROM recent
        GROUP BY rule, outcome
        "#,
        id,
        since_id,
        MAX_ATTEMPTS,
    );
    // With a single `max`, SQLite takes the other columns from the row of the maximum.
    let rows = rows.fetch_all(db).await?;
    let attempts = rows.iter().map(|row| row.count).sum();
    let since = rows.first().map(|row| row.first_at);
    let failed = rows
        .into_iter()
        .filter(|row| row.outcome.as_deref() != Some("success"));
    let mut failures: Vec<_> = failed
        .filter_map(|row| {
            Some(FailuresByRule {
                rule: row.rule.or(row.outcome)?,
                count: row.count,
                last_at: row.last_at,
                request_id: row.request_id,
                error: row.error,
            })
        })
        .collect();
    failures.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
    Ok(RecentFailures {
        attempts,
        since,
        failures,
    })
}

/// The key's last checks, newest first.
pub async fn list_checks(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    limit: u32,
) -> Result<Vec<LoggedCheck>> {
    let checks = sqlx::query_as!(
        LoggedCheck,
        r#"
        SELECT
            r.id AS "id!: RequestId", r.started_at_ms AS "started_at!: Timestamp", r.status AS "status: u16",
            nullif(a.rule, 'success') AS "rule?: String", r.error, r.duration_ms
        FROM request_logs AS r
        LEFT JOIN attempts AS a ON a.request_id = r.id AND a.number = r.attempts
        WHERE r.upstream_key_id = ?1 AND r.kind = 'check'
        ORDER BY r.id DESC
        LIMIT ?2
        "#,
        id,
        limit,
    );
    Ok(checks.fetch_all(db).await?)
}

/// The running cooldowns of a project, with the answers of Google that caused them.
pub async fn list_cooldowns(
    db: impl SqliteExecutor<'_>,
    project_id: ProjectId,
    now: Timestamp,
) -> Result<Vec<CooldownEvidence>> {
    let cooldowns = sqlx::query_as!(
        CooldownEvidence,
        r#"
        SELECT
            model, rule, status AS "status: u16", message, request_id AS "request_id: RequestId",
            until_ms AS "until: Timestamp"
        FROM cooldowns
        WHERE project_id = ?1 AND until_ms > ?2
        ORDER BY until_ms DESC
        "#,
        project_id,
        now,
    );
    Ok(cooldowns.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::row;
    use crate::storage::request_logs::{LogKind, NewRequestLog};
    use crate::storage::rollups::begin_of_day;

    const KEY: UpstreamKeyId = UpstreamKeyId(1);

    fn failed(seconds: i64, rule: &'static str) -> NewRequestLog {
        let mut row = row(seconds);
        row.outcome = Some(Outcome::Quota);
        row.attempts[0].outcome = Some(Outcome::Quota);
        row.attempts[0].rule = Some(rule.into());
        row.attempts[0].error = Some(format!("{rule} at {seconds}"));
        row
    }

    async fn filled(pool: SqlitePool) -> Db {
        let db = Db::from_pool(pool);
        add_keys(&db).await;
        let mut check = failed(4, "api_key_invalid");
        check.kind = LogKind::Check;
        check.client_key_id = None;
        let mut others = row(5);
        others.attempts[0].upstream_key_id = UpstreamKeyId(2);
        let rows = vec![
            row(0),
            failed(1, "quota_per_day"),
            failed(2, "quota_per_day"),
            failed(3, "overloaded"),
            check,
            others,
            row(86_400),
        ];
        write(&db, rows).await;
        db
    }

    #[sqlx::test]
    async fn a_keys_days_are_read_oldest_first_without_those_before(pool: SqlitePool) {
        let db = filled(pool).await;
        let today = begin_of_day(row(0).started_at);

        let days = list_days(&db.readers, KEY, today, 30).await.unwrap();

        let counts: Vec<_> = days
            .iter()
            .map(|day| (day.requests, day.successes, day.failures, day.total_tokens))
            .collect();
        assert_eq!(counts, [(4, 1, 3, 28), (1, 1, 0, 7)]);
        assert_eq!(days[0].day, today);
        let later = list_days(&db.readers, KEY, days[1].day, 30).await.unwrap();
        assert_eq!(later, days[1..]);
        let only = list_days(&db.readers, KEY, today, 1).await.unwrap();
        assert_eq!(only, days[..1]);
    }

    #[sqlx::test]
    async fn failures_are_counted_by_rule_with_the_last_of_each(pool: SqlitePool) {
        let db = filled(pool).await;

        let recent = recent_failures(&db.readers, KEY, row(0).started_at)
            .await
            .unwrap();

        assert_eq!(
            (recent.attempts, recent.since),
            (6, Some(row(0).started_at))
        );
        let found: Vec<_> = recent
            .failures
            .iter()
            .map(|failure| {
                (
                    failure.rule.as_str(),
                    failure.count,
                    failure.error.as_deref(),
                )
            })
            .collect();
        let expected = [
            ("quota_per_day", 2, Some("quota_per_day at 2")),
            ("api_key_invalid", 1, Some("api_key_invalid at 4")),
            ("overloaded", 1, Some("overloaded at 3")),
        ];
        assert_eq!(found, expected);
        assert_eq!(recent.failures[0].request_id, row(2).id);
        let later = recent_failures(&db.readers, KEY, row(3).started_at).await;
        assert_eq!(later.unwrap().attempts, 3);
    }

    #[sqlx::test]
    async fn only_checks_of_the_key_are_listed(pool: SqlitePool) {
        let db = filled(pool).await;

        let checks = list_checks(&db.readers, KEY, 10).await.unwrap();

        let found: Vec<_> = checks
            .iter()
            .map(|check| (check.id, check.rule.as_deref()))
            .collect();
        assert_eq!(found, [(row(4).id, Some("api_key_invalid"))]);
        let others = list_checks(&db.readers, UpstreamKeyId(2), 10).await;
        assert!(others.unwrap().is_empty());
    }
}
