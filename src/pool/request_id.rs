//! `RequestId`: the id of a request, in its row and in `x-request-id`.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::Timestamp;

/// A number that begins with the time, so that ids sort by the begin of their requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct RequestId(pub i64);

/// The number of bits, and so of ids, below one millisecond.
const BITS_BELOW_THE_TIME: u32 = 20;
/// The bit that the ids of commands have, and those of servers have not.
pub const COMMAND_BIT: i64 = 1 << (BITS_BELOW_THE_TIME - 1);
/// The number of bits of the counter.
pub const COUNTER_BITS: u32 = 10;
const MAX_COUNTER: i64 = (1 << COUNTER_BITS) - 1;
/// The highest lane.
pub const MAX_LANE: i64 = (1 << (BITS_BELOW_THE_TIME - 1 - COUNTER_BITS)) - 1;
/// A clock behind the last id by less continues its lane: threads overtake each other, and clocks are corrected a little.
pub const MAX_BEHIND: Duration = Duration::from_mins(1);
/// Crockford's base 32, whose order is the order of its bytes.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 13;

impl RequestId {
    /// The smallest id a request that began at `time` can have.
    pub fn first_at(time: Timestamp) -> Self {
        // A time that no id can have is before or after all of them.
        Self(time.as_millis().saturating_mul(1 << BITS_BELOW_THE_TIME))
    }

    /// When the id was generated.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> BITS_BELOW_THE_TIME)
    }
}

impl PartialSchema for RequestId {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9a-z]{13}$"))
            .build();
        schema.into()
    }
}

impl ToSchema for RequestId {}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; LENGTH];
        let mut rest = self.0;
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[usize::try_from(rest & 31).expect("five bits")];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).expect("the digits are ASCII"))
    }
}

/// The text is no request id.
#[derive(Debug, thiserror::Error)]
#[error("not a request id: it has 13 letters and digits, like 1k9z4v0qm3e0a")]
pub struct InvalidRequestId;

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        if text.len() != LENGTH {
            return Err(InvalidRequestId);
        }
        let mut id: i64 = 0;
        for byte in text.bytes() {
            let digit = DIGITS
                .iter()
                .position(|digit| *digit == byte.to_ascii_lowercase())
                .ok_or(InvalidRequestId)?;
            id = id.checked_mul(32).ok_or(InvalidRequestId)?
                + i64::try_from(digit).expect("below 32");
        }
        Ok(Self(id))
    }
}

impl serde::Serialize for RequestId {
    /// Its text in JSON, its number in the journal.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> serde::Deserialize<'de> for RequestId {
    /// As it is serialized.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The ids in the database when a server starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdsInUse {
    /// The greatest id of a server that is not later than the start.
    pub last: Option<RequestId>,
    /// The lanes of later ids, which a server generated while its clock was ahead.
    pub later_lanes: Vec<i64>,
}

/// Generates unique ids that begin with the time.
///
/// Below the millisecond an id has a bit that only commands set, a lane and a counter. In a lane ids only increase. When the
/// clock is set back, or a start finds later ids, a new lane begins at the true time: no id of it was generated when that time
/// passed before.
#[derive(Debug)]
pub struct RequestIdGenerator {
    last: AtomicI64,
    /// Of a command: the first id within a millisecond.
    offset: Option<i64>,
}

impl RequestIdGenerator {
    /// Continues after the ids in the database.
    pub fn after(in_use: &IdsInUse) -> Self {
        let last = in_use.last.unwrap_or(RequestId(0));
        let lanes = in_use.later_lanes.iter().copied();
        let first = match lanes.chain([lane_of(last.0)]).max() {
            Some(highest) if !in_use.later_lanes.is_empty() => in_lane(0, highest + 1),
            _ => last.0,
        };
        Self {
            last: AtomicI64::new(first),
            offset: None,
        }
    }

    /// For a command beside a running server: starts in the half that no server uses, by `chance` so that two commands do not
    /// collide either.
    pub fn of_command(chance: u32) -> Self {
        Self {
            last: AtomicI64::new(0),
            offset: Some(COMMAND_BIT + i64::from(chance) % COMMAND_BIT),
        }
    }

    pub fn next(&self, now: Timestamp) -> RequestId {
        let begin = RequestId::first_at(now).0;
        let next = |last: i64| match self.offset {
            Some(offset) => (begin + offset).max(last + 1),
            None => next_of_server(last, begin),
        };
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        RequestId(next(last.expect("the update never declines")))
    }
}

/// The id after `last` at the time that `begin` is the first id of.
fn next_of_server(last: i64, begin: i64) -> i64 {
    let lane = lane_of(last);
    let earliest = in_lane(begin, lane);
    if earliest > last {
        return earliest;
    }
    let behind = RequestId(last).time() - RequestId(begin).time();
    if behind > MAX_BEHIND {
        return in_lane(begin, lane + 1);
    }
    if last & MAX_COUNTER == MAX_COUNTER {
        let next_millisecond = ((last >> BITS_BELOW_THE_TIME) + 1) << BITS_BELOW_THE_TIME;
        return in_lane(next_millisecond, lane);
    }
    last + 1
}

