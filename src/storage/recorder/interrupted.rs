//! Ends the rows of requests that were running when their process ended.

use crate::clock;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::storage::cooldowns;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::recorder::stored_sketches::AppendedSketches;
use crate::storage::recorder::tables::{LogBatch, LogStatements};
use crate::storage::request_logs::{self, LogKind};
use crate::storage::rollups::Sample;

/// Ends what a run that died left unfinished, with its sums, in one transaction. Returns how many rows.
pub async fn interrupt_running(db: &Db) -> Result<u64> {
    let mut tx = db.begin().await?;
    let mut statistics = BatchStatistics::default();
    // Their models are those that the rollups count them under.
    let interrupted = request_logs::interrupt_running(&mut tx).await?;
    statistics.finished_rows = u64::try_from(interrupted.len()).unwrap_or(u64::MAX);
    let requests = interrupted.iter();
    for row in requests.filter(|row| row.kind == LogKind::Request) {
        let (usage, no_usage) = (row.usage(), TokenUsage::default());
        let attempts = request_logs::list_attempts_of(&mut tx, row.id).await?;
        let sample = Sample {
            outcome: Outcome::Interrupted,
            attempts: attempts.len(),
            usage: &usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms.map(u64::from),
            duration_ms: row.duration_ms.map(u64::from),
        };
        statistics.add_request(row.started_at, row.model_id, row.client_key_id, sample);
        let count = attempts.len();
        for (number, attempt) in (1..).zip(attempts) {
            let is_last = number == count;
            let sample = Sample {
                outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
                attempts: 1,
                usage: if is_last { &usage } else { &no_usage },
                cost_nano_usd: row.cost_nano_usd.filter(|_| is_last),
                // Not in the row of an attempt.
                first_byte_ms: None,
                duration_ms: attempt.duration_ms.map(u64::from),
            };
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            statistics.add_attempt(at, id, sample, None);
            statistics.add_egress(at, attempt.egress_id, sample.outcome);
        }
    }
    let mut batch = LogBatch::default();
    let mut sketches = AppendedSketches::default();
    batch
        .add_statistics(statistics, &mut tx, &mut sketches)
        .await?;
    batch.write(&mut tx, &mut LogStatements::default()).await?;
    cooldowns::delete_expired(&mut *tx, clock::now()).await?;
    tx.commit().await?;
    Ok(u64::try_from(interrupted.len()).unwrap_or(u64::MAX))
}
