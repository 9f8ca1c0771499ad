//! `EgressCondition`: the state of an egress proxy, what changes it, and when it is probed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;

/// After this many failed connections in a row a proxy is broken: a request tries twice.
const FAILURES_IN_A_ROW: u32 = 2;
/// When a broken proxy is probed first; the time doubles with each failed probe.
const FIRST_PROBE: Duration = Duration::from_secs(2);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_mins(1);
/// How long the result of a due probe may take to come.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// How long a proxy whose location Google does not serve is used last.
const LOCATION_PAUSE: Duration = Duration::from_mins(30);

/// The state of an egress proxy.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EgressState {
    /// Nothing was seen yet of it, or since an admin reset it. It is used.
    Untested,
    /// An answer has come through it.
    Working,
    /// No connection could be opened through it, until a probe succeeds.
    Broken,
    /// Google does not serve its location: used only where no other one works.
    LocationRefused,
}

/// A state with its reason and its end or next probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressCondition {
    pub state: EgressState,
    /// The rule that caused it; `None`: no verdict did.
    pub rule: Option<Rule>,
    pub since: Timestamp,
    /// The next probe, or the end; `None`: it does not end.
    pub until: Option<Timestamp>,
    /// Number of failed probes in a row.
    pub failed_probes: u32,
}

/// Whether a proxy may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    Usable,
    /// Only where no other one is usable.
    LastResort,
    /// Not before then.
    Blocked(Timestamp),
}

impl EgressState {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl EgressCondition {
    pub fn working(since: Timestamp) -> Self {
        Self::without_reason(EgressState::Working, since)
    }

    pub fn untested(since: Timestamp) -> Self {
        Self::without_reason(EgressState::Untested, since)
    }

    fn without_reason(state: EgressState, since: Timestamp) -> Self {
        Self {
            state,
            rule: None,
            since,
            until: None,
            failed_probes: 0,
        }
    }

    /// Rebases a state that began later than `now`, by a clock set back since.
    #[must_use]
    pub fn rebased_at(self, now: Timestamp) -> Self {
        Self {
            since: self.since.min(now),
            until: self.until.map(|until| until.min(now + LOCATION_PAUSE)),
            ..self
        }
    }

    /// Whether requests may go through the proxy.
    pub fn fitness(&self, now: Timestamp) -> Fitness {
        match (self.state, self.until) {
            (EgressState::Broken, until) => {
                let probed = until.unwrap_or(now) + PROBE_TIME;
                Fitness::Blocked(probed.max(now + Duration::from_millis(1)))
            }
            (EgressState::LocationRefused, Some(until)) if until > now => Fitness::LastResort,
            (EgressState::Untested | EgressState::Working | EgressState::LocationRefused, _) => {
                Fitness::Usable
            }
        }
    }

    /// The condition after this many failed connections in a row; `None`: unchanged. A broken proxy is left to its probes.
    pub fn after_failures(&self, in_a_row: u32, rule: Rule, now: Timestamp) -> Option<Self> {
        let breaks = in_a_row >= FAILURES_IN_A_ROW && self.state != EgressState::Broken;
        breaks.then(|| Self {
            state: EgressState::Broken,
            rule: Some(rule),
            since: now,
            until: Some(now + FIRST_PROBE),
            failed_probes: 0,
        })
    }

    /// The condition after an answer to what began at `began`; `None`: unchanged. An answer that began before the state
    /// proves nothing about it.
    pub fn after_answer(&self, rule: Rule, began: Timestamp, now: Timestamp) -> Option<Self> {
        let is_newer = began >= self.since;
        match self.state {
            _ if rule == Rule::LocationUnsupported => Some(Self {
                state: EgressState::LocationRefused,
                rule: Some(rule),
                since: now,
                until: Some(now + LOCATION_PAUSE),
                failed_probes: 0,
            }),
            EgressState::Untested | EgressState::Broken if is_newer => Some(Self::working(now)),
            EgressState::LocationRefused if is_newer && rule == Rule::Success => {
                Some(Self::working(now))
            }
            EgressState::Untested
            | EgressState::Working
            | EgressState::Broken
            | EgressState::LocationRefused => None,
        }
    }

