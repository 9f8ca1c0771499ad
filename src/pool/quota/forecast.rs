//! Forecast: until when the daily quota of a model lasts at the present pace, and how many projects would be missing.

use std::time::Duration;

use crate::clock::Timestamp;

const HOUR: Duration = Duration::from_hours(1);
/// The hours whose requests are the present pace.
const RECENT_HOURS: usize = 3;
/// The pace may differ from that of earlier days by this factor at most: three hours are a small sample.
const MAX_TREND: u64 = 4;
/// The hours of history that a forecast uses.
pub const HISTORY_HOURS: usize = 8 * 24;

/// What is left of the daily quota of a model in all projects that can serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailySupply {
    pub remaining: u64,
    /// The daily limit that one more project would have.
    pub limit_of_project: u64,
    /// The end of Google's day.
    pub resets_at: Timestamp,
}

/// What is expected until the quota is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// No requests are expected.
    Idle,
    /// The quota lasts; so many of its requests remain.
    Lasts { expected: u64, spare: u64 },
    /// The quota is used up at this time, and so many requests are missing, which so many projects would have.
    RunsOut {
        at: Timestamp,
        missing: u64,
        projects: u64,
    },
}

/// The expected requests of each hour: those of the same hours of earlier days, as much more or less as the last hours have
/// been. Without earlier days, the mean of the last hours.
#[derive(Debug)]
struct Pace<'a> {
    /// Requests by hour: the first is the hour before the running one, the next the one before that.
    history: &'a [u64],
    /// Present and earlier requests of the last hours; `None`: no earlier day is known.
    trend: Option<(u64, u64)>,
    /// The mean of the last hours, in thousandths.
    recent_milli: u64,
}

impl<'a> Pace<'a> {
    fn of(history: &'a [u64]) -> Self {
        // Hours before the first request say nothing.
        let known = history.iter().rposition(|requests| *requests > 0);
        let history = &history[..known.map_or(0, |last| last + 1)];
        let hours = history.len().min(RECENT_HOURS);
        let recent: u64 = history[..hours].iter().sum();
        let earlier_days = (1..).map(|day| day * 24);
        let earlier_days = earlier_days.take_while(|first| first + RECENT_HOURS <= history.len());
        let earlier: Vec<u64> = earlier_days
            .map(|first| history[first..first + RECENT_HOURS].iter().sum())
            .collect();
        let days = u64::try_from(earlier.len()).unwrap_or(u64::MAX);
        let mean = earlier.iter().sum::<u64>().checked_div(days);
        Self {
            history,
            trend: mean.filter(|mean| *mean > 0).map(|mean| (recent, mean)),
            recent_milli: recent * 1_000 / u64::try_from(hours.max(1)).unwrap_or(1),
        }
    }

    /// The expected requests of the hour `ahead` of the running one, in thousandths.
    fn expected_milli(&self, ahead: usize) -> u64 {
        let Some((now, before)) = self.trend else {
            return self.recent_milli;
        };
        let same_hours = (1..).map(|day| day * 24);
        let same_hours = same_hours.filter(|hours| *hours > ahead);
        let same_hours = same_hours.map(|hours| self.history.get(hours - ahead - 1));
        let same_hours: Vec<u64> = same_hours.map_while(Option::<&u64>::copied).collect();
        let Some(mean) = (same_hours.iter().sum::<u64>() * 1_000)
            .checked_div(u64::try_from(same_hours.len()).unwrap_or(u64::MAX))
        else {
            return self.recent_milli;
        };
        // Kept within a quarter and four times the earlier pace.
        let now = now.clamp(before.div_ceil(MAX_TREND), before * MAX_TREND);
        mean * now / before
    }
}

