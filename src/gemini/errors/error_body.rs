//! `ErrorBody`: the fields of Google's error responses, in all their formats.

use std::time::Duration;

use serde_json::Value;

use crate::pool::health::verdict::{QuotaWindow, Violation};

/// An error that is longer than this when decoded is not read.
pub const MAX_ERROR_BYTES: usize = 8 * 1024 * 1024;

/// Maximum length of a text that is not JSON.
const MAX_MESSAGE_CHARACTERS: usize = 500;

/// The fields of an error response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    pub kind: BodyKind,
    /// `error.code`, if it is a number.
    pub code: Option<u16>,
    /// `error.code` if it is symbolic, as in the Interactions API.
    pub symbolic_code: Option<String>,
    /// `error.status`, such as `RESOURCE_EXHAUSTED`.
    pub status: Option<String>,
    pub message: String,
    pub infos: Vec<ErrorInfo>,
    /// From `QuotaFailure`, or from the metadata of older responses.
    pub violations: Vec<Violation>,
    /// From `RetryInfo`, else from the message.
    pub retry_delay: Option<Duration>,
    /// The Google project in the error, as `projects/123`.
    pub project: Option<String>,
}

/// The format of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyKind {
    Json,
    /// An HTML page of Google's front end, which had not checked any key.
    Html,
    #[default]
    Other,
}

/// One `google.rpc.ErrorInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorInfo {
    pub reason: String,
    pub consumer: Option<String>,
    pub method_name: Option<String>,
    pub quota_limit: Option<String>,
    pub quota_limit_value: Option<String>,
    pub quota_metric: Option<String>,
}

impl ErrorBody {
    /// Reads a complete, decoded body: an object, an array around one, an event stream, an HTML page, anything.
    pub fn read(bytes: &[u8]) -> Self {
        let text = bytes.trim_ascii();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.first() == Some(&b'<') {
            return Self::of_page(text);
        }
        error_in_json(text)
            .or_else(|| error_in_events(text))
            .unwrap_or_else(|| Self {
                message: excerpt(text),
                ..Self::default()
            })
    }

    /// Reads the bare value of an `error` key.
    pub fn of_error(raw: &[u8]) -> Self {
        let error = serde_json::from_slice(raw).unwrap_or_default();
        Self::of_value(&error)
    }

    /// The first `ErrorInfo` with this reason.
    pub fn info(&self, reason: &str) -> Option<&ErrorInfo> {
        self.infos.iter().find(|info| info.reason == reason)
    }

    fn of_page(text: &[u8]) -> Self {
        let page = excerpt(text);
        let title = page
            .split_once("<title>")
            .and_then(|(_, rest)| rest.split_once("</title>"));
        let message = title.map_or(page.clone(), |(title, _)| title.trim().to_owned());
        Self {
            kind: BodyKind::Html,
            message,
            ..Self::default()
        }
    }

    fn of_value(error: &Value) -> Self {
        let code = &error["code"];
        let code_number = code.as_u64().or_else(|| code.as_str()?.parse().ok());
        let mut body = Self {
            kind: BodyKind::Json,
            code: code_number.and_then(|code| u16::try_from(code).ok()),
            symbolic_code: string_at(error, "code").filter(|_| code_number.is_none()),
            status: string_at(error, "status"),
            message: string_at(error, "message")
                .or_else(|| error.as_str().map(str::to_owned))
                .unwrap_or_default(),
            ..Self::default()
        };
        for detail in elements(&error["details"]) {
            body.add_detail(detail);
        }
        // The format requested by `$.xgafv=1` has `errors` instead of `details`.
        for entry in elements(&error["errors"]) {
            let reason = string_at(entry, "reason").unwrap_or_default();
            body.infos.push(ErrorInfo {
                reason,
                ..ErrorInfo::default()
            });
        }
        if body.violations.is_empty() {
            body.violations = body.infos.iter().filter_map(violation_of_info).collect();
        }
        body.retry_delay = body.retry_delay.or_else(|| delay_in(&body.message));
        body.project = project_in(&body);
        body
    }

