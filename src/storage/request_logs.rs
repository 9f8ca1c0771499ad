//! Log rows: one a request, with its attempts.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite, SqliteExecutor, SqlitePool, Transaction};

use crate::clock::Timestamp;
use crate::pool::client_key::ClientKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::usage::Usage;
use crate::storage::batch::Cell;
use crate::storage::error::{Error, Result};
use crate::storage::paging::Page;
use crate::storage::texts::Texts;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Request,
    Check,
}

/// A row as the proxy knows it, running (`outcome` is `None`) or finished.
#[derive(Debug, Clone)]
pub struct NewRequestLog {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub kind: Kind,
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
    /// How many requests Google counts for each attempt: one for each text of a batch, none where only something is looked
    /// up.
    pub quota_requests: u64,
    pub usage: Usage,
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    pub cost_nano_usd: Option<i64>,
}

/// An attempt as the proxy knows it, running (`outcome` is `None`) or finished.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    pub upstream_key_id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub status: Option<u16>,
    pub outcome: Option<Outcome>,
    pub rule: Option<&'static str>,
    /// Redacted.
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
}

impl NewRequestLog {
    /// The row of a request of which nothing is known yet but when it began and what it asks for.
    pub fn begun(id: RequestId, started_at: Timestamp, method: String, path: String) -> Self {
        Self {
            id,
            started_at,
            kind: Kind::Request,
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
            usage: Usage::default(),
            finish_reason: None,
            service_tier: None,
            cost_nano_usd: None,
        }
    }

    /// The row's line for the database, and the number of its model.
    pub async fn line(
        &self,
        db: &SqlitePool,
        texts: &mut Texts,
    ) -> Result<([Cell; 32], Option<i64>)> {
        let last = self.attempts.last();
        let kind = match self.kind {
            Kind::Request => "request",
            Kind::Check => "check",
        };
        let model_id = texts.number_of(db, self.model.as_deref()).await?;
        let line = [
            self.id.0.into(),
            self.started_at.as_millis().into(),
            kind.into(),
            self.client_key_id.map(|id| id.0).into(),
            texts.number_of(db, self.client_ip.as_deref()).await?.into(),
            texts
                .number_of(db, self.user_agent.as_deref())
                .await?
                .into(),
            self.method.as_str().into(),
            texts.number(db, &self.path).await?.into(),
            model_id.into(),
            texts
                .number_of(db, self.model_version.as_deref())
                .await?
                .into(),
            texts.number_of(db, self.operation.as_deref()).await?.into(),
            i64::from(self.streamed).into(),
            self.status.into(),
            self.outcome.map(Outcome::name).into(),
            self.error.as_deref().into(),
            count(self.attempts.len()).into(),
            last.map(|attempt| attempt.upstream_key_id.0).into(),
            last.map(|attempt| attempt.project_id.0).into(),
            self.wait_ms.into(),
            self.first_byte_ms.into(),
            self.duration_ms.into(),
            self.request_bytes.into(),
            self.response_bytes.into(),
            self.usage.prompt.into(),
            self.usage.output.into(),
            self.usage.thoughts.into(),
            self.usage.cached.into(),
            self.usage.tool.into(),
            self.usage.total.into(),
            texts
                .number_of(db, self.finish_reason.as_deref())
                .await?
                .into(),
            texts
                .number_of(db, self.service_tier.as_deref())
                .await?
                .into(),
            self.cost_nano_usd.into(),
        ];
        Ok((line, model_id))
    }

