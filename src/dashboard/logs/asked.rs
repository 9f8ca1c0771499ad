//! `Asked`: the filters of the log as they stand in its URL.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::dashboard::components::href;
use crate::dashboard::texts::Language;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::request_id::RequestId;
use crate::storage::request_logs::Kind;
use crate::storage::request_logs::filter::Filter;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::search::Place;

/// Something that rows can be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Text,
    Since,
    Until,
    Outcome,
    Model,
    Client,
    Key,
    Status,
    Kind,
    Ip,
    Agent,
    Project,
    Method,
    Path,
    Operation,
    Version,
    Streamed,
    Retried,
    MinDuration,
    MinFirstByte,
    FinishReason,
    ServiceTier,
    Error,
}

impl Field {
    pub const ALL: [Self; 23] = [
        Self::Text,
        Self::Since,
        Self::Until,
        Self::Outcome,
        Self::Model,
        Self::Client,
        Self::Key,
        Self::Status,
        Self::Kind,
        Self::Ip,
        Self::Agent,
        Self::Project,
        Self::Method,
        Self::Path,
        Self::Operation,
        Self::Version,
        Self::Streamed,
        Self::Retried,
        Self::MinDuration,
        Self::MinFirstByte,
        Self::FinishReason,
        Self::ServiceTier,
        Self::Error,
    ];

    /// Its name in URLs and forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "q",
            Self::Since => "since",
            Self::Until => "until",
            Self::Outcome => "outcome",
            Self::Model => "model",
            Self::Client => "client",
            Self::Key => "key",
            Self::Status => "status",
            Self::Kind => "kind",
            Self::Ip => "ip",
            Self::Agent => "agent",
            Self::Project => "project",
            Self::Method => "method",
            Self::Path => "path",
            Self::Operation => "operation",
            Self::Version => "version",
            Self::Streamed => "streamed",
            Self::Retried => "retried",
            Self::MinDuration => "min_ms",
            Self::MinFirstByte => "min_first_byte_ms",
            Self::FinishReason => "reason",
            Self::ServiceTier => "tier",
            Self::Error => "error",
        }
    }

    pub fn label(self, language: Language) -> &'static str {
        match self {
            Self::Text => language.log_text(),
            Self::Since => language.log_since(),
            Self::Until => language.log_until(),
            Self::Outcome => language.log_outcome(),
            Self::Model => language.log_model(),
            Self::Client => language.log_client(),
            Self::Key => language.log_key(),
            Self::Status => language.log_status(),
            Self::Kind => language.log_kind(),
            Self::Ip => language.log_ip(),
            Self::Agent => language.log_agent(),
            Self::Project => language.log_project(),
            Self::Method => language.log_method(),
            Self::Path => language.log_path(),
            Self::Operation => language.log_operation(),
            Self::Version => language.log_version(),
            Self::Streamed => language.log_streamed(),
            Self::Retried => language.log_retried(),
            Self::MinDuration => language.log_min_duration(),
            Self::MinFirstByte => language.log_min_first_byte(),
            Self::FinishReason => language.log_finish_reason(),
            Self::ServiceTier => language.log_service_tier(),
            Self::Error => language.log_error(),
        }
    }
}

/// What is asked of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    values: BTreeMap<Field, String>,
    pub place: Place,
}

impl Asked {
    /// What the pairs of a query say; what they say of other things is left out.
    pub fn of(pairs: Vec<(String, String)>) -> Self {
        let mut asked = Self::default();
        for (name, value) in pairs {
            let value = value.trim().to_owned();
            let field = Field::ALL.into_iter().find(|field| field.name() == name);
            match (name.as_str(), field, value.parse::<RequestId>()) {
                ("older", _, Ok(id)) => asked.place = Place::OlderThan(id),
                ("newer", _, Ok(id)) => asked.place = Place::NewerThan(id),
                (_, Some(field), _) if !value.is_empty() => {
                    asked.values.insert(field, value);
                }
                _ => (),
            }
        }
        asked
    }

