//! Decides after an attempt whether the request is sent again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::pool::health::verdict::{Retry, Rule, Verdict};
use crate::pool::settings::Settings;

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// The client gets this attempt's answer, or the pool's own error.
    Answer(StopReason),
    /// The same request goes out again after `pause`.
    TryAgain { pause: Duration },
}

/// Why a request had no further attempt.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StopReason {
    /// The last attempt succeeded.
    Answered,
    /// Another key would have given the same result, or the attempt may have been billed.
    NotRetryable,
    /// The fault of the last attempt had been retried as often as its kind is.
    RepeatedFault,
    /// `max_attempts` or `max_keys_per_request` was reached.
    AttemptsUsedUp,
    /// The time for the first byte was over.
    OutOfTime,
    /// No other key was ready, nor would be soon enough.
    NoOtherKey,
    /// The body was sent while it arrived, so it could not be sent again.
    SentOnce,
    /// The answer had begun, and the client had received a part of it.
    AnswerBegun,
    /// The client disconnected.
    ClientGone,
}

impl StopReason {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
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
    empty_replies: u32,
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
            Retry::Once if rule == Rule::EmptyReply => self.empty_replies += 1,
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
    match verdict.rule.retry() {
        Retry::No if verdict.rule == Rule::Success => NextStep::Answer(StopReason::Answered),
        Retry::No => NextStep::Answer(StopReason::NotRetryable),
        _ if budget.is_single => NextStep::Answer(StopReason::SentOnce),
        _ if is_used_up => NextStep::Answer(StopReason::AttemptsUsedUp),
        Retry::FreeWithOtherKey => again(Duration::ZERO),
        Retry::OneOtherKey if budget.egress_failures <= 1 => again(Duration::ZERO),
        Retry::Once
            if budget.server_faults <= 1
                && budget.connection_failures <= 1
                && budget.empty_replies <= 1 =>
        {
            again(Duration::ZERO)
        }
        Retry::TwiceAfterPause if budget.overloads <= 2 => {
            again(Duration::from_secs_f64(0.5 + 1.5 * jitter))
        }
        Retry::OneOtherKey | Retry::Once | Retry::TwiceAfterPause => {
            NextStep::Answer(StopReason::RepeatedFault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of attempts of a request whose attempts end with these rules in turn, and why it had no more.
    fn attempts(rules: &[Rule]) -> (u32, Option<StopReason>) {
        let mut budget = RetryBudget::default();
        for rule in rules {
            let verdict = Verdict::without_answer(*rule, String::new());
            budget.add(*rule);
            let step = next_step(&verdict, &budget, &Settings::default(), 0.5);
            if let NextStep::Answer(reason) = step {
                return (budget.attempts, Some(reason));
            }
        }
        (budget.attempts, None)
    }

    #[test]
    fn each_rule_allows_its_number_of_attempts() {
        let cases = [
            (Rule::Success, 1, StopReason::Answered),
            (Rule::InvalidRequest, 1, StopReason::NotRetryable),
            (Rule::ModelNotFound, 1, StopReason::NotRetryable),
            (Rule::AnswerTimeout, 1, StopReason::NotRetryable),
            (Rule::InternalError, 2, StopReason::RepeatedFault),
            (Rule::EmptyReply, 2, StopReason::RepeatedFault),
            (Rule::ConnectFailed, 2, StopReason::RepeatedFault),
            (Rule::LocationUnsupported, 2, StopReason::RepeatedFault),
            (Rule::Overloaded, 3, StopReason::RepeatedFault),
            (Rule::ApiKeyInvalid, 32, StopReason::AttemptsUsedUp),
            (Rule::QuotaPerDay, 32, StopReason::AttemptsUsedUp),
        ];
        for (rule, count, reason) in cases {
            assert_eq!(attempts(&[rule; 100]), (count, Some(reason)), "{rule:?}");
        }
        let mut budget = RetryBudget::single();
        budget.add(Rule::InternalError);
        let verdict = Verdict::without_answer(Rule::InternalError, String::new());
        let step = next_step(&verdict, &budget, &Settings::default(), 0.5);
        assert_eq!(step, NextStep::Answer(StopReason::SentOnce));
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

        let used_up = Some(StopReason::AttemptsUsedUp);
        assert_eq!(attempts(&mixed), (4, used_up));
        assert_eq!(attempts(&with_free), (4, Some(StopReason::RepeatedFault)));
    }
}
