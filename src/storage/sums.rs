//! Sums of finished requests by hour and day: what the charts show, and what outlives the rows.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::clock::Timestamp;
use crate::pool::client_key::ClientKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::upstream_key::UpstreamKeyId;
use crate::pool::usage::Usage;
use crate::storage::error::Result;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const BUCKETS: usize = 12;
/// The first bucket ends here; each next one is twice as wide.
const FIRST_BUCKET_MS: u64 = 50;

/// Counts of times by length: two of them add up to the counts of both.
pub type Buckets = [u64; BUCKETS];

/// Which bucket counts a time of `ms`.
pub fn bucket(ms: u64) -> usize {
    let doublings = (ms / FIRST_BUCKET_MS)
        .checked_ilog2()
        .map_or(0, |log| log + 1);
    usize::try_from(doublings)
        .unwrap_or(BUCKETS)
        .min(BUCKETS - 1)
}

/// What is added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub requests: u64,
    pub successes: u64,
    pub failures: u64,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub thought_tokens: u64,
    pub cached_tokens: u64,
    pub tool_tokens: u64,
    pub total_tokens: u64,
    pub cost_nano_usd: i64,
    pub first_byte: Buckets,
    pub duration: Buckets,
}

/// One finished request or attempt, as the sums see it.
#[derive(Debug, Clone, Copy)]
pub struct Addend<'a> {
    pub outcome: Outcome,
    pub usage: &'a Usage,
    pub cost_nano_usd: Option<i64>,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
}

impl Sum {
    pub fn add(&mut self, addend: Addend) {
        self.requests += 1;
        self.successes += u64::from(addend.outcome == Outcome::Success);
        self.failures += u64::from(addend.outcome.is_failure());
        self.prompt_tokens += addend.usage.prompt.unwrap_or(0);
        self.output_tokens += addend.usage.output.unwrap_or(0);
        self.thought_tokens += addend.usage.thoughts.unwrap_or(0);
        self.cached_tokens += addend.usage.cached.unwrap_or(0);
        self.tool_tokens += addend.usage.tool.unwrap_or(0);
        self.total_tokens += addend.usage.total.unwrap_or(0);
        self.cost_nano_usd += addend.cost_nano_usd.unwrap_or(0);
        if let Some(ms) = addend.first_byte_ms {
            self.first_byte[bucket(ms)] += 1;
        }
        if let Some(ms) = addend.duration_ms {
            self.duration[bucket(ms)] += 1;
        }
    }
}

/// The sums of one batch of rows, added to the tables once.
#[derive(Debug, Default)]
pub struct Sums {
    model_hours: HashMap<(i64, i64, Outcome), Sum>,
    client_key_hours: HashMap<(i64, i64), Sum>,
    upstream_key_days: HashMap<(i64, UpstreamKeyId), Sum>,
}

/// What a statement takes for one row: the sum and the key it is added to.
#[derive(Serialize)]
struct Row<'a> {
    period: i64,
    of: i64,
    outcome: Option<Outcome>,
    #[serde(flatten)]
    sum: &'a Sum,
}

impl Sums {
    /// Adds a finished request; `model_id` names a text.
    pub fn add_request(
        &mut self,
        started_at: Timestamp,
        model_id: Option<i64>,
        client_key_id: Option<ClientKeyId>,
        addend: Addend,
    ) {
        let hour = started_at.as_millis() / HOUR_MS * HOUR_MS;
        let client = client_key_id.map_or(0, |id| id.0);
        self.model_hours
            .entry((hour, model_id.unwrap_or(0), addend.outcome))
            .or_default()
            .add(addend);
        self.client_key_hours
            .entry((hour, client))
            .or_default()
            .add(addend);
    }

    /// Adds a finished attempt.
    pub fn add_attempt(&mut self, started_at: Timestamp, id: UpstreamKeyId, addend: Addend) {
        let day = started_at.as_millis() / DAY_MS * DAY_MS;
        self.upstream_key_days
            .entry((day, id))
            .or_default()
            .add(addend);
    }

    /// Adds them to the tables.
    pub async fn upsert(&self, tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
        let rows = self.model_hours.iter();
        let rows = rows.map(|((period, of, outcome), sum)| Row {
            period: *period,
            of: *of,
            outcome: Some(*outcome),
            sum,
        });
        upsert_model_hours(tx, &to_json(rows)).await?;
        let rows = self.client_key_hours.iter();
        let rows = rows.map(|((period, of), sum)| Row {
            period: *period,
            of: *of,
            outcome: None,
            sum,
        });
        upsert_client_key_hours(tx, &to_json(rows)).await?;
        let rows = self.upstream_key_days.iter();
        let rows = rows.map(|((period, of), sum)| Row {
            period: *period,
            of: of.0,
            outcome: None,
            sum,
        });
        upsert_upstream_key_days(tx, &to_json(rows)).await
    }
}

