//! Decides after an attempt whether the request is sent again.

use std::time::Duration;

use crate::pool::health::verdict::{Retry, Rule, Verdict};
use crate::pool::settings::Settings;

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// The client gets this attempt's answer, or the pool's own error.
    Answer,
    /// The same request goes out again after `pause`.
    TryAgain { pause: Duration },
}

/// The attempts of one request so far.
#[derive(Debug, Clone, Default)]
pub struct RetryBudget {
    /// All attempts.
    pub attempts: u32,
    /// Attempts that reached a model or broke on the way.
    pub counted_attempts: u32,
    overloads: u32,
    egress_failures: u32,
    connection_failures: u32,
    server_faults: u32,
    is_single: bool,
}

impl RetryBudget {
    /// The budget of a request that can be sent only once.
    pub fn single() -> Self {
        Self {
            is_single: true,
            ..Self::default()
        }
    }

    /// Counts one more attempt, which came to `rule`.
    pub fn add(&mut self, rule: Rule) {
        self.attempts += 1;
        match rule.retry() {
            Retry::FreeWithOtherKey => return,
            Retry::No => {}
            Retry::OneOtherKey => self.egress_failures += 1,
            Retry::TwiceAfterPause => self.overloads += 1,
            Retry::Once if matches!(rule, Rule::ConnectFailed | Rule::ConnectionBroken) => {
                self.connection_failures += 1;
            }
            Retry::Once => self.server_faults += 1,
        }
        self.counted_attempts += 1;
    }
}

/// Decides after `verdict`, which is already counted here.
///
/// `jitter` (0 to 1) spreads the pauses of many clients during the same overload.
pub fn next_step(
    verdict: &Verdict,
    budget: &RetryBudget,
    settings: &Settings,
    jitter: f64,
) -> NextStep {
    let again = |pause| NextStep::TryAgain { pause };
    let is_used_up = budget.counted_attempts >= settings.max_attempts
        || budget.attempts >= settings.max_keys_per_request;
    if is_used_up || budget.is_single {
        return NextStep::Answer;
    }
    match verdict.rule.retry() {
        Retry::FreeWithOtherKey => again(Duration::ZERO),
        Retry::OneOtherKey if budget.egress_failures <= 1 => again(Duration::ZERO),
        Retry::Once if budget.server_faults <= 1 && budget.connection_failures <= 1 => {
            again(Duration::ZERO)
        }
        Retry::TwiceAfterPause if budget.overloads <= 2 => {
            again(Duration::from_secs_f64(0.5 + 1.5 * jitter))
        }
        Retry::No | Retry::OneOtherKey | Retry::Once | Retry::TwiceAfterPause => NextStep::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of attempts of a request whose attempts end with these rules in turn.
    fn attempts(rules: &[Rule]) -> u32 {
        let mut budget = RetryBudget::default();
        for rule in rules {
            let verdict = Verdict::without_answer(*rule, String::new());
            budget.add(*rule);
            if next_step(&verdict, &budget, &Settings::default(), 0.5) == NextStep::Answer {
                break;
            }
        }
        budget.attempts
    }

    #[test]
    fn each_rule_allows_its_number_of_attempts() {
        let cases = [
            (Rule::Success, 1),
            (Rule::InvalidRequest, 1),
            (Rule::ModelNotFound, 1),
            (Rule::AnswerTimeout, 1),
            (Rule::InternalError, 2),
            (Rule::ConnectFailed, 2),
            (Rule::LocationUnsupported, 2),
            (Rule::Overloaded, 3),
            (Rule::ApiKeyInvalid, 32),
            (Rule::QuotaPerDay, 32),
        ];
        for (rule, expected) in cases {
            assert_eq!(attempts(&[rule; 100]), expected, "{rule:?}");
        }
    }

    #[test]
    fn mixed_faults_end_at_max_attempts_and_free_attempts_do_not_count() {
        let mixed = [
            Rule::Overloaded,
            Rule::InternalError,
            Rule::Overloaded,
            Rule::ConnectFailed,
            Rule::Overloaded,
        ];
        let with_free = [
            Rule::ApiKeyInvalid,
            Rule::InternalError,
            Rule::QuotaPerDay,
            Rule::InternalError,
        ];

        assert_eq!(attempts(&mixed), 4);
        assert_eq!(attempts(&with_free), 4);
    }
}
