//! `Cooldown` of a key or project, its end after a verdict, and the interval to the next check of a refused key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::pool::health::verdict::{Fault, Rule, Verdict};
use crate::pool::quota::google_clock::{end_of_google_day, end_of_google_minute};

/// Until when a project cools down for a model, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    pub rule: Rule,
    /// Number of consecutive unexplained 429s.
    pub step: u32,
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Cooldown {
    /// Rebases a cooldown that began later than `now`, by a clock set back since: it keeps its length, from now.
    #[must_use]
    pub fn rebased_at(self, now: Timestamp) -> Self {
        if self.since <= now {
            return self;
        }
        let until = match self.rule {
            Rule::QuotaPerDay => end_of_google_day(now),
            _ => now + (self.until - self.since),
        };
        Self {
            since: now,
            until,
            ..self
        }
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Stands for all models of a project.
pub const EVERY_MODEL: &str = "*";
/// Number of consecutive soft faults that start a key's cooldown.
pub const SOFT_FAULTS: usize = 5;
/// The time span in which they must occur.
pub const SOFT_FAULT_SPAN: Duration = Duration::from_mins(10);
/// The length of that cooldown.
pub const SOFT_FAULT_COOLDOWN: Duration = MINUTE;

/// The end of a project's cooldown for a model after a verdict whose fault is [`Fault::ProjectModel`].
///
/// `step`: number of consecutive unexplained 429s before this one.
pub fn cooldown_until(verdict: &Verdict, step: u32, now: Timestamp) -> Timestamp {
    let requested = verdict
        .retry_delay
        .map(|delay| delay.clamp(Duration::from_secs(1), DAY));
    let doubling = || (Duration::from_secs(10) * 2_u32.pow(step.min(3))).min(MINUTE);
    match verdict.rule {
        Rule::QuotaZero | Rule::ModelRetired => now + DAY,
        Rule::QuotaPerDay => end_of_google_day(now),
        Rule::QuotaPerMinute => {
            requested.map_or_else(|| end_of_google_minute(now), |delay| now + delay)
        }
        _ => now + requested.unwrap_or_else(doubling),
    }
}

/// The interval to the next check of a key with this fault, after `failed_checks` (from 1) failures in a row.
///
/// `None`: never by itself.
pub fn check_after(fault: Fault, failed_checks: u32) -> Option<Duration> {
    let slower = |waits: &[Duration]| {
        let step = usize::try_from(failed_checks.saturating_sub(1)).unwrap_or(usize::MAX);
        waits.get(step).or(waits.last()).copied()
    };
    match fault {
        // New keys take minutes to become valid at Google, so the first check follows soon.
        Fault::KeyInvalid => slower(&[10 * MINUTE, HOUR, 6 * HOUR, DAY]),
        Fault::ProjectSuspended | Fault::ProjectMisconfigured => slower(&[HOUR, 6 * HOUR, DAY]),
        Fault::KeyLeaked
        | Fault::None
        | Fault::Client
        | Fault::ProjectModel
        | Fault::Model
        | Fault::Egress
        | Fault::Soft => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(rule: Rule, delay: Option<Duration>) -> Verdict {
        Verdict {
            retry_delay: delay,
            ..Verdict::without_answer(rule, String::new())
        }
    }

    #[test]
    fn a_projects_cooldown_depends_on_the_rule() {
        let now: Timestamp = "2026-11-22T12:00:10.000Z".parse().unwrap();
        let secs = |n| Some(Duration::from_secs(n));
        let cases = [
            (Rule::QuotaPerDay, secs(5), 0, "2026-11-23T08:00:00.000Z"),
            (Rule::QuotaPerMinute, secs(7), 0, "2026-11-22T12:00:17.000Z"),
            (Rule::QuotaPerMinute, None, 0, "2026-11-22T12:01:00.000Z"),
            (
                Rule::QuotaPerMinute,
                Some(Duration::ZERO),
                0,
                "2026-11-22T12:00:11.000Z",
            ),
            (Rule::QuotaZero, secs(5), 0, "2026-11-23T12:00:10.000Z"),
            (Rule::ModelRetired, None, 0, "2026-11-23T12:00:10.000Z"),
            (
                Rule::QuotaWithoutDetail,
                None,
                0,
                "2026-11-22T12:00:20.000Z",
            ),
            (
                Rule::QuotaWithoutDetail,
                None,
                2,
                "2026-11-22T12:00:50.000Z",
            ),
            (
                Rule::QuotaWithoutDetail,
                None,
                9,
                "2026-11-22T12:01:10.000Z",
            ),
            (
                Rule::QuotaUnknownWindow,
                secs(30),
                3,
                "2026-11-22T12:00:40.000Z",
            ),
        ];
        for (rule, delay, step, until) in cases {
            assert_eq!(
                cooldown_until(&verdict(rule, delay), step, now).to_string(),
                until,
                "{rule:?} {delay:?} {step}"
            );
        }
    }

    #[test]
    fn a_used_up_day_ends_at_californian_midnight_also_when_the_clocks_change() {
        let cases = [
            // 8 March 2026 has 23 hours, 1 November 25.
            ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00.000Z", 23),
            ("2026-03-08T10:30:00Z", "2026-03-09T07:00:00.000Z", 20),
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00.000Z", 25),
            ("2026-11-01T08:30:00Z", "2026-11-02T08:00:00.000Z", 23),
        ];
        for (now, until, hours) in cases {
            let now: Timestamp = now.parse().unwrap();
            // Google also names seconds, which are too short.
            let seconds = Some(Duration::from_secs(38));
            let rested = cooldown_until(&verdict(Rule::QuotaPerDay, seconds), 0, now);
            assert_eq!(rested.to_string(), until, "at {now}");
            assert_eq!((rested - now).as_secs() / 3_600, hours, "at {now}");
        }
    }

    #[test]
    fn checks_slow_down_each_time_and_never_run_for_a_leaked_key() {
        let minutes = |fault, nth| check_after(fault, nth).map(|wait| wait.as_secs() / 60);

        assert_eq!(
            [1, 2, 3, 4, 9].map(|nth| minutes(Fault::KeyInvalid, nth)),
            [10, 60, 360, 1440, 1440].map(Some)
        );
        assert_eq!(
            [1, 2, 3, 9].map(|nth| minutes(Fault::ProjectSuspended, nth)),
            [60, 360, 1440, 1440].map(Some)
        );
        assert_eq!(minutes(Fault::KeyLeaked, 1), None);
    }
}