    /// The lines of its attempts as they are so far.
    pub fn attempt_lines(&self) -> impl Iterator<Item = [Cell; 10]> {
        (1..).zip(&self.attempts).map(|(number, attempt)| {
            [
                self.id.0.into(),
                Cell::Integer(number),
                attempt.upstream_key_id.0.into(),
                attempt.project_id.0.into(),
                attempt.status.into(),
                attempt.outcome.map(Outcome::name).into(),
                attempt.rule.into(),
                attempt.error.as_deref().into(),
                attempt.started_at.as_millis().into(),
                attempt.duration_ms.into(),
            ]
        })
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The largest id in use.
pub async fn last_id(db: impl SqliteExecutor<'_>) -> Result<RequestId> {
    let id = sqlx::query_scalar!(r#"SELECT max(id) AS "id: RequestId" FROM request_logs"#)
        .fetch_one(db)
        .await?;
    Ok(id.unwrap_or(RequestId(0)))
}

/// How the finished rows and the sums of a finished row relate when a program died: see [`list_running`].
#[derive(Debug)]
pub struct Running {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub model_id: Option<i64>,
    pub client_key_id: Option<ClientKeyId>,
    pub kind: Kind,
}

/// Rows without an end. At start these are the ones that the last run did not live to finish.
pub async fn list_running(tx: &mut Transaction<'_, Sqlite>) -> Result<Vec<Running>> {
    let rows = sqlx::query_as!(
        Running,
        r#"
        SELECT
            id AS "id!: RequestId", started_at_ms AS "started_at: Timestamp", model_id,
            client_key_id AS "client_key_id: ClientKeyId", kind AS "kind: Kind"
        FROM request_logs
        WHERE outcome IS NULL
        ORDER BY id
        "#,
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

/// The attempts of a row, as far as sums need them.
pub async fn list_attempts_of(
    tx: &mut Transaction<'_, Sqlite>,
    id: RequestId,
) -> Result<Vec<(UpstreamKeyId, Timestamp, Option<Outcome>, Option<i64>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            upstream_key_id AS "upstream_key_id: UpstreamKeyId", started_at_ms AS "started_at: Timestamp",
            outcome AS "outcome: Outcome", duration_ms
        FROM attempts
        WHERE request_id = ?1
        ORDER BY number
        "#,
        id,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                row.upstream_key_id,
                row.started_at,
                row.outcome,
                row.duration_ms,
            )
        })
        .collect())
}

/// Ends every running row and attempt as interrupted.
pub async fn interrupt_running(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    sqlx::query!(
        "
        UPDATE attempts
        SET outcome = 'interrupted'
        WHERE outcome IS NULL AND request_id IN (SELECT id FROM request_logs WHERE outcome IS NULL)
        ",
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("UPDATE request_logs SET outcome = 'interrupted' WHERE outcome IS NULL")
        .execute(&mut **tx)
        .await?;
    Ok(())
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
    let others = serde_json::to_string(&others).expect("numbers become JSON");
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

/// A row as lists show it; the names are those of the JSON.
#[derive(Debug, Serialize)]
pub struct RequestLog {
    pub id: RequestId,
    pub started_at: Timestamp,
    pub kind: Kind,
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
    pub project: Option<String>,
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
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    pub cost_usd: Option<f64>,
    /// Present only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_list: Option<Vec<Attempt>>,
}

/// An attempt as lists show it.
#[derive(Debug, Serialize)]
pub struct Attempt {
    #[serde(skip)]
    pub request_id: RequestId,
    pub number: i64,
    pub upstream_key_id: UpstreamKeyId,
    pub upstream_key: Option<String>,
    pub project: Option<String>,
    pub status: Option<i64>,
    pub outcome: Option<Outcome>,
    pub rule: Option<String>,
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub duration_ms: Option<i64>,
}

/// Which rows a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub outcome: Option<Outcome>,
    pub status: Option<u16>,
    pub model: Option<String>,
    pub client_key: Option<String>,
    pub upstream_key_id: Option<UpstreamKeyId>,
    pub kind: Option<Kind>,
    pub since: Option<Timestamp>,
    /// Rows older than this one.
    pub before: Option<RequestId>,
    /// Rows newer than this one, oldest first.
    pub after: Option<RequestId>,
}

impl Filter {
    /// Whether a row that is at hand would be in the list.
    pub fn matches(&self, row: &RequestLog) -> bool {
        let tried = |id| {
            let attempts = row.attempt_list.iter().flatten();
            attempts
                .map(|attempt| attempt.upstream_key_id)
                .any(|tried| tried == id)
        };
        self.outcome
            .is_none_or(|outcome| row.outcome == Some(outcome))
            && self
                .status
                .is_none_or(|status| row.status == Some(status.into()))
            && (self.model.is_none() || self.model == row.model)
            && (self.client_key.is_none() || self.client_key == row.client_key)
            && self.upstream_key_id.is_none_or(tried)
            && self.kind.is_none_or(|kind| row.kind == kind)
            && self.since.is_none_or(|since| row.started_at >= since)
            && self.before.is_none_or(|before| row.id < before)
            && self.after.is_none_or(|after| row.id > after)
    }
}

/// A page of rows with their attempts, newest first unless the filter asks for what came after a row.
pub async fn list(
    db: &sqlx::SqlitePool,
    filter: &Filter,
    limit: usize,
) -> Result<Page<RequestLog>> {
    let mut rows = select(db, filter, limit.saturating_add(1)).await?;
    let ids: Vec<i64> = rows.iter().take(limit).map(|row| row.id.0).collect();
    let mut attempts = list_attempts(db, &ids).await?.into_iter().peekable();
    rows.sort_by_key(|row| row.id);
    for row in &mut rows {
        let mut list = Vec::new();
        while let Some(attempt) = attempts.next_if(|attempt| attempt.request_id <= row.id) {
            list.push(attempt);
        }
        row.attempt_list = Some(list);
    }
    if filter.after.is_none() {
        rows.reverse();
    }
    Ok(Page::new(rows, limit, |row| row.id.to_string()))
}

/// One row with its attempts.
pub async fn find(db: &sqlx::SqlitePool, id: RequestId) -> Result<RequestLog> {
    let filter = Filter {
        before: Some(RequestId(id.0 + 1)),
        after: Some(RequestId(id.0 - 1)),
        ..Filter::default()
    };
    let page = list(db, &filter, 1).await?;
    page.items
        .into_iter()
        .next()
        .ok_or_else(|| Error::NotFound(format!("request {id}")))
}

/// The one statement that is put together at run time: `(?1 IS NULL OR …)` could not use an index.
async fn select(db: &sqlx::SqlitePool, filter: &Filter, limit: usize) -> Result<Vec<RequestLog>> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
        "
        SELECT
            r.id, r.started_at_ms, r.kind, r.client_key_id, c.name AS client_key, ip.text AS client_ip,
            ua.text AS user_agent, r.method, path.text AS path, model.text AS model, version.text AS model_version,
            operation.text AS operation, r.streamed, r.status, r.outcome, r.error, r.attempts, r.upstream_key_id,
            u.label AS upstream_key, coalesce(p.name, p.number) AS project, p.billing, r.wait_ms, r.first_byte_ms,
            r.duration_ms, r.request_bytes, r.response_bytes, r.prompt_tokens, r.output_tokens, r.thought_tokens, r.cached_tokens,
            r.tool_tokens, r.total_tokens, reason.text AS finish_reason, tier.text AS service_tier, r.cost_nano_usd
        FROM request_logs AS r
        LEFT JOIN client_keys AS c ON c.id = r.client_key_id
        LEFT JOIN upstream_keys AS u ON u.id = r.upstream_key_id
        LEFT JOIN projects AS told ON told.id = r.project_id
        LEFT JOIN projects AS p ON p.id = coalesce(told.merged_into_id, told.id)
        LEFT JOIN texts AS ip ON ip.id = r.client_ip_id
        LEFT JOIN texts AS ua ON ua.id = r.user_agent_id
        LEFT JOIN texts AS path ON path.id = r.path_id
        LEFT JOIN texts AS model ON model.id = r.model_id
        LEFT JOIN texts AS version ON version.id = r.model_version_id
        LEFT JOIN texts AS operation ON operation.id = r.operation_id
        LEFT JOIN texts AS reason ON reason.id = r.finish_reason_id
        LEFT JOIN texts AS tier ON tier.id = r.service_tier_id
        WHERE true",
    );
    if let Some(outcome) = filter.outcome {
        query.push(" AND r.outcome = ").push_bind(outcome);
    }
    if let Some(status) = filter.status {
        query.push(" AND r.status = ").push_bind(status);
    }
    if let Some(model) = &filter.model {
        query
            .push(" AND r.model_id = (SELECT id FROM texts WHERE text = ")
            .push_bind(model)
            .push(")");
    }
    if let Some(name) = &filter.client_key {
        query
            .push(" AND r.client_key_id IN (SELECT id FROM client_keys WHERE name = ")
            .push_bind(name)
            .push(")");
    }
    if let Some(id) = filter.upstream_key_id {
        query
            .push(" AND r.id IN (SELECT request_id FROM attempts WHERE upstream_key_id = ")
            .push_bind(id)
            .push(")");
    }
    if let Some(kind) = filter.kind {
        query.push(" AND r.kind = ").push_bind(kind);
    }
    if let Some(since) = filter.since {
        query
            .push(" AND r.id >= ")
            .push_bind(RequestId::first_at(since));
    }
    if let Some(before) = filter.before {
        query.push(" AND r.id < ").push_bind(before);
    }
    if let Some(after) = filter.after {
        query.push(" AND r.id > ").push_bind(after);
    }
    query.push(if filter.after.is_some() {
        " ORDER BY r.id LIMIT "
    } else {
        " ORDER BY r.id DESC LIMIT "
    });
    query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Ok(query.build_query_as().fetch_all(db).await?)
}