/// Many rows as one parameter: a statement for all costs far less than one for each.
fn to_json<T: Serialize>(rows: impl Iterator<Item = T>) -> String {
    serde_json::to_string(&rows.collect::<Vec<_>>()).expect("rows of numbers and words become JSON")
}

async fn upsert_model_hours(tx: &mut Transaction<'_, Sqlite>, rows: &str) -> Result<()> {
    sqlx::query!(
        "
        INSERT INTO model_hours (
            hour_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens,
            cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0, first_byte_1,
            first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7, first_byte_8,
            first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2, duration_3,
            duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10, duration_11
        )
        SELECT
            value ->> '$.period', value ->> '$.of', value ->> '$.outcome', value ->> '$.requests',
            value ->> '$.prompt_tokens', value ->> '$.output_tokens', value ->> '$.thought_tokens',
            value ->> '$.cached_tokens', value ->> '$.tool_tokens', value ->> '$.total_tokens',
            value ->> '$.cost_nano_usd', value ->> '$.first_byte[0]', value ->> '$.first_byte[1]',
            value ->> '$.first_byte[2]', value ->> '$.first_byte[3]', value ->> '$.first_byte[4]',
            value ->> '$.first_byte[5]', value ->> '$.first_byte[6]', value ->> '$.first_byte[7]',
            value ->> '$.first_byte[8]', value ->> '$.first_byte[9]', value ->> '$.first_byte[10]',
            value ->> '$.first_byte[11]', value ->> '$.duration[0]', value ->> '$.duration[1]',
            value ->> '$.duration[2]', value ->> '$.duration[3]', value ->> '$.duration[4]',
            value ->> '$.duration[5]', value ->> '$.duration[6]', value ->> '$.duration[7]',
            value ->> '$.duration[8]', value ->> '$.duration[9]', value ->> '$.duration[10]',
            value ->> '$.duration[11]'
        FROM json_each(?1)
        WHERE true
        ON CONFLICT (hour_ms, model_id, outcome) DO UPDATE
        SET
            requests = requests + excluded.requests, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            thought_tokens = thought_tokens + excluded.thought_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            tool_tokens = tool_tokens + excluded.tool_tokens,
            total_tokens = total_tokens + excluded.total_tokens,
            cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
            first_byte_0 = first_byte_0 + excluded.first_byte_0,
            first_byte_1 = first_byte_1 + excluded.first_byte_1,
            first_byte_2 = first_byte_2 + excluded.first_byte_2,
            first_byte_3 = first_byte_3 + excluded.first_byte_3,
            first_byte_4 = first_byte_4 + excluded.first_byte_4,
            first_byte_5 = first_byte_5 + excluded.first_byte_5,
            first_byte_6 = first_byte_6 + excluded.first_byte_6,
            first_byte_7 = first_byte_7 + excluded.first_byte_7,
            first_byte_8 = first_byte_8 + excluded.first_byte_8,
            first_byte_9 = first_byte_9 + excluded.first_byte_9,
            first_byte_10 = first_byte_10 + excluded.first_byte_10,
            first_byte_11 = first_byte_11 + excluded.first_byte_11,
            duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
            duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
            duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
            duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
            duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
            duration_10 = duration_10 + excluded.duration_10,
            duration_11 = duration_11 + excluded.duration_11
        ",
        rows,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn upsert_client_key_hours(tx: &mut Transaction<'_, Sqlite>, rows: &str) -> Result<()> {
    sqlx::query!(
        "
        INSERT INTO client_key_hours (
            hour_ms, client_key_id, requests, successes, failures, prompt_tokens, output_tokens,
            thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
            first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
            first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
            duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
            duration_11
        )
        SELECT
            value ->> '$.period', value ->> '$.of', value ->> '$.requests', value ->> '$.successes',
            value ->> '$.failures', value ->> '$.prompt_tokens', value ->> '$.output_tokens',
            value ->> '$.thought_tokens', value ->> '$.cached_tokens', value ->> '$.tool_tokens',
            value ->> '$.total_tokens', value ->> '$.cost_nano_usd', value ->> '$.first_byte[0]',
            value ->> '$.first_byte[1]', value ->> '$.first_byte[2]', value ->> '$.first_byte[3]',
            value ->> '$.first_byte[4]', value ->> '$.first_byte[5]', value ->> '$.first_byte[6]',
            value ->> '$.first_byte[7]', value ->> '$.first_byte[8]', value ->> '$.first_byte[9]',
            value ->> '$.first_byte[10]', value ->> '$.first_byte[11]', value ->> '$.duration[0]',
            value ->> '$.duration[1]', value ->> '$.duration[2]', value ->> '$.duration[3]',
            value ->> '$.duration[4]', value ->> '$.duration[5]', value ->> '$.duration[6]',
            value ->> '$.duration[7]', value ->> '$.duration[8]', value ->> '$.duration[9]',
            value ->> '$.duration[10]', value ->> '$.duration[11]'
        FROM json_each(?1)
        WHERE true
        ON CONFLICT (hour_ms, client_key_id) DO UPDATE
        SET
            requests = requests + excluded.requests, successes = successes + excluded.successes,
            failures = failures + excluded.failures, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            thought_tokens = thought_tokens + excluded.thought_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            tool_tokens = tool_tokens + excluded.tool_tokens,
            total_tokens = total_tokens + excluded.total_tokens,
            cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
            first_byte_0 = first_byte_0 + excluded.first_byte_0,
            first_byte_1 = first_byte_1 + excluded.first_byte_1,
            first_byte_2 = first_byte_2 + excluded.first_byte_2,
            first_byte_3 = first_byte_3 + excluded.first_byte_3,
            first_byte_4 = first_byte_4 + excluded.first_byte_4,
            first_byte_5 = first_byte_5 + excluded.first_byte_5,
            first_byte_6 = first_byte_6 + excluded.first_byte_6,
            first_byte_7 = first_byte_7 + excluded.first_byte_7,
            first_byte_8 = first_byte_8 + excluded.first_byte_8,
            first_byte_9 = first_byte_9 + excluded.first_byte_9,
            first_byte_10 = first_byte_10 + excluded.first_byte_10,
            first_byte_11 = first_byte_11 + excluded.first_byte_11,
            duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
            duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
            duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
            duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
            duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
            duration_10 = duration_10 + excluded.duration_10,
            duration_11 = duration_11 + excluded.duration_11
        ",
        rows,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn upsert_upstream_key_days(tx: &mut Transaction<'_, Sqlite>, rows: &str) -> Result<()> {
    sqlx::query!(
        "
        INSERT INTO upstream_key_days (
            day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens,
            thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
            first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
            first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
            duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
            duration_11
        )
        SELECT
            value ->> '$.period', value ->> '$.of', value ->> '$.requests', value ->> '$.successes',
            value ->> '$.failures', value ->> '$.prompt_tokens', value ->> '$.output_tokens',
            value ->> '$.thought_tokens', value ->> '$.cached_tokens', value ->> '$.tool_tokens',
            value ->> '$.total_tokens', value ->> '$.cost_nano_usd', value ->> '$.first_byte[0]',
            value ->> '$.first_byte[1]', value ->> '$.first_byte[2]', value ->> '$.first_byte[3]',
            value ->> '$.first_byte[4]', value ->> '$.first_byte[5]', value ->> '$.first_byte[6]',
            value ->> '$.first_byte[7]', value ->> '$.first_byte[8]', value ->> '$.first_byte[9]',
            value ->> '$.first_byte[10]', value ->> '$.first_byte[11]', value ->> '$.duration[0]',
            value ->> '$.duration[1]', value ->> '$.duration[2]', value ->> '$.duration[3]',
            value ->> '$.duration[4]', value ->> '$.duration[5]', value ->> '$.duration[6]',
            value ->> '$.duration[7]', value ->> '$.duration[8]', value ->> '$.duration[9]',
            value ->> '$.duration[10]', value ->> '$.duration[11]'
        FROM json_each(?1)
        WHERE true
        ON CONFLICT (day_ms, upstream_key_id) DO UPDATE
        SET
            requests = requests + excluded.requests, successes = successes + excluded.successes,
            failures = failures + excluded.failures, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            thought_tokens = thought_tokens + excluded.thought_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            tool_tokens = tool_tokens + excluded.tool_tokens,
            total_tokens = total_tokens + excluded.total_tokens,
            cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
            first_byte_0 = first_byte_0 + excluded.first_byte_0,
            first_byte_1 = first_byte_1 + excluded.first_byte_1,
            first_byte_2 = first_byte_2 + excluded.first_byte_2,
            first_byte_3 = first_byte_3 + excluded.first_byte_3,
            first_byte_4 = first_byte_4 + excluded.first_byte_4,
            first_byte_5 = first_byte_5 + excluded.first_byte_5,
            first_byte_6 = first_byte_6 + excluded.first_byte_6,
            first_byte_7 = first_byte_7 + excluded.first_byte_7,
            first_byte_8 = first_byte_8 + excluded.first_byte_8,
            first_byte_9 = first_byte_9 + excluded.first_byte_9,
            first_byte_10 = first_byte_10 + excluded.first_byte_10,
            first_byte_11 = first_byte_11 + excluded.first_byte_11,
            duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
            duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
            duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
            duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
            duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
            duration_10 = duration_10 + excluded.duration_10,
            duration_11 = duration_11 + excluded.duration_11
        ",
        rows,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_from_fifty_milliseconds() {
        let cases = [
            (0, 0),
            (49, 0),
            (50, 1),
            (99, 1),
            (100, 2),
            (51_199, 10),
            (51_200, 11),
            (u64::MAX, 11),
        ];
        for (ms, expected) in cases {
            assert_eq!(bucket(ms), expected, "{ms}");
        }
    }
}
