//! `MinuteWindow` and `DayWindow`: usage in the last sixty seconds, and in Google's day.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// The length of the sliding minute.
const SPAN_MS: i64 = 60_000;
/// Amounts within one tick are stored as one; they may count one tick longer than a minute.
const TICK_MS: i64 = 1_000;

/// A number of requests and of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaAmount {
    pub requests: u64,
    pub tokens: u64,
}

/// Usage in a sliding minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinuteWindow {
    ticks: VecDeque<(i64, QuotaAmount)>,
    sum: QuotaAmount,
}

impl MinuteWindow {
    /// Counts an amount from `now` on.
    pub fn add(&mut self, amount: QuotaAmount, now: Timestamp) {
        self.forget(now);
        let tick = now.as_millis().div_euclid(TICK_MS);
        match self.ticks.back_mut() {
            // Another thread read the clock later and counted first.
            Some((last, sum)) if *last >= tick => sum.add(amount),
            Some(_) | None => self.ticks.push_back((tick, amount)),
        }
        self.sum.add(amount);
    }

    /// Subtracts an amount counted at `at`, if it still counts.
    pub fn take_back(&mut self, amount: QuotaAmount, at: Timestamp) {
        let tick = at.as_millis().div_euclid(TICK_MS);
        let counted = self.ticks.iter_mut().find(|(counted, _)| *counted == tick);
        if let Some((_, sum)) = counted {
            sum.subtract(amount);
            self.sum.subtract(amount);
        }
    }

    /// The usage at `now`.
    pub fn used(&self, now: Timestamp) -> QuotaAmount {
        let mut used = self.sum;
        for (_, gone) in self
            .ticks
            .iter()
            .take_while(|(tick, _)| !counts(*tick, now))
        {
            used.subtract(*gone);
        }
        used
    }

    /// When the usage, as read by `measure`, falls to `most`; `now` when it already has.
    pub fn falls_to(
        &self,
        most: u64,
        measure: impl Fn(&QuotaAmount) -> u64,
        now: Timestamp,
    ) -> Timestamp {
        let mut used = measure(&self.sum);
        let mut at = now;
        for (tick, amount) in &self.ticks {
            if used <= most && at >= now {
                break;
            }
            used -= measure(amount).min(used);
            at = at.max(end_of(*tick));
        }
        at
    }

    /// Adds another window.
    pub fn merge(&mut self, other: Self) {
        self.sum.add(other.sum);
        self.ticks.extend(other.ticks);
        self.ticks
            .make_contiguous()
            .sort_unstable_by_key(|(tick, _)| *tick);
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// After the clock was set back, moves all amounts so that the last one counts at `now`.
    pub fn follow_clock_set_back(&mut self, now: Timestamp) {
        let tick = now.as_millis().div_euclid(TICK_MS);
        let last = self.ticks.back().map_or(tick, |(last, _)| *last);
        if last.saturating_sub(tick) > SPAN_MS / TICK_MS {
            for (at, _) in &mut self.ticks {
                *at -= last - tick;
            }
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.follow_clock_set_back(now);
        while let Some((tick, amount)) = self.ticks.front().copied()
            && !counts(tick, now)
        {
            self.ticks.pop_front();
            self.sum.subtract(amount);
        }
    }
}

impl QuotaAmount {
    pub const fn requests(requests: u64) -> Self {
        Self {
            requests,
            tokens: 0,
        }
    }

    pub const fn tokens(tokens: u64) -> Self {
        Self {
            requests: 0,
            tokens,
        }
    }

    /// Whether any window with room for `other` has room for this.
    pub fn fits_in(self, other: Self) -> bool {
        self.requests <= other.requests
            && self.tokens <= other.tokens
            && (self.requests == 0) == (other.requests == 0)
    }

    pub fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.tokens = self.tokens.saturating_add(more.tokens);
    }

    pub fn subtract(&mut self, less: Self) {
        self.requests = self.requests.saturating_sub(less.requests);
        self.tokens = self.tokens.saturating_sub(less.tokens);
    }
}

/// Usage in a day with a known end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayWindow {
    ends: Option<Timestamp>,
    sum: QuotaAmount,
}

