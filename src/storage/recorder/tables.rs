//! The tables that one batch writes, in one transaction, so that they always agree: the rows, their attempts, the statistics
//! and the rollups. Each column stands beside its value.

use sqlx::{Sqlite, Transaction};

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::storage::duration_sketch::DurationSketch;
use crate::storage::error::Result;
use crate::storage::recorder::counted_model::CountedModel;
use crate::storage::recorder::statistics::{BatchStatistics, KeyStatistics};
use crate::storage::recorder::stored_sketches::{self, AppendedSketches};
use crate::storage::request_logs::{NewAttempt, NewRequestLog};
use crate::storage::rollups::Rollup;
use crate::storage::strings::{Lifetime, Strings};
use crate::storage::write_batch::Merge::{
    Add, Append, Keep, Key, Maximum, Replace, ReplaceIfKnown,
};
use crate::storage::write_batch::{Cell, Column, StatementCache, TableStatement, WriteBatch};

/// The tables in the order of their statements.
#[derive(Debug, Clone, Copy)]
enum Table {
    RequestLogs,
    Attempts,
    UpstreamKeys,
    ClientKeys,
    ModelHours,
    ModelDays,
    ClientKeyHours,
    ClientKeyDays,
    UpstreamKeyDays,
    QuotaDays,
    EgressProxyDays,
    LogCounter,
}

const TABLES: usize = 12;

/// The statements of these tables.
#[derive(Debug)]
pub struct LogStatements(StatementCache<TABLES>);

impl Default for LogStatements {
    fn default() -> Self {
        Self(StatementCache::new([
            TableStatement::upsert("request_logs", &[&LoggedRow::COLUMNS]),
            TableStatement::upsert("attempts", &[&LoggedAttempt::COLUMNS]),
            TableStatement::update("upstream_keys", &KeyRow::UPSTREAM_KEYS),
            TableStatement::update("client_keys", &KeyRow::CLIENT_KEYS),
            TableStatement::upsert("model_hours", &RollupRow::MODEL_HOURS),
            TableStatement::upsert("model_days", &RollupRow::MODEL_DAYS),
            TableStatement::upsert("client_key_hours", &RollupRow::CLIENT_KEY_HOURS),
            TableStatement::upsert("client_key_days", &RollupRow::CLIENT_KEY_DAYS),
            TableStatement::upsert("upstream_key_days", &RollupRow::UPSTREAM_KEY_DAYS),
            TableStatement::upsert("quota_days", &[&QuotaRow::COLUMNS]),
            TableStatement::upsert("egress_proxy_days", &[&EgressRow::COLUMNS]),
            TableStatement::upsert("log_counter", &[&CounterRow::COLUMNS]),
        ]))
    }
}

/// Rows for these tables.
#[derive(Debug, Default)]
pub struct LogBatch(WriteBatch<TABLES>);

impl LogBatch {
    /// Adds a row with its attempts. Returns its model for the statistics.
    pub async fn add_row(
        &mut self,
        row: &NewRequestLog,
        tx: &mut Transaction<'_, Sqlite>,
        strings: &mut Strings,
    ) -> Result<CountedModel> {
        let last = row.attempts.last();
        let mut intern = async |value: Option<&str>, lifetime| {
            let string = strings.intern(tx, value, lifetime).await;
            string.map(|string| string.map(|string| string.id))
        };
        let (client_ip, user_agent) = (row.client_ip.as_deref(), row.user_agent.as_deref());
        let (version, operation) = (row.model_version.as_deref(), row.operation.as_deref());
        let (reason, tier) = (row.finish_reason.as_deref(), row.service_tier.as_deref());
        let client_ip_id = intern(client_ip, Lifetime::Rows).await?;
        let user_agent_id = intern(user_agent, Lifetime::Rows).await?;
        let path_id = intern(Some(&row.path), Lifetime::Rows).await?;
        let model_version_id = intern(version, Lifetime::Kept).await?;
        let operation_id = intern(operation, Lifetime::Kept).await?;
        let finish_reason_id = intern(reason, Lifetime::Kept).await?;
        let service_tier_id = intern(tier, Lifetime::Kept).await?;
        let model = CountedModel::of(row, tx, strings).await?;
        let logged = LoggedRow {
            row,
            usage: &row.usage,
            client_ip_id,
            user_agent_id,
            path_id,
            model_id: model.id,
            rollup_model_id: model.rollup_id.filter(|id| Some(*id) != model.id),
            model_version_id,
            operation_id,
            finish_reason_id,
            service_tier_id,
            upstream_key_id: last.map(|attempt| attempt.upstream_key_id.0),
            project_id: last.map(|attempt| attempt.project_id.0),
            egress_id: last.and_then(|attempt| attempt.egress_id).map(|id| id.0),
        };
        self.0
            .add(Table::RequestLogs as usize, &[&LoggedRow::COLUMNS], &logged);
        for (number, attempt) in (1..).zip(&row.attempts) {
            let logged = LoggedAttempt {
                request_id: row.id.0,
                number,
                attempt,
            };
            self.0.add(
                Table::Attempts as usize,
                &[&LoggedAttempt::COLUMNS],
                &logged,
            );
        }
        Ok(model)
    }

