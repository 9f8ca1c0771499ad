//! `UsageRange`: the hours or days of a range, their bins, and the range before that it is compared with.

use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::storage::rollups::begin_of_day;
use crate::storage::usage::UsagePeriod;
use crate::storage::usage::sums::UsageSums;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Longer ranges are cut: rollups of three years are enough for any invoice.
const MAX_DAYS: i32 = 1_100;
/// Ranges up to this length have a bin for each hour.
const HOURLY: Duration = Duration::from_hours(49);
/// Ranges up to this length have a bin for each day, longer ones for each month.
const DAILY: Duration = Duration::from_hours(93 * 24);

/// A range up to now, with its name in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(const_into_str)]
pub enum UsageSpan {
    #[strum(serialize = "today")]
    Today,
    #[strum(serialize = "24h")]
    Hours,
    #[strum(serialize = "7d")]
    Week,
    #[strum(serialize = "30d")]
    Days,
    #[strum(serialize = "month")]
    ThisMonth,
    #[strum(serialize = "last_month")]
    LastMonth,
    #[strum(serialize = "90d")]
    Quarter,
}

/// A chosen range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenRange {
    Span(UsageSpan),
    /// Both dates included.
    Dates(Date, Date),
}

/// The period of the rollups that a range is read from. Days are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeUnit {
    Hour,
    Day,
}

/// The width of bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinWidth {
    Hour,
    Day,
    Month,
}

/// A range of whole hours or days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRange {
    pub unit: RangeUnit,
    pub begin: Timestamp,
    pub end: Timestamp,
    pub width: BinWidth,
    /// Oldest first, without gaps.
    pub bins: Vec<UsageBin>,
    pub periods: Vec<UsagePeriod>,
    pub before: RangeBefore,
    /// Whether its begin was moved, because the sums would take too long.
    pub is_cut: bool,
}

/// A bin of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageBin {
    pub begin: Timestamp,
    pub end: Timestamp,
}

/// The range before, as far as the range has elapsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeBefore {
    pub begin: Timestamp,
    pub end: Timestamp,
    /// Bin 0 is whole, bin 1 counts in part.
    pub periods: Vec<UsagePeriod>,
    /// The part of bin 1, and its whole, in milliseconds.
    pub part_ms: u64,
    pub whole_ms: u64,
}

impl UsageSpan {
    /// Its name in URLs.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

impl RangeUnit {
    fn length(self) -> Duration {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    fn begin(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Hour => time.start_of_hour(),
            Self::Day => begin_of_day(time),
        }
    }

    /// The end of the period whose last moment is before `time`.
    fn end(self, time: Timestamp) -> Timestamp {
        let begin = self.begin(time);
        if begin < time {
            begin + self.length()
        } else {
            begin
        }
    }
}

impl ChosenRange {
    /// Its begin and end, and the begin of the range before.
    fn bounds(self, zone: &TimeZone, now: Timestamp) -> (Timestamp, Timestamp, Timestamp) {
        let today = zone.to_datetime(now.to_jiff()).date();
        let at = |date: Date| {
            let begin = date.to_zoned(zone.clone());
            begin.map_or(now, |begin| begin.timestamp().into())
        };
        let days = |last: Date, count: i32| {
            let first = add_days(last, 1 - count);
            (
                at(first),
                at(add_days(last, 1)),
                at(add_days(first, -count)),
            )
        };
        let month = |of: Date| {
            let first = of.first_of_month();
            let next = first.checked_add(1.month()).unwrap_or(first);
            let before = first.checked_sub(1.month()).unwrap_or(first);
            (at(first), at(next), at(before))
        };
        match self {
            Self::Span(UsageSpan::Today) => days(today, 1),
            Self::Span(UsageSpan::Hours) => {
                let end = now.start_of_hour() + HOUR;
                (end - DAY, end, end - DAY - DAY)
            }
            Self::Span(UsageSpan::Week) => days(today, 7),
            Self::Span(UsageSpan::Days) => days(today, 30),
            Self::Span(UsageSpan::Quarter) => days(today, 90),
            Self::Span(UsageSpan::ThisMonth) => month(today),
            Self::Span(UsageSpan::LastMonth) => month(add_days(today.first_of_month(), -1)),
            Self::Dates(one, other) => {
                let (first, last) = (one.min(other).min(today), one.max(other).min(today));
                let count = first.until(last).map_or(0, |span| span.get_days());
                days(last, (count + 1).min(MAX_DAYS))
            }
        }
    }

    /// Whether hours can be summed in time; longer ranges are read from days.
    pub fn is_short(self, zone: &TimeZone, now: Timestamp) -> bool {
        let (begin, end, _) = self.bounds(zone, now);
        end - begin <= DAY * 32
    }

