//! `BatchPace`: the size of the next of many small write transactions, and the pause before it.

use std::time::Duration;

/// How long a batch of the server should hold the write lock, for which commits of requests wait.
const OWN_TARGET: Duration = Duration::from_millis(4);
/// The same for work that an admin waits for, with shorter pauses: more commits meet one of its batches.
const PROMPT_TARGET: Duration = Duration::from_millis(3);
/// The same of another process. SQLite asks for the lock again after 1, 3, 8, 18, 33 … ms, so that a commit waits longer than the batch takes.
const FOREIGN_TARGET: Duration = Duration::from_millis(2);
/// How long no batch should hold it. A batch stays below it while a unit costs less than five times what it cost in the last one.
pub const LIMIT: Duration = Duration::from_millis(20);
/// The pause is so many times as long as the batch: the lock, and the disk, are free for nine tenths of the time.
const PAUSE_FACTOR: u32 = 9;
/// The same for work that an admin waits for: half of the time.
const PROMPT_PAUSE_FACTOR: u32 = 1;
/// Bounds of the pause. A shorter one would leave no room between commits, a longer one after a slow batch would not help requests.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MIN_PROMPT_PAUSE: Duration = Duration::from_millis(2);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The pace of work in batches of rows or pages, by how long the last batch took.
#[derive(Debug)]
pub struct BatchPace {
    size: u32,
    max_size: u32,
    target: Duration,
    pause_factor: u32,
    min_pause: Duration,
}

impl BatchPace {
    /// Batches of up to `max_size` units within the server; the first one is small, because nothing is known of its cost.
    pub fn of_server(max_size: u32) -> Self {
        Self {
            size: max_size.clamp(1, 16),
            max_size,
            target: OWN_TARGET,
            pause_factor: PAUSE_FACTOR,
            min_pause: MIN_PAUSE,
        }
    }

    /// The same for work that an admin waits for.
    pub fn of_job(max_size: u32) -> Self {
        Self {
            target: PROMPT_TARGET,
            pause_factor: PROMPT_PAUSE_FACTOR,
            min_pause: MIN_PROMPT_PAUSE,
            ..Self::of_server(max_size)
        }
    }

    /// The same for a command beside the server.
    pub fn of_command(max_size: u32) -> Self {
        Self {
            target: FOREIGN_TARGET,
            ..Self::of_server(max_size)
        }
    }

    /// The size of the next batch.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Takes the result of a batch of `done` units, and returns the pause before the next one.
    pub fn after(&mut self, done: u32, took: Duration) -> Duration {
        self.size = next_size(done, self.size, took, self.target).min(self.max_size);
        (took * self.pause_factor).clamp(self.min_pause, MAX_PAUSE)
    }
}

/// The size of the batch after one of `done` units, of at most `size`, that held the write lock for `took`.
///
/// It is what took `target` at the same cost per unit, at most half as much again as before: the cost of a unit changes with what
/// is cached.
fn next_size(done: u32, size: u32, took: Duration, target: Duration) -> u32 {
    let micros = |duration: Duration| duration.as_micros().max(1);
    let fitting = u128::from(done.max(1)) * micros(target) / micros(took);
    let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
    fitting.clamp(1, size.saturating_add(size.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_batch_has_what_fits_and_the_pause_is_in_proportion() {
        let ms = Duration::from_millis;
        for (done, size, took, expected_size, pause) in [
            (100, 100, ms(4), 100, ms(36)),
            (100, 100, ms(8), 50, ms(72)),
            (100, 100, ms(1), 150, ms(10)),
            (100, 100, ms(3), 133, ms(27)),
            (100, 100, ms(400), 1, ms(2_000)),
            (1, 1, ms(4_000), 1, ms(2_000)),
            (1, 1, ms(1), 2, ms(10)),
            // A last batch that found less says little about a full one.
            (10, 100, ms(1), 40, ms(10)),
            (0, 100, ms(0), 150, ms(10)),
        ] {
            let mut pace = BatchPace {
                size,
                ..BatchPace::of_server(1_000)
            };
            let found = (pace.after(done, took), pace.size());
            assert_eq!(found, (pause, expected_size), "{done} in {took:?}");
        }
        let mut job = BatchPace::of_job(1_000);
        assert_eq!(job.after(16, ms(5)), ms(5));
        assert_eq!(job.after(16, ms(0)), ms(2));
    }

    proptest! {
        /// A transaction costs something by itself, and a row up to four times what the row before it cost.
        #[test]
        fn no_batch_takes_longer_than_the_limit(
            factors in prop::collection::vec(0.25..4.0_f64, 1..300),
            fixed_micros in 0..500_u32,
        ) {
            let mut pace = BatchPace::of_server(2_000);
            let mut row_micros = 30.0_f64;
            for factor in factors {
                // From rows in the cache of SQLite to one read of the disk for each.
                row_micros = (row_micros * factor).clamp(10.0, 900.0);
                let size = pace.size();
                let took = Duration::from_secs_f64(
                    (f64::from(fixed_micros) + f64::from(size) * row_micros) / 1e6,
                );
                prop_assert!(took <= LIMIT, "{size} rows in {took:?}");
                let pause = pace.after(size, took);
                prop_assert!(pause >= took * PAUSE_FACTOR);
            }
        }
    }

    #[test]
    fn cheap_rows_are_deleted_in_large_batches() {
        let mut pace = BatchPace::of_server(500);

        for _ in 0..20 {
            let size = pace.size();
            pace.after(size, Duration::from_micros(5) * size);
        }

        assert_eq!(pace.size(), 500);
    }
}
