//! `IndexSchedule`: when requests are added to the tables of [`key_index`](crate::storage::key_index), and in which portions.

use std::time::Duration;

use crate::storage::recorder::portion::Portion;

/// After so many writes the writer looks whether there are enough requests for a portion.
const WRITES_PER_LOOK: usize = 1_024;
/// With a hundred keys a portion of 4,096 attempts writes a page for about forty of them.
const PORTION: usize = 4_096;
/// With as many keys as attempts larger portions save nothing, and take longer.
const PORTION_RANGE: std::ops::RangeInclusive<usize> = 256..=PORTION;
/// A portion holds the write lock about so long.
const PORTION_TIME: Duration = Duration::from_millis(8);

#[derive(Debug)]
pub struct IndexSchedule {
    /// Since the last look; what was there before the start is looked at with the first write.
    writes: usize,
    portion: Portion,
}

impl Default for IndexSchedule {
    fn default() -> Self {
        Self {
            writes: WRITES_PER_LOOK,
            portion: Portion::new(PORTION, PORTION_RANGE, PORTION_TIME),
        }
    }
}

impl IndexSchedule {
    /// Counts writes to the tables.
    pub fn written(&mut self, writes: usize) {
        self.writes = self.writes.saturating_add(writes);
    }

    pub fn is_due(&self) -> bool {
        self.writes >= WRITES_PER_LOOK
    }

    /// How many attempts the next portion has.
    pub fn portion(&self) -> u32 {
        u32::try_from(self.portion.size()).unwrap_or(u32::MAX)
    }

    /// Counts a portion that was added in that time, after which there may be another one; `None`: there were too few requests.
    pub fn looked(&mut self, added: Option<Duration>) {
        match added {
            Some(took) => self.portion.adapt(self.portion.size(), took),
            None => self.writes = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_added_until_there_are_too_few_requests() {
        let mut schedule = IndexSchedule::default();
        assert!(schedule.is_due(), "of the time before the start");
        schedule.looked(Some(Duration::from_secs(1)));
        assert!(schedule.is_due());
        assert!(schedule.portion() < IndexSchedule::default().portion());

        schedule.looked(None);
        schedule.written(WRITES_PER_LOOK - 1);
        assert!(!schedule.is_due());
        schedule.written(1);
        assert!(schedule.is_due());
    }
}