/// The forecast from the requests of earlier hours, the last whole hour first.
pub fn forecast(supply: DailySupply, history: &[u64], now: Timestamp) -> Forecast {
    let pace = Pace::of(&history[..history.len().min(HISTORY_HOURS)]);
    let remaining_milli = supply.remaining.saturating_mul(1_000);
    let (mut used_milli, mut ends_at) = (0_u64, None);
    let (mut ahead, mut begin) = (0, now);
    while begin < supply.resets_at {
        let hour_end = begin.start_of_hour() + HOUR;
        let end = hour_end.min(supply.resets_at);
        let millis = u64::try_from((end - begin).as_millis()).unwrap_or(0);
        let of_hour = pace.expected_milli(ahead);
        let expected = of_hour.saturating_mul(millis) / 3_600_000;
        if ends_at.is_none() && used_milli + expected > remaining_milli {
            let left = remaining_milli.saturating_sub(used_milli);
            let after = left.saturating_mul(3_600_000) / of_hour.max(1);
            ends_at = Some(begin + Duration::from_millis(after));
        }
        used_milli += expected;
        (ahead, begin) = (ahead + 1, end);
    }
    let expected = used_milli.div_ceil(1_000);
    match ends_at {
        Some(at) => {
            let missing = used_milli.saturating_sub(remaining_milli).div_ceil(1_000);
            Forecast::RunsOut {
                at,
                missing,
                projects: missing.div_ceil(supply.limit_of_project.max(1)),
            }
        }
        None if expected == 0 => Forecast::Idle,
        None => Forecast::Lasts {
            expected,
            spare: supply.remaining.saturating_sub(expected),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-30T02:00:00Z";
    const RESET: &str = "2026-11-30T08:00:00Z";

    fn supply(remaining: u64) -> DailySupply {
        DailySupply {
            remaining,
            limit_of_project: 250,
            resets_at: at(RESET),
        }
    }

    /// So many requests in each hour of some days.
    fn even(requests: u64, hours: usize) -> Vec<u64> {
        vec![requests; hours]
    }

    #[test]
    fn an_even_pace_uses_the_same_in_each_hour() {
        for hours in [3, 24, 72, 300] {
            let history = even(100, hours);
            let lasts = Forecast::Lasts {
                expected: 600,
                spare: 400,
            };
            assert_eq!(forecast(supply(1_000), &history, at(NOW)), lasts, "{hours}");
            let runs_out = Forecast::RunsOut {
                at: at("2026-11-30T05:30:00Z"),
                missing: 250,
                projects: 1,
            };
            assert_eq!(forecast(supply(350), &history, at(NOW)), runs_out);
        }
        let none = Forecast::RunsOut {
            at: at(NOW),
            missing: 600,
            projects: 3,
        };
        assert_eq!(forecast(supply(0), &even(100, 3), at(NOW)), none);
    }

    #[test]
    fn the_hours_to_come_are_those_of_earlier_days() {
        // The next six hours had nothing but one with 1,000 requests, two hours from now, on each of two days.
        let mut history = even(0, 51);
        for day in [24, 48] {
            history[day - 2 - 1] = 1_000;
            history[day..day + 3].fill(100);
        }
        history[..3].fill(100);

        let found = forecast(supply(500), &history, at(NOW));

        let expected = Forecast::RunsOut {
            at: at("2026-11-30T04:30:00Z"),
            missing: 500,
            projects: 2,
        };
        assert_eq!(found, expected);
        // Twice the pace of the earlier days.
        history[..3].fill(200);
        let twice = Forecast::Lasts {
            expected: 2_000,
            spare: 500,
        };
        assert_eq!(forecast(supply(2_500), &history, at(NOW)), twice);
        // A hundred times as much counts as four times.
        history[..3].fill(10_000);
        let at_most = Forecast::Lasts {
            expected: 4_000,
            spare: 0,
        };
        assert_eq!(forecast(supply(4_000), &history, at(NOW)), at_most);
    }

    #[test]
    fn without_requests_nothing_is_expected() {
        for history in [vec![], even(0, 192)] {
            assert_eq!(forecast(supply(0), &history, at(NOW)), Forecast::Idle);
            assert_eq!(forecast(supply(9), &history, at(NOW)), Forecast::Idle);
        }
    }

    #[test]
    fn a_part_of_the_running_hour_counts_in_part() {
        let half_past = at("2026-11-30T07:30:00Z");
        let expected = Forecast::Lasts {
            expected: 50,
            spare: 0,
        };
        assert_eq!(forecast(supply(50), &even(100, 48), half_past), expected);
        assert_eq!(
            forecast(supply(50), &even(100, 48), at(RESET)),
            Forecast::Idle
        );
    }

    proptest! {
        #[test]
        fn more_quota_never_runs_out_earlier(
            history in prop::collection::vec(0..100_000_u64, 0..200),
            less in 0..1_000_000_u64,
            more in 0..1_000_000_u64,
        ) {
            let end = |remaining| match forecast(supply(remaining), &history, at(NOW)) {
                Forecast::RunsOut { at, missing, projects } => {
                    (at, u64::MAX - missing.max(projects))
                }
                Forecast::Idle | Forecast::Lasts { .. } => (at(RESET), u64::MAX),
            };
            prop_assert!(end(less) <= end(less + more));
            prop_assert!(end(less).0 >= at(NOW));
        }
    }
}
