//! `Timestamp`, and `now`: the only place that reads the system's clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::MissedTickBehavior;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

const HOUR_MS: i64 = 3_600_000;

/// A point in time, in unix milliseconds; serialized as RFC 3339 in UTC, stored as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

/// The system's time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// A monotonic reading, for durations.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// A monotonic reading of the timer's clock, which tests can pause.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn timer_instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Ticks, the first one at once. Loops that begin together and have the same period tick together, so that an idle process
/// wakes once for all of them.
pub fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// As in `2026-11-22T08:00:00.000Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_string()
    }

    /// The start of its hour in UTC, as in hourly rollups.
    #[must_use]
    pub fn start_of_hour(self) -> Self {
        Self(self.0.div_euclid(HOUR_MS).saturating_mul(HOUR_MS))
    }

    /// The same point in time for calendar arithmetic; years beyond 9999 are capped.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let date_time = KnownFormat::DateTime;
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(date_time)))
            .description(Some("RFC 3339 in UTC with milliseconds"))
            .build();
        schema.into()
    }
}

impl ToSchema for Timestamp {}

impl From<jiff::Timestamp> for Timestamp {
    fn from(moment: jiff::Timestamp) -> Self {
        Self(moment.as_millisecond())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// Zero when `earlier` is later: clocks jump.
    fn sub(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}", self.to_jiff())
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    /// Parses any RFC 3339 time; the offset may differ from `Z`.
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for Timestamp {
    /// RFC 3339 in JSON, milliseconds in the journal.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// As it is serialized; in JSON with any offset.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("not a time: write it like 2027-01-31T08:00:00Z");
        text.parse().map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_formatted_in_utc_with_milliseconds_and_parsed_back() {
        let moment = Timestamp::from_millis(1_795_334_400_007);

        assert_eq!(moment.to_rfc3339(), "2026-11-22T08:00:00.007Z");
        assert_eq!(moment.to_rfc3339().parse::<Timestamp>().unwrap(), moment);
        assert_eq!(
            "2026-11-22T16:00:00.007+08:00"
                .parse::<Timestamp>()
                .unwrap(),
            moment
        );
        assert_eq!(
            serde_json::to_string(&moment).unwrap(),
            r#""2026-11-22T08:00:00.007Z""#
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_never_overflows() {
        let (first, last) = (
            Timestamp::from_millis(i64::MIN),
            Timestamp::from_millis(i64::MAX),
        );

        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first - Duration::MAX, first);
        assert_eq!(first - last, Duration::ZERO);
        assert!(last - first > Duration::from_secs(1));
        assert!(last.to_rfc3339().starts_with("9999-12-"));
        assert!(first.to_rfc3339().ends_with('Z'));
    }
}
