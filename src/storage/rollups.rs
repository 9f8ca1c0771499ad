//! Rollups: sums of finished requests and attempts by hour and day, for charts. They stay when log rows are pruned.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::quota::google_clock::{begin_of_google_day, end_of_google_day};
use crate::pool::quota::usage::TokenUsage;
use crate::storage::write_batch::{Cell, Table, WriteBatch};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const BUCKETS: usize = 12;
/// The end of the first bucket; each next end is twice as large.
const FIRST_BUCKET_MS: u64 = 50;
/// The ends of the buckets; the last bucket has none.
pub const BUCKET_ENDS_MS: [u64; BUCKETS - 1] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200,
];

/// A histogram of durations; two histograms can be added.
pub type Buckets = [u64; BUCKETS];

/// The index of the bucket for a duration of `ms`.
pub fn bucket_index(ms: u64) -> usize {
    let doublings = (ms / FIRST_BUCKET_MS)
        .checked_ilog2()
        .map_or(0, |log| log + 1);
    usize::try_from(doublings)
        .unwrap_or(BUCKETS)
        .min(BUCKETS - 1)
}

/// The end of the bucket at `index` in milliseconds; for the last bucket twice the end before it.
pub fn bucket_end_ms(index: usize) -> u64 {
    FIRST_BUCKET_MS << index.min(BUCKETS - 1)
}

/// The counters of a rollup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rollup {
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

/// The values that one finished request or attempt adds to rollups.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub outcome: Outcome,
    pub usage: &'a TokenUsage,
    pub cost_nano_usd: Option<i64>,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
}

impl Rollup {
    pub fn add(&mut self, sample: Sample) {
        self.requests += 1;
        self.successes += u64::from(sample.outcome == Outcome::Success);
        self.failures += u64::from(sample.outcome.is_failure());
        self.prompt_tokens += sample.usage.prompt.unwrap_or(0);
        self.output_tokens += sample.usage.output.unwrap_or(0);
        self.thought_tokens += sample.usage.thoughts.unwrap_or(0);
        self.cached_tokens += sample.usage.cached.unwrap_or(0);
        self.tool_tokens += sample.usage.tool.unwrap_or(0);
        self.total_tokens += sample.usage.total.unwrap_or(0);
        self.cost_nano_usd += sample.cost_nano_usd.unwrap_or(0);
        if let Some(ms) = sample.first_byte_ms {
            self.first_byte[bucket_index(ms)] += 1;
        }
        if let Some(ms) = sample.duration_ms {
            self.duration[bucket_index(ms)] += 1;
        }
    }
}

impl Rollup {
    /// Adds another rollup.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.successes += other.successes;
        self.failures += other.failures;
        self.prompt_tokens += other.prompt_tokens;
        self.output_tokens += other.output_tokens;
        self.thought_tokens += other.thought_tokens;
        self.cached_tokens += other.cached_tokens;
        self.tool_tokens += other.tool_tokens;
        self.total_tokens += other.total_tokens;
        self.cost_nano_usd += other.cost_nano_usd;
        for (count, more) in self.first_byte.iter_mut().zip(other.first_byte) {
            *count += more;
        }
        for (count, more) in self.duration.iter_mut().zip(other.duration) {
            *count += more;
        }
    }

    /// Scales requests, tokens and cost to `part` of `whole`, assuming an even distribution.
    pub fn scale(&mut self, part: u64, whole: u64) {
        let counts = [
            &mut self.requests,
            &mut self.successes,
            &mut self.failures,
            &mut self.prompt_tokens,
            &mut self.output_tokens,
            &mut self.thought_tokens,
            &mut self.cached_tokens,
            &mut self.tool_tokens,
            &mut self.total_tokens,
        ];
        for count in counts {
            *count = *count * part / whole;
        }
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.cost_nano_usd = self.cost_nano_usd / signed(whole) * signed(part);
    }

    fn count_cells(&self) -> [Cell; 3] {
        [self.requests, self.successes, self.failures].map(Cell::from)
    }

    /// Tokens, cost and buckets, in the order of the tables' columns.
    fn other_cells(&self) -> impl Iterator<Item = Cell> {
        let tokens = [
            self.prompt_tokens,
            self.output_tokens,
            self.thought_tokens,
            self.cached_tokens,
            self.tool_tokens,
            self.total_tokens,
        ];
        let buckets = self
            .first_byte
            .into_iter()
            .chain(self.duration)
            .map(Cell::from);
        tokens
            .map(Cell::from)
            .into_iter()
            .chain([self.cost_nano_usd.into()])
            .chain(buckets)
    }
}

