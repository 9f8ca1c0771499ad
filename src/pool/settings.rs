//! `Settings`: values that the admin may change while the server runs. One table defines the fields, defaults, bounds
//! and explanations.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::pool::body_log::{BodyLogMode, is_client_list};
use crate::pool::model_fallback::ModelFallback;
use crate::pool::model_prices::ModelPrices;
use crate::pool::model_timeouts::ModelTimeouts;
use crate::pool::traceparent::UpstreamTraceParent;

use SettingKind::{Choice, Entries, Number, Switch, Text};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const DAY_MS: u64 = 86_400_000;
const MANY: u64 = 1_000_000_000_000;

/// Defines [`Settings`], its defaults, [`PerSetting`] and [`DEFINITIONS`] from lines `name: type = default, kind;`.
macro_rules! settings {
    ($($(#[doc = $line:literal])+ $name:ident: $type:ty = $default:expr, $kind:expr;)+) => {
        /// Typed settings; without a row a setting has its default.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $line])+ pub $name: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// A value of one type for each setting; the compiler requires all of them.
        #[derive(Debug)]
        pub struct PerSetting<T> {
            $(pub $name: T,)+
        }

        impl<T> PerSetting<T> {
            /// The value for a setting.
            pub fn of(&self, definition: &SettingDefinition) -> &T {
                match definition.name {
                    $(stringify!($name) => &self.$name,)+
                    _ => unreachable!("both are generated from the same lines"),
                }
            }
        }

        /// Every setting, in the order of display.
        pub static DEFINITIONS: &[SettingDefinition] = &[
            $(SettingDefinition {
                name: stringify!($name),
                explanation: concat!($($line),+).trim_ascii(),
                kind: $kind,
                read: |settings| settings.$name.to_text(),
                write: |settings, text| {
                    settings.$name = SettingValue::from_text(text)?;
                    Some(())
                },
            },)+
        ];
    };
}

settings! {
    /// How many attempts of one request may reach a model or break on the way.
    max_attempts: u32 = 4, Number(1..=100);
    /// Maximum number of attempts per request, including those that cost nothing.
    max_keys_per_request: u32 = 32, Number(1..=1_000);
    /// Models that answer in place of one that no key can serve now, as in `gemini-2.5-pro > gemini-2.5-flash`.
    model_fallback: ModelFallback = ModelFallback::default(), Text("chains of models as in gemini-2.5-pro > gemini-2.5-flash, separated by commas, or empty", is_fallback);
    /// Send a request once more if its reply is empty or its function call malformed; each reply is billed.
    empty_reply_retry: bool = false, Switch;
    /// Largest share of requests that are sent to a second project when the first one is slow, in percent; each is billed; 0: none.
    hedge_percent: u64 = 0, Number(0..=100);
    /// Send the number of attempts, the time in the queue and what the limits leave as headers `x-pool-…`.
    pool_headers: bool = false, Switch;
    /// How long connecting to Google may take.
    connect_timeout_ms: u64 = 10_000, Number(100..=DAY_MS);
    /// How long an answer's first byte may take, over all attempts.
    first_byte_timeout_ms: u64 = 600_000, Number(100..=DAY_MS);
    /// How long an answer may pause after its begin; its whole length is not limited.
    idle_timeout_ms: u64 = 300_000, Number(100..=DAY_MS);
    /// Other limits for the first byte and for pauses by model, as in `gemini-*-pro first_byte=900000 idle=600000`.
    timeouts_by_model: ModelTimeouts = ModelTimeouts::default(), Entries("patterns of models with limits in milliseconds as in gemini-*-pro first_byte=900000 idle=600000, one for each line or comma, or empty", wrong_timeout);
    /// Speak HTTP/2 to Google, over several connections.
    upstream_http2: bool = false, Switch;
    /// The largest request body; a larger one gets 413.
    max_request_bytes: u64 = 150 * MIB, Number(1_024..=64 * GIB);
    /// Maximum size of all request bodies in memory together; above it requests get 503.
    max_held_bytes: u64 = GIB, Number(MIB..=1_024 * GIB);
    /// Share of the memory for bodies for one client while another client holds memory or waits for it, in percent.
    client_body_share_percent: u64 = 25, Number(1..=100);
    /// The least rate at which a request body must arrive, after its first 10 seconds; 0: any.
    body_min_bytes_per_second: u64 = 1_024, Number(0..=GIB);
    /// The largest first message of a live session.
    live_setup_max_bytes: u64 = MIB, Number(1_024..=64 * MIB);
    /// How long a request waits for a key that will soon be ready, or for memory for its body; 0: not at all.
    wait_for_key_seconds: u64 = 10, Number(0..=3_600);
    /// Maximum number of requests waiting for a key.
    wait_queue_limit: u64 = 1_000, Number(0..=1_000_000);
    /// The first pause of an overloaded model; it doubles up to 30,000, or stays the same if it is longer.
    overload_pause_ms: u64 = 2_000, Number(100..=600_000);
    /// Maximum number of concurrent requests per upstream key; 0: no limit.
    per_key_concurrency: u32 = 0, Number(0..=1_000_000);
    /// Maximum number of requests per upstream key and minute; 0: no limit.
    key_requests_per_minute: u64 = 0, Number(0..=MANY);
    /// Maximum number of tokens per upstream key and minute; 0: no limit.
    key_tokens_per_minute: u64 = 0, Number(0..=MANY);
    /// Maximum number of requests per upstream key and Google's day; 0: no limit.
    key_requests_per_day: u64 = 0, Number(0..=MANY);
    /// Maximum number of tokens per upstream key and Google's day; 0: no limit.
    key_tokens_per_day: u64 = 0, Number(0..=MANY);
    /// Maximum number of requests per project and minute; 0: no limit.
    project_requests_per_minute: u64 = 0, Number(0..=MANY);
    /// Maximum number of tokens per project and minute; 0: no limit.
    project_tokens_per_minute: u64 = 0, Number(0..=MANY);
    /// Maximum number of requests per project and Google's day; 0: no limit.
    project_requests_per_day: u64 = 0, Number(0..=MANY);
    /// Maximum number of tokens per project and Google's day; 0: no limit.
    project_tokens_per_day: u64 = 0, Number(0..=MANY);
    /// Check new upstream keys as soon as they are added.
    check_new_keys: bool = true, Switch;
    /// The model used in checks of upstream keys.
    check_model: String = "gemini-flash-lite-latest".to_owned(), Text("a model's name", is_model);
    /// Let checks of upstream keys generate one token, which uses quota and proves more.
    check_with_generate: bool = false, Switch;
    /// The time zone in which the days and months of client keys' limits begin.
    day_zone: TimeZone = TimeZone::UTC, Text("a time zone such as UTC or Asia/Taipei", is_zone);
    /// Let a client key use only the files, caches, batches and interactions that it created.
    client_isolation: bool = true, Switch;
    /// How long an answer waits until its log row is written.
    commit_wait_ms: u64 = 500, Number(0..=60_000);
    /// Maximum number of rows waiting for the database; above it new requests get 503.
    max_pending_rows: u64 = 100_000, Number(1..=10_000_000);
    /// Own prices of models in dollars for a million tokens of input and output, as in `gemini-2.5-pro=1.25/10`.
    model_prices: ModelPrices = ModelPrices::default(), Text("models with prices as in gemini-2.5-pro=1.25/10, separated by commas, or empty", is_price_list);
    /// Days after which log rows are deleted; hourly rollups are kept; 0: never.
    log_retention_days: u64 = 90, Number(0..=36_500);
    /// Maximum number of log rows; above it the oldest ones are deleted; 0: no limit.
    log_max_rows: u64 = 0, Number(0..=MANY);
    /// Maximum size of the database file; above it the oldest log rows are deleted; 0: no limit.
    log_max_bytes: u64 = 0, Number(0..=1_024 * 1_024 * GIB);
    /// Whose request and answer bodies are kept: off, errors or all.
    body_log_mode: BodyLogMode = BodyLogMode::Off, Choice(&["off", "errors", "all"]);
    /// The IDs of the client keys whose bodies are kept, separated by commas; empty: all client keys.
    body_log_client_keys: String = String::new(), Text("IDs of client keys, separated by commas, or empty", is_client_list);
    /// Share of these requests whose bodies are kept, chosen at random, in percent.
    body_log_sample_percent: u64 = 100, Number(1..=100);
    /// Maximum size of a kept body; the rest of a longer one is not kept.
    body_log_max_bytes: u64 = 65_536, Number(1_024..=MIB);
    /// Days after which kept bodies are deleted.
    body_log_retention_days: u64 = 3, Number(1..=36_500);
    /// Maximum size of all kept bodies, compressed; above it the oldest ones are deleted; 0: no limit.
    body_log_max_total_bytes: u64 = GIB, Number(0..=1_024 * 1_024 * GIB);
    /// Fewer usable upstream keys than this for a model in use are an alert; 0 or 1: only if there is none.
    alert_min_usable_keys: u64 = 2, Number(0..=1_000_000);
    /// The value of `access-control-allow-origin`; empty: no header.
    cors_allow_origin: String = "*".to_owned(), Text("*, an origin, or empty", is_origin);
    /// Show the holder of a client key its usage at `/my-usage`, without a session.
    my_usage: bool = false, Switch;
    /// Serve `/metrics` to everyone, without a token.
    metrics_open: bool = false, Switch;
    /// The collector of OpenTelemetry that receives a trace of each request, by OTLP over HTTP; empty: none.
    otlp_endpoint: String = String::new(), Text("the http or https URL of a collector such as http://localhost:4318, or empty", is_collector);
    /// Which `traceparent` Google receives: client (as the client sent it), pool (that of the pool's own span, while traces are exported) or none.
    upstream_traceparent: UpstreamTraceParent = UpstreamTraceParent::Client, Choice(&["client", "pool", "none"]);
    /// Hours after the last backup until the server makes the next one by itself; 0: never.
    backup_interval_hours: u64 = 0, Number(0..=8_760);
    /// Number of scheduled backups to keep; the oldest ones above it are deleted.
    backup_keep: u64 = 7, Number(1..=1_000);
}

/// The definition of a setting.
#[derive(Debug)]
pub struct SettingDefinition {
    pub name: &'static str,
    pub explanation: &'static str,
    pub kind: SettingKind,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str) -> Option<()>,
}

/// The values that a setting accepts.
#[derive(Debug)]
pub enum SettingKind {
    /// A whole number within bounds.
    Number(RangeInclusive<u64>),
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that the function accepts and the words describe.
    Text(&'static str, fn(&str) -> bool),
    /// A list of entries, of which the function returns the first invalid one and the words describe all.
    Entries(&'static str, fn(&str) -> Option<String>),
}

/// A setting's value that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSetting {
    #[error("no setting has the name {0}")]
    UnknownName(String),
    #[error("{name} must be {expected}, not {value:?}")]
    Value {
        name: String,
        value: String,
        expected: String,
    },
}

impl Settings {
    /// Sets one value from its text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidSetting> {
        let definition =
            definition(name).ok_or_else(|| InvalidSetting::UnknownName(name.to_owned()))?;
        let written = definition
            .kind
            .allows(value)
            .then(|| (definition.write)(self, value));
        let invalid_entry = definition.kind.invalid_entry(value);
        written.flatten().ok_or_else(|| InvalidSetting::Value {
            name: name.to_owned(),
            value: invalid_entry.unwrap_or_else(|| value.to_owned()),
            expected: definition.kind.to_string(),
        })
    }

    /// How long the first byte of a request for this model may take; `None`: a request that names no model.
    pub fn first_byte_timeout(&self, model: Option<&str>) -> Duration {
        let own = self.timeouts_by_model.of(model);
        let own = own.and_then(|timeout| timeout.first_byte_ms);
        Duration::from_millis(own.unwrap_or(self.first_byte_timeout_ms))
    }

    /// How long an answer of this model may pause; `None`: of a request that names no model.
    pub fn idle_timeout(&self, model: Option<&str>) -> Duration {
        let own = self.timeouts_by_model.of(model);
        let own = own.and_then(|timeout| timeout.idle_ms);
        Duration::from_millis(own.unwrap_or(self.idle_timeout_ms))
    }

    pub fn commit_wait(&self) -> Duration {
        Duration::from_millis(self.commit_wait_ms)
    }

    pub fn wait_for_key(&self) -> Duration {
        Duration::from_secs(self.wait_for_key_seconds)
    }

    pub fn overload_pause(&self) -> Duration {
        Duration::from_millis(self.overload_pause_ms)
    }
}

/// The setting of this name.
pub fn definition(name: &str) -> Option<&'static SettingDefinition> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name == name)
}