    pub fn get(&self, field: Field) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What is asked, in the order of [`Field::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        self.values
            .iter()
            .map(|(field, value)| (*field, value.as_str()))
    }

    /// The same from the newest row on, with this asked too, or no longer where the value is empty.
    #[must_use]
    pub fn with(&self, field: Field, value: &str) -> Self {
        let mut values = self.values.clone();
        if value.is_empty() {
            values.remove(&field);
        } else {
            values.insert(field, value.to_owned());
        }
        Self {
            values,
            place: Place::Newest,
        }
    }

    #[must_use]
    pub fn at(&self, place: Place) -> Self {
        Self {
            values: self.values.clone(),
            place,
        }
    }

    /// The URL that asks for it at `path`.
    pub fn href(&self, path: &str) -> String {
        let (name, id) = match self.place {
            Place::Newest => ("older", String::new()),
            Place::OlderThan(id) => ("older", id.to_string()),
            Place::NewerThan(id) => ("newer", id.to_string()),
        };
        let mut pairs: Vec<_> = self
            .iter()
            .map(|(field, value)| (field.name(), value))
            .collect();
        pairs.push((name, &id));
        href(path, &pairs)
    }

    /// What rows must be, and which of the values could not be understood.
    pub fn filter(&self, zone: &TimeZone, now: Timestamp) -> (Filter, Vec<Field>) {
        let mut filter = Filter::default();
        let mut wrong = Vec::new();
        for (field, value) in self.iter() {
            let text = || Some(value.to_owned());
            let understood = match field {
                Field::Text => {
                    filter.text = text();
                    true
                }
                Field::Since => put(&mut filter.since, moment(value, zone, now)),
                Field::Until => put(&mut filter.until, moment(value, zone, now)),
                Field::Outcome => put(&mut filter.ending, value.parse().ok()),
                Field::Model => put(&mut filter.model, text()),
                Field::Client => match value.parse() {
                    Ok(id) => put(&mut filter.client_key_id, Some(ClientKeyId(id))),
                    Err(_) => put(&mut filter.client_key, text()),
                },
                Field::Key => put(
                    &mut filter.upstream_key_id,
                    value.parse().ok().map(UpstreamKeyId),
                ),
                Field::Status => put(&mut filter.status, value.parse().ok()),
                Field::Kind => put(
                    &mut filter.kind,
                    match value {
                        "request" => Some(Kind::Request),
                        "check" => Some(Kind::Check),
                        _ => None,
                    },
                ),
                Field::Ip => put(&mut filter.client_ip, text()),
                Field::Agent => put(&mut filter.user_agent, text()),
                Field::Project => put(&mut filter.project, text()),
                Field::Method => put(&mut filter.method, Some(value.to_ascii_uppercase())),
                Field::Path => put(&mut filter.path, text()),
                Field::Operation => put(&mut filter.operation, text()),
                Field::Version => put(&mut filter.model_version, text()),
                Field::Streamed => put(&mut filter.streamed, yes_or_no(value)),
                Field::Retried => {
                    filter.retried = yes_or_no(value) == Some(true);
                    filter.retried
                }
                Field::MinDuration => put(&mut filter.min_duration_ms, value.parse().ok()),
                Field::MinFirstByte => put(&mut filter.min_first_byte_ms, value.parse().ok()),
                Field::FinishReason => put(&mut filter.finish_reason, text()),
                Field::ServiceTier => put(&mut filter.service_tier, text()),
                Field::Error => put(&mut filter.error, text()),
            };
            if !understood {
                wrong.push(field);
            }
        }
        (filter, wrong)
    }
}

/// Takes over a value, and tells whether there is one.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "yes" | "true" | "1" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads `24h` (ago), an RFC 3339 moment, or a local time like `2026-11-22T16:00`.
fn moment(text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    if let Some(span) = span(text) {
        return Some(now - span);
    }
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let local: DateTime = text.parse().ok()?;
    let zoned = zone.to_zoned(local).ok()?;
    Some(zoned.timestamp().into())
}

fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// How far around a request its neighbours are looked for.
const AROUND: Duration = Duration::from_mins(5);

/// What the same client asked within five minutes of the request.
pub fn around(row: &RequestLog) -> Asked {
    let asked = Asked::default()
        .with(Field::Since, &(row.started_at - AROUND).to_rfc3339())
        .with(Field::Until, &(row.started_at + AROUND).to_rfc3339());
    match (row.client_key_id, &row.client_ip) {
        (Some(id), _) => asked.with(Field::Client, &id.0.to_string()),
        (None, Some(ip)) => asked.with(Field::Ip, ip),
        (None, None) => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::storage::request_logs::filter::{Ending, Statuses};

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let pairs = pairs.iter();
        Asked::of(
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_url_is_read_as_it_is_written() {
        let wanted = asked(&[
            ("q", "a b&c"),
            ("outcome", "failed"),
            ("older", "1k9z4v0qm3e0a"),
            ("model", " "),
            ("nonsense", "1"),
        ]);

        let url = wanted.href("/logs");

        assert_eq!(url, "/logs?q=a%20b%26c&outcome=failed&older=1k9z4v0qm3e0a");
        assert_eq!(
            wanted.with(Field::Text, "").href("/logs"),
            "/logs?outcome=failed"
        );
    }

    #[test]
    fn values_become_a_filter_and_what_is_not_understood_is_named() {
        let zone = TimeZone::get("Asia/Taipei").unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let wanted = asked(&[
            ("since", "24h"),
            ("until", "2026-11-22T16:00"),
            ("outcome", "quota"),
            ("status", "4xx"),
            ("client", "7"),
            ("method", "get"),
            ("streamed", "yes"),
            ("key", "seven"),
            ("min_ms", "1500"),
        ]);

        let (filter, wrong) = wanted.filter(&zone, now);

        let expected = Filter {
            since: Some("2026-11-21T12:00:00Z".parse().unwrap()),
            until: Some("2026-11-22T08:00:00Z".parse().unwrap()),
            ending: Some(Ending::Was(Outcome::Quota)),
            status: Some(Statuses::Class(4)),
            client_key_id: Some(ClientKeyId(7)),
            method: Some("GET".to_owned()),
            streamed: Some(true),
            min_duration_ms: Some(1_500),
            ..Filter::default()
        };
        assert_eq!((filter, wrong), (expected, vec![Field::Key]));
        assert_eq!(
            asked(&[("client", "web app")])
                .filter(&zone, now)
                .0
                .client_key
                .as_deref(),
            Some("web app")
        );
    }
}
