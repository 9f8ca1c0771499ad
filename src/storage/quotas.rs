//! Quotas: observed limits of projects, and usage by key and model.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::quota::limits::{Measure, ObservedLimit};
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::upstream_keys::Evidence;

/// An observed limit of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectLimit {
    pub project_id: ProjectId,
    pub model: String,
    pub measure: Measure,
    pub observed: ObservedLimit,
    pub observed_at: Timestamp,
}

/// A key's usage of a model, in a day or, with `at`, at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUsage {
    pub id: UpstreamKeyId,
    pub model: String,
    pub amount: QuotaAmount,
    pub at: Option<Timestamp>,
}

/// All observed limits, oldest first.
pub async fn list_limits(db: impl SqliteExecutor<'_>) -> Result<Vec<ProjectLimit>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            project_id AS "project_id: ProjectId", model, measure, maximum AS "maximum: u32",
            observed_at_ms AS "observed_at: Timestamp"
        FROM quota_limits
        ORDER BY observed_at_ms
        "#,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let limits = rows.filter_map(|row| {
        Some(ProjectLimit {
            project_id: row.project_id,
            model: row.model,
            measure: row.measure.parse().ok()?,
            observed: row.maximum.map_or(ObservedLimit::Contradicted, |maximum| {
                ObservedLimit::Limit(maximum.into())
            }),
            observed_at: row.observed_at,
        })
    });
    Ok(limits.collect())
}

/// Sets a limit and replaces an earlier one. If the project was merged into another, the other one gets it.
pub async fn upsert_limit(
    db: impl SqliteExecutor<'_>,
    project_id: ProjectId,
    model: &str,
    measure: Measure,
    limit: Option<u64>,
    at: Timestamp,
    evidence: &Evidence,
) -> Result<()> {
    let measure = measure.name();
    // A larger limit has no effect.
    let maximum = limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    let inserted = sqlx::query!(
        "
        INSERT INTO quota_limits (project_id, model, measure, maximum, message, request_id, observed_at_ms)
        SELECT coalesce(merged_into_id, id), ?2, ?3, ?4, ?5, ?6, ?7
        FROM projects
        WHERE id = ?1
        ON CONFLICT (project_id, model, measure) DO UPDATE
        SET
            maximum = excluded.maximum, message = excluded.message, request_id = excluded.request_id,
            observed_at_ms = excluded.observed_at_ms
        ",
        project_id,
        model,
        measure,
        maximum,
        evidence.message,
        evidence.request_id,
        at,
    );
    inserted.execute(db).await?;
    Ok(())
}

/// The usage of the day that began at `day`. All keys of a model come in one row: there may be hundreds of thousands.
pub async fn list_usage_of_day(
    db: impl SqliteExecutor<'_>,
    day: Timestamp,
) -> Result<Vec<QuotaUsage>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            s.value AS model,
            json_group_array(json_array(d.upstream_key_id, d.requests, max(d.input_tokens, 0))) AS "keys!: String"
        FROM quota_days AS d
        JOIN strings AS s ON s.id = d.model_id
        WHERE d.day_ms = ?1
        GROUP BY d.model_id
        "#,
        day,
    );
    let mut used = Vec::new();
    for row in rows.fetch_all(db).await? {
        let keys: Vec<(i64, u64, u64)> = serde_json::from_str(&row.keys).unwrap_or_default();
        used.extend(keys.into_iter().map(|(id, requests, tokens)| QuotaUsage {
            id: UpstreamKeyId(id),
            model: row.model.clone(),
            amount: QuotaAmount { requests, tokens },
            at: None,
        }));
    }
    Ok(used)
}

/// The usage of each attempt of requests that began from `since` to `until`. A batch counts as one request, because its row does not
/// store its number of texts.
pub async fn list_usage_since(
    db: impl SqliteExecutor<'_>,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<QuotaUsage>> {
    let (first, end) = (RequestId::first_at(since), RequestId::first_at(until));
    let rows = sqlx::query!(
        r#"
        SELECT
            a.upstream_key_id AS "id: UpstreamKeyId", s.value AS model, a.started_at_ms AS "at: Timestamp",
            l.prompt_tokens
        FROM request_logs AS l
        JOIN attempts AS a ON a.request_id = l.id
        JOIN strings AS s ON s.id = l.model_id
        WHERE l.id >= ?1
            AND l.id < ?2
            AND l.kind = 'request'
            AND l.method = 'POST'
            AND (a.outcome IS NULL OR a.outcome NOT IN ('quota', 'key_fault', 'network', 'client_error'))
        ORDER BY a.started_at_ms
        "#,
        first,
        end,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let used = rows.map(|row| QuotaUsage {
        id: row.id,
        model: row.model,
        amount: QuotaAmount {
            requests: 1,
            tokens: row
                .prompt_tokens
                .and_then(|tokens| u64::try_from(tokens).ok())
                .unwrap_or(0),
        },
        at: Some(row.at),
    });
    Ok(used.collect())
}

/// Deletes the days that began before `time`.
pub async fn delete_days_before(db: impl SqliteExecutor<'_>, time: Timestamp) -> Result<()> {
    sqlx::query!("DELETE FROM quota_days WHERE day_ms < ?1", time)
        .execute(db)
        .await?;
    Ok(())
}

/// A project whose daily quota of a model ended although its keys have used little of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignUsage {
    /// The label of one of the project's keys.
    pub key: String,
    pub model: String,
    /// Requests since the begin of the day.
    pub used: i64,
    /// Requests per day.
    pub limit: i64,
}

