//! Log rows as lists show them; the names are those of the JSON.

use serde::{Deserialize, Serialize};
use sqlx::{SqliteExecutor, SqlitePool};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::request_logs::LogKind;
use crate::storage::strings::OTHER_MODEL;

/// A row with ids resolved to names.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequestLog {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub kind: LogKind,
    pub client_key_id: Option<ClientKeyId>,
    pub client_key: Option<String>,
    pub client_ip: Option<String>,
    pub user_agent: Option<String>,
    pub method: String,
    pub path: String,
    pub model: Option<String>,
    pub model_version: Option<String>,
    pub operation: Option<String>,
    pub streamed: bool,
    pub status: Option<i64>,
    pub outcome: Option<Outcome>,
    pub error: Option<String>,
    pub attempts: i64,
    pub upstream_key_id: Option<UpstreamKeyId>,
    pub upstream_key: Option<String>,
    #[serde(skip)]
    pub upstream_key_last4: Option<String>,
    pub project: Option<String>,
    /// The project, after merges.
    #[serde(skip)]
    pub project_id: Option<ProjectId>,
    pub wait_ms: i64,
    pub first_byte_ms: Option<i64>,
    pub duration_ms: Option<i64>,
    pub request_bytes: i64,
    pub response_bytes: i64,
    pub prompt_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub thought_tokens: Option<i64>,
    pub cached_tokens: Option<i64>,
    pub tool_tokens: Option<i64>,
    pub total_tokens: Option<i64>,
    /// Google reported no tokens: they are an estimate.
    pub usage_estimated: bool,
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    /// The resource name that required one project; `home`: the project preferred for the client's resources.
    pub bound_by: Option<String>,
    /// Zero for a free project.
    pub cost_usd: Option<f64>,
    /// Why there was no further attempt, see [`StopReason`](crate::pool::retry::StopReason).
    pub stop_reason: Option<String>,
    /// The model that answered in place of the one asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// Live sessions only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<i64>,
    /// Live sessions only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<i64>,
    /// The egress proxy of the last attempt; `null`: a direct connection.
    pub egress_id: Option<EgressProxyId>,
    pub egress: Option<String>,
    /// Present only if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_list: Option<Vec<ListedAttempt>>,
}

/// An attempt with ids resolved to names.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedAttempt {
    #[serde(skip, default = "no_request")]
    pub request_id: RequestId,
    pub number: i64,
    pub upstream_key_id: UpstreamKeyId,
    pub upstream_key: Option<String>,
    #[serde(skip)]
    pub upstream_key_last4: Option<String>,
    pub project: Option<String>,
    #[serde(skip, default = "no_project")]
    pub project_id: ProjectId,
    pub status: Option<i64>,
    pub outcome: Option<Outcome>,
    pub rule: Option<String>,
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub duration_ms: Option<i64>,
    /// The egress proxy; `null`: a direct connection.
    pub egress_id: Option<EgressProxyId>,
    pub egress: Option<String>,
}

/// The JSON of an attempt has no ids of its request and project.
fn no_request() -> RequestId {
    RequestId(0)
}

fn no_project() -> ProjectId {
    ProjectId(0)
}

/// One row with its attempts.
pub async fn find(db: &SqlitePool, id: RequestId) -> Result<RequestLog> {
    let found = list(db, &[id]).await?.into_iter().next();
    found.ok_or_else(|| Error::NotFound(Thing::Request, id.to_string()))
}

/// The existing rows of these ids, newest first, with their attempts.
pub async fn list(db: &SqlitePool, ids: &[RequestId]) -> Result<Vec<RequestLog>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let ids = serde_json::to_string(&ids).expect("numbers serialize to JSON");
    let mut rows = list_rows(db, &ids).await?;
    let mut attempts = list_attempts(db, &ids).await?.into_iter().peekable();
    for row in &mut rows {
        let mut list = Vec::new();
        while let Some(attempt) = attempts.next_if(|attempt| attempt.request_id >= row.id) {
            list.push(attempt);
        }
        row.attempt_list = Some(list);
    }
    Ok(rows)
}

/// The models in rollups of the hours since `begin`, by name, without what is counted together.
pub async fn list_models(db: impl SqliteExecutor<'_>, begin: Timestamp) -> Result<Vec<String>> {
    let models = sqlx::query_scalar!(
        "
        SELECT value
        FROM strings
        WHERE id IN (SELECT model_id FROM model_hours WHERE hour_ms >= ?1) AND id <> 0 AND value <> ?2
        ORDER BY value
        ",
        begin,
        OTHER_MODEL,
    );
    Ok(models.fetch_all(db).await?)
}