    /// The hours of the range, those that have not begun yet included.
    pub fn hours(self, zone: &TimeZone, now: Timestamp) -> u64 {
        let (begin, end, _) = self.bounds(zone, now);
        (end - begin).as_secs().div_ceil(HOUR.as_secs())
    }

    /// The range in whole periods, the newest `max_periods` of them.
    pub fn resolve(
        self,
        unit: RangeUnit,
        max_periods: u64,
        zone: &TimeZone,
        now: Timestamp,
    ) -> UsageRange {
        let (begin, end, before) = self.bounds(zone, now);
        let length = unit.length();
        // What has not begun yet has no bins.
        let (wanted, end) = (
            unit.begin(begin),
            unit.end(end).min(unit.begin(now) + length),
        );
        let longest = length * u32::try_from(max_periods.max(1)).unwrap_or(u32::MAX / 4);
        let begin = wanted.max(end - longest);
        let is_cut = begin > wanted;
        // Where periods are cut or rounded, the range before has the same length.
        let before = if unit == RangeUnit::Hour && !is_cut {
            unit.begin(before)
        } else {
            begin - (end - begin)
        };
        let width = match end - begin {
            span if span <= HOURLY && unit == RangeUnit::Hour => BinWidth::Hour,
            span if span <= DAILY => BinWidth::Day,
            _ => BinWidth::Month,
        };
        let zone = match unit {
            RangeUnit::Hour => zone,
            RangeUnit::Day => &TimeZone::UTC,
        };
        let (bins, periods) = bins(unit, width, begin, end, zone);
        UsageRange {
            unit,
            begin,
            end,
            width,
            bins,
            periods,
            before: RangeBefore::new(unit, before, begin, end.min(now) - begin),
            is_cut,
        }
    }
}

fn add_days(date: Date, days: i32) -> Date {
    date.checked_add(i64::from(days).days()).unwrap_or(date)
}

/// Each period with its bin: the hour, or the date or month in which the period begins.
fn bins(
    unit: RangeUnit,
    width: BinWidth,
    begin: Timestamp,
    end: Timestamp,
    zone: &TimeZone,
) -> (Vec<UsageBin>, Vec<UsagePeriod>) {
    let (mut bins, mut periods) = (Vec::<UsageBin>::new(), Vec::new());
    let mut last = None;
    let mut at = begin;
    while at < end {
        let date = zone.to_datetime(at.to_jiff()).date();
        let of = match width {
            BinWidth::Hour => None,
            BinWidth::Day => Some(date),
            BinWidth::Month => Some(date.first_of_month()),
        };
        let next = at + unit.length();
        match bins.last_mut() {
            Some(bin) if of.is_some() && of == last => bin.end = next,
            Some(_) | None => bins.push(UsageBin {
                begin: at,
                end: next,
            }),
        }
        last = of;
        periods.push(UsagePeriod {
            bin: bins.len() - 1,
            begin: at,
        });
        at = next;
    }
    (bins, periods)
}

impl RangeBefore {
    fn new(unit: RangeUnit, begin: Timestamp, next: Timestamp, elapsed: Duration) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(0);
        // A short month ends before a long one has elapsed.
        let end = (begin + elapsed).min(next);
        let mut periods = Vec::new();
        let mut at = begin;
        let mut part = Duration::ZERO;
        while at < end {
            let period_end = at + unit.length();
            let bin = usize::from(period_end > end);
            if bin == 1 {
                part = end - at;
            }
            periods.push(UsagePeriod { bin, begin: at });
            at = period_end;
        }
        Self {
            begin,
            end,
            periods,
            part_ms: millis(part),
            whole_ms: millis(unit.length()),
        }
    }
}

impl RangeBefore {
    /// What counts of the sums of a bin.
    pub fn share(&self, bin: usize, sums: UsageSums) -> UsageSums {
        match bin {
            0 => sums,
            _ => sums.scaled(self.part_ms, self.whole_ms),
        }
    }
}

impl UsageRange {
    /// Whether the last bin is not over.
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.end > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-30T06:30:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn range(chosen: ChosenRange, unit: RangeUnit, zone: &str) -> UsageRange {
        let zone = TimeZone::get(zone).unwrap();
        chosen.resolve(unit, u64::MAX, &zone, at(NOW))
    }

