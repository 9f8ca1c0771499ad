//! `LogFilter`: selects log rows, and matches a row in memory.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::{Outcome, UnknownOutcome};
use crate::pool::request_id::RequestId;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::listed::RequestLog;

/// Conditions on listed rows; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogFilter {
    pub kind: Option<LogKind>,
    pub outcome: Option<OutcomeFilter>,
    pub status: Option<StatusFilter>,
    pub model: Option<String>,
    pub model_version: Option<String>,
    pub client_key_id: Option<ClientKeyId>,
    /// The client key's name, which need not be unique.
    pub client_key: Option<String>,
    pub client_ip: Option<String>,
    pub user_agent: Option<String>,
    /// The key of any attempt.
    pub upstream_key_id: Option<UpstreamKeyId>,
    /// The label or the last four characters of the key of any attempt, which need not be unique.
    pub upstream_key: Option<String>,
    /// The name of the last attempt's project, or Google's number.
    pub project: Option<String>,
    /// The label or the id of the egress proxy of any attempt.
    pub egress: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub operation: Option<String>,
    pub streamed: Option<bool>,
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    pub min_duration_ms: Option<u64>,
    pub min_first_byte_ms: Option<u64>,
    /// Only requests with more than one attempt.
    pub retried: bool,
    /// A part of the error, in any case.
    pub error: Option<String>,
    /// Inclusive.
    pub since: Option<Timestamp>,
    /// Exclusive.
    pub until: Option<Timestamp>,
    /// A part of the error, path, model, user agent, the client key's name or the last upstream key's label, in any case; or
    /// that key's last four characters, or the request's id.
    pub text: Option<String>,
}

/// An index of `request_logs` and the condition whose rows it has, in the order of their ids.
pub type RowIndex = (&'static str, &'static str);

/// A column of strings that a filter compares as a whole.
pub struct TextColumn {
    pub wanted: fn(&LogFilter) -> Option<&str>,
    value: fn(&RequestLog) -> Option<&str>,
    /// On the row `r`, with the string's id as parameter.
    pub condition: &'static str,
    pub index: Option<RowIndex>,
}

impl TextColumn {
    fn matches(&self, filter: &LogFilter, row: &RequestLog) -> bool {
        (self.wanted)(filter).is_none_or(|wanted| (self.value)(row) == Some(wanted))
    }
}

macro_rules! text_columns {
    (@index $column:literal) => {
        None
    };
    (@index $column:literal $index:literal) => {
        Some(($index, concat!($column, " = ?")))
    };
    ($($name:ident $value:expr, $column:literal $($index:literal)?;)+) => {
        [$(TextColumn {
            wanted: |filter| filter.$name.as_deref(),
            value: $value,
            condition: concat!("r.", $column, " = ?"),
            index: text_columns!(@index $column $($index)?),
        }),+]
    };
}

pub const TEXT_COLUMNS: [TextColumn; 8] = text_columns! {
    model |row| row.model.as_deref(), "model_id" "request_logs_by_model";
    model_version |row| row.model_version.as_deref(), "model_version_id";
    client_ip |row| row.client_ip.as_deref(), "client_ip_id" "request_logs_by_client_ip";
    user_agent |row| row.user_agent.as_deref(), "user_agent_id" "request_logs_by_user_agent";
    path |row| Some(&row.path), "path_id" "request_logs_by_path";
    operation |row| row.operation.as_deref(), "operation_id";
    finish_reason |row| row.finish_reason.as_deref(), "finish_reason_id";
    service_tier |row| row.service_tier.as_deref(), "service_tier_id";
};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFilter {
    Is(Outcome),
    /// One of several outcomes.
    AnyOf(OutcomeSet),
    /// Any outcome for which the pool or Google is at fault.
    Failed,
    /// Still running.
    Running,
}

/// A set of outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeSet(u16);

impl OutcomeSet {
    fn add(&mut self, outcome: Outcome) {
        self.0 |= 1 << outcome as u16;
    }

    pub fn contains(self, outcome: Outcome) -> bool {
        self.0 & (1 << outcome as u16) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Outcome> {
        let all = Outcome::ALL.iter().copied();
        all.filter(move |outcome| self.contains(*outcome))
    }
}

impl FromIterator<Outcome> for OutcomeSet {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut set = Self::default();
        outcomes.into_iter().for_each(|outcome| set.add(outcome));
        set
    }
}

/// The status that the client received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    Is(u16),
    /// The first digit.
    Class(u16),
}

impl LogFilter {
    /// Whether there are no conditions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its conditions by name, without those that match all.
    pub fn conditions(&self) -> Value {
        let mut conditions = json!(self);
        if let Value::Object(entries) = &mut conditions {
            entries.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
            if let Some(streamed) = self.streamed {
                entries.insert("streamed".to_owned(), streamed.into());
            }
        }
        conditions
    }