/// Running cooldowns until the end of the day that began at `day`, of projects that have used less than 70 % of the limit: another
/// program or another project of the pool uses the same quota. Keys that were added on that day are left out.
pub async fn list_foreign_usage(
    db: impl SqliteExecutor<'_>,
    day: Timestamp,
    now: Timestamp,
) -> Result<Vec<ForeignUsage>> {
    let rule = Rule::QuotaPerDay.name();
    let found = sqlx::query_as!(
        ForeignUsage,
        r#"
        SELECT
            min(k.label) AS "key!: String", c.model AS "model!", l.maximum AS "limit!: i64", ifnull(sum(d.requests), 0) AS "used!: i64"
        FROM cooldowns AS c
        JOIN quota_limits AS l
            ON l.project_id = c.project_id AND l.model = c.model AND l.measure = 'requests_per_day'
        JOIN upstream_keys AS k ON k.project_id = c.project_id AND k.removed_at_ms IS NULL
        LEFT JOIN strings AS s ON s.value = c.model
        LEFT JOIN quota_days AS d ON d.day_ms = ?1 AND d.upstream_key_id = k.id AND d.model_id = s.id
        WHERE c.rule = ?2 AND c.since_ms >= ?1 AND c.until_ms > ?3 AND l.maximum > 0
        GROUP BY c.project_id, c.model
        HAVING max(k.created_at_ms) < ?1 AND ifnull(sum(d.requests), 0) * 10 < l.maximum * 7
        ORDER BY c.project_id, c.model
        "#,
        day,
        rule,
        now,
    );
    Ok(found.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::pool::quota::google_clock::begin_of_google_day;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::{row, running};
    use crate::storage::request_logs::{LogKind, NewRequestLog};

    const MODEL: &str = "gemini-flash-latest";

    fn moment(seconds: i64) -> Timestamp {
        row(seconds).started_at
    }

    fn used(id: i64, requests: u64, tokens: u64, at: Option<Timestamp>) -> QuotaUsage {
        QuotaUsage {
            id: UpstreamKeyId(id),
            model: MODEL.to_owned(),
            amount: QuotaAmount { requests, tokens },
            at,
        }
    }

    /// A row whose only attempt had this outcome.
    fn ended(seconds: i64, outcome: Outcome) -> NewRequestLog {
        let mut row = row(seconds);
        row.outcome = Some(outcome);
        row.attempts[0].outcome = Some(outcome);
        row
    }

    async fn list_used(pool: &SqlitePool, day: Timestamp) -> Vec<QuotaUsage> {
        let mut used = list_usage_of_day(pool, day).await.unwrap();
        used.sort_by_key(|used| used.id.0);
        used
    }

    #[sqlx::test]
    async fn a_limit_replaces_an_earlier_one_and_follows_its_project(pool: SqlitePool) {
        sqlx::query(
            "INSERT INTO projects (id, created_at_ms, revision, merged_into_id)
             VALUES (1, 0, 1, NULL), (2, 0, 1, 1), (3, 0, 1, NULL)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let evidence = Evidence {
            status: Some(429),
            message: "quota".to_owned(),
            request_id: RequestId(1),
        };
        let (minute, day) = (Measure::RequestsPerMinute, Measure::RequestsPerDay);
        for (project, measure, limit, at) in [
            (1, day, Some(20), 10),
            (3, day, Some(u64::MAX), 20),
            (1, minute, Some(5), 30),
            // Written by a server that has not reloaded the merge yet.
            (2, day, Some(500), 40),
            (1, minute, None, 50),
        ] {
            let (project, at) = (ProjectId(project), Timestamp::from_millis(at));
            upsert_limit(&pool, project, MODEL, measure, limit, at, &evidence)
                .await
                .unwrap();
        }

        let known = |project, measure, observed, at| ProjectLimit {
            project_id: ProjectId(project),
            model: MODEL.to_owned(),
            measure,
            observed,
            observed_at: Timestamp::from_millis(at),
        };
        let expected = [
            known(3, day, ObservedLimit::Limit(u32::MAX.into()), 20),
            known(1, day, ObservedLimit::Limit(500), 40),
            known(1, minute, ObservedLimit::Contradicted, 50),
        ];
        assert_eq!(list_limits(&pool).await.unwrap(), expected);
    }

    #[sqlx::test]
    async fn usage_is_added_up_by_googles_days(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut batch = row(1);
        batch.quota_requests = 5;
        batch.attempts[0].upstream_key_id = UpstreamKeyId(2);
        let mut looked_up = row(2);
        looked_up.quota_requests = 0;
        // Only generating requests use quota.
        let mut check = row(3);
        (check.kind, check.client_key_id) = (LogKind::Check, None);
        let mut retried = row(4);
        retried
            .attempts
            .insert(0, ended(4, Outcome::UpstreamError).attempts[0].clone());
        let tomorrow = row(86_400);
        let refused = ended(6, Outcome::Quota);
        let rows = vec![
            row(0),
            batch,
            looked_up,
            check,
            retried,
            running(5),
            refused,
        ];

        write(&db, rows).await;
        write(&db, vec![tomorrow]).await;

        let today = begin_of_google_day(moment(0));
        assert_eq!(
            list_used(&pool, today).await,
            [used(1, 4, 9, None), used(2, 5, 3, None)]
        );
        let tomorrow = begin_of_google_day(moment(86_400));
        assert_eq!(list_used(&pool, tomorrow).await, [used(1, 1, 3, None)]);

        delete_days_before(&pool, tomorrow).await.unwrap();
        assert_eq!(list_used(&pool, today).await, []);
        assert_eq!(list_used(&pool, tomorrow).await.len(), 1);
    }

    #[sqlx::test]
    async fn recent_usage_is_listed_for_each_attempt(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut listed = row(11);
        listed.method = "GET".to_owned();
        let mut check = row(12);
        (check.kind, check.client_key_id) = (LogKind::Check, None);
        let not_counted = [Outcome::Quota, Outcome::KeyFault, Outcome::Network];
        let refused = not_counted.map(|outcome| ended(13, outcome));
        let refused = refused.into_iter().zip(0..).map(|(mut row, n)| {
            row.id = RequestId(row.id.0 + n);
            row
        });
        let mut rows = vec![row(0), row(10), listed, check, running(14), row(15)];
        rows.extend(refused);

        write(&db, rows).await;

        let since = moment(0) + Duration::from_secs(1);
        assert_eq!(
            list_usage_since(&pool, since, moment(15)).await.unwrap(),
            [
                used(1, 1, 3, Some(moment(10))),
                used(1, 1, 0, Some(moment(14)))
            ]
        );
    }

    #[sqlx::test]
    async fn a_daily_quota_that_ends_early_is_used_elsewhere(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let day = begin_of_google_day(moment(0));
        // Of 100 requests a day, the first project has used 69 when its quota ends, the second 70.
        let script = format!(
            "UPDATE upstream_keys SET created_at_ms = {before};
             INSERT INTO strings (id, value) VALUES (900, '{MODEL}');
             INSERT INTO quota_limits VALUES (1, '{MODEL}', 'requests_per_day', 100, '', 1, 0);
             INSERT INTO quota_limits VALUES (2, '{MODEL}', 'requests_per_day', 100, '', 1, 0);
             INSERT INTO quota_days VALUES ({today}, 1, 900, 69, 0), ({today}, 2, 900, 70, 0), ({before}, 1, 900, 90, 0);
             INSERT INTO cooldowns VALUES (1, '{MODEL}', 'quota_per_day', 0, 429, '', 1, {since}, {until});
             INSERT INTO cooldowns VALUES (2, '{MODEL}', 'quota_per_day', 0, 429, '', 1, {since}, {until});",
            before = (day - Duration::from_hours(24)).as_millis(),
            today = day.as_millis(),
            since = (day + Duration::from_hours(1)).as_millis(),
            until = (day + Duration::from_hours(24)).as_millis(),
        );
        sqlx::raw_sql(&script).execute(&pool).await.unwrap();
        let now = day + Duration::from_hours(2);

        let found = list_foreign_usage(&pool, day, now).await.unwrap();

        let found: Vec<_> = found.iter().map(|one| (one.used, one.limit)).collect();
        assert_eq!(found, [(69, 100)]);
        let over = day + Duration::from_hours(24);
        assert_eq!(list_foreign_usage(&pool, day, over).await.unwrap(), []);
        let added = format!(
            "UPDATE upstream_keys SET created_at_ms = {}",
            day.as_millis()
        );
        sqlx::query(&added).execute(&pool).await.unwrap();
        assert_eq!(list_foreign_usage(&pool, day, now).await.unwrap(), []);
    }
}