impl SettingDefinition {
    /// The setting's value as text, which [`Settings::set`] takes.
    pub fn value(&self, settings: &Settings) -> String {
        (self.read)(settings)
    }

    pub fn default(&self) -> String {
        self.value(&Settings::default())
    }

    /// Whether a stored value is still valid; its bounds may be narrower now. `None`: the default.
    pub fn allows(&self, row_value: Option<&str>) -> bool {
        row_value.is_none_or(|value| self.row_value(value).is_ok())
    }

    /// The row's text for `text`: its canonical form, or `None` for the default, which needs no row.
    pub fn row_value(&self, text: &str) -> Result<Option<String>, InvalidSetting> {
        let mut settings = Settings::default();
        settings.set(self.name, text)?;
        Ok(Some(self.value(&settings)).filter(|value| *value != self.default()))
    }
}

impl SettingKind {
    fn allows(&self, text: &str) -> bool {
        match self {
            Number(bounds) => text.parse().is_ok_and(|number| bounds.contains(&number)),
            Switch => bool::from_text(text).is_some(),
            Choice(words) => words.contains(&text),
            Text(_, is_one) => is_one(text),
            Entries(_, wrong) => wrong(text).is_none(),
        }
    }

    /// The first invalid entry of a text that is a list.
    pub fn invalid_entry(&self, text: &str) -> Option<String> {
        match self {
            Entries(_, wrong) => wrong(text),
            Number(_) | Switch | Choice(_) | Text(..) => None,
        }
    }
}