fn lane_of(id: i64) -> i64 {
    (id >> COUNTER_BITS) & MAX_LANE
}

/// The first id of a millisecond in a lane; after the last lane comes the first.
fn in_lane(begin: i64, lane: i64) -> i64 {
    begin | ((lane & MAX_LANE) << COUNTER_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn new_generator() -> RequestIdGenerator {
        RequestIdGenerator::after(&IdsInUse::default())
    }

    /// What a server that starts at `now` finds among these ids.
    fn in_use(ids: &[RequestId], now: Timestamp) -> IdsInUse {
        let end = RequestId::first_at(now + MAX_BEHIND);
        let later = ids.iter().filter(|id| **id >= end);
        IdsInUse {
            last: ids.iter().copied().filter(|id| *id < end).max(),
            later_lanes: later.map(|id| lane_of(id.0)).collect(),
        }
    }

    #[test]
    fn a_time_that_no_id_can_have_is_before_or_after_all_ids() {
        let id = new_generator().next(NOW);
        for (text, is_after) in [
            ("9999-12-30T00:00:00Z", true),
            ("2999-01-01T00:00:00Z", true),
            ("1969-01-01T00:00:00Z", false),
            ("-009999-01-03T00:00:00Z", false),
        ] {
            let time = text.parse().unwrap();
            assert_eq!(RequestId::first_at(time) > id, is_after, "{text}");
        }
    }

    #[test]
    fn ids_grow_within_a_millisecond_and_while_the_clock_is_a_little_behind() {
        let ids = new_generator();
        let mut last = ids.next(NOW);
        assert_eq!(last.to_string().parse::<RequestId>().unwrap(), last);

        for number in 0..5_000 {
            let behind = Duration::from_millis(number % 3 * 1_000);
            let next = ids.next(NOW - behind);
            assert!(last < next && last.to_string() < next.to_string());
            last = next;
        }

        assert!(last.time() - NOW < Duration::from_millis(10));
    }

    #[test]
    fn ids_return_to_the_true_time_after_the_clock_was_ahead_or_behind() {
        for (away, is_ahead) in [
            (400 * DAY, true),
            (400 * DAY, false),
            (2 * MAX_BEHIND, true),
        ] {
            let ids = new_generator();
            let mut seen = std::collections::HashSet::new();
            let mut now = NOW;
            // The clock is wrong several times, each time at the same minutes.
            for round in 0..20 {
                now = NOW + round * Duration::from_millis(7);
                let wrong = if is_ahead { now + away } else { now - away };
                for time in [now, wrong, now] {
                    for _ in 0..40 {
                        let id = ids.next(time);
                        assert!(seen.insert(id), "{id}");
                        assert!(id.time() - time < Duration::from_secs(1), "{id}");
                        assert!(RequestId::first_at(time) <= id, "{id}");
                    }
                }
            }
            // The time in which the clock was ahead comes again.
            for _ in 0..40 {
                assert!(seen.insert(ids.next(now + away)));
            }
        }
    }

    #[test]
    fn ids_return_to_the_true_time_after_a_restart_and_stay_unique() {
        let mut generated = Vec::new();
        let mut start_at = |begin: Timestamp, times: &[Timestamp]| {
            let ids = RequestIdGenerator::after(&in_use(&generated, begin));
            for time in times {
                for _ in 0..40 {
                    let id = ids.next(*time);
                    assert!(id.time() - *time < Duration::from_secs(1), "{id}");
                    assert!(!generated.contains(&id), "{id}");
                    generated.push(id);
                }
            }
        };
        let ahead = NOW + 400 * DAY;
        start_at(NOW, &[NOW, ahead]);
        start_at(ahead, &[ahead]);
        start_at(NOW, &[NOW]);
        start_at(NOW, &[NOW, ahead, NOW]);
        start_at(NOW - 400 * DAY, &[NOW - 400 * DAY, NOW, ahead]);
        start_at(ahead, &[ahead, NOW]);
        start_at(ahead, &[ahead]);
    }

    #[test]
    fn a_commands_ids_differ_from_the_servers_and_other_commands() {
        let mut seen = std::collections::HashSet::new();

        for ids in [
            new_generator(),
            RequestIdGenerator::of_command(0),
            RequestIdGenerator::of_command(123_456),
            RequestIdGenerator::of_command(u32::MAX),
        ] {
            for _ in 0..1_000 {
                let id = ids.next(NOW);
                assert!(RequestId::first_at(NOW) <= id);
                assert!(seen.insert(id), "{id}");
            }
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in ["", "1", "zzzzzzzzzzzzz", "1k9z4v0qm3e0!", "1k9z4v0qm3e0aa"] {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
