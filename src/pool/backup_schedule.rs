//! `BackupSchedule`: when the next scheduled backup is due, and which scheduled backups are deleted.

use std::cmp::Reverse;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::settings::Settings;

/// The longest time until a failed backup is made again.
const MAX_RETRY_DELAY: Duration = Duration::from_hours(1);
/// A backup that is due for longer than this is overdue: a large one takes minutes.
const OVERDUE_AFTER: Duration = Duration::from_hours(1);

/// The admin's settings of scheduled backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupSchedule {
    /// Zero: none is scheduled.
    interval: Duration,
    keep: usize,
}

impl BackupSchedule {
    pub fn of(settings: &Settings) -> Self {
        Self {
            interval: Duration::from_hours(settings.backup_interval_hours),
            keep: usize::try_from(settings.backup_keep).unwrap_or(usize::MAX),
        }
    }

    /// When the next backup is due, which may be in the past; `None`: none is scheduled.
    ///
    /// `made` are the times of all backups, also of those made by an admin; `failed_at` is the time of the last attempt, if it failed.
    pub fn next_at(
        self,
        made: impl IntoIterator<Item = Timestamp>,
        failed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.interval.is_zero() {
            return None;
        }
        let due = self.due_at(made, now);
        let retry = failed_at.filter(|failed| *failed <= now);
        let retry = retry.map(|failed| failed + self.interval.min(MAX_RETRY_DELAY));
        Some(retry.map_or(due, |retry| retry.max(due)))
    }

    /// Whether a backup should have been made a while ago.
    pub fn is_overdue(self, made: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> bool {
        let mut made = made.into_iter().peekable();
        // Without any the first one is due at once, and since when is not known.
        made.peek().is_some()
            && !self.interval.is_zero()
            && now > self.due_at(made, now) + OVERDUE_AFTER
    }

    /// An interval after the last backup. A backup of the future was made while the clock was wrong, and counts as none.
    fn due_at(self, made: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Timestamp {
        let last = made.into_iter().filter(|made| *made <= now).max();
        last.map_or(now, |last| last + self.interval)
    }

    /// The scheduled backups to delete after a new one was made at `now`: the oldest ones beyond the number to keep. Those of the future,
    /// which were made while the clock was wrong, count as older than the others. The newest is never one of them.
    pub fn excess<T>(
        self,
        mut scheduled: Vec<T>,
        made_at: impl Fn(&T) -> Timestamp,
        now: Timestamp,
    ) -> Vec<T> {
        scheduled.sort_by_key(|backup| {
            let made = made_at(backup);
            (made > now, Reverse(made))
        });
        let kept = self.keep.max(1).min(scheduled.len());
        scheduled.split_off(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const MINUTE: Duration = Duration::from_mins(1);
    const NOW: Timestamp = Timestamp::from_millis(1_795_334_400_000);

    fn schedule(hours: u64, keep: usize) -> BackupSchedule {
        BackupSchedule {
            interval: Duration::from_hours(hours),
            keep,
        }
    }

    #[test]
    fn a_backup_is_due_an_interval_after_the_last_one_of_any_kind() {
        let day = schedule(24, 7);
        for (what, made, failed_at, expected) in [
            ("none yet", vec![], None, NOW),
            ("one", vec![NOW - HOUR], None, NOW + 23 * HOUR),
            (
                "newest",
                vec![NOW - 30 * HOUR, NOW - HOUR],
                None,
                NOW + 23 * HOUR,
            ),
            ("late", vec![NOW - 30 * HOUR], None, NOW - 6 * HOUR),
            ("of the future", vec![NOW + 900 * HOUR], None, NOW),
            (
                "one of the future",
                vec![NOW + 900 * HOUR, NOW - 2 * HOUR],
                None,
                NOW + 22 * HOUR,
            ),
            ("failed", vec![], Some(NOW - 20 * MINUTE), NOW + 40 * MINUTE),
            (
                "failed, and an admin made one",
                vec![NOW - MINUTE],
                Some(NOW - 20 * MINUTE),
                NOW + 24 * HOUR - MINUTE,
            ),
            ("failed in the future", vec![], Some(NOW + HOUR), NOW),
        ] {
            assert_eq!(day.next_at(made, failed_at, NOW), Some(expected), "{what}");
        }
        assert_eq!(schedule(0, 7).next_at([], None, NOW), None);
    }

    #[test]
    fn a_backup_is_overdue_an_hour_after_it_was_due() {
        let day = schedule(24, 7);

        assert!(!day.is_overdue([], NOW));
        assert!(!day.is_overdue([NOW - 25 * HOUR], NOW));
        assert!(day.is_overdue([NOW - 25 * HOUR - MINUTE], NOW));
        assert!(!schedule(0, 7).is_overdue([NOW - 900 * HOUR], NOW));
    }

    #[test]
    fn the_oldest_beyond_the_number_to_keep_are_deleted() {
        let made = |hours: &[i64]| hours.iter().map(|hours| at(*hours)).collect::<Vec<_>>();
        for (keep, all, expected) in [
            (2, vec![], vec![]),
            (2, vec![0, -24], vec![]),
            (2, vec![-48, 0, -24, -72], vec![-48, -72]),
            (1, vec![0, -24], vec![-24]),
            (0, vec![0, -24], vec![-24]),
            // Made while the clock was ahead.
            (2, vec![900, 0, 800, -24], vec![900, 800]),
        ] {
            let excess = schedule(24, keep).excess(made(&all), |made| *made, NOW);
            assert_eq!(excess, made(&expected), "{keep} of {all:?}");
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + hours * 3_600_000)
    }
}
