//! Upstream keys as commands and the API list them, with their states and statistics.

use serde::{Deserialize, Serialize};
use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::keys::running_cooldowns::MISSING_MODEL_RULES;
use crate::pool::keys::upstream_key::{Billing, UpstreamKeyId};
use crate::storage::error::Result;
use crate::storage::json_columns::{JsonTexts, json_array};

/// A key as lists show it; the names are those of the JSON.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedUpstreamKey {
    pub id: UpstreamKeyId,
    pub label: String,
    pub last4: String,
    /// The admin's name for it, else Google's number.
    pub project: Option<String>,
    #[serde(skip)]
    pub project_number: Option<String>,
    pub billing: Billing,
    pub priority: i64,
    pub weight: i64,
    pub tags: Vec<String>,
    pub enabled: bool,
    /// `ready`, `cooling_down`, `trial`, `invalid`, `leaked`, `suspended`, `misconfigured` or `disabled`.
    pub state: String,
    pub state_reason: Option<String>,
    pub state_since: Timestamp,
    pub state_until: Option<Timestamp>,
    pub next_check_at: Option<Timestamp>,
    /// `None` unless a running server fills it in.
    pub in_flight: Option<u32>,
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub prompt_tokens: i64,
    pub output_tokens: i64,
    pub total_tokens: i64,
    pub last_used_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
}

/// All keys in use with their state or cooldown at `now`, ordered by id.
pub async fn list(db: impl SqliteExecutor<'_>, now: Timestamp) -> Result<Vec<ListedUpstreamKey>> {
    list_selected(db, None, now).await
}

/// Those of these keys that are in use.
pub async fn list_these(
    db: impl SqliteExecutor<'_>,
    ids: &[UpstreamKeyId],
    now: Timestamp,
) -> Result<Vec<ListedUpstreamKey>> {
    list_selected(db, Some(json_array(ids)), now).await
}

/// The keys with these ids in JSON; `None`: all.
async fn list_selected(
    db: impl SqliteExecutor<'_>,
    ids: Option<String>,
    now: Timestamp,
) -> Result<Vec<ListedUpstreamKey>> {
    let missing_model_rules = json_array(&MISSING_MODEL_RULES);
    // A state that is over is a trial; a cooldown of the project is shown only where the key itself is ready.
    let keys = sqlx::query_as!(
        ListedUpstreamKey,
        r#"
        WITH cooling_down AS (
            SELECT project_id, group_concat(model || ': ' || rule, ', ') AS reason, min(since_ms) AS since_ms,
                max(until_ms) AS until_ms
            FROM cooldowns
            WHERE until_ms > ?1 AND rule NOT IN (SELECT value FROM json_each(?3))
            GROUP BY project_id
        ),
        keys AS (
            SELECT
                *, CASE WHEN NOT enabled THEN 'disabled' WHEN state_until_ms <= ?1 THEN 'trial' ELSE state END AS shown
            FROM upstream_keys
            WHERE removed_at_ms IS NULL AND id IN (
                SELECT value FROM json_each(coalesce(?2, (SELECT json_group_array(id) FROM upstream_keys)))
            )
        )
        SELECT
            k.id AS "id!: UpstreamKeyId", k.label, k.last4, coalesce(p.name, p.number) AS "project?: String",
            p.number AS project_number, p.billing AS "billing: Billing", k.priority, k.weight,
            k.tags AS "tags: JsonTexts", k.enabled AS "enabled: bool",
            iif(c.project_id IS NULL, k.shown, 'cooling_down') AS "state!: String",
            iif(
                k.shown = 'disabled',
                NULL,
                coalesce(c.reason, k.state_rule || ': ' || nullif(k.state_message, ''), k.state_rule)
            ) AS "state_reason?: String",
            coalesce(c.since_ms, k.state_since_ms) AS "state_since!: Timestamp",
            iif(k.shown IN ('disabled', 'trial'), NULL, coalesce(c.until_ms, k.state_until_ms)) AS "state_until?: Timestamp",
            iif(k.enabled, k.next_check_at_ms, NULL) AS "next_check_at?: Timestamp", NULL AS "in_flight?: u32", k.requests,
            k.successes, k.failures, k.prompt_tokens, k.output_tokens, k.total_tokens,
            k.last_used_at_ms AS "last_used_at: Timestamp", k.last_error, k.created_at_ms AS "created_at: Timestamp"
        FROM keys AS k
        JOIN projects AS p ON p.id = k.project_id
        LEFT JOIN cooling_down AS c ON c.project_id = k.project_id AND k.shown = 'ready'
        ORDER BY k.id
        "#,
        now,
        ids,
        missing_model_rules,
    );
    Ok(keys.fetch_all(db).await?)
}
/// The first labels of keys in use, at most `limit`.
pub async fn list_labels(db: impl SqliteExecutor<'_>, limit: u32) -> Result<Vec<String>> {
    let labels = sqlx::query_scalar!(
        "SELECT DISTINCT label FROM upstream_keys WHERE removed_at_ms IS NULL LIMIT ?1",
        limit,
    );
    Ok(labels.fetch_all(db).await?)
}

/// The label of a key, of a removed one too.
pub async fn find_label(db: impl SqliteExecutor<'_>, id: UpstreamKeyId) -> Result<Option<String>> {
    let label = sqlx::query_scalar!("SELECT label FROM upstream_keys WHERE id = ?1", id);
    Ok(label.fetch_optional(db).await?)
}
