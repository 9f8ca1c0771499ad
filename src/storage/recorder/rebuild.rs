//! Computes the rollups again from the log rows, as far as these are not pruned, and the statistics of keys from the rollups.

use std::collections::HashSet;

use sqlx::{Sqlite, Transaction};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::key_index;
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::recorder::stored_sketches::AppendedSketches;
use crate::storage::recorder::tables::{LogBatch, LogStatements};
use crate::storage::rollups::{Sample, begin_of_day};

/// Number of requests in memory at once.
const PAGE_SIZE: u32 = 2_000;

/// Rebuilds the rollups of the hours and days from which no row was pruned, sets the statistics of keys to their sums, and rebuilds
/// the indexes of keys and projects, in one transaction. Returns the number of requests that were counted.
///
/// For a database without a server: the transaction would hold up every other one. The time to the first byte of an attempt is not
/// in its row, so that the sketches of it in `upstream_key_days` are kept.
pub async fn rebuild_rollups(db: &Db) -> Result<u64> {
    let mut tx = db.begin().await?;
    let pruned = PrunedPeriods::read(&mut tx).await?;
    let mut statistics = BatchStatistics::default();
    let requests = add_requests(&mut tx, &mut statistics).await?;
    // Statistics of keys are the sums of all rollups, those of pruned rows included.
    statistics.upstream_keys.clear();
    statistics.client_keys.clear();
    statistics
        .model_hours
        .retain(|key, _| pruned.is_whole_hour(key.0));
    statistics
        .model_days
        .retain(|key, _| pruned.is_whole_day(key.0));
    statistics
        .client_key_hours
        .retain(|key, _| pruned.is_whole_hour(key.0));
    statistics
        .client_key_days
        .retain(|key, _| pruned.is_whole_day(key.0));
    statistics
        .upstream_key_days
        .retain(|key, _| pruned.is_whole_day(key.0));
    statistics
        .egress_proxy_days
        .retain(|key, _| pruned.is_whole_day(key.0));
    keep_first_byte_sketches(&mut tx, &mut statistics).await?;
    delete_whole(&mut tx).await?;
    let mut batch = LogBatch::default();
    let mut sketches = AppendedSketches::default();
    batch
        .add_statistics(statistics, &mut tx, &mut sketches)
        .await?;
    batch.write(&mut tx, &mut LogStatements::default()).await?;
    sum_key_statistics(&mut tx).await?;
    count_rows(&mut tx).await?;
    key_index::rebuild(&mut tx).await?;
    tx.commit().await?;
    Ok(requests)
}

/// The hours and days of which rows were deleted, whose rollups are kept as they are.
struct PrunedPeriods {
    until: Timestamp,
    /// Later hours, and their days, by their begin.
    hours: HashSet<i64>,
    days: HashSet<i64>,
}

