//! `UsageSums`: the counts, tokens and cost of a part of the usage.

use std::ops::AddAssign;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// The sums of a group or bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    pub requests: u64,
    pub successes: u64,
    pub failures: u64,
    /// Successes with more than one attempt; 0 where attempts are counted.
    pub retried_successes: u64,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub thought_tokens: u64,
    pub cached_tokens: u64,
    pub total_tokens: u64,
    pub cost_nano_usd: i64,
}

impl AddAssign for UsageSums {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.successes += other.successes;
        self.failures += other.failures;
        self.retried_successes += other.retried_successes;
        self.prompt_tokens += other.prompt_tokens;
        self.output_tokens += other.output_tokens;
        self.thought_tokens += other.thought_tokens;
        self.cached_tokens += other.cached_tokens;
        self.total_tokens += other.total_tokens;
        self.cost_nano_usd += other.cost_nano_usd;
    }
}

impl UsageSums {
    /// The sums of `part` of `whole`, assuming an even distribution.
    #[must_use]
    pub fn scaled(self, part: u64, whole: u64) -> Self {
        let scale = |count: u64| {
            let scaled = u128::from(count) * u128::from(part) / u128::from(whole.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        let cost = scale(self.cost_nano_usd.unsigned_abs());
        Self {
            requests: scale(self.requests),
            successes: scale(self.successes),
            failures: scale(self.failures),
            retried_successes: scale(self.retried_successes),
            prompt_tokens: scale(self.prompt_tokens),
            output_tokens: scale(self.output_tokens),
            thought_tokens: scale(self.thought_tokens),
            cached_tokens: scale(self.cached_tokens),
            total_tokens: scale(self.total_tokens),
            cost_nano_usd: i64::try_from(cost).unwrap_or(i64::MAX),
        }
    }

    /// What is left after another part is taken away.
    #[must_use]
    pub fn without(self, part: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(part.requests),
            successes: self.successes.saturating_sub(part.successes),
            failures: self.failures.saturating_sub(part.failures),
            retried_successes: self
                .retried_successes
                .saturating_sub(part.retried_successes),
            prompt_tokens: self.prompt_tokens.saturating_sub(part.prompt_tokens),
            output_tokens: self.output_tokens.saturating_sub(part.output_tokens),
            thought_tokens: self.thought_tokens.saturating_sub(part.thought_tokens),
            cached_tokens: self.cached_tokens.saturating_sub(part.cached_tokens),
            total_tokens: self.total_tokens.saturating_sub(part.total_tokens),
            cost_nano_usd: self.cost_nano_usd.saturating_sub(part.cost_nano_usd).max(0),
        }
    }

    /// Of a row with the names that usage is read by.
    pub fn of_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let count = |name: &str| {
            row.try_get(name)
                .map(|count: i64| u64::try_from(count).unwrap_or(0))
        };
        Ok(Self {
            requests: count("requests")?,
            successes: count("successes")?,
            failures: count("failures")?,
            retried_successes: count("retried")?,
            prompt_tokens: count("prompt")?,
            output_tokens: count("output")?,
            thought_tokens: count("thoughts")?,
            cached_tokens: count("cached")?,
            total_tokens: count("total")?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
        })
    }
}
