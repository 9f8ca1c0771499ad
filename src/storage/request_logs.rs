//! Log rows as the recorder writes them: one row per request, with its attempts.

pub mod csv_row;
pub mod export;
pub mod filter;
pub mod histogram;
pub mod id_range;
pub mod listed;
pub mod search;
pub mod search_plan;
pub mod tail;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqliteExecutor, Transaction};
use strum::{EnumString, IntoStaticStr};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::request_id::{
    COMMAND_BIT, COUNTER_BITS, IdsInUse, MAX_BEHIND, MAX_LANE, RequestId,
};
use crate::pool::retry::StopReason;
use crate::storage::error::Result;
use crate::storage::strings::OTHER_MODEL;

/// Whether a row is a client's request or a check.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LogKind {
    Request,
    Check,
}

/// `bound_by` of a request routed to its preferred project. It differs from any resource name, which has a slash.
pub const BOUND_BY_PREFERRED_PROJECT: &str = "home";

/// A row from the proxy, running (`outcome` is `None`) or finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRequestLog {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub kind: LogKind,
    pub client_key_id: Option<ClientKeyId>,
    pub client_ip: Option<String>,
    pub user_agent: Option<String>,
    pub method: String,
    /// Without credentials.
    pub path: String,
    pub model: Option<String>,
    pub model_version: Option<String>,
    pub operation: Option<String>,
    pub streamed: bool,
    pub status: Option<u16>,
    pub outcome: Option<Outcome>,
    /// Redacted.
    pub error: Option<String>,
    pub attempts: Vec<NewAttempt>,
    pub wait_ms: u64,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// The requests that Google counts per attempt: one for each text of a batch, zero for requests that only read resources.
    pub quota_requests: u64,
    pub usage: TokenUsage,
    /// Google reported no usage: `usage` is an estimate.
    pub usage_estimated: bool,
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    pub cost_nano_usd: Option<i64>,
    /// The number of turns of a live session.
    pub turns: Option<u64>,
    /// The close code of a live session.
    pub close_code: Option<u16>,
    /// The resource name that required one project, or [`BOUND_BY_PREFERRED_PROJECT`].
    pub bound_by: Option<String>,
    /// Resources that the answer reported, created with the key of the last attempt.
    pub created_resources: Vec<CreatedResource>,
    /// The names of resources that the request deleted.
    pub deleted_resources: Vec<String>,
    /// Why there was no further attempt; `None`: there was none at all, or the program ended. Absent in journals of version 1.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// The model that answered in place of the one asked for, by the admin's setting. Last, and absent in journals of version 1 and 2.
    #[serde(default)]
    pub fallback_model: Option<String>,
}

/// An attempt from the proxy, running (`outcome` is `None`) or finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAttempt {
    pub upstream_key_id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub status: Option<u16>,
    pub outcome: Option<Outcome>,
    pub rule: Option<Cow<'static, str>>,
    /// Redacted.
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    /// The proxy that it went through; `None`: a direct connection. Last, and absent in journals of version 1 to 3.
    #[serde(default)]
    pub egress_id: Option<EgressProxyId>,
}

/// A resource that an answer reported, created with the key of that attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedResource {
    /// In the form of references in requests.
    pub name: String,
    pub kind: Cow<'static, str>,
    /// `None`: it does not expire, or the answer had no expiry.
    pub expires_at: Option<Timestamp>,
    /// Whether its usage is in a request's row: a long-running operation is counted once, when first reported done.
    pub is_counted: bool,
}

impl NewRequestLog {
    /// The model that was asked at last: the client's, or another one in its place.
    pub fn asked_model(&self) -> Option<&str> {
        self.fallback_model.as_deref().or(self.model.as_deref())
    }