    /// Adds the rows of statistics and rollups. They must be written in the same transaction, with no others between.
    pub async fn add_statistics(
        &mut self,
        mut statistics: BatchStatistics,
        tx: &mut Transaction<'_, Sqlite>,
        sketches: &mut AppendedSketches,
    ) -> Result<()> {
        stored_sketches::merge_full(tx, &mut statistics, sketches).await?;
        let batch = &mut self.0;
        for row in &statistics.upstream_keys {
            let row = KeyRow(*row.0, row.1);
            batch.add(Table::UpstreamKeys as usize, &KeyRow::UPSTREAM_KEYS, &row);
        }
        for row in &statistics.client_keys {
            let row = KeyRow(*row.0, row.1);
            batch.add(Table::ClientKeys as usize, &KeyRow::CLIENT_KEYS, &row);
        }
        for ((begin, id, outcome), rollup) in &statistics.model_hours {
            let row = RollupRow::new(*begin, *id, Some(*outcome), rollup);
            batch.add(Table::ModelHours as usize, &RollupRow::MODEL_HOURS, &row);
        }
        for ((begin, id, outcome), rollup) in &statistics.model_days {
            let row = RollupRow::new(*begin, *id, Some(*outcome), rollup);
            batch.add(Table::ModelDays as usize, &RollupRow::MODEL_DAYS, &row);
        }
        for ((begin, id), rollup) in &statistics.client_key_hours {
            let row = RollupRow::new(*begin, *id, None, rollup);
            batch.add(
                Table::ClientKeyHours as usize,
                &RollupRow::CLIENT_KEY_HOURS,
                &row,
            );
        }
        for ((begin, id), rollup) in &statistics.client_key_days {
            let row = RollupRow::new(*begin, *id, None, rollup);
            batch.add(
                Table::ClientKeyDays as usize,
                &RollupRow::CLIENT_KEY_DAYS,
                &row,
            );
        }
        for ((begin, id), rollup) in &statistics.upstream_key_days {
            let row = RollupRow::new(*begin, *id, None, rollup);
            batch.add(
                Table::UpstreamKeyDays as usize,
                &RollupRow::UPSTREAM_KEY_DAYS,
                &row,
            );
        }
        for row in &statistics.quota_days {
            let row = QuotaRow(*row.0, *row.1);
            batch.add(Table::QuotaDays as usize, &[&QuotaRow::COLUMNS], &row);
        }
        for row in &statistics.egress_proxy_days {
            let row = EgressRow(*row.0, *row.1);
            batch.add(
                Table::EgressProxyDays as usize,
                &[&EgressRow::COLUMNS],
                &row,
            );
        }
        if statistics.finished_rows > 0 {
            let row = CounterRow(statistics.finished_rows);
            batch.add(Table::LogCounter as usize, &[&CounterRow::COLUMNS], &row);
        }
        Ok(())
    }