    /// Whether a row with its attempts matches.
    pub fn matches(&self, row: &RequestLog) -> bool {
        let tried = |id| {
            let mut attempts = row.attempt_list.iter().flatten();
            attempts.any(|attempt| attempt.upstream_key_id == id)
        };
        let tried_key = |key: &str| {
            let mut attempts = row.attempt_list.iter().flatten();
            attempts.any(|attempt| {
                [&attempt.upstream_key, &attempt.upstream_key_last4]
                    .into_iter()
                    .any(|name| name.as_deref() == Some(key))
            })
        };
        let went_through = |egress: &str| {
            let mut attempts = row.attempt_list.iter().flatten();
            attempts.any(|attempt| {
                let id = attempt.egress_id.map(|id| id.to_string());
                attempt.egress.as_deref() == Some(egress) || id.as_deref() == Some(egress)
            })
        };
        let at_least = |most: Option<u64>, ms: Option<i64>| {
            most.is_none_or(|most| ms.is_some_and(|ms| u64::try_from(ms).unwrap_or(0) >= most))
        };
        let is =
            |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        self.kind.is_none_or(|kind| row.kind == kind)
            && TEXT_COLUMNS.iter().all(|column| column.matches(self, row))
            && self
                .outcome
                .is_none_or(|filter| filter.matches(row.outcome))
            && self
                .status
                .is_none_or(|status| row.status.is_some_and(|is| status.matches(is)))
            && (self.client_key_id.is_none() || self.client_key_id == row.client_key_id)
            && is(&self.client_key, &row.client_key)
            && self.upstream_key_id.is_none_or(tried)
            && self.upstream_key.as_deref().is_none_or(tried_key)
            && is(&self.project, &row.project)
            && self.egress.as_deref().is_none_or(went_through)
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == row.method)
            && self
                .streamed
                .is_none_or(|streamed| row.streamed == streamed)
            && at_least(self.min_duration_ms, row.duration_ms)
            && at_least(self.min_first_byte_ms, row.first_byte_ms)
            && (!self.retried || row.attempts > 1)
            && self
                .error
                .as_ref()
                .is_none_or(|part| contains(row.error.as_deref(), part))
            && self
                .since
                .is_none_or(|since| row.id >= RequestId::first_at(since))
            && self
                .until
                .is_none_or(|until| row.id < RequestId::first_at(until))
            && self
                .text
                .as_ref()
                .is_none_or(|text| matches_text(row, text))
    }
}

impl OutcomeFilter {
    /// `None`: still running.
    pub fn matches(self, outcome: Option<Outcome>) -> bool {
        match self {
            Self::Is(wanted) => outcome == Some(wanted),
            Self::AnyOf(set) => outcome.is_some_and(|outcome| set.contains(outcome)),
            Self::Failed => outcome.is_some_and(Outcome::is_failure),
            Self::Running => outcome.is_none(),
        }
    }
}

/// Its text in commands and URLs.
impl fmt::Display for OutcomeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(outcome) => f.write_str(outcome.name()),
            Self::AnyOf(set) => {
                let names: Vec<_> = set.iter().map(Outcome::name).collect();
                f.write_str(&names.join(","))
            }
            Self::Failed => f.write_str("failed"),
            Self::Running => f.write_str("running"),
        }
    }
}

impl Serialize for OutcomeFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for OutcomeFilter {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        match text {
            "failed" => Ok(Self::Failed),
            "running" => Ok(Self::Running),
            _ if text.contains(',') => {
                let outcomes = text.split(',').map(|name| name.trim().parse());
                outcomes.collect::<Result<_, _>>().map(Self::AnyOf)
            }
            _ => text.parse().map(Self::Is),
        }
    }
}

impl StatusFilter {
    fn matches(self, status: i64) -> bool {
        let (least, most) = self.range();
        (i64::from(least)..=i64::from(most)).contains(&status)
    }

    /// The first and the last status.
    pub fn range(self) -> (u16, u16) {
        match self {
            Self::Is(status) => (status, status),
            Self::Class(digit) => (digit * 100, digit * 100 + 99),
        }
    }
}

/// Parses `404` or `4xx`.
impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(status) => write!(f, "{status}"),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

impl Serialize for StatusFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for StatusFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let wrong = "must be a status like 404, or a class of them like 4xx";
        let class = text.strip_suffix("xx");
        let number: u16 = class.unwrap_or(text).parse().map_err(|_| wrong)?;
        match class {
            Some(_) if (1..=5).contains(&number) => Ok(Self::Class(number)),
            None if (100..=999).contains(&number) => Ok(Self::Is(number)),
            _ => Err(wrong),
        }
    }
}

/// Whether the text contains `part`, ignoring the case of ASCII letters like SQLite's `lower`.
fn contains(text: Option<&str>, part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    text.is_some_and(|text| text.to_ascii_lowercase().contains(&part))
}

fn matches_text(row: &RequestLog, text: &str) -> bool {
    let columns = [
        &row.error,
        &row.model,
        &row.user_agent,
        &row.client_key,
        &row.upstream_key,
    ];
    contains(Some(&row.path), text)
        || columns
            .into_iter()
            .any(|column| contains(column.as_deref(), text))
        || row.upstream_key_last4.as_deref() == Some(text)
        || text.parse().is_ok_and(|id: RequestId| id == row.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_and_status_filters_are_parsed_from_their_text() {
        for text in [
            "success",
            "client_gone",
            "quota,no_key",
            "failed",
            "running",
        ] {
            assert_eq!(text.parse::<OutcomeFilter>().unwrap().to_string(), text);
        }
        assert!("quota,failed".parse::<OutcomeFilter>().is_err());
        for text in ["200", "429", "4xx", "5xx"] {
            assert_eq!(text.parse::<StatusFilter>().unwrap().to_string(), text);
        }
        for text in ["", "xx", "9xx", "44xx", "20", "all"] {
            assert!(text.parse::<StatusFilter>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_conditions_of_a_filter_are_those_that_it_has() {
        let filter = LogFilter {
            outcome: Some(OutcomeFilter::Failed),
            status: Some(StatusFilter::Class(4)),
            streamed: Some(false),
            since: Some("2026-11-22T08:00:00Z".parse().unwrap()),
            ..LogFilter::default()
        };
        let conditions = json!({
            "outcome": "failed",
            "status": "4xx",
            "streamed": false,
            "since": "2026-11-22T08:00:00.000Z",
        });
        assert_eq!(filter.conditions(), conditions);
        assert_eq!(LogFilter::default().conditions(), json!({}));
    }
}