    fn add_detail(&mut self, detail: &Value) {
        let kind = detail["@type"].as_str().unwrap_or_default();
        match kind.rsplit('.').next().unwrap_or_default() {
            "ErrorInfo" => self.infos.push(ErrorInfo {
                reason: string_at(detail, "reason").unwrap_or_default(),
                consumer: string_at(&detail["metadata"], "consumer"),
                method_name: string_at(&detail["metadata"], "methodName"),
                quota_limit: string_at(&detail["metadata"], "quota_limit"),
                quota_limit_value: string_at(&detail["metadata"], "quota_limit_value"),
                quota_metric: string_at(&detail["metadata"], "quota_metric"),
            }),
            "QuotaFailure" => {
                let limit_named = states_nonzero_limit(&self.message);
                let violations = elements(&detail["violations"]);
                self.violations
                    .extend(violations.map(|v| violation_of(v, limit_named)));
            }
            "RetryInfo" => {
                let delay = detail["retryDelay"].as_str().and_then(duration);
                self.retry_delay = self.retry_delay.max(delay);
            }
            _ => {}
        }
    }
}

/// An error object, bare or as the first element of an array.
fn error_in_json(text: &[u8]) -> Option<ErrorBody> {
    let document: Value = serde_json::from_slice(text).ok()?;
    let candidates = match &document {
        Value::Array(elements) => elements.as_slice(),
        other => std::slice::from_ref(other),
    };
    let error = candidates.iter().find_map(error_value_in);
    Some(error.map_or_else(
        || ErrorBody {
            kind: BodyKind::Json,
            message: excerpt(text),
            ..ErrorBody::default()
        },
        ErrorBody::of_value,
    ))
}

fn error_value_in(object: &Value) -> Option<&Value> {
    let error = object.get("error").filter(|error| !error.is_null());
    error.or_else(|| {
        let is_bare = object.get("code").is_some() && object.get("message").is_some();
        is_bare.then_some(object)
    })
}

/// The first error in `data:` events, or in bare JSON after them.
fn error_in_events(text: &[u8]) -> Option<ErrorBody> {
    let mut data = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let content = line.trim_ascii_end();
        if let Some(part) = content.strip_prefix(b"data:") {
            data.extend_from_slice(part);
        } else if content.is_empty() {
            if let Some(error) = error_of_event(&data) {
                return Some(error);
            }
            data.clear();
        } else if matches!(content[0], b'{' | b'[') {
            return serde_json::Deserializer::from_slice(&text[at..])
                .into_iter::<Value>()
                .next()?
                .ok()
                .as_ref()
                .and_then(error_value_in)
                .map(ErrorBody::of_value);
        }
        at += line.len();
    }
    error_of_event(&data)
}

fn error_of_event(data: &[u8]) -> Option<ErrorBody> {
    let event: Value = serde_json::from_slice(data).ok()?;
    error_value_in(&event).map(ErrorBody::of_value)
}

fn violation_of(violation: &Value, limit_named: bool) -> Violation {
    let quota_id = string_at(violation, "quotaId").unwrap_or_default();
    let value = &violation["quotaValue"];
    let stated = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    Violation {
        window: window_of(&quota_id),
        quota_id,
        metric: string_at(violation, "quotaMetric").unwrap_or_default(),
        model: string_at(&violation["quotaDimensions"], "model"),
        // Google's JSON omits zeros: a limit without a value is 0.
        limit: stated.or((!limit_named && !quota_id_is_missing(violation)).then_some(0)),
    }
}

fn quota_id_is_missing(violation: &Value) -> bool {
    violation["quotaId"].as_str().is_none_or(str::is_empty)
}

/// Older responses have no `QuotaFailure`, but the same facts in the metadata of `RATE_LIMIT_EXCEEDED`.
fn violation_of_info(info: &ErrorInfo) -> Option<Violation> {
    let quota_id = info.quota_limit.clone()?;
    Some(Violation {
        window: window_of(&quota_id),
        quota_id,
        metric: info.quota_metric.clone().unwrap_or_default(),
        model: None,
        limit: info
            .quota_limit_value
            .as_deref()
            .and_then(|value| value.parse().ok()),
    })
}