    /// Whether a probe is due.
    pub fn is_probe_due(&self, now: Timestamp) -> bool {
        self.state == EgressState::Broken && self.until.is_none_or(|until| until <= now)
    }

    /// The condition while a probe runs, and after it fails: the next one is later.
    #[must_use]
    pub fn probing(&self, now: Timestamp) -> Self {
        let failed_probes = self.failed_probes.saturating_add(1);
        let doubled = FIRST_PROBE.saturating_mul(2_u32.saturating_pow(failed_probes));
        Self {
            until: Some(now + doubled.min(LONGEST_PROBE_PAUSE)),
            failed_probes,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn broken() -> EgressCondition {
        EgressCondition::working(START)
            .after_failures(2, Rule::ConnectFailed, at(10))
            .unwrap()
    }

    #[test]
    fn two_failures_in_a_row_break_a_proxy_until_a_newer_answer() {
        let working = EgressCondition::working(START);
        let one = working.after_failures(1, Rule::ConnectFailed, at(10));
        assert_eq!(one, None);

        let broken = broken();

        assert_eq!(broken.fitness(at(10)), Fitness::Blocked(at(14)));
        assert_eq!(broken.fitness(at(13)), Fitness::Blocked(at(14)));
        let again = broken.after_failures(3, Rule::ConnectFailed, at(11));
        assert_eq!(again, None);
        let older = broken.after_answer(Rule::Success, at(9), at(11));
        assert_eq!(older, None, "it was sent before");
        let mended = broken.after_answer(Rule::QuotaPerMinute, at(12), at(13));
        assert_eq!(mended, Some(EgressCondition::working(at(13))));
    }

    #[test]
    fn an_untested_proxy_is_used_and_any_answer_shows_that_it_works() {
        let untested = EgressCondition::untested(START);

        assert_eq!(untested.fitness(at(10)), Fitness::Usable);
        assert!(!untested.is_probe_due(at(10)));
        let older = EgressCondition::untested(at(10)).after_answer(Rule::Success, START, at(11));
        assert_eq!(older, None, "it was sent before");
        let answered = untested.after_answer(Rule::ApiKeyInvalid, at(1), at(2));
        assert_eq!(answered, Some(EgressCondition::working(at(2))));
        let failed = untested.after_failures(2, Rule::ConnectFailed, at(2));
        assert_eq!(failed.unwrap().state, EgressState::Broken);
    }

    #[test]
    fn probes_come_ever_more_rarely() {
        let mut condition = broken();
        assert!(!condition.is_probe_due(at(11)));
        assert!(condition.is_probe_due(at(12)));

        let pauses: Vec<_> = (0..6)
            .map(|_| {
                condition = condition.probing(at(12));
                (condition.until.unwrap() - at(12)).as_secs()
            })
            .collect();

        assert_eq!(pauses, [4, 8, 16, 32, 60, 60]);
        assert_eq!(condition.since, at(10));
        assert!(!EgressCondition::working(START).is_probe_due(at(99)));
    }

    #[test]
    fn a_location_that_google_does_not_serve_is_a_last_resort_for_a_time() {
        let working = EgressCondition::working(START);
        let refused = working.after_answer(Rule::LocationUnsupported, at(1), at(2));
        let refused = refused.unwrap();

        assert_eq!(refused.state, EgressState::LocationRefused);
        assert_eq!(refused.fitness(at(3)), Fitness::LastResort);
        assert_eq!(refused.fitness(at(1_803)), Fitness::Usable);
        let other = refused.after_answer(Rule::QuotaPerDay, at(5), at(6));
        assert_eq!(other, None);
        let served = refused.after_answer(Rule::Success, at(5), at(6));
        assert_eq!(served, Some(EgressCondition::working(at(6))));
    }
}
