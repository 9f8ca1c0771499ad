//! `AddressThrottle`: detects that Google limits our IP address: many projects are refused at once without a reason.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::health::circuit_breaker::{Backoff, CircuitBreaker};
use crate::pool::keys::upstream_key::ProjectId;

/// The time span in which the refusals must occur.
pub const THROTTLE_SPAN: Duration = Duration::from_secs(5);
/// The minimum number of refused projects.
const PROJECTS: usize = 5;
/// The minimum percentage of refused projects among those tried.
const PERCENT: usize = 80;
/// How long requests are blocked.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    most: Duration::from_mins(1),
};

/// The latest attempts, and the throttle's circuit breaker.
#[derive(Debug, Default)]
pub struct AddressThrottle {
    /// The attempts of the last seconds: time, project, and whether it was refused without a reason.
    recent: VecDeque<(Timestamp, ProjectId, bool)>,
    pub breaker: Option<CircuitBreaker>,
    /// The projects whose refusals have started it.
    pub refused: HashSet<ProjectId>,
}

/// What an attempt signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressThrottleSignal {
    Inactive,
    /// The throttle began with this attempt: the refusals of the last [`THROTTLE_SPAN`] are not faults of their
    /// projects.
    Started,
    /// Another refusal by the throttle.
    Continues,
    /// Google answers again.
    Ended,
}

impl AddressThrottle {
    /// Records an attempt that Google answered; `refused`: with a 429 that names no quota.
    pub fn record(
        &mut self,
        project: ProjectId,
        refused: bool,
        began: Timestamp,
        now: Timestamp,
        chance: f64,
    ) -> AddressThrottleSignal {
        if let Some(breaker) = &mut self.breaker {
            let is_new_evidence = breaker.is_new_evidence(began);
            return match (refused, is_new_evidence) {
                (true, true) => {
                    breaker.reopen(now, BACKOFF, chance);
                    AddressThrottleSignal::Continues
                }
                (true, false) => AddressThrottleSignal::Continues,
                (false, true) => {
                    self.breaker = None;
                    AddressThrottleSignal::Ended
                }
                (false, false) => AddressThrottleSignal::Inactive,
            };
        }
        while self
            .recent
            .front()
            .is_some_and(|(at, ..)| now - *at > THROTTLE_SPAN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((now, project, refused));
        if !refused {
            return AddressThrottleSignal::Inactive;
        }
        let projects = |only_refused: bool| {
            let recent = self.recent.iter();
            let projects = recent.filter(|(.., refused)| *refused || !only_refused);
            projects
                .map(|(_, project, _)| *project)
                .collect::<HashSet<_>>()
        };
        let refused = projects(true);
        if refused.len() < PROJECTS || refused.len() * 100 < projects(false).len() * PERCENT {
            return AddressThrottleSignal::Inactive;
        }
        self.refused = refused;
        self.recent.clear();
        self.breaker = Some(CircuitBreaker::open(now, BACKOFF, chance));
        AddressThrottleSignal::Started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn record(
        throttle: &mut AddressThrottle,
        project: i64,
        refused: bool,
        ms: u64,
    ) -> AddressThrottleSignal {
        let now = START + Duration::from_millis(ms);
        throttle.record(ProjectId(project), refused, now, now, 0.5)
    }

    #[test]
    fn five_projects_refused_at_once_start_the_throttle() {
        let mut throttle = AddressThrottle::default();

        let signals: Vec<_> = (0..6)
            .map(|n| record(&mut throttle, n % 5, true, 10 * n.unsigned_abs()))
            .collect();

        assert_eq!(signals[..4], [AddressThrottleSignal::Inactive; 4]);
        assert_eq!(
            signals[4..],
            [
                AddressThrottleSignal::Started,
                AddressThrottleSignal::Continues
            ]
        );
    }

    #[test]
    fn the_throttle_does_not_start_while_others_succeed_or_when_refusals_are_slow() {
        let mut mixed = AddressThrottle::default();
        for project in 10..13 {
            record(&mut mixed, project, false, 0);
        }
        let among_others: Vec<_> = (0..8).map(|n| record(&mut mixed, n, true, 1)).collect();
        let mut slow = AddressThrottle::default();
        let slowly = (0..9).map(|n| record(&mut slow, n, true, 1_500 * n.unsigned_abs()));

        assert_eq!(
            among_others,
            [AddressThrottleSignal::Inactive; 8],
            "8 of 11 are fewer than 80 of 100"
        );
        assert!(
            slowly
                .into_iter()
                .all(|signal| signal == AddressThrottleSignal::Inactive)
        );
    }

    #[test]
    fn the_throttle_continues_until_one_request_succeeds() {
        let mut throttle = AddressThrottle::default();
        for n in 0..5 {
            record(&mut throttle, n, true, 0);
        }

        assert_eq!(
            record(&mut throttle, 7, true, 2_000),
            AddressThrottleSignal::Continues
        );
        let breaker = throttle.breaker.unwrap();
        assert_eq!(
            breaker.admits(START + Duration::from_millis(5_999)),
            Err(START + Duration::from_secs(6))
        );
        assert_eq!(
            record(&mut throttle, 7, false, 6_000),
            AddressThrottleSignal::Ended
        );
        assert_eq!(throttle.breaker, None);
    }
}