    /// The row of a request that has just begun.
    pub fn started(id: RequestId, started_at: Timestamp, method: String, path: String) -> Self {
        Self {
            id,
            started_at,
            kind: LogKind::Request,
            client_key_id: None,
            client_ip: None,
            user_agent: None,
            method,
            path,
            model: None,
            model_version: None,
            operation: None,
            streamed: false,
            status: None,
            outcome: None,
            error: None,
            attempts: Vec::new(),
            wait_ms: 0,
            first_byte_ms: None,
            duration_ms: None,
            request_bytes: 0,
            response_bytes: 0,
            quota_requests: 0,
            usage: TokenUsage::default(),
            usage_estimated: false,
            finish_reason: None,
            service_tier: None,
            cost_nano_usd: None,
            turns: None,
            close_code: None,
            bound_by: None,
            created_resources: Vec::new(),
            deleted_resources: Vec::new(),
            stop_reason: None,
            fallback_model: None,
        }
    }
}

/// Maximum number of ids later than the start that are read: there are few, unless the clock is behind.
const MAX_LATER_IDS: u32 = 1_000_000;

/// The largest id in use.
pub async fn last_id(db: impl SqliteExecutor<'_>) -> Result<RequestId> {
    let id = sqlx::query_scalar!(r#"SELECT max(id) AS "id: RequestId" FROM request_logs"#)
        .fetch_one(db)
        .await?;
    Ok(id.unwrap_or(RequestId(0)))
}

/// The ids that a server started at `now` must not repeat.
pub async fn find_ids_in_use(tx: &mut Transaction<'_, Sqlite>, now: Timestamp) -> Result<IdsInUse> {
    let end = RequestId::first_at(now + MAX_BEHIND);
    let last = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: RequestId" FROM request_logs WHERE id < ?1 AND id & ?2 = 0 ORDER BY id DESC LIMIT 1
        "#,
        end,
        COMMAND_BIT,
    );
    let later_lanes = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT (id >> ?3) & ?4 AS "lane!: i64"
        FROM (SELECT id FROM request_logs WHERE id >= ?1 ORDER BY id LIMIT ?5)
        WHERE id & ?2 = 0
        "#,
        end,
        COMMAND_BIT,
        COUNTER_BITS,
        MAX_LANE,
        MAX_LATER_IDS,
    );
    Ok(IdsInUse {
        last: last.fetch_optional(&mut **tx).await?,
        later_lanes: later_lanes.fetch_all(&mut **tx).await?,
    })
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestEnd {
    pub id: RequestId,
    pub outcome: Outcome,
    /// Redacted.
    pub error: Option<String>,
}

/// The end of the newest finished request of a client; `None` if there is none.
pub async fn newest_end(db: impl SqliteExecutor<'_>) -> Result<Option<RequestEnd>> {
    let row = sqlx::query_as!(
        RequestEnd,
        r#"
        SELECT id AS "id: RequestId", outcome AS "outcome!: Outcome", error FROM request_logs
        WHERE kind = 'request' AND outcome IS NOT NULL ORDER BY id DESC LIMIT 1
        "#,
    );
    Ok(row.fetch_optional(db).await?)
}

/// A request or check that the end of a process interrupted, with the columns that rollups need.
#[derive(Debug)]
pub struct InterruptedRequest {
    pub id: RequestId,
    pub kind: LogKind,
    pub started_at: Timestamp,
    /// The string of the model that rollups count it under.
    pub model_id: Option<i64>,
    pub client_key_id: Option<ClientKeyId>,
    pub first_byte_ms: Option<u32>,
    pub duration_ms: Option<u32>,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
    thought_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    tool_tokens: Option<u32>,
    total_tokens: Option<u32>,
    pub cost_nano_usd: Option<i64>,
}

impl InterruptedRequest {
    pub fn usage(&self) -> TokenUsage {
        TokenUsage {
            prompt: self.prompt_tokens.map(u64::from),
            output: self.output_tokens.map(u64::from),
            thoughts: self.thought_tokens.map(u64::from),
            cached: self.cached_tokens.map(u64::from),
            tool: self.tool_tokens.map(u64::from),
            total: self.total_tokens.map(u64::from),
            ..TokenUsage::default()
        }
    }
}

