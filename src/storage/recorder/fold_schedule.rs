//! `FoldSchedule`: when a batch is committed to the journal, and when and in which portions the journal is folded.

use std::time::{Duration, Instant};

use crate::storage::recorder::portion::Portion;

/// How long a write stays in the journal at most, unless the database is slow: with its fold less than a second. At 200 requests a
/// second more frequent folds would delay more than one of a hundred commits.
const MAX_AGE: Duration = Duration::from_millis(750);
/// The number of journalled writes that starts a fold: of so many, the entries are still in SQLite's cache when they are deleted.
const MAX_WRITES: usize = 1_024;
/// The number of journalled writes from which no batch is committed before the journal is shorter.
const LIMIT: usize = 16 * MAX_WRITES;
/// After such a pause a small batch goes to the tables at once.
const QUIET: Duration = Duration::from_millis(50);
/// The largest batch that goes to the tables at once.
const SMALL: usize = 16;
/// A write costs half as much in a portion of 512 as in one of 128, because pages are written once for all of its writes.
const PORTION_WRITES: std::ops::RangeInclusive<usize> = 256..=1_024;
const PORTION_TIME: Duration = Duration::from_millis(8);
/// So few writes come from little traffic: processor time is left, and a commit should not wait for them all at once.
const FEW_WRITES: usize = 512;
const FEW_PORTION_WRITES: std::ops::RangeInclusive<usize> = 16..=FEW_WRITES;
const FEW_PORTION_TIME: Duration = Duration::from_millis(2);

/// The state of the journal as far as the schedule needs it.
#[derive(Debug)]
pub struct FoldSchedule {
    has_journal: bool,
    last_commit: Option<Instant>,
    /// When the oldest entry was committed.
    oldest: Option<Instant>,
    /// The fold that was asked for, or is under way.
    fold: Option<Fold>,
    journalled: usize,
    /// The portions of a fold of more than [`FEW_WRITES`].
    portion: Portion,
    /// The portions of the other folds.
    few_portion: Portion,
}

/// A fold of the writes that were in the journal when it began. What is committed meanwhile is left to the next one: the last
/// portions would be small, and each portion writes the statistics of all keys that it names.
#[derive(Debug)]
struct Fold {
    began: Instant,
    /// The writes that are still to be folded.
    left: usize,
    /// Whether it began with more than [`FEW_WRITES`].
    is_many: bool,
}

impl Default for FoldSchedule {
    fn default() -> Self {
        Self {
            has_journal: true,
            last_commit: None,
            oldest: None,
            fold: None,
            journalled: 0,
            portion: Portion::new(512, PORTION_WRITES, PORTION_TIME),
            few_portion: Portion::new(64, FEW_PORTION_WRITES, FEW_PORTION_TIME),
        }
    }
}

impl FoldSchedule {
    /// For a writer that has no journal: every batch goes to the tables at once.
    pub fn without_journal() -> Self {
        Self {
            has_journal: false,
            ..Self::default()
        }
    }

    pub fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// Whether a batch of so many writes goes to the tables at once: with little traffic a second write would save nothing.
    pub fn is_direct(&self, writes: usize, now: Instant) -> bool {
        let is_quiet = self
            .last_commit
            .is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        !self.has_journal || self.journalled == 0 && writes <= SMALL && is_quiet
    }

    /// Counts a batch that was committed to its tables.
    pub fn written(&mut self, now: Instant) {
        self.last_commit = Some(now);
    }

    /// Counts a batch that was committed to the journal.
    pub fn journalled(&mut self, writes: usize, now: Instant) {
        self.last_commit = Some(now);
        self.oldest.get_or_insert(now);
        self.journalled += writes;
    }

    /// Makes the whole journal due: something waits for its writes.
    pub fn demand(&mut self, now: Instant) {
        self.fold = (self.journalled > 0).then_some(Fold {
            began: now,
            left: self.journalled,
            is_many: self.journalled > FEW_WRITES,
        });
    }

