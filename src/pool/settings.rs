//! `Settings`: what the admin may change while the server runs.

use std::ops::RangeInclusive;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const DAY_MS: u64 = 86_400_000;

/// Typed settings; a value that no row sets has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts may reach a model or break on the way.
    pub max_attempts: u32,
    /// How many attempts a request may make in all, free ones included.
    pub max_keys_per_request: u32,
    pub connect_timeout_ms: u64,
    /// How long an answer's first byte may take, over all attempts.
    pub first_byte_timeout_ms: u64,
    /// How long a started answer may be silent.
    pub idle_timeout_ms: u64,
    /// Speak HTTP/2 to Google, over several connections.
    pub upstream_http2: bool,
    /// The largest request body.
    pub max_request_bytes: u64,
    /// How much all request bodies together may take.
    pub max_held_bytes: u64,
    /// How many requests one upstream key carries at once; 0: any number.
    pub per_key_concurrency: u32,
    /// How long an answer waits for its row.
    pub commit_wait_ms: u64,
    /// With so many rows waiting for the database, new requests are refused.
    pub max_pending_rows: u64,
    /// What browsers are told in `access-control-allow-origin`; empty: nothing.
    pub cors_allow_origin: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            max_keys_per_request: 32,
            connect_timeout_ms: 10_000,
            first_byte_timeout_ms: 600_000,
            idle_timeout_ms: 300_000,
            upstream_http2: false,
            max_request_bytes: 150 * MIB,
            max_held_bytes: GIB,
            per_key_concurrency: 0,
            commit_wait_ms: 500,
            max_pending_rows: 100_000,
            cors_allow_origin: "*".to_owned(),
        }
    }
}

/// A setting's row that cannot be used; the default stands in for it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSetting {
    #[error("no setting has the name {0}")]
    UnknownName(String),
    #[error("{name} must be {expected}, not {value}")]
    Value {
        name: String,
        value: String,
        expected: String,
    },
}

impl Settings {
    /// Sets one value from its text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidSetting> {
        let wrong = |expected: String| InvalidSetting::Value {
            name: name.into(),
            value: value.into(),
            expected,
        };
        let number = |range: RangeInclusive<u64>| {
            let parsed = value.parse().ok().filter(|number| range.contains(number));
            parsed.ok_or_else(|| {
                wrong(format!(
                    "a whole number from {} to {}",
                    range.start(),
                    range.end()
                ))
            })
        };
        let small = |range: RangeInclusive<u64>| {
            number(range).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        };
        let switch = || match value {
            "on" | "true" | "1" => Ok(true),
            "off" | "false" | "0" => Ok(false),
            _ => Err(wrong("on or off".to_owned())),
        };
        match name {
            "max_attempts" => self.max_attempts = small(1..=100)?,
            "max_keys_per_request" => self.max_keys_per_request = small(1..=1_000)?,
            "connect_timeout_ms" => self.connect_timeout_ms = number(100..=DAY_MS)?,
            "first_byte_timeout_ms" => self.first_byte_timeout_ms = number(100..=DAY_MS)?,
            "idle_timeout_ms" => self.idle_timeout_ms = number(100..=DAY_MS)?,
            "upstream_http2" => self.upstream_http2 = switch()?,
            "max_request_bytes" => self.max_request_bytes = number(1_024..=64 * GIB)?,
            "max_held_bytes" => self.max_held_bytes = number(MIB..=1_024 * GIB)?,
            "per_key_concurrency" => self.per_key_concurrency = small(0..=1_000_000)?,
            "commit_wait_ms" => self.commit_wait_ms = number(0..=60_000)?,
            "max_pending_rows" => self.max_pending_rows = number(1..=10_000_000)?,
            "cors_allow_origin" if value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                value.clone_into(&mut self.cors_allow_origin);
            }
            "cors_allow_origin" => return Err(wrong("*, an origin, or empty".to_owned())),
            _ => return Err(InvalidSetting::UnknownName(name.to_owned())),
        }
        Ok(())
    }

    pub fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms)
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub fn commit_wait(&self) -> Duration {
        Duration::from_millis(self.commit_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_bounds_is_refused_and_changes_nothing() {
        let mut settings = Settings::default();

        for (name, value) in [
            ("max_attempts", "0"),
            ("max_attempts", "many"),
            ("upstream_http2", "maybe"),
            ("no_such", "1"),
        ] {
            assert!(settings.set(name, value).is_err(), "{name} = {value}");
        }
        assert_eq!(settings, Settings::default());

        settings.set("max_attempts", "7").unwrap();
        settings.set("upstream_http2", "on").unwrap();
        assert_eq!((settings.max_attempts, settings.upstream_http2), (7, true));
    }
}
