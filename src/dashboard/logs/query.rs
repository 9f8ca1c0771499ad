//! `LogQuery`: the filters and the position of the log list, as in its URL.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use strum::VariantArray;

use crate::clock::Timestamp;
use crate::dashboard::components::href;
use crate::dashboard::translations::Language;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::request_id::RequestId;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::RequestLog;

/// The fields that log rows can be filtered by: name in URLs and forms, label, and how a value becomes a part of the filter,
/// which returns whether the value is valid.
macro_rules! log_fields {
    ($($field:ident $name:literal $label:ident $set:expr;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
        pub enum LogField {
            $($field),+
        }

        impl LogField {
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name),+
                }
            }

            pub fn label(self, language: Language) -> &'static str {
                match self {
                    $(Self::$field => language.$label()),+
                }
            }

            fn set(self, filter: &mut LogFilter, value: &str, zone: &TimeZone, now: Timestamp) -> bool {
                let set: fn(&mut LogFilter, &str, &TimeZone, Timestamp) -> bool = match self {
                    $(Self::$field => $set),+
                };
                set(filter, value, zone, now)
            }
        }
    };
}

log_fields! {
    Text "q" log_text |filter, value, _, _| set_text(&mut filter.text, value);
    Since "from" log_since |filter, value, zone, now| set(&mut filter.since, moment(value, zone, now));
    Until "to" log_until |filter, value, zone, now| set(&mut filter.until, moment(value, zone, now));
    Outcome "outcome" log_outcome |filter, value, _, _| set(&mut filter.outcome, value.parse().ok());
    Model "model" log_model |filter, value, _, _| set_text(&mut filter.model, value);
    Client "client" log_client |filter, value, _, _| match value.parse() {
        Ok(id) => set(&mut filter.client_key_id, Some(ClientKeyId(id))),
        Err(_) => set_text(&mut filter.client_key, value),
    };
    Key "key" log_key |filter, value, _, _| match value.parse() {
        Ok(id) => set(&mut filter.upstream_key_id, Some(UpstreamKeyId(id))),
        Err(_) => set_text(&mut filter.upstream_key, value),
    };
    Status "status" log_status |filter, value, _, _| set(&mut filter.status, value.parse().ok());
    Kind "kind" log_kind |filter, value, _, _| {
        filter.kind = value.parse().ok();
        filter.kind.is_some() || value == ANY_KIND
    };
    Ip "ip" log_ip |filter, value, _, _| set_text(&mut filter.client_ip, value);
    Agent "agent" log_agent |filter, value, _, _| set_text(&mut filter.user_agent, value);
    Project "project" log_project |filter, value, _, _| set_text(&mut filter.project, value);
    Egress "egress" log_egress |filter, value, _, _| set_text(&mut filter.egress, value);
    Method "method" log_method |filter, value, _, _| set_text(&mut filter.method, &value.to_ascii_uppercase());
    Path "path" log_path |filter, value, _, _| set_text(&mut filter.path, value);
    Operation "operation" log_operation |filter, value, _, _| set_text(&mut filter.operation, value);
    Version "version" log_version |filter, value, _, _| set_text(&mut filter.model_version, value);
    Streamed "streamed" log_streamed |filter, value, _, _| set(&mut filter.streamed, yes_or_no(value));
    Retried "retried" log_retried |filter, value, _, _| {
        filter.retried = yes_or_no(value) == Some(true);
        filter.retried
    };
    MinDuration "min_ms" log_min_duration |filter, value, _, _| set(&mut filter.min_duration_ms, value.parse().ok());
    MinFirstByte "min_first_byte_ms" log_min_first_byte |filter, value, _, _| {
        set(&mut filter.min_first_byte_ms, value.parse().ok())
    };
    FinishReason "reason" log_finish_reason |filter, value, _, _| set_text(&mut filter.finish_reason, value);
    ServiceTier "tier" log_service_tier |filter, value, _, _| set_text(&mut filter.service_tier, value);
    Error "error" log_error |filter, value, _, _| set_text(&mut filter.error, value);
}

/// The value of [`LogField::Kind`] for requests and checks. Without a value the list has requests only.
pub const ANY_KIND: &str = "any";

/// The query of the log list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    values: BTreeMap<LogField, String>,
    pub position: LogPosition,
}

