//! `Portion`: how much one transaction writes, so that commits wait for it only shortly.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A number of rows that follows the time which they take.
#[derive(Debug)]
pub struct Portion {
    size: usize,
    range: RangeInclusive<usize>,
    time: Duration,
}

impl Portion {
    /// A portion that holds the write lock for about `time`.
    pub fn new(size: usize, range: RangeInclusive<usize>, time: Duration) -> Self {
        Self { size, range, time }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Adapts the size to a transaction that wrote so many rows in that time.
    pub fn adapt(&mut self, rows: usize, took: Duration) {
        let adapted = if took > self.time * 2 {
            self.size / 2
        } else if took < self.time && rows.saturating_mul(2) > self.size {
            self.size + self.size / 4
        } else {
            self.size
        };
        self.size = adapted.clamp(*self.range.start(), *self.range.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_follow_the_time_they_take() {
        let time = Duration::from_millis(8);
        let mut portion = Portion::new(512, 256..=1_024, time);
        for _ in 0..100 {
            portion.adapt(portion.size(), time / 10);
        }
        assert_eq!(portion.size(), 1_024);
        for _ in 0..100 {
            portion.adapt(portion.size(), time * 3);
        }
        assert_eq!(portion.size(), 256);
        portion.adapt(1, Duration::ZERO);
        assert_eq!(portion.size(), 256, "a rest says little");
    }
}