fn window_of(quota_id: &str) -> QuotaWindow {
    if quota_id.contains("PerDay") || quota_id.contains("Daily") {
        QuotaWindow::Day
    } else if quota_id.contains("PerMinute") {
        QuotaWindow::Minute
    } else {
        QuotaWindow::Unknown
    }
}

/// Whether the message states a limit above zero, as in `limit: 20`.
fn states_nonzero_limit(message: &str) -> bool {
    limits_in(message).any(|limit| limit != "0")
}

/// Whether the message states a limit of zero: the project's tier does not have this model at all.
pub fn states_zero_limit(message: &str) -> bool {
    limits_in(message).any(|limit| limit == "0")
}

fn limits_in(message: &str) -> impl Iterator<Item = &str> {
    message.split("limit:").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches('.');
        (!number.is_empty()).then_some(number)
    })
}

fn delay_in(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("retry in ")?;
    duration(rest.split_whitespace().next()?.trim_end_matches(['.', ',']))
}

/// `48s`, `34.4s`, `500ms`, `18h6m45.1s`; `None` for anything else.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit_seconds = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * unit_seconds).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Texts before a project in `consumer` and in messages; the last is that of `SERVICE_DISABLED`, which has no details
/// on the Interactions surface.
const PROJECT_PREFIXES: [&str; 3] = [
    "projects/",
    "project_number:",
    "has not been used in project ",
];

