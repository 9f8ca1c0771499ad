//! Sums of finished requests by hour and day: what the charts show, and what outlives the rows.

use std::collections::HashMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::pool::client_key::ClientKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::upstream_key::UpstreamKeyId;
use crate::pool::usage::Usage;

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
struct Line<'a> {
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

    /// The lines for each table, in the order of `model_hours`, `client_key_hours` and `upstream_key_days`.
    pub fn to_json(&self) -> [String; 3] {
        let line = |period: i64, of, outcome, sum| Line {
            period,
            of,
            outcome,
            sum,
        };
        let models = self.model_hours.iter();
        let models =
            models.map(|((period, of, outcome), sum)| line(*period, *of, Some(*outcome), sum));
        let clients = self.client_key_hours.iter();
        let clients = clients.map(|((period, of), sum)| line(*period, *of, None, sum));
        let keys = self.upstream_key_days.iter();
        let keys = keys.map(|((period, of), sum)| line(*period, of.0, None, sum));
        [to_json(models), to_json(clients), to_json(keys)]
    }
}

/// Many lines as one parameter of a statement.
pub fn to_json<T: Serialize>(lines: impl Iterator<Item = T>) -> String {
    serde_json::to_string(&lines.collect::<Vec<_>>()).expect("numbers and words become JSON")
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
