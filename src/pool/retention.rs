//! Retention of the log: the limits that it exceeds, the room that the disk lacks, and the free pages that the file
//! returns.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::request_id::MAX_BEHIND;
use crate::pool::settings::Settings;

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_hours(24);
/// A request that ended less than this ago is not deleted: a start restores limits by the minute from it.
const MIN_AGE: Duration = Duration::from_mins(2);
/// A disk is nearly full with less than a twentieth of it free, and less than this.
const MAX_RESERVE: u64 = 512 * MIB;
/// The rows that a nearly full disk does not cost.
const KEPT_ON_FULL_DISK: Duration = DAY;
/// Free pages are left in the file up to this share of it, because new rows use them, and returned above the other one.
const KEPT_FREE_PERCENT: u64 = 5;
const MAX_FREE_PERCENT: u64 = 25;
/// Fewer free bytes are not worth the writes.
const MIN_RETURNED: u64 = 4 * MIB;

/// The admin's limits of the log; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    pub age: Option<Duration>,
    pub rows: Option<u64>,
    /// Of the database file.
    pub bytes: Option<u64>,
}

/// The admin's limits of kept bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRetentionLimits {
    pub age: Duration,
    /// Of all bodies, compressed; `None`: no limit.
    pub bytes: Option<u64>,
}

/// The size of the log and of the file it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Requests and checks, running ones too.
    pub rows: u64,
    /// Bytes of the database file that hold something, whatever table it belongs to.
    pub used_bytes: u64,
    /// Bytes of the file in free pages, which the next rows use.
    pub free_bytes: u64,
}

/// The disk of the database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// A reason to delete the oldest rows, and until when to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneGoal {
    /// No row began before this time.
    Age(Timestamp),
    /// At most so many rows are left.
    Rows(u64),
    /// At most so many bytes of the file are in use.
    Bytes(u64),
    /// The same because the disk is nearly full. Rows that began at `before` or later stay.
    Disk { bytes: u64, before: Timestamp },
}

/// A disk with too little room, for the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowDisk {
    pub free_bytes: u64,
    /// Whether the log has only rows of the last day, which are not deleted for this.
    pub is_log_short: bool,
}

impl BodyRetentionLimits {
    pub fn of(settings: &Settings) -> Self {
        let bytes = settings.body_log_max_total_bytes;
        Self {
            age: DAY * u32::try_from(settings.body_log_retention_days).unwrap_or(u32::MAX),
            bytes: (bytes > 0).then_some(bytes),
        }
    }

    /// How many bytes must be deleted of so many; a little more than necessary, so that not each minute of traffic exceeds it again.
    pub fn excess_bytes(self, total: u64) -> u64 {
        match self.bytes {
            Some(limit) if total > limit => total - (limit - limit / 50),
            Some(_) | None => 0,
        }
    }
}

impl RetentionLimits {
    pub fn of(settings: &Settings) -> Self {
        let limit = |number: u64| (number > 0).then_some(number);
        Self {
            age: limit(settings.log_retention_days).map(|days| Duration::from_hours(24 * days)),
            rows: limit(settings.log_max_rows),
            bytes: limit(settings.log_max_bytes),
        }
    }

    /// What must be deleted at `now`, by each limit that may be exceeded. Without a trusted clock no row is deleted by its age.
    pub fn goals(
        self,
        size: LogSize,
        disk: Option<DiskSpace>,
        now: Timestamp,
        is_clock_trusted: bool,
    ) -> Vec<PruneGoal> {
        let age = self.age.filter(|_| is_clock_trusted);
        let rows = self.rows.filter(|rows| size.rows > *rows);
        let bytes = self.bytes.filter(|bytes| size.used_bytes > *bytes);
        let missing = disk.map_or(0, |disk| disk.missing_bytes(size));
        let on_disk = PruneGoal::Disk {
            bytes: size.used_bytes.saturating_sub(missing),
            before: now - KEPT_ON_FULL_DISK,
        };
        let goals = [
            age.map(|age| PruneGoal::Age(now - age)),
            rows.map(PruneGoal::Rows),
            // A little more than necessary, so that not each minute of traffic exceeds it again.
            bytes.map(|bytes| PruneGoal::Bytes(bytes - bytes / 50)),
            (missing > 0 && is_clock_trusted).then_some(on_disk),
        ];
        goals.into_iter().flatten().collect()
    }