/// Completes "must be …".
impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number(bounds) => {
                let (least, most) = (bounds.start(), bounds.end());
                write!(f, "a whole number from {least} to {most}")
            }
            Switch => f.write_str("on or off"),
            Choice(words) => f.write_str(&words.join(" or ")),
            Text(words, _) | Entries(words, _) => f.write_str(words),
        }
    }
}

/// The type of a setting's value, converted to and from text.
trait SettingValue: Sized {
    fn from_text(text: &str) -> Option<Self>;
    fn to_text(&self) -> String;
}

/// Types whose own text is that of the setting.
macro_rules! plain_values {
    ($($type:ty),+) => {
        $(impl SettingValue for $type {
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        })+
    };
}

plain_values!(u32, u64, String);

impl SettingValue for bool {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "on" | "true" | "1" => Some(true),
            "off" | "false" | "0" => Some(false),
            _ => None,
        }
    }

    fn to_text(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl SettingValue for BodyLogMode {
    fn from_text(text: &str) -> Option<Self> {
        Self::named(text)
    }

    fn to_text(&self) -> String {
        self.name().to_owned()
    }
}

impl SettingValue for ModelFallback {
    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn to_text(&self) -> String {
        self.to_text()
    }
}

impl SettingValue for ModelPrices {
    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn to_text(&self) -> String {
        self.to_text()
    }
}

impl SettingValue for ModelTimeouts {
    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for TimeZone {
    fn from_text(text: &str) -> Option<Self> {
        Self::get(text).ok()
    }

    fn to_text(&self) -> String {
        self.iana_name().unwrap_or("UTC").to_owned()
    }
}

impl SettingValue for UpstreamTraceParent {
    fn from_text(text: &str) -> Option<Self> {
        Self::named(text)
    }

    fn to_text(&self) -> String {
        self.name().to_owned()
    }
}

fn is_collector(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= 500;
    let rest = text
        .strip_prefix("http://")
        .or(text.strip_prefix("https://"));
    text.is_empty() || is_plain && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('@'))
}

fn is_fallback(text: &str) -> bool {
    ModelFallback::parse(text).is_some()
}

fn is_price_list(text: &str) -> bool {
    ModelPrices::parse(text).is_some()
}

fn wrong_timeout(text: &str) -> Option<String> {
    ModelTimeouts::parse(text).err()
}

fn is_zone(text: &str) -> bool {
    TimeZone::from_text(text).is_some()
}

fn is_model(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    // A path whose segments are only dots would lead elsewhere.
    let is_part = |part: &str| {
        part.bytes().all(is_fit) && part.bytes().any(|byte| byte.is_ascii_alphanumeric())
    };
    (1..=100).contains(&text.len()) && text.split('/').all(is_part)
}

fn is_origin(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_default_within_its_bounds_and_an_explanation() {
        let mut settings = Settings::default();

        for definition in DEFINITIONS {
            let (name, default) = (definition.name, definition.default());
            settings.set(name, &default).unwrap();
            assert_eq!(definition.row_value(&default).unwrap(), None, "{name}");
            assert!(definition.explanation.ends_with('.'), "{name}");
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn every_setting_accepts_values_within_its_bounds_and_returns_them() {
        for definition in DEFINITIONS {
            let (values, wrong): (Vec<String>, Vec<String>) = match &definition.kind {
                Number(bounds) => {
                    let (least, most) = (*bounds.start(), *bounds.end());
                    let below = least.checked_sub(1).map(|below| below.to_string());
                    let wrong = [(most + 1).to_string(), "-1".to_owned(), "many".to_owned()];
                    (
                        vec![least.to_string(), most.to_string()],
                        wrong.into_iter().chain(below).collect(),
                    )
                }
                Switch => (
                    vec!["on".to_owned(), "off".to_owned()],
                    vec!["maybe".to_owned(), String::new()],
                ),
                Choice(words) => {
                    let words = words.iter().map(|word| (*word).to_owned());
                    (words.collect(), vec!["a b".to_owned(), String::new()])
                }
                Text(..) | Entries(..) => (vec![definition.default()], vec!["a b".to_owned()]),
            };
            let mut settings = Settings::default();
            for value in values {
                settings.set(definition.name, &value).unwrap();
                assert_eq!(definition.value(&settings), value, "{}", definition.name);
            }
            let before = settings.clone();
            for value in wrong {
                let error = settings.set(definition.name, &value).unwrap_err();
                let expected = format!(
                    "{} must be {}, not {value:?}",
                    definition.name, definition.kind
                );
                assert_eq!(error.to_string(), expected);
            }
            assert_eq!(settings, before);
        }
    }

    #[test]
    fn texts_are_validated_by_kind() {
        let mut settings = Settings::default();
        for (name, value, is_right) in [
            ("check_model", "models/gemini-2.5-flash_lite", true),
            ("check_model", "", false),
            ("check_model", "gemini?key=", false),
            ("check_model", "models/../x", false),
            ("check_model", "/gemini", false),
            ("cors_allow_origin", "https://example.com", true),
            ("cors_allow_origin", "", true),
            ("cors_allow_origin", "https://a.com\r\n", false),
            ("day_zone", "Asia/Taipei", true),
            ("day_zone", "Asia/Atlantis", false),
            ("day_zone", "", false),
            ("body_log_mode", "errors", true),
            ("body_log_mode", "All", false),
            ("body_log_client_keys", "1, 2", true),
            ("body_log_client_keys", "test", false),
            ("model_prices", "gemini-2.5-pro=1.25/10", true),
            ("model_prices", "gemini-2.5-pro=10", false),
            ("timeouts_by_model", "*-pro idle=900000", true),
            ("timeouts_by_model", "*-pro idle", false),
            ("no_such", "1", false),
        ] {
            let set = settings.set(name, value);
            assert_eq!(set.is_ok(), is_right, "{name} = {value}");
        }
        assert_eq!(settings.day_zone.iana_name(), Some("Asia/Taipei"));
    }

    #[test]
    fn limits_of_a_model_replace_those_of_all_one_by_one() {
        let mut settings = Settings::default();
        settings
            .set("timeouts_by_model", "*-pro first_byte=900000")
            .unwrap();

        let pro = Some("gemini-2.5-pro");
        let first_byte = settings.first_byte_timeout(pro);
        assert_eq!(first_byte, Duration::from_mins(15));
        assert_eq!(settings.idle_timeout(pro), Duration::from_mins(5));
        assert_eq!(settings.first_byte_timeout(None), Duration::from_mins(10));
        let wrong = settings.set("timeouts_by_model", "*-pro idle=900, x y");
        let message = wrong.unwrap_err().to_string();
        assert!(message.ends_with("not \"x y\""), "{message}");
    }

    #[test]
    fn a_row_stores_the_canonical_form_of_a_value_other_than_the_default() {
        for (name, text, kept) in [
            ("max_attempts", "007", Some("7")),
            ("max_attempts", "04", None),
            ("upstream_http2", "true", Some("on")),
            ("day_zone", "asia/taipei", Some("Asia/Taipei")),
            ("day_zone", "utc", None),
        ] {
            let value = definition(name).unwrap().row_value(text).unwrap();
            assert_eq!(value.as_deref(), kept, "{text}");
        }
    }
}
