//! `Hedging`: the time after which a request of a model is hedged (sent to a second project too), and the share of
//! requests that may be.

use std::collections::HashMap;
use std::time::Duration;

/// Maximum number of models whose times are kept.
const MAX_MODELS: usize = 200;
/// How many of the last times of a model are kept.
const KEPT_TIMES: usize = 200;
/// Fewer times say too little of a model.
const MIN_TIMES: usize = 20;
/// The largest number of hedges at once after many requests without one.
const MAX_ALLOWANCE: f64 = 10.0;

/// The times to the first byte of each model, and the hedges that may be sent.
#[derive(Debug, Default)]
pub struct Hedging {
    models: HashMap<Box<str>, FirstByteTimes>,
    allowance: f64,
}

/// The last times, in a ring.
#[derive(Debug, Default)]
struct FirstByteTimes {
    times: Vec<Duration>,
    next: usize,
}

impl Hedging {
    /// Counts a request that may be hedged: `percent` of such requests may be.
    pub fn count_request(&mut self, percent: u64) {
        let share = f64::from(u32::try_from(percent.min(100)).unwrap_or(100)) / 100.0;
        self.allowance = (self.allowance + share).min(MAX_ALLOWANCE);
    }

    /// Takes one hedge out of the allowance, if one is left.
    pub fn take(&mut self) -> bool {
        let is_allowed = self.allowance >= 1.0;
        if is_allowed {
            self.allowance -= 1.0;
        }
        is_allowed
    }

    /// Returns a hedge that was taken and not sent.
    pub fn give_back(&mut self) {
        self.allowance = (self.allowance + 1.0).min(MAX_ALLOWANCE);
    }

    /// Adds how long an attempt took to its first byte, or how long it had taken when it was cancelled.
    pub fn add_time(&mut self, model: &str, time: Duration) {
        if !self.models.contains_key(model) {
            if self.models.len() >= MAX_MODELS {
                return;
            }
            self.models.insert(model.into(), FirstByteTimes::default());
        }
        if let Some(kept) = self.models.get_mut(model) {
            kept.add(time);
        }
    }

    /// The 95th percentile of the model's times to the first byte; `None`: too few are known.
    pub fn slow_after(&self, model: &str) -> Option<Duration> {
        let mut times = self.models.get(model)?.times.clone();
        if times.len() < MIN_TIMES {
            return None;
        }
        let rank = times.len() * 95 / 100;
        let (_, time, _) = times.select_nth_unstable(rank);
        Some(*time)
    }
}

impl FirstByteTimes {
    fn add(&mut self, time: Duration) {
        match self.times.get_mut(self.next) {
            Some(oldest) => *oldest = time,
            None => self.times.push(time),
        }
        self.next = (self.next + 1) % KEPT_TIMES;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: &str = "gemini-2.5-flash";

    #[test]
    fn the_slow_times_are_those_beyond_95_of_the_last() {
        let mut hedging = Hedging::default();
        for ms in 0..1_000 {
            hedging.add_time(MODEL, Duration::from_millis(ms));
        }

        // The last 200 are 800 to 999.
        let slow = hedging.slow_after(MODEL);
        assert_eq!(slow, Some(Duration::from_millis(990)));
        assert_eq!(hedging.slow_after("another"), None);
    }

    #[test]
    fn a_model_is_not_hedged_before_its_times_are_known() {
        let mut hedging = Hedging::default();
        for _ in 0..MIN_TIMES - 1 {
            hedging.add_time(MODEL, Duration::from_secs(1));
        }
        assert_eq!(hedging.slow_after(MODEL), None);

        hedging.add_time(MODEL, Duration::from_secs(1));
        assert_eq!(hedging.slow_after(MODEL), Some(Duration::from_secs(1)));
    }

    #[test]
    fn models_beyond_the_maximum_are_not_kept() {
        let mut hedging = Hedging::default();
        for number in 0..2 * MAX_MODELS {
            hedging.add_time(&format!("model-{number}"), Duration::ZERO);
        }
        assert_eq!(hedging.models.len(), MAX_MODELS);
    }

    proptest! {
        #[test]
        fn no_more_than_the_share_is_hedged(
            percent in 0..=100_u64,
            tries in prop::collection::vec(any::<bool>(), 0..500),
        ) {
            let mut hedging = Hedging::default();
            let (mut requests, mut hedges) = (0_u64, 0_u64);
            for wants in tries {
                hedging.count_request(percent);
                requests += 1;
                hedges += u64::from(wants && hedging.take());
                prop_assert!(hedges * 100 <= requests * percent);
            }
        }
    }
}
