//! What is known of quotas: limits that Google named, and what was used today.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::quota::{Measure, Own};
use crate::pool::request_id::RequestId;
use crate::pool::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::window::Amount;
use crate::storage::error::Result;
use crate::storage::upstream_keys::Evidence;

/// A limit of one project, as its own answers have shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLimit {
    pub project_id: ProjectId,
    pub model: String,
    pub measure: Measure,
    pub own: Own,
    pub learnt_at: Timestamp,
}

/// What a key has used of a model, in a day or (`at`) at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub id: UpstreamKeyId,
    pub model: String,
    pub amount: Amount,
    pub at: Option<Timestamp>,
}

/// All limits, in the order in which they were learnt.
pub async fn list_limits(db: impl SqliteExecutor<'_>) -> Result<Vec<KnownLimit>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            project_id AS "project_id: ProjectId", model, measure, most AS "most: u32",
            learnt_at_ms AS "learnt_at: Timestamp"
        FROM quota_limits
        ORDER BY learnt_at_ms
        "#,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let limits = rows.filter_map(|row| {
        Some(KnownLimit {
            project_id: row.project_id,
            model: row.model,
            measure: Measure::named(&row.measure)?,
            own: row
                .most
                .map_or(Own::Contradicted, |most| Own::Limit(most.into())),
            learnt_at: row.learnt_at,
        })
    });
    Ok(limits.collect())
}

/// Sets a limit, in place of an earlier one. Of a project that was found to be another, the other has it.
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
    // What is larger than this is as good as none.
    let most = limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    sqlx::query!(
        "
        INSERT INTO quota_limits (project_id, model, measure, most, message, request_id, learnt_at_ms)
        SELECT coalesce(merged_into_id, id), ?2, ?3, ?4, ?5, ?6, ?7
        FROM projects
        WHERE id = ?1
        ON CONFLICT (project_id, model, measure) DO UPDATE
        SET
            most = excluded.most, message = excluded.message, request_id = excluded.request_id,
            learnt_at_ms = excluded.learnt_at_ms
        ",
        project_id,
        model,
        measure,
        most,
        evidence.message,
        evidence.request_id,
        at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What was used in the day that began at `day`.
pub async fn list_used_in_day(db: impl SqliteExecutor<'_>, day: Timestamp) -> Result<Vec<Used>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            d.upstream_key_id AS "id: UpstreamKeyId", t.text AS model, d.requests AS "requests: u32",
            d.input_tokens
        FROM quota_days AS d
        JOIN texts AS t ON t.id = d.model_id
        WHERE d.day_ms = ?1
        "#,
        day,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let used = rows.map(|row| Used {
        id: row.id,
        model: row.model,
        amount: Amount {
            requests: row.requests.into(),
            tokens: u64::try_from(row.input_tokens).unwrap_or(0),
        },
        at: None,
    });
    Ok(used.collect())
}

/// What requests that began after `time` have sent, attempt by attempt. A batch counts as one: how many texts it had is
/// not in its row.
pub async fn list_used_since(db: impl SqliteExecutor<'_>, time: Timestamp) -> Result<Vec<Used>> {
    let first = RequestId::first_at(time);
    let rows = sqlx::query!(
        r#"
        SELECT
            a.upstream_key_id AS "id: UpstreamKeyId", t.text AS model, a.started_at_ms AS "at: Timestamp",
            l.prompt_tokens
        FROM request_logs AS l
        JOIN attempts AS a ON a.request_id = l.id
        JOIN texts AS t ON t.id = l.model_id
        WHERE l.id >= ?1
            AND l.kind = 'request'
            AND l.method = 'POST'
            AND (a.outcome IS NULL OR a.outcome NOT IN ('quota', 'key_fault', 'network', 'client_error'))
        ORDER BY a.started_at_ms
        "#,
        first,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let used = rows.map(|row| Used {
        id: row.id,
        model: row.model,
        amount: Amount {
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