/// The rollups of one batch of rows, added to the tables once.
#[derive(Debug, Default)]
pub struct Rollups {
    model_hours: HashMap<(i64, i64, Outcome), Rollup>,
    model_days: HashMap<(i64, i64, Outcome), Rollup>,
    client_key_hours: HashMap<(i64, i64), Rollup>,
    /// In the order of the table's primary key, so that a large batch is written in that order.
    upstream_key_days: BTreeMap<(i64, UpstreamKeyId), Rollup>,
}

impl Rollups {
    /// Adds a finished request; `model_id` is a string id.
    pub fn add_request(
        &mut self,
        started_at: Timestamp,
        model_id: Option<i64>,
        client_key_id: Option<ClientKeyId>,
        sample: Sample,
    ) {
        let hour = started_at.start_of_hour().as_millis();
        let day = begin_of_day(started_at).as_millis();
        let client = client_key_id.map_or(0, |id| id.0);
        let model = model_id.unwrap_or(0);
        let hours = self.model_hours.entry((hour, model, sample.outcome));
        hours.or_default().add(sample);
        let days = self.model_days.entry((day, model, sample.outcome));
        days.or_default().add(sample);
        self.client_key_hours
            .entry((hour, client))
            .or_default()
            .add(sample);
    }

    /// Adds a finished attempt.
    pub fn add_attempt(&mut self, started_at: Timestamp, id: UpstreamKeyId, sample: Sample) {
        let day = begin_of_day(started_at).as_millis();
        self.upstream_key_days
            .entry((day, id))
            .or_default()
            .add(sample);
    }

    /// Adds a row for each rollup.
    pub fn add_rows_to(&self, batch: &mut WriteBatch) {
        for (table, rollups) in [
            (Table::ModelHours, &self.model_hours),
            (Table::ModelDays, &self.model_days),
        ] {
            for ((begin, model_id, outcome), rollup) in rollups {
                let key = [
                    (*begin).into(),
                    (*model_id).into(),
                    outcome.name().into(),
                    rollup.requests.into(),
                ];
                batch.add_row(table, key.into_iter().chain(rollup.other_cells()));
            }
        }
        for ((hour, client_key_id), rollup) in &self.client_key_hours {
            let key = [(*hour).into(), (*client_key_id).into()];
            batch.add_row(
                Table::ClientKeyHours,
                key.into_iter()
                    .chain(rollup.count_cells())
                    .chain(rollup.other_cells()),
            );
        }
        for ((day, upstream_key_id), rollup) in &self.upstream_key_days {
            let key = [(*day).into(), upstream_key_id.0.into()];
            batch.add_row(
                Table::UpstreamKeyDays,
                key.into_iter()
                    .chain(rollup.count_cells())
                    .chain(rollup.other_cells()),
            );
        }
    }
}

/// Quota usage of a batch of rows, by Google's days.
#[derive(Debug, Default)]
pub struct QuotaDays {
    /// Start and end of the last computed day, cached because most rows are of today.
    day: Option<(Timestamp, Timestamp)>,
    used: HashMap<(i64, UpstreamKeyId, i64), (u64, u64)>,
}

impl QuotaDays {
    /// Adds an attempt's usage of a model; `model_id` is a string id.
    pub fn add(
        &mut self,
        at: Timestamp,
        id: UpstreamKeyId,
        model_id: i64,
        requests: u64,
        tokens: u64,
    ) {
        if requests == 0 {
            return;
        }
        let day = self.day.filter(|(begin, end)| (*begin..*end).contains(&at));
        let day = day.unwrap_or_else(|| (begin_of_google_day(at), end_of_google_day(at)));
        self.day = Some(day);
        let used = self.used.entry((day.0.as_millis(), id, model_id));
        let used = used.or_default();
        used.0 += requests;
        used.1 += tokens;
    }

    /// Adds a row for each day, key and model.
    pub fn add_rows_to(&self, batch: &mut WriteBatch) {
        for ((day, id, model_id), (requests, tokens)) in &self.used {
            let cells: [Cell; 5] = [
                (*day).into(),
                id.0.into(),
                (*model_id).into(),
                (*requests).into(),
                (*tokens).into(),
            ];
            batch.add_row(Table::QuotaDays, cells);
        }
    }
}

/// The start of the UTC day, for the rollups of keys.
pub fn begin_of_day(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() / DAY_MS * DAY_MS)
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
            assert_eq!(bucket_index(ms), expected, "{ms}");
        }
        for (index, end) in BUCKET_ENDS_MS.into_iter().enumerate() {
            assert_eq!(
                (bucket_index(end - 1), bucket_index(end)),
                (index, index + 1),
                "{end}"
            );
        }
    }
}