/// An attempt of an interrupted request, with the columns that rollups need.
#[derive(Debug)]
pub struct InterruptedAttempt {
    pub upstream_key_id: UpstreamKeyId,
    pub egress_id: Option<EgressProxyId>,
    pub started_at: Timestamp,
    pub outcome: Option<Outcome>,
    pub duration_ms: Option<u32>,
}

/// The attempts of a request, in their order.
pub async fn list_attempts_of(
    tx: &mut Transaction<'_, Sqlite>,
    id: RequestId,
) -> Result<Vec<InterruptedAttempt>> {
    let attempts = sqlx::query_as!(
        InterruptedAttempt,
        r#"
        SELECT
            upstream_key_id AS "upstream_key_id: UpstreamKeyId", egress_id AS "egress_id: EgressProxyId",
            started_at_ms AS "started_at: Timestamp", outcome AS "outcome: Outcome", duration_ms AS "duration_ms: u32"
        FROM attempts
        WHERE request_id = ?1
        ORDER BY number
        "#,
        id,
    );
    Ok(attempts.fetch_all(&mut **tx).await?)
}

/// Ends every running row and attempt as interrupted. Returns the rows.
pub async fn interrupt_running(
    tx: &mut Transaction<'_, Sqlite>,
) -> Result<Vec<InterruptedRequest>> {
    let attempts = sqlx::query!(
        "
        UPDATE attempts
        SET outcome = 'interrupted'
        WHERE outcome IS NULL AND request_id IN (SELECT id FROM request_logs WHERE outcome IS NULL)
        ",
    );
    attempts.execute(&mut **tx).await?;
    let rows = sqlx::query_as!(
        InterruptedRequest,
        r#"
        UPDATE request_logs
        SET
            outcome = 'interrupted',
            rollup_model_id = iif(
                kind = 'check' OR model_id IS NULL OR model_id IN (SELECT id FROM strings WHERE is_model),
                NULL,
                (SELECT id FROM strings WHERE value = ?1)
            )
        WHERE outcome IS NULL
        RETURNING
            id AS "id!: RequestId", kind AS "kind: LogKind", started_at_ms AS "started_at: Timestamp",
            coalesce(rollup_model_id, model_id) AS "model_id: i64", client_key_id AS "client_key_id: ClientKeyId",
            first_byte_ms AS "first_byte_ms: u32", duration_ms AS "duration_ms: u32",
            prompt_tokens AS "prompt_tokens: u32", output_tokens AS "output_tokens: u32",
            thought_tokens AS "thought_tokens: u32", cached_tokens AS "cached_tokens: u32", tool_tokens AS "tool_tokens: u32",
            total_tokens AS "total_tokens: u32", cost_nano_usd
        "#,
        OTHER_MODEL,
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

/// Rows without an end now.
pub async fn list_running_ids(db: impl SqliteExecutor<'_>) -> Result<Vec<RequestId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT id AS "id!: RequestId" FROM request_logs WHERE outcome IS NULL ORDER BY id"#
    );
    Ok(ids.fetch_all(db).await?)
}

/// Finished rows that are newer than `after` or among `others`, oldest first.
pub async fn list_finished_ids(
    db: impl SqliteExecutor<'_>,
    after: RequestId,
    others: &BTreeSet<RequestId>,
) -> Result<Vec<RequestId>> {
    let others: Vec<i64> = others.iter().map(|id| id.0).collect();
    let others = serde_json::to_string(&others).expect("numbers serialize to JSON");
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: RequestId"
        FROM request_logs
        WHERE id > ?1 AND outcome IS NOT NULL
        UNION
        SELECT id
        FROM request_logs
        WHERE id IN (SELECT value FROM json_each(?2)) AND outcome IS NOT NULL
        ORDER BY 1
        "#,
        after,
        others,
    );
    Ok(ids.fetch_all(db).await?)
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::request_id::RequestIdGenerator;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::write;
    use crate::storage::request_logs::filter::LogFilter;
    use crate::storage::request_logs::id_range::LogPosition;
    use crate::storage::request_logs::search::search;

    /// A finished row with one attempt, started `seconds` after a fixed time.
    pub fn row(seconds: i64) -> NewRequestLog {
        let started_at = Timestamp::from_millis(1_795_334_400_000 + seconds * 1_000);
        let attempt = NewAttempt {
            upstream_key_id: UpstreamKeyId(1),
            project_id: ProjectId(1),
            status: Some(200),
            outcome: Some(Outcome::Success),
            rule: None,
            error: None,
            started_at,
            first_byte_ms: Some(90),
            duration_ms: Some(100),
            egress_id: None,
        };
        let id = RequestId::first_at(started_at);
        let path = "/v1beta/models/gemini-flash-latest:generateContent".to_owned();
        NewRequestLog {
            client_key_id: Some(ClientKeyId(1)),
            client_ip: Some("192.0.2.1".to_owned()),
            model: Some("gemini-flash-latest".to_owned()),
            operation: Some("generateContent".to_owned()),
            status: Some(200),
            outcome: Some(Outcome::Success),
            attempts: vec![attempt],
            first_byte_ms: Some(90),
            duration_ms: Some(100),
            request_bytes: 10,
            response_bytes: 20,
            quota_requests: 1,
            usage: TokenUsage {
                prompt: Some(3),
                output: Some(4),
                total: Some(7),
                ..TokenUsage::default()
            },
            finish_reason: Some("STOP".to_owned()),
            cost_nano_usd: Some(1_500_000_000),
            ..NewRequestLog::started(id, started_at, "POST".to_owned(), path)
        }
    }

    /// The same row while it still runs.
    pub fn running(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        (row.outcome, row.status, row.duration_ms) = (None, None, None);
        row.usage = TokenUsage::default();
        (row.attempts[0].outcome, row.attempts[0].status) = (None, None);
        row
    }

    #[sqlx::test]
    async fn after_a_restart_ids_have_the_true_time_though_the_clock_was_ahead(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let now = row(0).started_at;
        let ahead = now + Duration::from_hours(400 * 24);
        let mut generated = BTreeSet::new();
        // Two runs see the clock ahead, each until after the next start.
        for clock in [&[now, ahead][..], &[now, ahead, now], &[now]] {
            let mut tx = db.begin().await.unwrap();
            let in_use = find_ids_in_use(&mut tx, now).await.unwrap();
            tx.commit().await.unwrap();
            let ids = RequestIdGenerator::after(&in_use);
            for time in clock.iter().flat_map(|time| [*time; 5]) {
                let id = ids.next(time);
                assert!(id.time() - time < Duration::from_secs(1), "{id}");
                assert!(generated.insert(id), "{id}");
                let logged = NewRequestLog {
                    id,
                    started_at: time,
                    ..row(0)
                };
                write(&db, vec![logged]).await;
            }
        }

        let until = LogFilter {
            until: Some(now + Duration::from_secs(1)),
            ..LogFilter::default()
        };
        let found = search(&pool, &until, LogPosition::Newest, 100, None).await;
        let found = found.unwrap().rows;
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|row| row.started_at == now));
    }

    #[sqlx::test]
    async fn a_row_that_ends_late_is_listed_after_its_end(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let (late, early) = (running(0), row(1));
        let (late_id, early_id) = (late.id, early.id);
        write(&db, vec![late, early]).await;

        let watched = BTreeSet::from([late_id]);
        let finished = |after| list_finished_ids(&pool, after, &watched);
        assert_eq!(list_running_ids(&pool).await.unwrap(), [late_id]);
        assert_eq!(finished(late_id).await.unwrap(), [early_id]);

        write(&db, vec![row(0)]).await;

        assert!(list_running_ids(&pool).await.unwrap().is_empty());
        assert_eq!(finished(late_id).await.unwrap(), [late_id, early_id]);
        assert_eq!(finished(early_id).await.unwrap(), [late_id]);
    }
}
