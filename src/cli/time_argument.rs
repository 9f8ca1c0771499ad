//! `TimeArgument`: a time on the command line, as a date or as an offset from now.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;

/// `2027-01-31T08:00:00Z`, or `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeArgument {
    Absolute(Timestamp),
    Relative(Duration),
}

impl TimeArgument {
    pub fn resolve_forward(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Absolute(time) => time,
            Self::Relative(offset) => now + offset,
        }
    }

    pub fn resolve_back(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Absolute(time) => time,
            Self::Relative(offset) => now - offset,
        }
    }
}

/// The text is not a time.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a time: write it like 2027-01-31T08:00:00Z, or as an offset from now like 90s, 15m, 24h, 30d or 2w"
)]
pub struct InvalidTimeArgument;

impl FromStr for TimeArgument {
    type Err = InvalidTimeArgument;

    fn from_str(text: &str) -> Result<Self, InvalidTimeArgument> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Absolute(time));
        }
        let unit = text.chars().last().ok_or(InvalidTimeArgument)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return Err(InvalidTimeArgument),
        };
        let number = text[..text.len() - 1]
            .parse::<u32>()
            .map_err(|_| InvalidTimeArgument)?;
        Ok(Self::Relative(Duration::from_secs(
            u64::from(number) * seconds,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_a_distance() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        let cases = [
            ("2027-01-31T16:00:00+08:00", "2027-01-31T08:00:00.000Z"),
            ("90s", "2026-11-22T08:01:30.000Z"),
            ("1d", "2026-11-23T08:00:00.000Z"),
            ("2w", "2026-12-06T08:00:00.000Z"),
        ];
        for (text, expected) in cases {
            let argument: TimeArgument = text.parse().unwrap();
            assert_eq!(
                argument.resolve_forward(now).to_string(),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            "1h".parse::<TimeArgument>()
                .unwrap()
                .resolve_back(now)
                .to_string(),
            "2026-11-22T07:00:00.000Z"
        );

        for text in ["", "d", "soon", "-1d", "1.5h", "1天", "2027-01-31"] {
            assert!(text.parse::<TimeArgument>().is_err(), "{text}");
        }
    }
}