async fn list_attempts(db: impl SqliteExecutor<'_>, ids: &[i64]) -> Result<Vec<Attempt>> {
    let ids = serde_json::to_string(ids).expect("numbers become JSON");
    let attempts = sqlx::query_as!(
        Attempt,
        r#"
        SELECT
            a.request_id AS "request_id: RequestId", a.number, a.upstream_key_id AS "upstream_key_id: UpstreamKeyId",
            u.label AS "upstream_key?", coalesce(p.name, p.number) AS "project?: String", a.status, a.outcome AS "outcome: Outcome", a.rule,
            a.error, a.started_at_ms AS "started_at: Timestamp", a.duration_ms
        FROM attempts AS a
        LEFT JOIN upstream_keys AS u ON u.id = a.upstream_key_id
        LEFT JOIN projects AS told ON told.id = a.project_id
        LEFT JOIN projects AS p ON p.id = coalesce(told.merged_into_id, told.id)
        WHERE a.request_id IN (SELECT value FROM json_each(?1))
        ORDER BY a.request_id, a.number
        "#,
        ids,
    );
    Ok(attempts.fetch_all(db).await?)
}

impl FromRow<'_, SqliteRow> for RequestLog {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let billing: Option<String> = row.try_get("billing")?;
        let cost: Option<i64> = row.try_get("cost_nano_usd")?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "dollars are shown, not added up"
        )]
        let cost_usd = if billing.as_deref() == Some("free") {
            Some(0.0)
        } else {
            cost.map(|nano| nano as f64 / 1e9)
        };
        Ok(Self {
            id: row.try_get("id")?,
            started_at: row.try_get("started_at_ms")?,
            kind: row.try_get("kind")?,
            client_key_id: row.try_get("client_key_id")?,
            client_key: row.try_get("client_key")?,
            client_ip: row.try_get("client_ip")?,
            user_agent: row.try_get("user_agent")?,
            method: row.try_get("method")?,
            path: row.try_get("path")?,
            model: row.try_get("model")?,
            model_version: row.try_get("model_version")?,
            operation: row.try_get("operation")?,
            streamed: row.try_get("streamed")?,
            status: row.try_get("status")?,
            outcome: row.try_get("outcome")?,
            error: row.try_get("error")?,
            attempts: row.try_get("attempts")?,
            upstream_key_id: row.try_get("upstream_key_id")?,
            upstream_key: row.try_get("upstream_key")?,
            project: row.try_get("project")?,
            wait_ms: row.try_get("wait_ms")?,
            first_byte_ms: row.try_get("first_byte_ms")?,
            duration_ms: row.try_get("duration_ms")?,
            request_bytes: row.try_get("request_bytes")?,
            response_bytes: row.try_get("response_bytes")?,
            prompt_tokens: row.try_get("prompt_tokens")?,
            output_tokens: row.try_get("output_tokens")?,
            thought_tokens: row.try_get("thought_tokens")?,
            cached_tokens: row.try_get("cached_tokens")?,
            tool_tokens: row.try_get("tool_tokens")?,
            total_tokens: row.try_get("total_tokens")?,
            finish_reason: row.try_get("finish_reason")?,
            service_tier: row.try_get("service_tier")?,
            cost_usd,
            attempt_list: None,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::write;

    /// A finished row of one attempt, which began `seconds` after an arbitrary moment.
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
        };
        NewRequestLog {
            id: RequestId::first_at(started_at),
            started_at,
            kind: Kind::Request,
            client_key_id: Some(ClientKeyId(1)),
            client_ip: Some("192.0.2.1".to_owned()),
            user_agent: None,
            method: "POST".to_owned(),
            path: "/v1beta/models/gemini-flash-latest:generateContent".to_owned(),
            model: Some("gemini-flash-latest".to_owned()),
            model_version: None,
            operation: Some("generateContent".to_owned()),
            streamed: false,
            status: Some(200),
            outcome: Some(Outcome::Success),
            error: None,
            attempts: vec![attempt],
            wait_ms: 0,
            first_byte_ms: Some(90),
            duration_ms: Some(100),
            request_bytes: 10,
            response_bytes: 20,
            quota_requests: 1,
            usage: Usage {
                prompt: Some(3),
                output: Some(4),
                total: Some(7),
                ..Usage::default()
            },
            finish_reason: Some("STOP".to_owned()),
            service_tier: None,
            cost_nano_usd: Some(1_500_000_000),
        }
    }

    /// The same row while it still runs.
    pub fn running(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        (row.outcome, row.status, row.duration_ms) = (None, None, None);
        row.usage = Usage::default();
        (row.attempts[0].outcome, row.attempts[0].status) = (None, None);
        row
    }

    async fn ids(pool: &SqlitePool, filter: &Filter) -> Vec<i64> {
        let page = list(pool, filter, 100).await.unwrap();
        page.items.iter().map(|row| row.id.0).collect()
    }

    #[sqlx::test]
    async fn pages_follow_each_other_without_gap_or_overlap(pool: SqlitePool) {
        let rows: Vec<_> = (0..7).map(row).collect();
        let newest_first: Vec<_> = rows.iter().rev().map(|row| row.id.to_string()).collect();
        write(&Db::of(pool.clone()), rows).await;

        let (mut seen, mut filter) = (Vec::new(), Filter::default());
        let mut sizes = Vec::new();
        loop {
            let page = list(&pool, &filter, 3).await.unwrap();
            sizes.push(page.items.len());
            for row in &page.items {
                assert_eq!(row.attempt_list.as_ref().unwrap().len(), 1, "{}", row.id);
                seen.push(row.id.to_string());
            }
            let Some(next) = page.next else { break };
            filter.before = Some(next.parse().unwrap());
        }

        assert_eq!(seen, newest_first);
        assert_eq!(sizes, [3, 3, 1]);
    }

    #[sqlx::test]
    async fn every_filter_finds_its_rows_as_does_the_tail(pool: SqlitePool) {
        sqlx::query("INSERT INTO client_keys (id, name, hash, last4, created_at_ms, revision) VALUES (2, 'bob', x'00', '', 0, 1)")
            .execute(&pool)
            .await
            .unwrap();
        let plain = row(0);
        let mut odd = row(1);
        odd.status = Some(429);
        odd.outcome = Some(Outcome::Quota);
        odd.model = Some("gemini-pro-latest".to_owned());
        odd.client_key_id = Some(ClientKeyId(2));
        odd.kind = Kind::Check;
        odd.attempts[0].upstream_key_id = UpstreamKeyId(2);
        let mut second = odd.attempts[0].clone();
        second.upstream_key_id = UpstreamKeyId(3);
        odd.attempts.push(second);
        let (plain_id, odd_id) = (plain.id.0, odd.id.0);
        let since = odd.started_at;
        write(&Db::of(pool.clone()), vec![plain, odd]).await;

        let any = Filter::default;
        let filters = [
            Filter {
                outcome: Some(Outcome::Quota),
                ..any()
            },
            Filter {
                status: Some(429),
                ..any()
            },
            Filter {
                model: Some("gemini-pro-latest".to_owned()),
                ..any()
            },
            Filter {
                client_key: Some("bob".to_owned()),
                ..any()
            },
            Filter {
                upstream_key_id: Some(UpstreamKeyId(2)),
                ..any()
            },
            Filter {
                upstream_key_id: Some(UpstreamKeyId(3)),
                ..any()
            },
            Filter {
                kind: Some(Kind::Check),
                ..any()
            },
            Filter {
                since: Some(since),
                ..any()
            },
            Filter {
                after: Some(RequestId(plain_id)),
                ..any()
            },
        ];
        let plain = find(&pool, RequestId(plain_id)).await.unwrap();
        let odd = find(&pool, RequestId(odd_id)).await.unwrap();
        for filter in filters {
            assert_eq!(ids(&pool, &filter).await, [odd_id], "{filter:?}");
            assert!(
                filter.matches(&odd) && !filter.matches(&plain),
                "{filter:?}"
            );
        }
        let nothing = Filter {
            model: Some("no-such-model".to_owned()),
            ..any()
        };
        assert!(ids(&pool, &nothing).await.is_empty());
        assert_eq!(ids(&pool, &any()).await, [odd_id, plain_id]);
    }

    #[sqlx::test]
    async fn one_row_is_found_whole_or_named_as_missing(pool: SqlitePool) {
        let row = row(0);
        let id = row.id;
        write(&Db::of(pool.clone()), vec![row]).await;

        let found = find(&pool, id).await.unwrap();

        assert_eq!(found.cost_usd, Some(1.5));
        assert_eq!(found.total_tokens, Some(7));
        assert_eq!(found.finish_reason.as_deref(), Some("STOP"));
        assert_eq!(last_id(&pool).await.unwrap(), id);
        let missing = RequestId(id.0 + 1);
        let error = find(&pool, missing).await.unwrap_err();
        assert_eq!(error.to_string(), format!("request {missing} not found"));
    }

    #[sqlx::test]
    async fn a_row_that_ends_late_is_found_when_it_has_ended(pool: SqlitePool) {
        let db = Db::of(pool.clone());
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
