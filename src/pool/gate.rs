//! `Gate`: holds requests back for a while, then lets a single one through to see how things are.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long others wait at least while one request looks.
const LOOKING: Duration = Duration::from_millis(500);

/// A closed way. Once it is known to be open again there is no gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    closed_at: Timestamp,
    opens_at: Timestamp,
    /// How often in a row it was closed again.
    step: u32,
    /// One request is on its way to see.
    is_probed: bool,
}

/// How long a gate stays closed: `first`, doubling to `most`, a quarter more or less by `chance` (0 to 1), so that
/// many pools that met the same trouble do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub first: Duration,
    pub most: Duration,
}

impl Pause {
    fn after(self, step: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(step));
        doubled.min(self.most).mul_f64(0.75 + chance / 2.0)
    }
}

impl Gate {
    pub fn close(now: Timestamp, pause: Pause, chance: f64) -> Self {
        Self {
            closed_at: now,
            opens_at: now + pause.after(0, chance),
            step: 0,
            is_probed: false,
        }
    }

    /// Whether a request may pass at `now`; else when to ask again.
    pub fn admits(&self, now: Timestamp) -> Result<(), Timestamp> {
        if now < self.opens_at {
            Err(self.opens_at)
        } else if self.is_probed {
            Err(now + LOOKING)
        } else {
            Ok(())
        }
    }

    /// Sends the request that was admitted to see.
    pub fn probe(&mut self) {
        self.is_probed = true;
    }

    /// The request that went to see came back without an answer to the question.
    pub fn release(&mut self) {
        self.is_probed = false;
    }

    /// What a request that began at `began` met is no news when it began before the gate was closed.
    pub fn is_news(&self, began: Timestamp) -> bool {
        began > self.closed_at
    }

    /// The way is still closed.
    pub fn close_again(&mut self, now: Timestamp, pause: Pause, chance: f64) {
        let step = self.step.saturating_add(1);
        *self = Self {
            step,
            opens_at: now + pause.after(step, chance),
            ..Self::close(now, pause, chance)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const PAUSE: Pause = Pause {
        first: Duration::from_secs(2),
        most: Duration::from_secs(30),
    };

    #[test]
    fn one_request_at_a_time_sees_whether_the_way_is_open() {
        let mut gate = Gate::close(START, PAUSE, 0.5);
        let opens = START + Duration::from_secs(2);

        assert_eq!(gate.admits(START), Err(opens));
        assert_eq!(gate.admits(opens), Ok(()));
        gate.probe();
        assert_eq!(gate.admits(opens), Err(opens + LOOKING));
        gate.release();
        assert_eq!(gate.admits(opens), Ok(()));
    }

    #[test]
    fn each_time_it_stays_closed_twice_as_long_up_to_a_limit() {
        let mut gate = Gate::close(START, PAUSE, 0.5);

        let pauses: Vec<_> = (0..5)
            .map(|_| {
                gate.close_again(START, PAUSE, 0.5);
                (gate.opens_at - START).as_secs()
            })
            .collect();

        assert_eq!(pauses, [4, 8, 16, 30, 30]);
    }

    #[test]
    fn chance_spreads_the_pauses() {
        let opens = |chance| (Gate::close(START, PAUSE, chance).opens_at - START).as_millis();

        assert_eq!([0.0, 0.5, 1.0].map(opens), [1_500, 2_000, 2_500]);
    }
}