    /// Writes all rows within the caller's transaction.
    pub async fn write(
        self,
        tx: &mut Transaction<'_, Sqlite>,
        statements: &mut LogStatements,
    ) -> Result<()> {
        self.0.write(tx, &mut statements.0).await
    }
}

/// A row with the ids of its strings, and the last attempt's key and project.
struct LoggedRow<'a> {
    row: &'a NewRequestLog,
    usage: &'a TokenUsage,
    client_ip_id: Option<i64>,
    user_agent_id: Option<i64>,
    path_id: Option<i64>,
    model_id: Option<i64>,
    rollup_model_id: Option<i64>,
    model_version_id: Option<i64>,
    operation_id: Option<i64>,
    finish_reason_id: Option<i64>,
    service_tier_id: Option<i64>,
    upstream_key_id: Option<i64>,
    project_id: Option<i64>,
    egress_id: Option<i64>,
}

impl LoggedRow<'_> {
    const COLUMNS: [Column<Self>; 40] = [
        ("id", Key, |r| r.row.id.0.into()),
        ("started_at_ms", Keep, |r| ms(r.row.started_at)),
        ("kind", Keep, |r| Cell::Name(r.row.kind.into())),
        ("client_key_id", Replace, |r| {
            r.row.client_key_id.map(|id| id.0).into()
        }),
        ("client_ip_id", Keep, |r| r.client_ip_id.into()),
        ("user_agent_id", Keep, |r| r.user_agent_id.into()),
        ("method", Keep, |r| r.row.method.as_str().into()),
        ("path_id", Keep, |r| r.path_id.into()),
        ("model_id", Replace, |r| r.model_id.into()),
        ("rollup_model_id", Replace, |r| r.rollup_model_id.into()),
        ("model_version_id", Replace, |r| r.model_version_id.into()),
        ("operation_id", Replace, |r| r.operation_id.into()),
        ("streamed", Replace, |r| i64::from(r.row.streamed).into()),
        ("status", Replace, |r| r.row.status.into()),
        ("outcome", Replace, |r| name(r.row.outcome)),
        ("error", Replace, |r| r.row.error.as_deref().into()),
        ("attempts", Replace, |r| count(r.row.attempts.len())),
        ("upstream_key_id", Replace, |r| r.upstream_key_id.into()),
        ("project_id", Replace, |r| r.project_id.into()),
        ("wait_ms", Replace, |r| r.row.wait_ms.into()),
        ("first_byte_ms", Replace, |r| r.row.first_byte_ms.into()),
        ("duration_ms", Replace, |r| r.row.duration_ms.into()),
        ("request_bytes", Replace, |r| r.row.request_bytes.into()),
        ("response_bytes", Replace, |r| r.row.response_bytes.into()),
        ("prompt_tokens", Replace, |r| r.usage.prompt.into()),
        ("output_tokens", Replace, |r| r.usage.output.into()),
        ("thought_tokens", Replace, |r| r.usage.thoughts.into()),
        ("cached_tokens", Replace, |r| r.usage.cached.into()),
        ("tool_tokens", Replace, |r| r.usage.tool.into()),
        ("total_tokens", Replace, |r| r.usage.total.into()),
        ("usage_estimated", Replace, |r| {
            i64::from(r.row.usage_estimated).into()
        }),
        ("finish_reason_id", Replace, |r| r.finish_reason_id.into()),
        ("service_tier_id", Replace, |r| r.service_tier_id.into()),
        ("cost_nano_usd", Replace, |r| r.row.cost_nano_usd.into()),
        ("turns", Replace, |r| r.row.turns.into()),
        ("close_code", Replace, |r| r.row.close_code.into()),
        ("bound_by", Replace, |r| r.row.bound_by.as_deref().into()),
        ("stop_reason", Replace, |r| {
            r.row
                .stop_reason
                .map_or(Cell::Null, |reason| Cell::Name(reason.name()))
        }),
        ("fallback_model", Replace, |r| {
            r.row.fallback_model.as_deref().into()
        }),
        ("egress_id", Replace, |r| r.egress_id.into()),
    ];
}

