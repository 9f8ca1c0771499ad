//! Rollups: sums of finished requests and attempts by hour and day, for charts. They stay when log rows are pruned.

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;

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
