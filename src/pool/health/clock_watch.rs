//! `ClockWatch`: whether the clock of this machine differs from Google's, by the `Date` of Google's answers.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// A smaller difference is no fault.
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);
/// Below this share of the tolerance a wrong clock is right again.
const RECOVERED_DIVISOR: i64 = 2;
/// So many answers in a row must agree.
const ANSWERS: usize = 5;

/// What answers show of the clock of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockFinding {
    /// Too few answers have come.
    Unknown,
    Right,
    /// By how many seconds it is ahead of Google's; less than 0: behind.
    WrongBySeconds(i64),
}

/// The last answers, and what they have proved.
#[derive(Debug, Default)]
pub struct ClockWatch {
    /// By how many milliseconds the clock of this machine was ahead at least; less than 0: behind.
    differences: VecDeque<i64>,
    is_wrong: bool,
}

impl ClockWatch {
    /// Adds an answer: when its request was sent and its head received, and its `Date`, in whole seconds.
    pub fn add(&mut self, sent: Timestamp, received: Timestamp, date: Timestamp) {
        if self.differences.len() == ANSWERS {
            self.differences.pop_front();
        }
        self.differences
            .push_back(least_difference(sent, received, date));
        if self.differences.len() < ANSWERS {
            return;
        }
        let tolerance = i64::try_from(CLOCK_TOLERANCE.as_millis()).unwrap_or(i64::MAX);
        let all = |is_so: &dyn Fn(i64) -> bool| self.differences.iter().all(|ms| is_so(*ms));
        let is_certain = all(&|ms| ms > tolerance) || all(&|ms| ms < -tolerance);
        let has_recovered = all(&|ms| ms.abs() <= tolerance / RECOVERED_DIVISOR);
        self.is_wrong = is_certain || self.is_wrong && !has_recovered;
    }

    pub fn finding(&self) -> ClockFinding {
        let largest = self.differences.iter().max_by_key(|ms| ms.abs());
        match largest {
            Some(ms) if self.is_wrong => ClockFinding::WrongBySeconds(ms / 1_000),
            Some(_) if self.differences.len() == ANSWERS => ClockFinding::Right,
            Some(_) | None => ClockFinding::Unknown,
        }
    }
}

/// The difference that an answer proves, however long it was on its way: its server wrote the date between the two times, and cut
/// the part of a second.
fn least_difference(sent: Timestamp, received: Timestamp, date: Timestamp) -> i64 {
    let (sent, received) = (sent.as_millis(), received.as_millis());
    let date = date.as_millis();
    let (least, most) = (sent.min(received) - (date + 999), sent.max(received) - date);
    if least > 0 { least } else { most.min(0) }
}

#[cfg(test)]
mod tests {
    use super::ClockFinding::{Right, Unknown, WrongBySeconds};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    /// What the watch finds after answers that took a second, with a clock that is ahead by so many seconds.
    fn findings(watch: &mut ClockWatch, ahead: &[i64]) -> Vec<ClockFinding> {
        let finding = ahead.iter().map(|seconds| {
            let date = Timestamp::from_millis(NOW.as_millis() - seconds * 1_000);
            watch.add(NOW, NOW + Duration::from_secs(1), date);
            watch.finding()
        });
        finding.collect()
    }

    #[test]
    fn a_wrong_clock_is_proved_by_several_answers_and_so_is_a_right_one() {
        let mut watch = ClockWatch::default();
        let right = [Right; 4];

        assert_eq!(watch.finding(), Unknown);
        assert_eq!(findings(&mut watch, &[0, 600, 600, 600]), [Unknown; 4]);
        // One answer from elsewhere proves nothing.
        assert_eq!(findings(&mut watch, &[0, 90, 90, 90]), right);
        // Neither do answers that disagree.
        assert_eq!(findings(&mut watch, &[-90, 90, 90, 90]), right);
        assert_eq!(
            findings(&mut watch, &[90, 90, 95]),
            [Right, WrongBySeconds(89), WrongBySeconds(94)]
        );
        // It stays wrong while it is hardly better.
        let hardly = findings(&mut watch, &[40, 40, 40, 40, 40, 0, 0, 0, 0]);
        let is_wrong = |finding: &ClockFinding| matches!(finding, WrongBySeconds(_));
        assert!(hardly.iter().all(is_wrong), "{hardly:?}");
        assert_eq!(findings(&mut watch, &[0, 70, 0, 0]), right);
    }

    #[test]
    fn a_clock_behind_is_reported_as_less_than_nothing() {
        let mut watch = ClockWatch::default();

        let found = findings(&mut watch, &[-600; 5]);

        assert_eq!(found[4], WrongBySeconds(-599));
    }

    #[test]
    fn only_what_an_answer_proves_is_a_difference() {
        let at = |ms: i64| Timestamp::from_millis(NOW.as_millis() + ms);
        for (sent, received, date, expected) in [
            (0, 100, 0, 0),
            // The date is cut to the second.
            (999, 1_000, 0, 0),
            (1_000, 1_000, 0, 1),
            // A slow answer: the date is that of its begin or of its end.
            (0, 300_000, 0, 0),
            (0, 300_000, 300_000, 0),
            (0, 300_000, 301_000, -1_000),
            (5_000, 6_000, 0, 4_001),
            // The clock was set back meanwhile.
            (6_000, 5_000, 0, 4_001),
        ] {
            let found = least_difference(at(sent), at(received), at(date));
            assert_eq!(found, expected, "{sent} {received} {date}");
        }
    }
}