fn name(outcome: Option<Outcome>) -> Cell {
    outcome.map_or(Cell::Null, |outcome| Cell::Name(outcome.name()))
}

fn sketch(sketch: &DurationSketch) -> Cell {
    if sketch.is_empty() {
        return Cell::Name("");
    }
    Cell::Text(sketch.to_json().into())
}

fn ms(time: Timestamp) -> Cell {
    time.as_millis().into()
}

fn count(number: usize) -> Cell {
    u64::try_from(number).unwrap_or(u64::MAX).into()
}

struct LoggedAttempt<'a> {
    request_id: i64,
    number: i64,
    attempt: &'a NewAttempt,
}

impl LoggedAttempt<'_> {
    // Of two attempts at the same time, the one that answers becomes the last.
    const COLUMNS: [Column<Self>; 11] = [
        ("request_id", Key, |r| r.request_id.into()),
        ("number", Key, |r| r.number.into()),
        ("upstream_key_id", Replace, |r| {
            r.attempt.upstream_key_id.0.into()
        }),
        ("project_id", Replace, |r| r.attempt.project_id.0.into()),
        ("status", Replace, |r| r.attempt.status.into()),
        ("outcome", Replace, |r| name(r.attempt.outcome)),
        ("rule", Replace, |r| r.attempt.rule.as_deref().into()),
        ("error", Replace, |r| r.attempt.error.as_deref().into()),
        ("started_at_ms", Replace, |r| ms(r.attempt.started_at)),
        ("duration_ms", Replace, |r| r.attempt.duration_ms.into()),
        ("egress_id", Replace, |r| {
            r.attempt.egress_id.map(|id| id.0).into()
        }),
    ];
}

/// A key with what its requests or attempts add to its statistics.
struct KeyRow<'a>(i64, &'a KeyStatistics);

impl<'a> KeyRow<'a> {
    const CLIENT_KEYS: [&'a [Column<Self>]; 1] = [&Self::COLUMNS];
    const UPSTREAM_KEYS: [&'a [Column<Self>]; 2] = [&Self::COLUMNS, &Self::LAST_ERROR];

    const COLUMNS: [Column<Self>; 8] = [
        ("id", Key, |r| r.0.into()),
        ("requests", Add, |r| r.1.rollup.requests.into()),
        ("successes", Add, |r| r.1.rollup.successes.into()),
        ("failures", Add, |r| r.1.rollup.failures.into()),
        ("prompt_tokens", Add, |r| r.1.rollup.prompt_tokens.into()),
        ("output_tokens", Add, |r| r.1.rollup.output_tokens.into()),
        ("total_tokens", Add, |r| r.1.rollup.total_tokens.into()),
        ("last_used_at_ms", Maximum, |r| r.1.last_used_at_ms.into()),
    ];
    const LAST_ERROR: [Column<Self>; 1] = [("last_error", ReplaceIfKnown, |r| {
        r.1.last_error.as_deref().into()
    })];
}

/// A rollup of an hour or a day, of a model (by outcome) or a key.
struct RollupRow<'a> {
    begin: i64,
    id: i64,
    outcome: Option<Outcome>,
    rollup: &'a Rollup,
}

impl<'a> RollupRow<'a> {
    const MODEL_HOURS: [&'a [Column<Self>]; 5] = [
        &Self::HOUR,
        &Self::MODEL,
        &Self::SUMS,
        &Self::SKETCHES,
        &Self::RETRIED,
    ];
    const MODEL_DAYS: [&'a [Column<Self>]; 5] = [
        &Self::DAY,
        &Self::MODEL,
        &Self::SUMS,
        &Self::SKETCHES,
        &Self::RETRIED,
    ];
    const CLIENT_KEY_HOURS: [&'a [Column<Self>]; 7] = [
        &Self::HOUR,
        &Self::CLIENT_KEY,
        &Self::COUNTS,
        &Self::SUMS,
        &Self::SKETCHES,
        &Self::SENT,
        &Self::RETRIED,
    ];
    const CLIENT_KEY_DAYS: [&'a [Column<Self>]; 6] = [
        &Self::DAY,
        &Self::CLIENT_KEY,
        &Self::COUNTS,
        &Self::SUMS,
        &Self::SENT,
        &Self::RETRIED,
    ];
    const UPSTREAM_KEY_DAYS: [&'a [Column<Self>]; 5] = [
        &Self::DAY,
        &Self::UPSTREAM_KEY,
        &Self::COUNTS,
        &Self::SUMS,
        &Self::SKETCHES,
    ];

