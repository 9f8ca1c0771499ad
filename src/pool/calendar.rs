//! Begin and end of days and months in a time zone.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// A period: its first moment, and the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarPeriod {
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl CalendarPeriod {
    pub fn contains(self, time: Timestamp) -> bool {
        self.begins <= time && time < self.ends
    }
}

/// The day that contains `now`, from midnight to midnight; it is shorter or longer where daylight saving time begins or
/// ends.
pub fn day_of(now: Timestamp, zone: &TimeZone) -> CalendarPeriod {
    let today = date_of(now, zone);
    between(today, today.tomorrow(), zone, now)
}

/// The month that contains `now`.
pub fn month_of(now: Timestamp, zone: &TimeZone) -> CalendarPeriod {
    let first = date_of(now, zone).first_of_month();
    between(first, first.checked_add(1.month()), zone, now)
}

fn date_of(now: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(now.to_jiff()).date()
}

/// From the first moment of one date to that of another. Without a later date the period is empty.
fn between(
    first: Date,
    next: Result<Date, jiff::Error>,
    zone: &TimeZone,
    now: Timestamp,
) -> CalendarPeriod {
    // Where daylight saving time begins at midnight, the day begins at one o'clock.
    let beginning = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp().into());
    CalendarPeriod {
        begins: beginning(first).unwrap_or(now),
        ends: next.ok().and_then(beginning).unwrap_or(now),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn days_end_at_local_midnight_in_summer_and_in_winter() {
        let cases = [
            (
                "UTC",
                "2026-03-29T23:59:59.999Z",
                "2026-03-29T00:00:00.000Z",
                24,
            ),
            (
                "Asia/Taipei",
                "2026-03-29T16:00:00Z",
                "2026-03-29T16:00:00.000Z",
                24,
            ),
            (
                "Asia/Kolkata",
                "2026-03-29T18:29:59Z",
                "2026-03-28T18:30:00.000Z",
                24,
            ),
            // 29 March 2026 has 23 hours there, 25 October 25.
            (
                "Europe/Berlin",
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00.000Z",
                23,
            ),
            (
                "Europe/Berlin",
                "2026-10-25T00:30:00Z",
                "2026-10-24T22:00:00.000Z",
                25,
            ),
            (
                "Europe/Berlin",
                "2026-10-25T01:30:00Z",
                "2026-10-24T22:00:00.000Z",
                25,
            ),
            // Daylight saving time begins at midnight there: the day begins at one o'clock.
            (
                "Africa/Cairo",
                "2026-04-24T12:00:00Z",
                "2026-04-23T22:00:00.000Z",
                23,
            ),
        ];

        for (name, now, begins, hours) in cases {
            let day = day_of(now.parse().unwrap(), &zone(name));
            assert_eq!(day.begins.to_string(), begins, "{now} in {name}");
            assert_eq!(
                (day.ends - day.begins).as_secs(),
                hours * 3_600,
                "{now} in {name}"
            );
        }
    }

    #[test]
    fn months_begin_on_the_first() {
        let cases = [
            (
                "UTC",
                "2026-02-28T23:59:59Z",
                "2026-02-01T00:00:00.000Z",
                28 * 24,
            ),
            (
                "UTC",
                "2028-02-28T23:59:59Z",
                "2028-02-01T00:00:00.000Z",
                29 * 24,
            ),
            (
                "Asia/Taipei",
                "2026-12-31T16:00:00Z",
                "2026-12-31T16:00:00.000Z",
                31 * 24,
            ),
            (
                "America/Los_Angeles",
                "2026-11-01T07:00:00Z",
                "2026-11-01T07:00:00.000Z",
                30 * 24 + 1,
            ),
        ];

        for (name, now, begins, hours) in cases {
            let month = month_of(now.parse().unwrap(), &zone(name));
            assert_eq!(month.begins.to_string(), begins, "{now} in {name}");
            assert_eq!(
                (month.ends - month.begins).as_secs(),
                hours * 3_600,
                "{now} in {name}"
            );
        }
    }

    #[test]
    fn the_latest_time_has_an_empty_day() {
        for millis in [i64::MIN, 0, i64::MAX] {
            day_of(Timestamp::from_millis(millis), &zone("Asia/Taipei"));
            month_of(Timestamp::from_millis(millis), &zone("Asia/Taipei"));
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_in_its_day_and_its_month(
            seconds in 0..4_000_000_000_i64,
            name in prop::sample::select(vec!["UTC", "Africa/Cairo", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"]),
        ) {
            let (now, zone) = (Timestamp::from_millis(seconds * 1_000), zone(name));
            for span in [day_of(now, &zone), month_of(now, &zone)] {
                prop_assert!(span.contains(now));
                prop_assert!(!span.contains(span.ends));
                prop_assert!(span.contains(span.ends - Duration::from_millis(1)));
            }
            prop_assert_eq!(day_of(day_of(now, &zone).begins, &zone), day_of(now, &zone));
        }
    }
}