impl LogQuery {
    /// Parses the pairs of a URL query; unknown names are ignored.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            let value = value.trim().to_owned();
            let name = match name.as_str() {
                // Their names in older links.
                "since" => LogField::Since.name(),
                "until" => LogField::Until.name(),
                name => name,
            };
            let field = LogField::VARIANTS.iter().find(|field| field.name() == name);
            match (name, field, value.parse::<RequestId>()) {
                ("older", _, Ok(id)) => query.position = LogPosition::OlderThan(id),
                ("newer", _, Ok(id)) => query.position = LogPosition::NewerThan(id),
                (_, Some(field), _) if !value.is_empty() => {
                    query.values.insert(*field, value);
                }
                _ => (),
            }
        }
        query
    }

    pub fn get(&self, field: LogField) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The filters in use, in the order of [`LogField`].
    pub fn iter(&self) -> impl Iterator<Item = (LogField, &str)> {
        self.values
            .iter()
            .map(|(field, value)| (*field, value.as_str()))
    }

    /// The query from the newest row on, with a filter set, or removed if `value` is empty.
    #[must_use]
    pub fn with(&self, field: LogField, value: &str) -> Self {
        let mut values = self.values.clone();
        if value.is_empty() {
            values.remove(&field);
        } else {
            values.insert(field, value.to_owned());
        }
        Self {
            values,
            position: LogPosition::Newest,
        }
    }

    #[must_use]
    pub fn at(&self, position: LogPosition) -> Self {
        Self {
            values: self.values.clone(),
            position,
        }
    }

    /// The URL of the query at `path`.
    pub fn href(&self, path: &str) -> String {
        let (name, id) = match self.position {
            LogPosition::Newest => ("older", String::new()),
            LogPosition::OlderThan(id) => ("older", id.to_string()),
            LogPosition::NewerThan(id) => ("newer", id.to_string()),
        };
        let mut pairs: Vec<_> = self
            .iter()
            .map(|(field, value)| (field.name(), value))
            .collect();
        pairs.push((name, &id));
        href(path, &pairs)
    }

    /// The filter of rows, and the fields with invalid values.
    pub fn filter(&self, zone: &TimeZone, now: Timestamp) -> (LogFilter, Vec<LogField>) {
        let mut filter = LogFilter {
            kind: Some(LogKind::Request),
            ..LogFilter::default()
        };
        let fields = self.iter();
        let invalid = fields.filter(|(field, value)| !field.set(&mut filter, value, zone, now));
        let invalid = invalid.map(|(field, _)| field).collect();
        (filter, invalid)
    }
}

/// Stores a parsed value; returns whether it was valid.
fn set<T>(target: &mut Option<T>, value: Option<T>) -> bool {
    *target = value;
    target.is_some()
}

fn set_text(target: &mut Option<String>, value: &str) -> bool {
    set(target, Some(value.to_owned()))
}

pub fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "yes" | "true" | "1" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// Parses an age such as `24h`, an RFC 3339 moment, or a local time such as `2026-11-22T16:00`.
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

/// A time field in the zone, as `2026-11-22T16:00:00`; `None` for an age.
pub fn local_time(text: &str, zone: &TimeZone, now: Timestamp) -> Option<String> {
    if span(text).is_some() {
        return None;
    }
    let moment = moment(text, zone, now)?;
    let local = zone.to_datetime(moment.to_jiff());
    Some(local.strftime("%Y-%m-%dT%H:%M:%S").to_string())
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

/// The time before and after a request in which related requests are listed.
const NEIGHBOUR_SPAN: Duration = Duration::from_mins(5);

/// Requests of the same client within five minutes of this one.
pub fn requests_around(row: &RequestLog) -> LogQuery {
    let query = LogQuery::default()
        .with(
            LogField::Since,
            &(row.started_at - NEIGHBOUR_SPAN).to_rfc3339(),
        )
        .with(
            LogField::Until,
            &(row.started_at + NEIGHBOUR_SPAN).to_rfc3339(),
        );
    match (row.client_key_id, &row.client_ip) {
        (Some(id), _) => query.with(LogField::Client, &id.0.to_string()),
        (None, Some(ip)) => query.with(LogField::Ip, ip),
        (None, None) => query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::storage::request_logs::filter::{OutcomeFilter, StatusFilter};

    fn query_of(pairs: &[(&str, &str)]) -> LogQuery {
        let pairs = pairs.iter();
        LogQuery::from_pairs(
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_query_survives_its_url() {
        let query = query_of(&[
            ("q", "a b&c"),
            ("outcome", "failed"),
            ("older", "1k9z4v0qm3e0a"),
            ("model", " "),
            ("nonsense", "1"),
        ]);

        let url = query.href("/logs");

        assert_eq!(url, "/logs?q=a%20b%26c&outcome=failed&older=1k9z4v0qm3e0a");
        assert_eq!(
            query.with(LogField::Text, "").href("/logs"),
            "/logs?outcome=failed"
        );
    }

    #[test]
    fn values_become_a_filter_and_invalid_fields_are_reported() {
        let zone = TimeZone::get("Asia/Taipei").unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let query = query_of(&[
            ("since", "24h"),
            ("until", "2026-11-22T16:00"),
            ("outcome", "quota"),
            ("status", "4xx"),
            ("client", "7"),
            ("method", "get"),
            ("streamed", "yes"),
            ("key", "web-1"),
            ("min_ms", "1500"),
            ("min_first_byte_ms", "soon"),
        ]);

        let (filter, invalid) = query.filter(&zone, now);

        let expected = LogFilter {
            // Where none is chosen.
            kind: Some(LogKind::Request),
            since: Some("2026-11-21T12:00:00Z".parse().unwrap()),
            until: Some("2026-11-22T08:00:00Z".parse().unwrap()),
            outcome: Some(OutcomeFilter::Is(Outcome::Quota)),
            status: Some(StatusFilter::Class(4)),
            client_key_id: Some(ClientKeyId(7)),
            method: Some("GET".to_owned()),
            upstream_key: Some("web-1".to_owned()),
            streamed: Some(true),
            min_duration_ms: Some(1_500),
            ..LogFilter::default()
        };
        assert_eq!((filter, invalid), (expected, vec![LogField::MinFirstByte]));
        for (kind, expected, is_valid) in [
            ("check", Some(LogKind::Check), true),
            (ANY_KIND, None, true),
            ("checks", None, false),
        ] {
            let (filter, invalid) = query_of(&[("kind", kind)]).filter(&zone, now);
            assert_eq!((filter.kind, invalid.is_empty()), (expected, is_valid));
        }
        assert_eq!(
            query_of(&[("client", "web app")])
                .filter(&zone, now)
                .0
                .client_key
                .as_deref(),
            Some("web app")
        );
    }
}