    /// How many bytes of free pages are to be returned to the disk. Zero while they are few: returning a page moves another one, and the
    /// next rows would make the file grow again.
    pub fn bytes_to_return(self, size: LogSize, disk: Option<DiskSpace>) -> u64 {
        let file = size.used_bytes + size.free_bytes;
        let kept = file / 100 * KEPT_FREE_PERCENT;
        let above_limit = self.bytes.map_or(0, |bytes| file.saturating_sub(bytes));
        let wanted = if disk.is_some_and(DiskSpace::is_nearly_full)
            || size.free_bytes > file / 100 * MAX_FREE_PERCENT
        {
            size.free_bytes.saturating_sub(kept)
        } else {
            above_limit.min(size.free_bytes)
        };
        if wanted < MIN_RETURNED { 0 } else { wanted }
    }
}

impl PruneGoal {
    /// Rows that began at this time or later stay; `None`: no such time.
    pub fn before(self) -> Option<Timestamp> {
        match self {
            Self::Age(before) | Self::Disk { before, .. } => Some(before),
            Self::Rows(_) | Self::Bytes(_) => None,
        }
    }

    /// How many rows may be deleted before the size is checked again; zero once the goal is reached.
    pub fn excess_rows(self, size: LogSize) -> u64 {
        match self {
            Self::Age(_) => u64::MAX,
            Self::Rows(rows) => size.rows.saturating_sub(rows),
            Self::Bytes(bytes) | Self::Disk { bytes, .. } if size.used_bytes > bytes => u64::MAX,
            Self::Bytes(_) | Self::Disk { .. } => 0,
        }
    }

    /// The reason, for the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Age(_) => "log_retention_days",
            Self::Rows(_) => "log_max_rows",
            Self::Bytes(_) => "log_max_bytes",
            Self::Disk { .. } => "a nearly full disk",
        }
    }
}

impl DiskSpace {
    /// The room below which the disk is nearly full.
    fn reserve(self) -> u64 {
        (self.total_bytes / 20).min(MAX_RESERVE)
    }

    pub fn is_nearly_full(self) -> bool {
        self.free_bytes < self.reserve()
    }

    /// By how much the file's content must shrink so that it can grow by the reserve again, on the disk and in free pages. Zero while the
    /// disk is not nearly full.
    fn missing_bytes(self, size: LogSize) -> u64 {
        if self.is_nearly_full() {
            self.reserve()
                .saturating_sub(self.free_bytes + size.free_bytes)
        } else {
            0
        }
    }
}

