//! `RequestId`: the id of a request, in its row and in `x-request-id`.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Timestamp;

/// A number that begins with the time, so that ids sort by the begin of their requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct RequestId(pub i64);

/// The number of bits, and so of ids, below one millisecond.
const BITS_BELOW_THE_TIME: u32 = 20;
/// Crockford's base 32, whose order is the order of its bytes.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 13;

impl RequestId {
    /// The smallest id a request that began at `time` can have.
    pub fn first_at(time: Timestamp) -> Self {
        Self(time.as_millis() << BITS_BELOW_THE_TIME)
    }

    /// When the id was generated.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> BITS_BELOW_THE_TIME)
    }
}

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
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Generates increasing ids, even when the clock is set back.
#[derive(Debug)]
pub struct RequestIdGenerator {
    last: AtomicI64,
    /// The first id within a millisecond.
    offset: i64,
}

impl RequestIdGenerator {
    /// Continues after `last`, the largest id in the database.
    pub fn after(last: RequestId) -> Self {
        Self {
            last: AtomicI64::new(last.0),
            offset: 0,
        }
    }

    /// For a command beside a running server, which counts from the begin of each millisecond: starts in the second
    /// half, by `chance` so that two commands do not collide either.
    pub fn beside(last: RequestId, chance: u32) -> Self {
        let half = 1 << (BITS_BELOW_THE_TIME - 1);
        Self {
            last: AtomicI64::new(last.0),
            offset: half + i64::from(chance) % half,
        }
    }

    pub fn next(&self, now: Timestamp) -> RequestId {
        let earliest = RequestId::first_at(now).0 + self.offset;
        let next = |last: i64| earliest.max(last + 1);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        RequestId(next(last.expect("the update never declines")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_is_set_back() {
        let ids = RequestIdGenerator::after(RequestId(0));

        let first = ids.next(Timestamp::from_millis(1_700_000_000_000));
        let second = ids.next(Timestamp::from_millis(1_600_000_000_000));

        assert!(first < second);
        assert!(first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse::<RequestId>().unwrap(), first);
    }

    #[test]
    fn a_commands_ids_differ_from_the_servers_and_other_commands() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut seen = std::collections::HashSet::new();

        for ids in [
            RequestIdGenerator::after(RequestId(0)),
            RequestIdGenerator::beside(RequestId(0), 0),
            RequestIdGenerator::beside(RequestId(0), 123_456),
            RequestIdGenerator::beside(RequestId(0), u32::MAX),
        ] {
            for _ in 0..1_000 {
                let id = ids.next(now);
                assert!(RequestId::first_at(now) <= id);
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