    /// Whether the next portion is due. A fold that has begun goes on until everything is folded that was there at its beginning.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let begins = self.journalled >= MAX_WRITES || self.due_at().is_some_and(|at| at <= now);
        if self.fold.is_none() && begins {
            self.demand(now);
        }
        self.fold.is_some()
    }

    /// When the fold begins if nothing else is committed; `None`: the journal is empty.
    pub fn due_at(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + MAX_AGE)
    }

    /// Whether the journal must be shorter before a batch is committed.
    pub fn is_full(&self) -> bool {
        self.journalled >= LIMIT
    }

    /// How many writes the next portion has at most, unless its first entry is larger.
    pub fn portion(&self) -> usize {
        if self.is_many() {
            self.portion.size()
        } else {
            self.few_portion.size()
        }
    }

    /// Counts a portion that was folded, and adapts the next one to the time it took.
    pub fn folded(&mut self, writes: usize, took: Duration) {
        let portion = if self.is_many() {
            &mut self.portion
        } else {
            &mut self.few_portion
        };
        portion.adapt(writes, took);
        self.journalled = self.journalled.saturating_sub(writes);
        if let Some(fold) = &mut self.fold {
            fold.left = fold.left.saturating_sub(writes);
        }
        if let Some(ended) = self.fold.take_if(|fold| fold.left == 0) {
            // What is left was committed after it began.
            self.oldest = Some(ended.began);
        }
        if self.journalled == 0 {
            (self.oldest, self.fold) = (None, None);
        }
    }

    fn is_many(&self) -> bool {
        let many = || self.journalled > FEW_WRITES;
        self.fold.as_ref().map_or_else(many, |fold| fold.is_many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn little_traffic_goes_to_the_tables_at_once() {
        let (mut schedule, now) = (FoldSchedule::default(), clock::instant());
        assert!(schedule.is_direct(1, now));
        assert!(!schedule.is_direct(SMALL + 1, now));

        schedule.written(now);
        assert!(!schedule.is_direct(1, now + QUIET / 2));
        assert!(schedule.is_direct(1, now + QUIET));

        schedule.journalled(1, now);
        assert!(!schedule.is_direct(1, now + QUIET), "the order is kept");
    }

    #[test]
    fn a_fold_begins_by_age_number_or_demand_and_leaves_what_is_committed_meanwhile() {
        let now = clock::instant();
        let begun = |begin: fn(&mut FoldSchedule, Instant) -> (Instant, usize)| {
            let mut schedule = FoldSchedule::default();
            schedule.journalled(10, now);
            assert!(!schedule.is_due(now + MAX_AGE / 2));
            let (began, count) = begin(&mut schedule, now);
            assert!(schedule.is_due(began));
            schedule.folded(5, Duration::ZERO);
            let meanwhile = began + MAX_AGE / 2;
            schedule.journalled(7, meanwhile);
            assert!(schedule.is_due(meanwhile));
            schedule.folded(count - 5, Duration::ZERO);
            assert!(!schedule.is_due(meanwhile));
            assert_eq!(
                schedule.due_at(),
                Some(began + MAX_AGE),
                "none of them waits longer than its age allows"
            );
            assert!(schedule.is_due(began + MAX_AGE));
            schedule.folded(7, Duration::ZERO);
            assert!(!schedule.is_due(now + 9 * MAX_AGE));
            assert_eq!(schedule.due_at(), None);
        };

        begun(|_, now| (now + MAX_AGE, 10));
        begun(|schedule, now| {
            schedule.journalled(MAX_WRITES, now);
            (now, 10 + MAX_WRITES)
        });
        begun(|schedule, now| {
            schedule.demand(now);
            (now, 10)
        });
        let mut empty = FoldSchedule::default();
        empty.demand(now);
        assert!(!empty.is_due(now), "nothing to fold");
    }

    #[test]
    fn few_writes_are_folded_in_shorter_portions() {
        let (mut schedule, now) = (FoldSchedule::default(), clock::instant());
        schedule.journalled(FEW_WRITES, now);
        let first = schedule.portion();
        schedule.folded(first, FEW_PORTION_TIME * 3);
        assert!(schedule.portion() < first);
        schedule.journalled(MAX_WRITES, now);
        assert!(
            schedule.portion() > first,
            "the pace of much traffic is its own"
        );
    }

    #[test]
    fn a_full_journal_is_folded_first() {
        let (mut schedule, now) = (FoldSchedule::default(), clock::instant());
        schedule.journalled(LIMIT, now);
        assert!(schedule.is_full());
        schedule.folded(1, Duration::ZERO);
        assert!(!schedule.is_full());
    }
}
