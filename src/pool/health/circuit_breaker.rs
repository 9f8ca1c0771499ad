//! `CircuitBreaker`: blocks requests while open, then admits one probe at a time (half-open).

use std::time::Duration;

use crate::clock::Timestamp;

/// How long other requests wait at least during a probe.
const PROBE_WAIT: Duration = Duration::from_millis(500);

/// An open circuit breaker. A closed one is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    opened_at: Timestamp,
    half_open_at: Timestamp,
    /// Number of consecutive times it was opened.
    step: u32,
    /// A probe is running.
    is_probing: bool,
}

/// How long a breaker stays open: `first`, doubling to `most`, a quarter more or less by `chance` (0 to 1), so that
/// many pools with the same trouble do not probe together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    fn interval(self, step: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(step));
        doubled.min(self.most).mul_f64(0.75 + chance / 2.0)
    }
}

impl CircuitBreaker {
    pub fn open(now: Timestamp, backoff: Backoff, chance: f64) -> Self {
        Self {
            opened_at: now,
            half_open_at: now + backoff.interval(0, chance),
            step: 0,
            is_probing: false,
        }
    }

    /// Whether a request is admitted at `now`; else when to try again.
    pub fn admits(&self, now: Timestamp) -> Result<(), Timestamp> {
        if now < self.half_open_at {
            Err(self.half_open_at)
        } else if self.is_probing {
            Err(now + PROBE_WAIT)
        } else {
            Ok(())
        }
    }

    /// Makes the admitted request the probe.
    pub fn begin_probe(&mut self) {
        self.is_probing = true;
    }

    /// Ends a probe without a result.
    pub fn end_probe(&mut self) {
        self.is_probing = false;
    }

    /// Whether a request that began at `began` is evidence: it began after the breaker was opened.
    pub fn is_new_evidence(&self, began: Timestamp) -> bool {
        began > self.opened_at
    }

    /// Opens the breaker again after a failed probe.
    pub fn reopen(&mut self, now: Timestamp, backoff: Backoff, chance: f64) {
        let step = self.step.saturating_add(1);
        *self = Self {
            step,
            half_open_at: now + backoff.interval(step, chance),
            ..Self::open(now, backoff, chance)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const PAUSE: Backoff = Backoff {
        first: Duration::from_secs(2),
        most: Duration::from_secs(30),
    };

    #[test]
    fn one_request_at_a_time_probes_a_half_open_breaker() {
        let mut breaker = CircuitBreaker::open(START, PAUSE, 0.5);
        let opens = START + Duration::from_secs(2);

        assert_eq!(breaker.admits(START), Err(opens));
        assert_eq!(breaker.admits(opens), Ok(()));
        breaker.begin_probe();
        assert_eq!(breaker.admits(opens), Err(opens + PROBE_WAIT));
        breaker.end_probe();
        assert_eq!(breaker.admits(opens), Ok(()));
    }

    #[test]
    fn each_failed_probe_doubles_the_open_time_up_to_a_limit() {
        let mut breaker = CircuitBreaker::open(START, PAUSE, 0.5);

        let pauses: Vec<_> = (0..5)
            .map(|_| {
                breaker.reopen(START, PAUSE, 0.5);
                (breaker.half_open_at - START).as_secs()
            })
            .collect();

        assert_eq!(pauses, [4, 8, 16, 30, 30]);
    }

    #[test]
    fn chance_spreads_the_pauses() {
        let opens =
            |chance| (CircuitBreaker::open(START, PAUSE, chance).half_open_at - START).as_millis();

        assert_eq!([0.0, 0.5, 1.0].map(opens), [1_500, 2_000, 2_500]);
    }
}
