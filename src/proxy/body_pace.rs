//! `BodyPace`: how long the next chunk of a request body may take, so that a slow body ends.

use std::time::Duration;

use crate::pool::settings::Settings;

/// A body may arrive at any rate in its first seconds.
const GRACE: Duration = Duration::from_secs(10);

/// How much of a body has arrived, and how long the pool has waited for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyPace {
    bytes: u64,
    waited: Duration,
}

impl BodyPace {
    /// Counts a chunk and the wait for it. Time in which the pool did not read does not count.
    pub fn add(&mut self, bytes: u64, waited: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
    }

    /// How long the pool waits for the next chunk: until the body falls below the least rate, and never longer than the
    /// idle timeout.
    pub fn time_left(&self, settings: &Settings) -> Duration {
        let rate = settings.body_min_bytes_per_second;
        let Some(earned_ms) = self.bytes.saturating_mul(1_000).checked_div(rate) else {
            return settings.idle_timeout(None);
        };
        let allowed = GRACE.saturating_add(Duration::from_millis(earned_ms));
        allowed
            .saturating_sub(self.waited)
            .min(settings.idle_timeout(None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(rate: u64) -> Settings {
        Settings {
            body_min_bytes_per_second: rate,
            ..Settings::default()
        }
    }

    /// How long a body lasts that sends `bytes` every `pause`.
    fn lifetime(bytes: u64, pause: Duration, settings: &Settings) -> Option<Duration> {
        let mut pace = BodyPace::default();
        for chunk in 0..10_000 {
            if pace.time_left(settings) < pause {
                return Some(pause * chunk);
            }
            pace.add(bytes, pause);
        }
        None
    }

    #[test]
    fn a_body_that_drips_ends_soon_after_its_first_seconds() {
        let second = Duration::from_secs(1);

        let ended = lifetime(1, second, &settings(1_024));

        assert_eq!(ended, Some(GRACE));
        assert_eq!(lifetime(1_024, second, &settings(1_024)), None);
        assert_eq!(lifetime(1, second, &settings(0)), None);
    }

    #[test]
    fn bytes_that_came_early_do_not_buy_a_longer_pause_than_the_idle_timeout() {
        let settings = settings(1_024);
        let mut pace = BodyPace::default();
        pace.add(1 << 40, Duration::ZERO);

        assert_eq!(pace.time_left(&settings), settings.idle_timeout(None));
    }

    proptest! {
        /// A body that keeps the rate in each chunk never runs out of time.
        #[test]
        fn the_least_rate_is_enough(rate in 1_u64..1_000_000, waits in prop::collection::vec(0_u64..10_000, 1..50)) {
            let settings = settings(rate);
            let mut pace = BodyPace::default();
            for wait in waits {
                prop_assert!(Duration::from_millis(wait) <= pace.time_left(&settings));
                pace.add((wait * rate).div_ceil(1_000), Duration::from_millis(wait));
            }
        }
    }
}