    fn new(begin: i64, id: i64, outcome: Option<Outcome>, rollup: &'a Rollup) -> Self {
        Self {
            begin,
            id,
            outcome,
            rollup,
        }
    }

    const HOUR: [Column<Self>; 1] = [("hour_ms", Key, |r| r.begin.into())];
    const DAY: [Column<Self>; 1] = [("day_ms", Key, |r| r.begin.into())];
    const MODEL: [Column<Self>; 3] = [
        ("model_id", Key, |r| r.id.into()),
        ("outcome", Key, |r| name(r.outcome)),
        ("requests", Add, |r| r.rollup.requests.into()),
    ];
    const CLIENT_KEY: [Column<Self>; 1] = [("client_key_id", Key, |r| r.id.into())];
    const UPSTREAM_KEY: [Column<Self>; 1] = [("upstream_key_id", Key, |r| r.id.into())];
    const COUNTS: [Column<Self>; 3] = [
        ("requests", Add, |r| r.rollup.requests.into()),
        ("successes", Add, |r| r.rollup.successes.into()),
        ("failures", Add, |r| r.rollup.failures.into()),
    ];
    const SENT: [Column<Self>; 1] = [("sent_requests", Add, |r| r.rollup.sent_requests.into())];
    const RETRIED: [Column<Self>; 1] = [("retried_successes", Add, |r| {
        r.rollup.retried_successes.into()
    })];
    const SUMS: [Column<Self>; 7] = [
        ("prompt_tokens", Add, |r| r.rollup.prompt_tokens.into()),
        ("output_tokens", Add, |r| r.rollup.output_tokens.into()),
        ("thought_tokens", Add, |r| r.rollup.thought_tokens.into()),
        ("cached_tokens", Add, |r| r.rollup.cached_tokens.into()),
        ("tool_tokens", Add, |r| r.rollup.tool_tokens.into()),
        ("total_tokens", Add, |r| r.rollup.total_tokens.into()),
        ("cost_nano_usd", Add, |r| r.rollup.cost_nano_usd.into()),
    ];
    const SKETCHES: [Column<Self>; 2] = [
        ("first_byte_sketch", Append, |r| {
            sketch(&r.rollup.first_byte)
        }),
        ("duration_sketch", Append, |r| sketch(&r.rollup.duration)),
    ];
}

/// What is added to the number of finished rows.
struct CounterRow(u64);

impl CounterRow {
    const COLUMNS: [Column<Self>; 2] = [
        ("id", Key, |_| 1_i64.into()),
        ("finished_rows", Add, |r| r.0.into()),
    ];
}

/// A day, key and model with requests and tokens.
struct QuotaRow((i64, i64, i64), (u64, u64));

impl QuotaRow {
    const COLUMNS: [Column<Self>; 5] = [
        ("day_ms", Key, |r| r.0.0.into()),
        ("upstream_key_id", Key, |r| r.0.1.into()),
        ("model_id", Key, |r| r.0.2.into()),
        ("requests", Add, |r| r.1.0.into()),
        ("input_tokens", Add, |r| r.1.1.into()),
    ];
}

/// A day and egress proxy with attempts and failures.
struct EgressRow((i64, i64), (u64, u64));

impl EgressRow {
    const COLUMNS: [Column<Self>; 4] = [
        ("day_ms", Key, |r| r.0.0.into()),
        ("egress_proxy_id", Key, |r| r.0.1.into()),
        ("attempts", Add, |r| r.1.0.into()),
        ("failures", Add, |r| r.1.1.into()),
    ];
}
