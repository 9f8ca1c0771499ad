//! Begin and end of Google's quota minute and day.

use std::sync::LazyLock;

use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// Google's page on rate limits: requests per day reset at midnight Pacific time.
static PACIFIC: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZone::get("America/Los_Angeles").expect("the program carries the time zone database")
});

const MINUTE_MS: i64 = 60_000;

/// The begin of Google's day that contains `now`.
pub fn begin_of_google_day(now: Timestamp) -> Timestamp {
    let here = now.to_jiff().to_zoned(PACIFIC.clone());
    let midnight = here.date().to_zoned(PACIFIC.clone());
    midnight.map_or(now, |midnight| midnight.timestamp().into())
}

/// The next midnight in California, always later than `now`.
pub fn end_of_google_day(now: Timestamp) -> Timestamp {
    let here = now.to_jiff().to_zoned(PACIFIC.clone());
    let midnight = here
        .date()
        .checked_add(1.day())
        .map(|tomorrow| tomorrow.to_datetime(Time::midnight()))
        .and_then(|tomorrow| tomorrow.to_zoned(PACIFIC.clone()));
    midnight.map_or(now, |midnight| midnight.timestamp().into())
}

/// The end of the minute that contains `now`. Google's minutes may begin at other seconds, so this is an estimate for
/// lack of a `RetryInfo`.
pub fn end_of_google_minute(now: Timestamp) -> Timestamp {
    let begun = now.as_millis().div_euclid(MINUTE_MS);
    Timestamp::from_millis(begun.saturating_add(1).saturating_mul(MINUTE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_ends_at_californian_midnight_in_summer_and_in_winter() {
        let cases = [
            // Winter: eight hours behind.
            ("2026-01-15T12:00:00Z", "2026-01-16T08:00:00.000Z"),
            ("2026-01-15T07:59:59.999Z", "2026-01-15T08:00:00.000Z"),
            ("2026-01-15T08:00:00Z", "2026-01-16T08:00:00.000Z"),
            // Summer: seven.
            ("2026-07-15T12:00:00Z", "2026-07-16T07:00:00.000Z"),
            ("2026-07-15T06:59:59Z", "2026-07-15T07:00:00.000Z"),
            // 8 March 2026 has 23 hours, 1 November 25.
            ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00.000Z"),
            ("2026-03-08T09:59:59Z", "2026-03-09T07:00:00.000Z"),
            ("2026-03-08T10:00:00Z", "2026-03-09T07:00:00.000Z"),
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00.000Z"),
            ("2026-11-01T08:30:00Z", "2026-11-02T08:00:00.000Z"),
            ("2026-11-01T09:30:00Z", "2026-11-02T08:00:00.000Z"),
            ("2026-12-31T23:00:00Z", "2027-01-01T08:00:00.000Z"),
        ];

        for (now, end) in cases {
            let now: Timestamp = now.parse().unwrap();
            assert_eq!(end_of_google_day(now).to_rfc3339(), end, "at {now}");
            let begin = begin_of_google_day(now);
            assert!(begin <= now, "at {now}");
            assert_eq!(end_of_google_day(begin).to_rfc3339(), end, "at {now}");
        }
    }

    #[test]
    fn the_minute_ends_after_now() {
        let cases = [
            ("2026-01-15T12:00:00Z", "2026-01-15T12:01:00.000Z"),
            ("2026-01-15T12:00:59.999Z", "2026-01-15T12:01:00.000Z"),
            ("1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00.000Z"),
        ];

        for (now, end) in cases {
            let found = end_of_google_minute(now.parse().unwrap());
            assert_eq!(found.to_rfc3339(), end, "at {now}");
        }
    }

    #[test]
    fn the_latest_time_has_a_day_and_a_minute() {
        for millis in [i64::MIN, 0, i64::MAX] {
            end_of_google_day(Timestamp::from_millis(millis));
            end_of_google_minute(Timestamp::from_millis(millis));
        }
    }
}