async fn list_rows(db: impl SqliteExecutor<'_>, ids: &str) -> Result<Vec<RequestLog>> {
    let rows = sqlx::query_as!(
        RequestLog,
        r#"
        SELECT
            r.id AS "id!: RequestId", r.started_at_ms AS "started_at: Timestamp", r.kind AS "kind: LogKind",
            r.client_key_id AS "client_key_id: ClientKeyId", c.name AS "client_key?", ip.value AS "client_ip?",
            ua.value AS "user_agent?", r.method, path.value AS path, model.value AS "model?",
            version.value AS "model_version?", operation.value AS "operation?", r.streamed AS "streamed: bool", r.status,
            r.outcome AS "outcome: Outcome", r.error, r.attempts, r.upstream_key_id AS "upstream_key_id: UpstreamKeyId",
            u.label AS "upstream_key?", u.last4 AS "upstream_key_last4?", p.id AS "project_id?: ProjectId",
            coalesce(p.name, p.number) AS "project?: String", r.wait_ms, r.first_byte_ms, r.duration_ms,
            r.request_bytes, r.response_bytes, r.prompt_tokens, r.output_tokens, r.thought_tokens, r.cached_tokens,
            r.tool_tokens, r.total_tokens, r.usage_estimated AS "usage_estimated: bool", reason.value AS "finish_reason?", tier.value AS "service_tier?",
            r.bound_by, iif(p.billing = 'free', 0.0, r.cost_nano_usd / 1e9) AS "cost_usd: f64", r.stop_reason, r.fallback_model, r.turns, r.close_code,
            r.egress_id AS "egress_id: EgressProxyId", egress.label AS "egress?", false AS "attempt_list!: NotReadHere"
        FROM request_logs AS r
        LEFT JOIN client_keys AS c ON c.id = r.client_key_id
        LEFT JOIN upstream_keys AS u ON u.id = r.upstream_key_id
        LEFT JOIN projects AS logged ON logged.id = r.project_id
        LEFT JOIN projects AS p ON p.id = coalesce(logged.merged_into_id, logged.id)
        LEFT JOIN egress_proxies AS egress ON egress.id = r.egress_id
        LEFT JOIN strings AS ip ON ip.id = r.client_ip_id
        LEFT JOIN strings AS ua ON ua.id = r.user_agent_id
        JOIN strings AS path ON path.id = r.path_id
        LEFT JOIN strings AS model ON model.id = r.model_id
        LEFT JOIN strings AS version ON version.id = r.model_version_id
        LEFT JOIN strings AS operation ON operation.id = r.operation_id
        LEFT JOIN strings AS reason ON reason.id = r.finish_reason_id
        LEFT JOIN strings AS tier ON tier.id = r.service_tier_id
        WHERE r.id IN (SELECT value FROM json_each(?1))
        ORDER BY r.id DESC
        "#,
        ids,
    );
    Ok(rows.fetch_all(db).await?)
}

/// Stands for the attempts in a statement that does not read them.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
struct NotReadHere(bool);

impl From<NotReadHere> for Option<Vec<ListedAttempt>> {
    fn from(_: NotReadHere) -> Self {
        None
    }
}

/// The newest request's attempts first, each request's in their order.
async fn list_attempts(db: impl SqliteExecutor<'_>, ids: &str) -> Result<Vec<ListedAttempt>> {
    let attempts = sqlx::query_as!(
        ListedAttempt,
        r#"
        SELECT
            a.request_id AS "request_id: RequestId", a.number, a.upstream_key_id AS "upstream_key_id: UpstreamKeyId",
            u.label AS "upstream_key?", u.last4 AS "upstream_key_last4?", coalesce(p.name, p.number) AS "project?: String",
            coalesce(p.id, a.project_id) AS "project_id!: ProjectId", a.status, a.outcome AS "outcome: Outcome", a.rule,
            a.error, a.started_at_ms AS "started_at: Timestamp", a.duration_ms, a.egress_id AS "egress_id: EgressProxyId",
            e.label AS "egress?"
        FROM attempts AS a
        LEFT JOIN upstream_keys AS u ON u.id = a.upstream_key_id
        LEFT JOIN projects AS logged ON logged.id = a.project_id
        LEFT JOIN projects AS p ON p.id = coalesce(logged.merged_into_id, logged.id)
        LEFT JOIN egress_proxies AS e ON e.id = a.egress_id
        WHERE a.request_id IN (SELECT value FROM json_each(?1))
        ORDER BY a.request_id DESC, a.number
        "#,
        ids,
    );
    Ok(attempts.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::write;
    use crate::storage::request_logs::last_id;
    use crate::storage::request_logs::tests::row;

    #[sqlx::test]
    async fn a_row_is_found_complete_or_reported_as_missing(pool: SqlitePool) {
        let row = row(0);
        let id = row.id;
        write(&Db::from_pool(pool.clone()), vec![row]).await;

        let found = find(&pool, id).await.unwrap();

        assert_eq!(found.cost_usd, Some(1.5));
        assert_eq!(found.total_tokens, Some(7));
        assert_eq!(found.finish_reason.as_deref(), Some("STOP"));
        assert_eq!(found.attempt_list.unwrap().len(), 1);
        assert_eq!(last_id(&pool).await.unwrap(), id);
        let missing = RequestId(id.0 + 1);
        let error = find(&pool, missing).await.unwrap_err();
        assert_eq!(error.to_string(), format!("request {missing} not found"));
    }
}
