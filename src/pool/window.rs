//! `Minute`: what was counted in the last sixty seconds, a window that slides.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

const LENGTH_S: i64 = 60;

/// What a minute counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub requests: u64,
    pub tokens: u64,
}

/// The counts of the last minute, second by second.
///
/// A second counts until it is over for a whole minute, so that no sixty seconds ever hold more than the sums admit; what was
/// counted at its beginning so counts up to a second longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Minute {
    /// Oldest first; seconds in which nothing was counted are not here.
    seconds: VecDeque<(i64, Counted)>,
}

impl Minute {
    pub fn add(&mut self, now: Timestamp, requests: u64, tokens: u64) {
        let second = self.slide(now);
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            self.seconds.push_back((second, Counted::default()));
        }
        if let Some((_, counted)) = self.seconds.back_mut() {
            counted.requests = counted.requests.saturating_add(requests);
            counted.tokens = counted.tokens.saturating_add(tokens);
        }
    }

    /// Takes back a request that was counted at `then`, if it still counts.
    pub fn take_back(&mut self, then: Timestamp) {
        let second = second_of(then);
        let counted = self.seconds.iter_mut().find(|(at, _)| *at == second);
        if let Some((_, counted)) = counted {
            counted.requests = counted.requests.saturating_sub(1);
        }
    }

    /// The counts of the minute that ends `now`.
    pub fn sums(&mut self, now: Timestamp) -> Counted {
        self.slide(now);
        self.seconds
            .iter()
            .fold(Counted::default(), |sum, (_, counted)| sum.and(*counted))
    }

    /// How long until the sums have room, if nothing more is counted; zero: they have it now. What never has room is told
    /// to wait until the minute is empty.
    pub fn wait(&mut self, now: Timestamp, has_room: impl Fn(Counted) -> bool) -> Duration {
        let mut left = self.sums(now);
        let mut wait = Duration::ZERO;
        for (second, counted) in &self.seconds {
            if has_room(left) {
                break;
            }
            left = left.without(*counted);
            let forgotten = second.saturating_add(1 + LENGTH_S).saturating_mul(1_000);
            wait = Timestamp::from_millis(forgotten) - now;
        }
        wait
    }

    /// Forgets what is over and returns the second that counts now.
    fn slide(&mut self, now: Timestamp) -> i64 {
        let mut second = second_of(now);
        if let Some((last, _)) = self.seconds.back() {
            let ahead = last.saturating_sub(second);
            if ahead > LENGTH_S {
                // The clock was set back: what was counted just before must not count until it is that late again.
                for (at, _) in &mut self.seconds {
                    *at -= ahead;
                }
            } else {
                // Another thread read the clock later and came first.
                second = second.max(*last);
            }
        }
        let is_over = |at: i64| at.saturating_add(LENGTH_S) < second;
        while self.seconds.front().is_some_and(|(at, _)| is_over(*at)) {
            self.seconds.pop_front();
        }
        second
    }
}

impl Counted {
    fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

fn second_of(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_795_334_400_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    fn requests(minute: &mut Minute, millis: i64) -> u64 {
        minute.sums(at(millis)).requests
    }

    #[test]
    fn what_was_counted_counts_for_a_minute_and_the_rest_of_its_second() {
        let mut minute = Minute::default();
        minute.add(at(0), 1, 100);
        minute.add(at(999), 1, 10);
        minute.add(at(30_000), 2, 0);

        let cases = [
            (30_000, 4, 110),
            (60_999, 4, 110),
            (61_000, 2, 0),
            (90_999, 2, 0),
            (91_000, 0, 0),
        ];
        for (millis, requests, tokens) in cases {
            let expected = Counted { requests, tokens };
            assert_eq!(minute.clone().sums(at(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn the_wait_is_until_enough_is_forgotten() {
        let mut minute = Minute::default();
        minute.add(at(0), 1, 0);
        minute.add(at(10_500), 2, 500);

        let mut wait = |most: u64| {
            let wait = minute.wait(at(20_250), |counted| counted.requests < most);
            wait.as_millis()
        };
        assert_eq!(wait(4), 0);
        assert_eq!(wait(3), 40_750);
        assert_eq!(wait(2), 50_750);
        assert_eq!(wait(0), 50_750);
        assert_eq!(
            Minute::default().wait(at(0), |_| false),
            Duration::ZERO,
            "nothing will be forgotten"
        );
    }

    #[test]
    fn a_request_is_taken_back_from_the_second_it_was_counted_in() {
        let mut minute = Minute::default();
        minute.add(at(0), 1, 0);
        minute.add(at(5_000), 1, 0);

        minute.take_back(at(300));
        assert_eq!(
            minute.wait(at(6_000), |sums| sums.requests < 1).as_secs(),
            60
        );
        minute.take_back(at(5_000));
        minute.take_back(at(5_000));
        assert_eq!(requests(&mut minute, 6_000), 0);

        minute.add(at(70_000), 1, 0);
        minute.take_back(at(5_000));
        assert_eq!(requests(&mut minute, 70_000), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up_for_longer_than_a_minute() {
        let mut minute = Minute::default();
        minute.add(at(0), 1, 0);
        minute.add(at(3_600_000), 1, 0);

        assert_eq!(
            requests(&mut minute, 3_599_500),
            1,
            "a thread that came late"
        );
        minute.add(at(3_599_500), 1, 0);
        assert_eq!(requests(&mut minute, 100), 2);
        assert_eq!(requests(&mut minute, 60_999), 2);
        assert_eq!(requests(&mut minute, 61_000), 0);

        for time in [i64::MIN, i64::MAX, i64::MIN] {
            let time = Timestamp::from_millis(time);
            minute.add(time, 1, u64::MAX);
            minute.wait(time, |_| false);
        }
    }

    proptest! {
        #[test]
        fn no_sixty_seconds_hold_more_than_was_admitted(
            most in 1..5_u64,
            gaps in prop::collection::vec(0..30_000_i64, 1..100),
        ) {
            let mut minute = Minute::default();
            let (mut now, mut admitted) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let wait = minute.wait(at(now), |sums| sums.requests < most);
                if wait > Duration::ZERO {
                    let free = now + i64::try_from(wait.as_millis()).unwrap();
                    prop_assert!(minute.clone().sums(at(free)).requests < most);
                    prop_assert!(minute.clone().sums(at(free - 1)).requests >= most);
                    continue;
                }
                minute.add(at(now), 1, 0);
                admitted.push(now);
                let since = admitted.iter().filter(|then| **then > now - 60_000);
                prop_assert!(u64::try_from(since.count()).unwrap() <= most);
            }
        }
    }
}