impl PrunedPeriods {
    async fn read(tx: &mut Transaction<'_, Sqlite>) -> Result<Self> {
        let until =
            sqlx::query_scalar!(r#"SELECT until_ms AS "until: Timestamp" FROM log_pruning"#);
        let until = until.fetch_one(&mut **tx).await?;
        let hours =
            sqlx::query_scalar!(r#"SELECT hour_ms AS "hour!: Timestamp" FROM pruned_hours"#);
        let hours = hours.fetch_all(&mut **tx).await?;
        Ok(Self {
            until,
            days: hours
                .iter()
                .map(|hour| begin_of_day(*hour).as_millis())
                .collect(),
            hours: hours.into_iter().map(Timestamp::as_millis).collect(),
        })
    }

    fn is_whole_hour(&self, begin: i64) -> bool {
        begin > self.until.as_millis() && !self.hours.contains(&begin)
    }

    fn is_whole_day(&self, begin: i64) -> bool {
        begin > self.until.as_millis() && !self.days.contains(&begin)
    }
}

/// A finished request, with the columns that rollups need.
struct CountedRequest {
    id: RequestId,
    started_at: Timestamp,
    model_id: Option<i64>,
    client_key_id: Option<ClientKeyId>,
    outcome: Outcome,
    first_byte_ms: Option<u32>,
    duration_ms: Option<u32>,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
    thought_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    tool_tokens: Option<u32>,
    total_tokens: Option<u32>,
    cost_nano_usd: Option<i64>,
}

impl CountedRequest {
    fn usage(&self) -> TokenUsage {
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

/// An attempt of a finished request.
struct CountedAttempt {
    request_id: RequestId,
    upstream_key_id: UpstreamKeyId,
    started_at: Timestamp,
    outcome: Option<Outcome>,
    duration_ms: Option<u32>,
    egress_id: Option<EgressProxyId>,
}

/// Adds all finished requests with their attempts. Returns their number.
async fn add_requests(
    tx: &mut Transaction<'_, Sqlite>,
    statistics: &mut BatchStatistics,
) -> Result<u64> {
    let (mut count, mut after) = (0, RequestId(i64::MIN));
    loop {
        let requests = list_requests(tx, after).await?;
        let Some(last) = requests.last().map(|request| request.id) else {
            return Ok(count);
        };
        let attempts = list_attempts(tx, after, last).await?;
        let mut attempts = attempts.as_slice();
        for request in &requests {
            // Attempts of running requests and of checks are between those of the listed ones.
            let earlier = attempts.partition_point(|attempt| attempt.request_id < request.id);
            attempts = &attempts[earlier..];
            let own = attempts.partition_point(|attempt| attempt.request_id <= request.id);
            add_request(statistics, request, &attempts[..own]);
        }
        count += u64::try_from(requests.len()).unwrap_or(u64::MAX);
        after = last;
    }
}

/// The same as the recorder adds for a finished row.
fn add_request(
    statistics: &mut BatchStatistics,
    request: &CountedRequest,
    attempts: &[CountedAttempt],
) {
    let (usage, no_usage) = (request.usage(), TokenUsage::default());
    let sample = Sample {
        outcome: request.outcome,
        attempts: attempts.len(),
        usage: &usage,
        cost_nano_usd: request.cost_nano_usd,
        first_byte_ms: request.first_byte_ms.map(u64::from),
        duration_ms: request.duration_ms.map(u64::from),
    };
    let (at, model_id) = (request.started_at, request.model_id);
    statistics.add_request(at, model_id, request.client_key_id, sample);
    for (number, attempt) in (1..).zip(attempts) {
        let is_last = number == attempts.len();
        let sample = Sample {
            outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
            attempts: 1,
            usage: if is_last { &usage } else { &no_usage },
            cost_nano_usd: request.cost_nano_usd.filter(|_| is_last),
            first_byte_ms: None,
            duration_ms: attempt.duration_ms.map(u64::from),
        };
        statistics.add_attempt(attempt.started_at, attempt.upstream_key_id, sample, None);
        statistics.add_egress(attempt.started_at, attempt.egress_id, sample.outcome);
    }
}

async fn list_requests(
    tx: &mut Transaction<'_, Sqlite>,
    after: RequestId,
) -> Result<Vec<CountedRequest>> {
    let requests = sqlx::query_as!(
        CountedRequest,
        r#"
        SELECT
            id AS "id!: RequestId", started_at_ms AS "started_at: Timestamp",
            coalesce(rollup_model_id, model_id) AS "model_id: i64", client_key_id AS "client_key_id: ClientKeyId",
            outcome AS "outcome!: Outcome", first_byte_ms AS "first_byte_ms: u32", duration_ms AS "duration_ms: u32",
            prompt_tokens AS "prompt_tokens: u32", output_tokens AS "output_tokens: u32",
            thought_tokens AS "thought_tokens: u32", cached_tokens AS "cached_tokens: u32",
            tool_tokens AS "tool_tokens: u32", total_tokens AS "total_tokens: u32", cost_nano_usd
        FROM request_logs
        WHERE id > ?1 AND kind = 'request' AND outcome IS NOT NULL
        ORDER BY id
        LIMIT ?2
        "#,
        after,
        PAGE_SIZE,
    );
    Ok(requests.fetch_all(&mut **tx).await?)
}

async fn list_attempts(
    tx: &mut Transaction<'_, Sqlite>,
    after: RequestId,
    last: RequestId,
) -> Result<Vec<CountedAttempt>> {
    let attempts = sqlx::query_as!(
        CountedAttempt,
        r#"
        SELECT
            request_id AS "request_id: RequestId", upstream_key_id AS "upstream_key_id: UpstreamKeyId",
            started_at_ms AS "started_at: Timestamp", outcome AS "outcome: Outcome", duration_ms AS "duration_ms: u32",
            egress_id AS "egress_id: EgressProxyId"
        FROM attempts
        WHERE request_id > ?1 AND request_id <= ?2
        ORDER BY request_id, number
        "#,
        after,
        last,
    );
    Ok(attempts.fetch_all(&mut **tx).await?)
}

/// Adds the stored sketches of the time to the first byte to the days of upstream keys.
async fn keep_first_byte_sketches(
    tx: &mut Transaction<'_, Sqlite>,
    statistics: &mut BatchStatistics,
) -> Result<()> {
    let stored =
        sqlx::query!(r#"SELECT day_ms, upstream_key_id, first_byte_sketch FROM upstream_key_days"#);
    for stored in stored.fetch_all(&mut **tx).await? {
        let day = (stored.day_ms, stored.upstream_key_id);
        if let Some(rollup) = statistics.upstream_key_days.get_mut(&day) {
            rollup.first_byte.merge_json(&stored.first_byte_sketch);
        }
    }
    Ok(())
}

/// Deletes the rollups of the hours and days of which no row was deleted.
async fn delete_whole(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let hours = sqlx::query!(
        "
        DELETE FROM model_hours
        WHERE hour_ms > (SELECT until_ms FROM log_pruning) AND hour_ms NOT IN (SELECT hour_ms FROM pruned_hours)
        ",
    );
    hours.execute(&mut **tx).await?;
    let days = sqlx::query!(
        "
        DELETE FROM model_days
        WHERE
            day_ms > (SELECT until_ms FROM log_pruning)
            AND day_ms NOT IN (SELECT hour_ms - hour_ms % 86400000 FROM pruned_hours)
        ",
    );
    days.execute(&mut **tx).await?;
    let hours = sqlx::query!(
        "
        DELETE FROM client_key_hours
        WHERE hour_ms > (SELECT until_ms FROM log_pruning) AND hour_ms NOT IN (SELECT hour_ms FROM pruned_hours)
        ",
    );
    hours.execute(&mut **tx).await?;
    let days = sqlx::query!(
        "
        DELETE FROM client_key_days
        WHERE
            day_ms > (SELECT until_ms FROM log_pruning)
            AND day_ms NOT IN (SELECT hour_ms - hour_ms % 86400000 FROM pruned_hours)
        ",
    );
    days.execute(&mut **tx).await?;
    let days = sqlx::query!(
        "
        DELETE FROM upstream_key_days
        WHERE
            day_ms > (SELECT until_ms FROM log_pruning)
            AND day_ms NOT IN (SELECT hour_ms - hour_ms % 86400000 FROM pruned_hours)
        ",
    );
    days.execute(&mut **tx).await?;
    let days = sqlx::query!(
        "
        DELETE FROM egress_proxy_days
        WHERE
            day_ms > (SELECT until_ms FROM log_pruning)
            AND day_ms NOT IN (SELECT hour_ms - hour_ms % 86400000 FROM pruned_hours)
        ",
    );
    days.execute(&mut **tx).await?;
    Ok(())
}

/// Sets the counter of finished rows.
async fn count_rows(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let counted = sqlx::query!(
        "UPDATE log_counter SET finished_rows = (SELECT count(*) FROM request_logs WHERE outcome IS NOT NULL)"
    );
    counted.execute(&mut **tx).await?;
    Ok(())
}

/// Sets the counters of each key to the sums of its rollups.
async fn sum_key_statistics(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let upstream_keys = sqlx::query!(
        "
        UPDATE upstream_keys
        SET
            requests = sums.requests, successes = sums.successes, failures = sums.failures,
            prompt_tokens = sums.prompt_tokens, output_tokens = sums.output_tokens, total_tokens = sums.total_tokens
        FROM (
            SELECT
                k.id, ifnull(sum(d.requests), 0) AS requests, ifnull(sum(d.successes), 0) AS successes,
                ifnull(sum(d.failures), 0) AS failures, ifnull(sum(d.prompt_tokens), 0) AS prompt_tokens,
                ifnull(sum(d.output_tokens), 0) AS output_tokens, ifnull(sum(d.total_tokens), 0) AS total_tokens
            FROM upstream_keys AS k
            LEFT JOIN upstream_key_days AS d ON d.upstream_key_id = k.id
            GROUP BY k.id
        ) AS sums
        WHERE sums.id = upstream_keys.id
        ",
    );
    upstream_keys.execute(&mut **tx).await?;
    let client_keys = sqlx::query!(
        "
        UPDATE client_keys
        SET
            requests = sums.requests, successes = sums.successes, failures = sums.failures,
            prompt_tokens = sums.prompt_tokens, output_tokens = sums.output_tokens, total_tokens = sums.total_tokens
        FROM (
            SELECT
                k.id, ifnull(sum(h.requests), 0) AS requests, ifnull(sum(h.successes), 0) AS successes,
                ifnull(sum(h.failures), 0) AS failures, ifnull(sum(h.prompt_tokens), 0) AS prompt_tokens,
                ifnull(sum(h.output_tokens), 0) AS output_tokens, ifnull(sum(h.total_tokens), 0) AS total_tokens
            FROM client_keys AS k
            LEFT JOIN client_key_hours AS h ON h.client_key_id = k.id
            GROUP BY k.id
        ) AS sums
        WHERE sums.id = client_keys.id
        ",
    );
    client_keys.execute(&mut **tx).await?;
    Ok(())
}