impl DayWindow {
    /// Counts an amount in the day that ends at `ends`; another day's usage is dropped.
    pub fn add(&mut self, amount: QuotaAmount, ends: Timestamp) {
        if self.ends != Some(ends) {
            *self = Self {
                ends: Some(ends),
                sum: QuotaAmount::default(),
            };
        }
        self.sum.add(amount);
    }

    /// Subtracts an amount counted in the day that ends at `ends`.
    pub fn take_back(&mut self, amount: QuotaAmount, ends: Timestamp) {
        if self.ends == Some(ends) {
            self.sum.subtract(amount);
        }
    }

    /// Moves usage of a later day, counted by a wrong clock, to the day that ends at `ends`.
    pub fn follow_clock_set_back(&mut self, ends: Timestamp) {
        self.ends = self.ends.map(|known| known.min(ends));
    }

    /// Adds another window; of two days the later is kept.
    pub fn merge(&mut self, other: Self) {
        match other.ends {
            Some(ends) if other.ends >= self.ends => self.add(other.sum, ends),
            Some(_) | None => {}
        }
    }

    /// The usage at `now`.
    pub fn used(&self, now: Timestamp) -> QuotaAmount {
        match self.ends {
            Some(ends) if now < ends => self.sum,
            Some(_) | None => QuotaAmount::default(),
        }
    }
}

fn counts(tick: i64, now: Timestamp) -> bool {
    now < end_of(tick)
}

fn end_of(tick: i64) -> Timestamp {
    let is_over = Timestamp::from_millis(tick.saturating_add(1).saturating_mul(TICK_MS));
    is_over + Duration::from_millis(SPAN_MS.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn requests(requests: u64) -> QuotaAmount {
        QuotaAmount {
            requests,
            tokens: 10 * requests,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn usage_counts_for_a_minute() {
        let mut minute = MinuteWindow::default();
        minute.add(requests(2), at(0));
        minute.add(requests(3), at(30));

        let used = [0, 30, 59, 61, 89, 91].map(|second| minute.used(at(second)).requests);

        // Amounts counted after `now` are unknown.
        assert_eq!(used, [5, 5, 5, 3, 3, 0]);
    }

    #[test]
    fn subtracted_usage_does_not_count() {
        let mut minute = MinuteWindow::default();
        minute.add(requests(2), at(0));
        minute.add(requests(3), at(30));

        minute.take_back(requests(2), at(0));
        minute.take_back(requests(9), at(90));

        assert_eq!(minute.used(at(31)), requests(3));
    }

    #[test]
    fn a_new_day_begins_without_usage() {
        let mut day = DayWindow::default();
        day.add(requests(4), at(100));

        assert_eq!(day.used(at(99)).requests, 4);
        assert_eq!(day.used(at(100)).requests, 0);

        day.add(requests(1), at(200));
        day.take_back(requests(3), at(100));
        assert_eq!(day.used(at(150)).requests, 1);
    }

    proptest! {
        /// Never less than the usage within a minute, never more than within a minute and a tick.
        #[test]
        fn a_minute_counts_like_a_complete_list(
            steps in prop::collection::vec((0..20_000_u64, 1..5_u64), 1..100),
            most in 0..20_u64,
        ) {
            let mut minute = MinuteWindow::default();
            let mut all = Vec::new();
            let mut now = START;
            for (pause, count) in steps {
                now = now + Duration::from_millis(pause);
                minute.add(requests(count), now);
                all.push((now, count));
                let since = |span: u64| -> u64 {
                    let begin = now - Duration::from_millis(span);
                    all.iter().filter(|(at, _)| *at > begin).map(|(_, count)| count).sum()
                };
                let used = minute.used(now).requests;
                prop_assert!(used >= since(60_000), "{used}");
                prop_assert!(used <= since(61_000), "{used}");

                let falls = minute.falls_to(most, |amount| amount.requests, now);
                prop_assert!(minute.used(falls).requests <= most);
                if falls > now {
                    prop_assert!(minute.used(falls - Duration::from_millis(1)).requests > most);
                }
            }
        }
    }
}