    fn dates(from: &str, to: &str) -> ChosenRange {
        ChosenRange::Dates(from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn spans_begin_in_the_admins_zone_and_have_a_range_before() {
        for (span, begin, end, before, before_end) in [
            (
                UsageSpan::Today,
                "11-29T16:00",
                "11-30T07:00",
                "11-28T16:00",
                "11-29T06:30",
            ),
            (
                UsageSpan::Hours,
                "11-29T07:00",
                "11-30T07:00",
                "11-28T07:00",
                "11-29T06:30",
            ),
            (
                UsageSpan::Week,
                "11-23T16:00",
                "11-30T07:00",
                "11-16T16:00",
                "11-23T06:30",
            ),
            (
                UsageSpan::ThisMonth,
                "10-31T16:00",
                "11-30T07:00",
                "09-30T16:00",
                "10-30T06:30",
            ),
            (
                UsageSpan::LastMonth,
                "09-30T16:00",
                "10-31T16:00",
                "08-31T16:00",
                "09-30T16:00",
            ),
        ] {
            let range = range(ChosenRange::Span(span), RangeUnit::Hour, "Asia/Taipei");
            let expected =
                [begin, end, before, before_end].map(|text| at(&format!("2026-{text}:00Z")));
            let found = [range.begin, range.end, range.before.begin, range.before.end];
            assert_eq!(found, expected, "{span:?}");
        }
    }

    #[test]
    fn every_period_is_in_one_bin() {
        for (chosen, unit, width, count) in [
            (
                ChosenRange::Span(UsageSpan::Today),
                RangeUnit::Hour,
                BinWidth::Hour,
                15,
            ),
            (
                ChosenRange::Span(UsageSpan::Week),
                RangeUnit::Hour,
                BinWidth::Day,
                7,
            ),
            // The days of UTC that a week in Taipei touches.
            (
                ChosenRange::Span(UsageSpan::Week),
                RangeUnit::Day,
                BinWidth::Day,
                8,
            ),
            (
                dates("2026-01-10", "2026-11-30"),
                RangeUnit::Day,
                BinWidth::Month,
                11,
            ),
        ] {
            let range = range(chosen, unit, "Asia/Taipei");
            assert_eq!(
                (range.width, range.bins.len()),
                (width, count),
                "{chosen:?}"
            );
            assert_eq!(range.bins[0].begin, range.begin);
            assert_eq!(range.bins[count - 1].end, range.end);
            assert!(
                range
                    .bins
                    .windows(2)
                    .all(|pair| pair[0].end == pair[1].begin)
            );
            for period in &range.periods {
                let bin = range.bins[period.bin];
                assert!(bin.begin <= period.begin && period.begin < bin.end);
            }
            assert!(range.is_running(at(NOW)));
        }
    }

    #[test]
    fn a_day_with_daylight_saving_time_has_its_own_length() {
        let range = range(
            dates("2026-10-24", "2026-10-26"),
            RangeUnit::Hour,
            "Europe/Berlin",
        );
        let hours: Vec<_> = range
            .bins
            .iter()
            .map(|bin| (bin.end - bin.begin).as_secs() / 3_600)
            .collect();
        assert_eq!(hours, [24, 25, 24]);
        assert!(!range.is_running(at(NOW)));
    }

    #[test]
    fn the_running_period_is_compared_with_a_part_of_the_one_before() {
        let range = range(ChosenRange::Span(UsageSpan::Today), RangeUnit::Hour, "UTC");
        let before = &range.before;
        assert_eq!(before.periods.len(), 7);
        assert_eq!((before.periods[5].bin, before.periods[6].bin), (0, 1));
        assert_eq!((before.part_ms, before.whole_ms), (1_800_000, 3_600_000));
    }

    #[test]
    fn odd_dates_become_a_range_and_long_ones_are_cut() {
        let swapped = range(dates("2026-11-20", "2026-11-10"), RangeUnit::Hour, "UTC");
        assert_eq!(swapped.begin, at("2026-11-10T00:00:00Z"));
        assert_eq!(swapped.end, at("2026-11-21T00:00:00Z"));
        let future = range(dates("2999-01-01", "2999-02-01"), RangeUnit::Hour, "UTC");
        assert_eq!(future.begin, at("2026-11-30T00:00:00Z"));
        let endless = range(dates("0001-01-01", "2026-11-30"), RangeUnit::Day, "UTC");
        assert_eq!(endless.periods.len(), 1_100);

        let cut =
            ChosenRange::Span(UsageSpan::Days).resolve(RangeUnit::Day, 3, &TimeZone::UTC, at(NOW));
        assert_eq!((cut.periods.len(), cut.is_cut), (3, true));
        assert_eq!(cut.end, at("2026-12-01T00:00:00Z"));
        assert_eq!(cut.before.begin, at("2026-11-25T00:00:00Z"));
    }
}
