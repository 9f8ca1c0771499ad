//! The schedule of alert messages: quiet hours, and the attempts after a failure.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::clock::Timestamp;
use crate::pool::alerts::AlertSeverity;

/// The pause after the first failed attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How long a message is tried.
pub const TRIED_FOR: Duration = Duration::from_hours(24);
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// What a message reports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize, IntoStaticStr, utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertPhase {
    Begin,
    End,
    /// An admin tests the target.
    Test,
}

/// The state of a message for one target.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    sqlx::Type,
    Serialize,
    EnumString,
    IntoStaticStr,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    Sent,
    /// Given up.
    Failed,
}

/// A span of each day, in which only critical alerts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// Minutes since midnight; exclusive at the end. The span may contain midnight.
    pub from_minute: u16,
    pub to_minute: u16,
}

impl QuietHours {
    /// `None`: no span, or no minutes of a day.
    pub fn new(from_minute: u16, to_minute: u16) -> Option<Self> {
        let is_span = from_minute != to_minute && from_minute < DAY && to_minute < DAY;
        is_span.then_some(Self {
            from_minute,
            to_minute,
        })
    }

    /// When the quiet hours that contain `now` end; `None`: it is outside of them.
    pub fn end(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let time = zone.to_datetime(now.to_jiff());
        let minute = u16::try_from(time.hour()).ok()? * 60 + u16::try_from(time.minute()).ok()?;
        let (from, to) = (self.from_minute, self.to_minute);
        let is_quiet = if from < to {
            (from..to).contains(&minute)
        } else {
            minute >= from || minute < to
        };
        if !is_quiet {
            return None;
        }
        let date = if minute < to {
            time.date()
        } else {
            time.date().tomorrow().ok()?
        };
        let (hour, minute) = (i8::try_from(to / 60).ok()?, i8::try_from(to % 60).ok()?);
        let end = date.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?;
        // Where the clock is set forward, the end may not exist, and is then the moment after the gap.
        Some(Timestamp::from(end.timestamp()).max(now))
    }
}

/// When a message of an alert that begins or ends at `now` is due.
pub fn due_at(
    severity: AlertSeverity,
    quiet: Option<QuietHours>,
    zone: &TimeZone,
    now: Timestamp,
) -> Timestamp {
    match severity {
        AlertSeverity::Critical => now,
        AlertSeverity::Warning => quiet.and_then(|quiet| quiet.end(now, zone)).unwrap_or(now),
    }
}

/// When a message that was first due at `due_at` is tried again after `attempts` failures, of which the last was at `now`;
/// `None`: it is given up.
pub fn next_attempt(attempts: u32, due_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let doublings = attempts.saturating_sub(1).min(16);
    let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    let next = now + pause;
    (next <= due_at + TRIED_FOR).then_some(next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taipei() -> TimeZone {
        TimeZone::get("Asia/Taipei").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn quiet_hours_end_at_their_time_in_the_zone() {
        let night = QuietHours::new(22 * 60, 7 * 60 + 30).unwrap();
        let noon = QuietHours::new(12 * 60, 13 * 60).unwrap();
        for (quiet, now, expected) in [
            (night, "2026-11-30T21:59:59+08:00", None),
            (
                night,
                "2026-11-30T22:00:00+08:00",
                Some("2026-12-01T07:30:00+08:00"),
            ),
            (
                night,
                "2026-12-01T00:10:00+08:00",
                Some("2026-12-01T07:30:00+08:00"),
            ),
            (night, "2026-12-01T07:30:00+08:00", None),
            (
                noon,
                "2026-12-01T12:59:59+08:00",
                Some("2026-12-01T13:00:00+08:00"),
            ),
            (noon, "2026-12-01T13:00:00+08:00", None),
        ] {
            let end = quiet.end(at(now), &taipei());
            assert_eq!(end, expected.map(at), "{now}");
        }
        assert_eq!(QuietHours::new(60, 60), None);
        assert_eq!(QuietHours::new(60, DAY), None);
    }

    #[test]
    fn only_critical_alerts_are_sent_in_quiet_hours() {
        let night = QuietHours::new(22 * 60, 7 * 60);
        let now = at("2026-11-30T23:00:00+08:00");
        let morning = at("2026-12-01T07:00:00+08:00");

        assert_eq!(due_at(AlertSeverity::Critical, night, &taipei(), now), now);
        assert_eq!(
            due_at(AlertSeverity::Warning, night, &taipei(), now),
            morning
        );
        assert_eq!(due_at(AlertSeverity::Warning, None, &taipei(), now), now);
    }

    #[test]
    fn attempts_are_repeated_after_longer_pauses_for_a_day() {
        let due = Timestamp::from_millis(0);
        let (mut now, mut pauses) = (due, Vec::new());
        for attempts in 1.. {
            let Some(next) = next_attempt(attempts, due, now) else {
                break;
            };
            pauses.push((next - now).as_secs());
            now = next;
        }

        assert_eq!(pauses[..5], [5, 10, 20, 40, 80]);
        assert_eq!(pauses[9..12], [2_560, 3_600, 3_600]);
        assert!(now - due <= TRIED_FOR, "{now}");
        assert!(now - due + LONGEST_PAUSE > TRIED_FOR, "{now}");
    }

    proptest! {
        #[test]
        fn quiet_hours_end_within_a_day(from in 0..DAY, to in 0..DAY, now in 0_i64..4_000_000_000_000) {
            prop_assume!(from != to);
            let quiet = QuietHours::new(from, to).unwrap();
            for zone in [TimeZone::UTC, taipei(), TimeZone::get("America/New_York").unwrap()] {
                let now = Timestamp::from_millis(now);
                if let Some(end) = quiet.end(now, &zone) {
                    prop_assert!(end >= now && end - now <= Duration::from_hours(25));
                }
            }
        }
    }
}
