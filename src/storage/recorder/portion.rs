//! `Portion`: how much one transaction writes, so that commits wait for it only shortly.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A transaction holds the write lock about so long.
pub const PORTION_TIME: Duration = Duration::from_millis(8);

/// A number of rows that follows the time which they take.
#[derive(Debug)]
pub struct Portion {
    size: usize,
    range: RangeInclusive<usize>,
}

impl Portion {
    pub fn new(size: usize, range: RangeInclusive<usize>) -> Self {
        Self { size, range }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Adapts the size to a transaction that wrote so many rows in that time.
    pub fn adapt(&mut self, rows: usize, took: Duration) {
        let adapted = if took > PORTION_TIME * 2 {
            self.size / 2
        } else if took < PORTION_TIME && rows.saturating_mul(2) > self.size {
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
        let mut portion = Portion::new(512, 256..=1_024);
        for _ in 0..100 {
            portion.adapt(portion.size(), PORTION_TIME / 10);
        }
        assert_eq!(portion.size(), 1_024);
        for _ in 0..100 {
            portion.adapt(portion.size(), PORTION_TIME * 3);
        }
        assert_eq!(portion.size(), 256);
        portion.adapt(1, Duration::ZERO);
        assert_eq!(portion.size(), 256, "a rest says little");
    }
}