fn project_in(body: &ErrorBody) -> Option<String> {
    let consumers = body
        .infos
        .iter()
        .filter_map(|info| info.consumer.as_deref());
    let consumer = consumers.into_iter().find_map(|consumer| {
        let mut prefixes = PROJECT_PREFIXES.iter();
        prefixes.find_map(|prefix| consumer.strip_prefix(prefix))
    });
    let id = consumer.or_else(|| {
        // A path such as `projects/…` may quote the client's input.
        let (_, rest) = PROJECT_PREFIXES[1..]
            .iter()
            .find_map(|prefix| body.message.split_once(prefix))?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(&rest[..end])
    })?;
    let is_plain = !id.is_empty() && id.len() <= 64 && !id.contains(char::is_whitespace);
    is_plain.then(|| format!("projects/{id}"))
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string_at(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_MESSAGE_CHARACTERS)]);
    text.chars().take(MAX_MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ERROR: &str =
        r#"{"error": {"code": 429, "message": "wait", "status": "RESOURCE_EXHAUSTED"}}"#;

    #[test]
    fn an_error_is_read_in_every_format() {
        let cases = [
            ERROR.to_owned(),
            format!("\u{feff}{ERROR}\n"),
            format!("[{ERROR}\n]\n"),
            format!("data: {ERROR}\r\n\r\n"),
            format!("event: error\ndata: {ERROR}\n\n"),
            format!("data: {{\"candidates\": []}}\r\n\r\n{ERROR}\n"),
            format!("data: {{\"candidates\": []}}\r\n\r\ndata: {ERROR}"),
            r#"{"code": "429", "message": "wait", "status": "RESOURCE_EXHAUSTED"}"#.to_owned(),
        ];

        for case in cases {
            let body = ErrorBody::read(case.as_bytes());
            assert_eq!(body.kind, BodyKind::Json, "{case}");
            assert_eq!(body.code, Some(429), "{case}");
            assert_eq!(body.message, "wait", "{case}");
            assert_eq!(body.status.as_deref(), Some("RESOURCE_EXHAUSTED"), "{case}");
        }
    }

    #[test]
    fn a_body_without_an_error_object_still_gives_a_message() {
        let page =
            ErrorBody::read(b"\n<!DOCTYPE html>\n<title>Error 502 (Server Error)!!1</title>");
        assert_eq!(
            (page.kind, page.message.as_str()),
            (BodyKind::Html, "Error 502 (Server Error)!!1")
        );

        let text = ErrorBody::read(b"upstream gone");
        assert_eq!(
            (text.kind, text.message.as_str()),
            (BodyKind::Other, "upstream gone")
        );

        let word = ErrorBody::read(br#"{"error":{"code":"quota_exceeded","message":"later"}}"#);
        assert_eq!(
            (word.code, word.symbolic_code.as_deref()),
            (None, Some("quota_exceeded"))
        );

        let old = ErrorBody::read(br#"{"error":{"code":400,"errors":[{"reason":"keyInvalid"}]}}"#);
        assert!(old.info("keyInvalid").is_some());

        assert_eq!(
            ErrorBody::read(br#"{"error":"invalid_grant"}"#).message,
            "invalid_grant"
        );
        assert_eq!(ErrorBody::read(b"").message, "");
    }

    #[test]
    fn the_older_quota_format_gives_limit_and_project() {
        let body = ErrorBody::read(
            br#"{"error":{"code":429,"message":"Quota exceeded for quota metric 'Generate' and limit 'Per minute' of service 'g' for consumer 'project_number:42'.",
            "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED",
            "metadata":{"quota_limit":"GenerateContentRequestsPerMinutePerProject","quota_limit_value":"60","quota_metric":"g/requests"}}]}}"#,
        );

        assert_eq!(body.project.as_deref(), Some("projects/42"));
        assert_eq!(body.violations.len(), 1);
        assert_eq!(body.violations[0].window, QuotaWindow::Minute);
        assert_eq!(body.violations[0].limit, Some(60));
    }

    #[test]
    fn a_project_is_read_from_every_place_in_an_error() {
        let disabled = "Generative Language API has not been used in project 42 before or it is disabled. Enable it by \
            visiting https://console.developers.google.com/apis/api/generativelanguage.googleapis.com/overview?project=42";
        let cases = [
            (disabled, None, Some("projects/42")),
            (disabled, Some("projects/43"), Some("projects/43")),
            ("no", Some("projects/42"), Some("projects/42")),
            ("no", Some("project_number:42"), Some("projects/42")),
            (
                "Quota exceeded for consumer 'project_number:42'.",
                None,
                Some("projects/42"),
            ),
            ("No file projects/42/files/a.", None, None),
            ("has not been used in project <PROJECT_NUMBER>", None, None),
            ("no", Some("projects/"), None),
        ];
        for (message, consumer, expected) in cases {
            let info = serde_json::json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVICE_DISABLED",
                "metadata": {"consumer": consumer},
            });
            let error =
                serde_json::json!({"error": {"code": 403, "message": message, "details": [info]}});

            let body = ErrorBody::read(error.to_string().as_bytes());

            assert_eq!(body.project.as_deref(), expected, "{message} {consumer:?}");
        }
    }

    #[test]
    fn delays_are_read_in_every_format() {
        let cases = [
            ("48s", Some(48_000)),
            ("34.4s", Some(34_400)),
            ("35.174346048s", Some(35_174)),
            ("65205s", Some(65_205_000)),
            ("500ms", Some(500)),
            ("18h6m45.1s", Some(65_205_100)),
            ("2m", Some(120_000)),
            ("", None),
            ("s", None),
            ("5", None),
            ("-5s", None),
            ("9e9s", None),
            ("99999999999999999999999s", None),
        ];

        for (text, expected) in cases {
            let found = duration(text).map(|delay| delay.as_millis());
            assert_eq!(found, expected, "{text}");
        }
        let in_message = delay_in("Quota.\nPlease retry in 48.939935699s.");
        assert_eq!(in_message.map(|delay| delay.as_millis()), Some(48_939));
    }

    #[test]
    fn a_limit_of_zero_differs_from_one_that_begins_with_zero() {
        for (message, expected) in [
            ("x, limit: 0, model: y", true),
            ("limit:0", true),
            ("limit: 0.", true),
            ("limit: 0.5", false),
            ("limit: 05", false),
            ("limit: 20", false),
            ("no limit", false),
        ] {
            assert_eq!(states_zero_limit(message), expected, "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            ErrorBody::read(&bytes);
            ErrorBody::of_error(&bytes);
        }

        #[test]
        fn malformed_errors_cause_no_panic(text in r#"(data: |event: error|\n|\r\n|[{}\[\]",:]|"error"|"code"|"message"|"details"|9){0,30}"#) {
            ErrorBody::read(text.as_bytes());
        }
    }
}
