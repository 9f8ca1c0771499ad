//! Rollups: sums of finished requests and attempts by hour and day, for charts. They stay when log rows are pruned.

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::storage::duration_sketch::DurationSketch;

const DAY_MS: i64 = 86_400_000;

/// The sums and sketches of a rollup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollup {
    pub requests: u64,
    pub successes: u64,
    pub failures: u64,
    /// Requests with an attempt; stored by client key only.
    pub sent_requests: u64,
    /// Successes with more than one attempt; not stored by upstream key.
    pub retried_successes: u64,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub thought_tokens: u64,
    pub cached_tokens: u64,
    pub tool_tokens: u64,
    pub total_tokens: u64,
    pub cost_nano_usd: i64,
    pub first_byte: DurationSketch,
    pub duration: DurationSketch,
}

/// The values that one finished request or attempt adds to rollups.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub outcome: Outcome,
    /// The attempts of the request.
    pub attempts: usize,
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
        self.sent_requests += u64::from(sample.attempts > 0);
        let is_retried = sample.outcome == Outcome::Success && sample.attempts > 1;
        self.retried_successes += u64::from(is_retried);
        self.prompt_tokens += sample.usage.prompt.unwrap_or(0);
        self.output_tokens += sample.usage.output.unwrap_or(0);
        self.thought_tokens += sample.usage.thoughts.unwrap_or(0);
        self.cached_tokens += sample.usage.cached.unwrap_or(0);
        self.tool_tokens += sample.usage.tool.unwrap_or(0);
        self.total_tokens += sample.usage.total.unwrap_or(0);
        self.cost_nano_usd += sample.cost_nano_usd.unwrap_or(0);
        if let Some(ms) = sample.first_byte_ms {
            self.first_byte.add(ms);
        }
        if let Some(ms) = sample.duration_ms {
            self.duration.add(ms);
        }
    }

    /// Adds another rollup.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.successes += other.successes;
        self.failures += other.failures;
        self.sent_requests += other.sent_requests;
        self.retried_successes += other.retried_successes;
        self.prompt_tokens += other.prompt_tokens;
        self.output_tokens += other.output_tokens;
        self.thought_tokens += other.thought_tokens;
        self.cached_tokens += other.cached_tokens;
        self.tool_tokens += other.tool_tokens;
        self.total_tokens += other.total_tokens;
        self.cost_nano_usd += other.cost_nano_usd;
        self.first_byte.merge(&other.first_byte);
        self.duration.merge(&other.duration);
    }

    /// Scales requests, tokens and cost to `part` of `whole`, assuming an even distribution.
    pub fn scale(&mut self, part: u64, whole: u64) {
        let counts = [
            &mut self.requests,
            &mut self.successes,
            &mut self.failures,
            &mut self.sent_requests,
            &mut self.retried_successes,
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