/// The ends of requests that are not deleted at `now`. Later ends are from a time when the clock was ahead.
pub fn spared_ends(now: Timestamp) -> RangeInclusive<Timestamp> {
    now - MIN_AGE..=now + MAX_BEHIND
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;
    const NOW: Timestamp = Timestamp::from_millis(1_795_334_400_000);

    fn size(rows: u64, used_bytes: u64, free_bytes: u64) -> LogSize {
        LogSize {
            rows,
            used_bytes,
            free_bytes,
        }
    }

    fn disk(total_bytes: u64, free_bytes: u64) -> DiskSpace {
        DiskSpace {
            total_bytes,
            free_bytes,
        }
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let settings = Settings {
            log_retention_days: 0,
            ..Settings::default()
        };
        assert_eq!(RetentionLimits::of(&settings), RetentionLimits::default());
        let limits = RetentionLimits::of(&Settings::default());
        assert_eq!(limits.age, Some(DAY * 90));
    }

    #[test]
    fn bodies_exceed_a_limit_by_what_leaves_room_for_more() {
        let mut limits = BodyRetentionLimits::of(&Settings::default());
        assert_eq!(limits.age, 3 * DAY);
        assert_eq!(limits.excess_bytes(GIB), 0);
        assert_eq!(limits.excess_bytes(GIB + 1), 1 + GIB / 50);
        limits.bytes = None;
        assert_eq!(limits.excess_bytes(u64::MAX), 0);
    }

    #[test]
    fn each_exceeded_limit_is_a_goal() {
        let limits = RetentionLimits {
            age: Some(DAY),
            rows: Some(1_000),
            bytes: Some(GIB),
        };
        let age = PruneGoal::Age(NOW - DAY);

        let goals = |size, disk, is_trusted| limits.goals(size, disk, NOW, is_trusted);

        assert_eq!(goals(size(1_000, GIB, GIB), None, true), [age]);
        assert_eq!(goals(size(1_000, GIB, GIB), None, false), []);
        assert_eq!(
            goals(size(1_001, GIB, 0), None, true),
            [age, PruneGoal::Rows(1_000)]
        );
        assert_eq!(
            goals(size(0, GIB + 1, 0), None, true),
            [age, PruneGoal::Bytes(GIB - GIB / 50)]
        );
        assert_eq!(
            RetentionLimits::default().goals(
                size(9, GIB, 0),
                Some(disk(100 * GIB, GIB)),
                NOW,
                true
            ),
            []
        );
    }

    #[test]
    fn a_goal_is_reached_when_nothing_exceeds_it() {
        let now = PruneGoal::Age(NOW);
        for (goal, size, rows) in [
            (now, size(0, 0, 0), u64::MAX),
            (PruneGoal::Rows(10), size(12, 9, 9), 2),
            (PruneGoal::Rows(10), size(9, 9, 9), 0),
            (PruneGoal::Bytes(10), size(9, 11, 0), u64::MAX),
            (PruneGoal::Bytes(10), size(9, 10, 99), 0),
        ] {
            assert_eq!(goal.excess_rows(size), rows, "{goal:?} {size:?}");
        }
    }

    #[test]
    fn a_nearly_full_disk_costs_as_many_rows_as_it_lacks_but_none_of_the_last_day() {
        let before = NOW - DAY;
        for (disk, size, bytes) in [
            (Some(disk(100 * GIB, 512 * MIB)), size(9, GIB, 0), None),
            (
                Some(disk(100 * GIB, 312 * MIB)),
                size(9, GIB, 0),
                Some(824 * MIB),
            ),
            // What is free in the file is room too.
            (
                Some(disk(100 * GIB, 312 * MIB)),
                size(9, GIB, 100 * MIB),
                Some(924 * MIB),
            ),
            (
                Some(disk(100 * GIB, 312 * MIB)),
                size(9, GIB, 200 * MIB),
                None,
            ),
            // Of a small disk a twentieth.
            (Some(disk(GIB, 100 * MIB)), size(9, GIB / 2, 0), None),
            (
                Some(disk(200 * MIB, 4 * MIB)),
                size(9, 100 * MIB, 0),
                Some(94 * MIB),
            ),
            (Some(disk(100 * GIB, 0)), size(9, MIB, 0), Some(0)),
        ] {
            let goals = RetentionLimits::default().goals(size, disk, NOW, true);
            let expected = bytes.map(|bytes| PruneGoal::Disk { bytes, before });
            assert_eq!(goals, Vec::from_iter(expected), "{disk:?} {size:?}");
            // A clock that is ahead would cost rows of the last day.
            assert_eq!(RetentionLimits::default().goals(size, disk, NOW, false), []);
        }
    }

    #[test]
    fn free_pages_are_returned_when_they_are_many_or_the_file_is_too_large() {
        let none = RetentionLimits::default();
        let one_gib = RetentionLimits {
            bytes: Some(GIB),
            ..none
        };
        let full = Some(disk(100 * GIB, 0));
        for (limits, size, disk, returned) in [
            (none, size(0, 900 * MIB, 100 * MIB), None, 0),
            (none, size(0, 700 * MIB, 300 * MIB), None, 250 * MIB),
            (none, size(0, 900 * MIB, 100 * MIB), full, 50 * MIB),
            (none, size(0, 3 * MIB, 3 * MIB), None, 0),
            (one_gib, size(0, GIB - 10 * MIB, 30 * MIB), None, 20 * MIB),
            (one_gib, size(0, GIB - 10 * MIB, 12 * MIB), None, 0),
            // It can only return what is free.
            (one_gib, size(0, 2 * GIB, 30 * MIB), None, 30 * MIB),
        ] {
            let found = limits.bytes_to_return(size, disk);
            assert!(
                found.abs_diff(returned) < MIB / 10,
                "{limits:?} {size:?} {disk:?}: {found}"
            );
        }
    }
}
