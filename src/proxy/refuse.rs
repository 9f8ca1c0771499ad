//! `Refusal`: how the proxy says no, in the form that the client's SDK understands.

use std::net::IpAddr;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::clock::{self, Timestamp};
use crate::gemini::target::{Surface, TargetError};
use crate::pool::clients::admission::LimitReached;
use crate::pool::keys::selection::LeaseObstacle;
use crate::pool::outcome::Outcome;
use crate::proxy::record::Record;
use crate::websocket::close_frame;

mod denied;

/// How many bytes of what the client sent a message repeats.
const REPEATED: usize = 100;

/// Why the pool itself answers, and not Google.
#[derive(Debug)]
pub enum Refusal {
    NoClientKey,
    WrongClientKey,
    DisabledClientKey,
    ExpiredClientKey,
    /// A token that somebody made for a session at Google.
    UnknownToken,
    TooManyGuesses(Duration),
    /// The client key's row says something that cannot be read.
    ScopesUnreadable,
    AddressOutOfScope(IpAddr),
    PathOutOfScope {
        allowed: String,
    },
    /// It would give somebody access to Google that goes past the pool.
    DirectAccess,
    ModelOutOfScope {
        model: String,
        allowed: String,
    },
    /// The client key may use some models only, and the request does not say which it uses.
    ModelUntold {
        allowed: String,
    },
    /// The client key has reached a limit of its own.
    Limited(LimitReached),
    BadTarget(TargetError),
    AlteredPath,
    AmbiguousLength,
    NotAWebSocket,
    /// A live session whose first frame did not come.
    SetupTooSlow,
    BodyTooLarge(u64),
    BodyTooSlow,
    BodyBroken,
    TooMuchHeld,
    /// There is no upstream key at all.
    NoUpstreamKeys,
    /// None of the keys can serve until a person or a check mends one.
    NoneUsable,
    /// The one project that holds what the request names has no key that can serve it.
    OwnerGone {
        /// A name that the project holds; empty: not told.
        held: String,
    },
    /// What the request names is in several projects; what each has stands together.
    Apart(Vec<Vec<String>>),
    /// Nothing of this name exists for the client.
    NotFound(String),
    /// What the body names cannot all be read, and might be another client's.
    NamesUnread,
    /// A list was asked for from a place that is not known.
    BadCursor,
    /// The database did not say whose what the request names is.
    NotLookedUp,
    /// Keys could serve, but each carries as many requests as it may.
    AllBusy,
    /// All keys rest for this model.
    AllResting {
        model: String,
        /// A name that only the keys of one project may serve; empty: any project would have done.
        held: String,
        retry_after: Duration,
        for_the_day: bool,
    },
    /// The model is overloaded, and nothing is sent to it for a while.
    Overloaded {
        model: String,
        retry_after: Duration,
    },
    /// Google refuses whatever comes from our address.
    AddressLimited(Duration),
    Unreachable,
    Timeout,
    /// A session that is not there, or another client's, which shall not be told.
    UnknownUpload,
    /// What Google answered leads to somebody who gets no key of ours.
    LedAway,
    TooManyPendingRows,
    /// What must be read or written before an answer cannot be.
    NoDatabase,
}

impl Refusal {
    /// No key could be lent; without an obstacle there may be one again at once. `held` is a name because of which the
    /// keys of one project only were asked, or empty.
    pub fn no_key(obstacle: Option<LeaseObstacle>, model: &str, held: &str) -> Self {
        let now = clock::now();
        // A second at least: a client that comes back at once meets the same.
        let wait = |until: Timestamp| (until - now).max(Duration::from_secs(1));
        let model = &model[..model.floor_char_boundary(REPEATED)];
        let held = held[..held.floor_char_boundary(REPEATED)].to_owned();
        match obstacle {
            Some(LeaseObstacle::NoKeys) => Self::NoUpstreamKeys,
            Some(LeaseObstacle::NoUsableKey) => Self::NoneUsable,
            Some(LeaseObstacle::ProjectWithoutKeys) => Self::OwnerGone { held },
            Some(LeaseObstacle::AllTried | LeaseObstacle::Busy) | None => Self::AllBusy,
            Some(LeaseObstacle::CoolingDown { until, for_the_day }) => Self::AllResting {
                model: model.to_owned(),
                held,
                retry_after: wait(until),
                for_the_day,
            },
            Some(LeaseObstacle::Overloaded { until }) => Self::Overloaded {
                model: model.to_owned(),
                retry_after: wait(until),
            },
            Some(LeaseObstacle::AddressThrottled { until }) => Self::AddressLimited(wait(until)),
        }
    }

    /// Answers the client once the refusal's row is committed.
    pub async fn answer(self, mut record: Record) -> Response {
        let (status, message) = (self.status(), self.message());
        let surface = record.surface();
        let mut response = (
            status,
            [(CONTENT_TYPE, "application/json; charset=UTF-8")],
            self.body(surface),
        )
            .into_response();
        if let Some(wait) = self.retry_after() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        record.id_header(response.headers_mut());
        record.refused(status, self.outcome(), &message);
        record.finish().await;
        response
    }

    /// Notes the refusal of a session whose client was let in before. Returns the close that tells it.
    pub fn close(&self, record: &mut Record) -> CloseFrame {
        let message = self.message();
        record.refused(StatusCode::SWITCHING_PROTOCOLS, self.outcome(), &message);
        self.as_close()
    }

    /// The close that tells it in a live session.
    pub fn as_close(&self) -> CloseFrame {
        close_frame(close_code(self.status()), &self.message())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoClientKey | Self::WrongClientKey | Self::UnknownToken => {
                StatusCode::UNAUTHORIZED
            }
            Self::DisabledClientKey
            | Self::ExpiredClientKey
            | Self::ScopesUnreadable
            | Self::AddressOutOfScope(_)
            | Self::PathOutOfScope { .. }
            | Self::DirectAccess
            | Self::ModelOutOfScope { .. }
            | Self::ModelUntold { .. } => StatusCode::FORBIDDEN,
            Self::TooManyGuesses(_)
            | Self::Limited(_)
            | Self::AllResting { .. }
            | Self::AddressLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadTarget(TargetError::UnknownPath) | Self::NotFound(_) | Self::UnknownUpload => {
                StatusCode::NOT_FOUND
            }
            Self::LedAway => StatusCode::BAD_GATEWAY,
            Self::BadTarget(_)
            | Self::AlteredPath
            | Self::AmbiguousLength
            | Self::NotAWebSocket
            | Self::Apart(_)
            | Self::BadCursor
            | Self::NamesUnread
            | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow | Self::SetupTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMuchHeld
            | Self::NotLookedUp
            | Self::NoUpstreamKeys
            | Self::NoneUsable
            | Self::OwnerGone { .. }
            | Self::AllBusy
            | Self::Overloaded { .. }
            | Self::Unreachable
            | Self::TooManyPendingRows
            | Self::NoDatabase => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::NoUpstreamKeys | Self::NoneUsable | Self::OwnerGone { .. } | Self::AllBusy => {
                Outcome::NoKey
            }
            Self::AllResting { .. } | Self::AddressLimited(_) => Outcome::Quota,
            Self::Overloaded { .. } | Self::LedAway => Outcome::UpstreamError,
            Self::Unreachable | Self::Timeout => Outcome::Network,
            Self::BodyBroken => Outcome::ClientGone,
            Self::NoClientKey
            | Self::WrongClientKey
            | Self::DisabledClientKey
            | Self::ExpiredClientKey
            | Self::UnknownToken
            | Self::TooManyGuesses(_)
            | Self::ScopesUnreadable
            | Self::AddressOutOfScope(_)
            | Self::PathOutOfScope { .. }
            | Self::DirectAccess
            | Self::ModelOutOfScope { .. }
            | Self::ModelUntold { .. }
            | Self::Limited(_)
            | Self::BadTarget(_)
            | Self::AlteredPath
            | Self::AmbiguousLength
            | Self::NotAWebSocket
            | Self::SetupTooSlow
            | Self::Apart(_)
            | Self::BadCursor
            | Self::NamesUnread
            | Self::NotFound(_)
            | Self::NotLookedUp
            | Self::BodyTooLarge(_)
            | Self::BodyTooSlow
            | Self::TooMuchHeld
            | Self::UnknownUpload
            | Self::TooManyPendingRows
            | Self::NoDatabase => Outcome::Refused,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyGuesses(wait)
            | Self::AddressLimited(wait)
            | Self::Limited(LimitReached {
                retry_after: wait, ..
            })
            | Self::AllResting {
                retry_after: wait, ..
            }
            | Self::Overloaded {
                retry_after: wait, ..
            } => Some(*wait),
            Self::TooMuchHeld
            | Self::NotLookedUp
            | Self::Unreachable
            | Self::TooManyPendingRows
            | Self::NoDatabase => Some(Duration::from_secs(5)),
            Self::NoneUsable | Self::OwnerGone { .. } => Some(Duration::from_mins(1)),
            Self::AllBusy => Some(Duration::from_secs(1)),
            Self::NoClientKey
            | Self::WrongClientKey
            | Self::DisabledClientKey
            | Self::ExpiredClientKey
            | Self::UnknownToken
            | Self::ScopesUnreadable
            | Self::AddressOutOfScope(_)
            | Self::PathOutOfScope { .. }
            | Self::DirectAccess
            | Self::ModelOutOfScope { .. }
            | Self::ModelUntold { .. }
            | Self::BadTarget(_)
            | Self::AlteredPath
            | Self::AmbiguousLength
            | Self::NotAWebSocket
            | Self::SetupTooSlow
            | Self::Apart(_)
            | Self::BadCursor
            | Self::NamesUnread
            | Self::NotFound(_)
            | Self::BodyTooLarge(_)
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NoUpstreamKeys
            | Self::Timeout
            | Self::UnknownUpload
            | Self::LedAway => None,
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a text for each refusal, and nothing else"
    )]
    fn message(&self) -> String {
        match self {
            Self::NoClientKey => "gemini-pool: no client key was sent. Send one as x-goog-api-key, as a bearer token, as \
                 x-api-key or as ?key="
                .to_owned(),
            Self::WrongClientKey => {
                "gemini-pool: this client key is not known. Ask whoever runs the pool for one".to_owned()
            }
            Self::DisabledClientKey => "gemini-pool: this client key is switched off".to_owned(),
            Self::ExpiredClientKey => "gemini-pool: this client key has expired".to_owned(),
            Self::UnknownToken => {
                "gemini-pool: this ephemeral token was not made through this pool, or has expired. Make another".to_owned()
            }
            Self::TooManyGuesses(_) => {
                "gemini-pool: too many requests without a valid client key from this address. Wait, then send a valid one"
                    .to_owned()
            }
            Self::ScopesUnreadable => {
                "gemini-pool: what this client key may do cannot be read. Ask whoever runs the pool to make another"
                    .to_owned()
            }
            Self::AddressOutOfScope(address) => format!(
                "gemini-pool: this client key may not be used from {address}. Whoever runs the pool can allow it, with \
                 --addresses"
            ),
            Self::PathOutOfScope { allowed } => format!(
                "gemini-pool: this client key may not use this path, but {allowed}. Whoever runs the pool can allow it, \
                 with --paths"
            ),
            Self::DirectAccess => "gemini-pool: this client key may not hand out access to Google that goes past the pool \
                 (ephemeral tokens, permissions, webhooks, credentials). Whoever runs the pool can allow it, with \
                 --direct-access"
                .to_owned(),
            Self::ModelOutOfScope { model, allowed } => {
                let model = &model[..model.floor_char_boundary(REPEATED)];
                format!(
                    "gemini-pool: this client key may not use the model {model}, but {allowed}. Whoever runs the pool can \
                     allow it, with --models"
                )
            }
            Self::ModelUntold { allowed } => format!(
                "gemini-pool: this client key may use {allowed} only, and the request does not tell its model. Name it as \
                 `model` in a JSON body that is not compressed"
            ),
            Self::Limited(denied) => denied::message(denied),
            Self::BadTarget(why) => format!("gemini-pool: {why}"),
            Self::AlteredPath => {
                "gemini-pool: the path has characters that cannot be sent on unaltered. Percent-encode them".to_owned()
            }
            Self::AmbiguousLength => "gemini-pool: the request announces its length in two ways".to_owned(),
            Self::NotAWebSocket => {
                "gemini-pool: this path is for live sessions. Ask for a WebSocket, over HTTP/1.1".to_owned()
            }
            Self::SetupTooSlow => "gemini-pool: the first message, with the setup, did not come".to_owned(),
            Self::Apart(groups) => {
                let groups: Vec<_> = groups.iter().map(|names| listed(names)).collect();
                format!(
                    "gemini-pool: what this request names was made in different Google projects, and none of them can read \
                     it all: {}. Make them anew with this client key, so that they are in one",
                    groups.join(" / ")
                )
            }
            Self::NotFound(name) => {
                let name = &name[..name.floor_char_boundary(REPEATED)];
                format!(
                    "gemini-pool: {name} was not found: it does not exist, has expired, or was made with another client key"
                )
            }
            Self::NamesUnread => "gemini-pool: what the body names cannot be read. Send plain JSON, not compressed"
                .to_owned(),
            Self::BadCursor => "gemini-pool: the list cannot go on from there. Take the token or the id from the last page, or \
                 ask from the beginning"
                .to_owned(),
            Self::NotLookedUp => {
                "gemini-pool: whose the named resources are could not be looked up. Try again in a few seconds".to_owned()
            }
            Self::BodyTooLarge(most) => format!(
                "gemini-pool: the request body is larger than {most} bytes. Whoever runs the pool can raise \
                 max_request_bytes"
            ),
            Self::BodyTooSlow => "gemini-pool: the request body stopped coming".to_owned(),
            Self::BodyBroken => "gemini-pool: the request body broke off".to_owned(),
            Self::TooMuchHeld => {
                "gemini-pool: too many large requests are under way. Try again in a few seconds".to_owned()
            }
            Self::NoUpstreamKeys => "gemini-pool: the pool has no upstream key yet. Whoever runs it can add one with \
                 `gemini-pool upstream-keys add`"
                .to_owned(),
            Self::AllBusy => {
                "gemini-pool: every upstream key is busy. Try again in a second".to_owned()
            }
            Self::NoneUsable => "gemini-pool: none of the upstream keys that this client key may spend can serve this now. \
                 Whoever runs the pool sees why in `gemini-pool upstream-keys list`"
                .to_owned(),
            Self::OwnerGone { held } => {
                let held = if held.is_empty() { "what the request names" } else { held };
                format!(
                    "gemini-pool: the project that holds {held} has no usable key, and no other project may read it. \
                     Whoever runs the pool sees why in `gemini-pool upstream-keys list`. Or make it anew"
                )
            }
            Self::AllResting { model, held, retry_after, for_the_day } => {
                let model = if model.is_empty() { "this" } else { model };
                let wait = whole_seconds(*retry_after);
                let scope = if *for_the_day { "for today" } else { "for now" };
                let keys = if held.is_empty() {
                    "on every key".to_owned()
                } else {
                    format!("in the project that holds {held}")
                };
                format!("gemini-pool: the quota for {model} is used up {scope} {keys}. Please retry in {wait}s.")
            }
            Self::Overloaded { model, retry_after } => {
                let wait = whole_seconds(*retry_after);
                format!("gemini-pool: {model} is overloaded at Google. Please retry in {wait}s.")
            }
            Self::AddressLimited(wait) => {
                let wait = whole_seconds(*wait);
                format!("gemini-pool: Google limits the address of this pool, whatever the key. Please retry in {wait}s.")
            }
            Self::Unreachable => "gemini-pool: Gemini could not be reached. Try again in a few seconds".to_owned(),
            Self::Timeout => "gemini-pool: Gemini did not answer in time".to_owned(),
            Self::UnknownUpload => "gemini-pool: this upload is not known, or has ended. Begin it anew, with the client key \
                 that shall go on with it"
                .to_owned(),
            Self::LedAway => "gemini-pool: Gemini answered with a URL of another host, and no key of the pool is sent there"
                .to_owned(),
            Self::NoDatabase => {
                "gemini-pool: the pool's database cannot be used now. Try again in a few seconds".to_owned()
            }
            Self::TooManyPendingRows => {
                "gemini-pool: the pool's database cannot be written. Try again in a few seconds".to_owned()
            }
        }
    }

    /// The body in the form of the surface that was asked.
    fn body(&self, surface: Surface) -> String {
        let body = match surface {
            Surface::Native => self.native_body(),
            Surface::OpenAi => self.openai_body(),
            Surface::Interactions => {
                json!({"error": {"code": self.interactions_code(), "message": self.message()}})
            }
        };
        format!("{body:#}\n")
    }

    fn native_body(&self) -> Value {
        let mut details = Vec::new();
        if let Self::AllResting {
            model,
            for_the_day: true,
            ..
        } = self
        {
            // gemini-cli stops at a violation per day and keeps trying at any other (its googleQuotaErrors.ts).
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                    "quotaId": "GenerateRequestsPerDayPerProjectPerModel",
                    "quotaDimensions": {"model": model},
                }],
            }));
        }
        if let Self::Limited(denied) = self {
            let violations = [denied::violation(denied)];
            details.push(
                json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}),
            );
        }
        if let Some(wait) = self.retry_after() {
            let delay = format!("{}s", whole_seconds(wait));
            details.push(
                json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}),
            );
        }
        let status = self.status();
        let mut error = json!({"code": status.as_u16(), "message": self.message(), "status": rpc_status(status)});
        if !details.is_empty() {
            error["details"] = details.into();
        }
        json!({ "error": error })
    }

    fn openai_body(&self) -> Value {
        let (kind, code) = match self.status() {
            StatusCode::UNAUTHORIZED => ("authentication_error", "invalid_api_key"),
            StatusCode::FORBIDDEN => ("permission_error", "key_not_usable"),
            StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", "rate_limit_exceeded"),
            status if status.is_client_error() => ("invalid_request_error", "invalid_request"),
            StatusCode::NOT_IMPLEMENTED => ("invalid_request_error", "not_implemented"),
            _ => ("server_error", "unavailable"),
        };
        json!({"error": {"message": self.message(), "type": kind, "param": null, "code": code}})
    }

    fn interactions_code(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication",
            StatusCode::FORBIDDEN => "permission_denied",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::TOO_MANY_REQUESTS => match self {
                Self::AllResting {
                    for_the_day: true, ..
                } => "quota_exceeded",
                Self::Limited(denied) if denied::is_for_the_day(denied) => "quota_exceeded",
                _ => "rate_limit_exceeded",
            },
            status if status.is_client_error() => "invalid_request",
            StatusCode::NOT_IMPLEMENTED => "not_implemented",
            StatusCode::GATEWAY_TIMEOUT => "deadline_exceeded",
            _ => "unavailable",
        }
    }
}

impl From<TargetError> for Refusal {
    fn from(why: TargetError) -> Self {
        Self::BadTarget(why)
    }
}

/// The answer for a path that is nobody's.
pub fn unknown_path() -> Response {
    let refusal = Refusal::BadTarget(TargetError::UnknownPath);
    let content_type = [(CONTENT_TYPE, "application/json; charset=UTF-8")];
    (
        refusal.status(),
        content_type,
        refusal.body(Surface::Native),
    )
        .into_response()
}

/// An error event that ends a stream whose upstream died, in the surface's own form.
pub fn stream_error(surface: Surface, half_event: bool, message: &str) -> String {
    let line_end = if surface == Surface::Native {
        "\r\n"
    } else {
        "\n"
    };
    let (event, data) = match surface {
        Surface::Native => (
            "",
            json!({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}}),
        ),
        Surface::OpenAi => {
            let error = json!({"message": message, "type": "server_error", "param": null, "code": "unavailable"});
            ("", json!({ "error": error }))
        }
        Surface::Interactions => {
            let error = json!({"code": "unavailable", "message": message});
            (
                "event: error\n",
                json!({"event_type": "error", "error": error}),
            )
        }
    };
    let close = if half_event {
        line_end.repeat(2)
    } else {
        String::new()
    };
    format!("{close}{event}data: {data}{line_end}{line_end}")
}

/// The close that stands for a status in a live session, as Google has it.
pub fn close_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 1007,
        413 => 1009,
        429 | 500.. => 1011,
        _ => 1008,
    }
}

/// The first of these names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| &name[..name.floor_char_boundary(REPEATED)])
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = shown.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// Rounded up, so that nobody comes back too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn rpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        408 | 504 => "DEADLINE_EXCEEDED",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::clients::client_key::ClientLimit;

    #[test]
    fn a_used_up_day_tells_each_sdk_to_stop_in_its_own_words() {
        let refusal = Refusal::AllResting {
            model: "gemini-2.5-flash".into(),
            held: String::new(),
            retry_after: Duration::from_millis(1_200),
            for_the_day: true,
        };

        insta::assert_snapshot!(refusal.body(Surface::Native), @r#"
        {
          "error": {
            "code": 429,
            "details": [
              {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                  {
                    "quotaDimensions": {
                      "model": "gemini-2.5-flash"
                    },
                    "quotaId": "GenerateRequestsPerDayPerProjectPerModel",
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests"
                  }
                ]
              },
              {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "2s"
              }
            ],
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s.",
            "status": "RESOURCE_EXHAUSTED"
          }
        }
        "#);
        insta::assert_snapshot!(refusal.body(Surface::OpenAi), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s.",
            "param": null,
            "type": "rate_limit_error"
          }
        }
        "#);
        insta::assert_snapshot!(refusal.body(Surface::Interactions), @r#"
        {
          "error": {
            "code": "quota_exceeded",
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s."
          }
        }
        "#);
    }

    #[test]
    fn a_limit_tells_each_sdk_when_to_come_back() {
        let refusal = Refusal::Limited(LimitReached {
            limit: ClientLimit::RequestsPerMinute,
            most: 10,
            used: 10,
            retry_after: Duration::from_millis(6_500),
        });

        insta::assert_snapshot!(refusal.body(Surface::Native), @r#"
        {
          "error": {
            "code": 429,
            "details": [
              {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                  {
                    "quotaId": "ClientKeyRequestsPerMinute",
                    "quotaMetric": "gemini-pool/client_key_requests",
                    "quotaValue": "10"
                  }
                ]
              },
              {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "7s"
              }
            ],
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s.",
            "status": "RESOURCE_EXHAUSTED"
          }
        }
        "#);
        insta::assert_snapshot!(refusal.body(Surface::OpenAi), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s.",
            "param": null,
            "type": "rate_limit_error"
          }
        }
        "#);
        insta::assert_snapshot!(refusal.body(Surface::Interactions), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s."
          }
        }
        "#);
    }

    #[test]
    fn who_is_bound_to_a_project_is_told_by_which_name() {
        let until = clock::now();
        let resting = LeaseObstacle::CoolingDown {
            until,
            for_the_day: false,
        };
        let said = [
            (
                LeaseObstacle::ProjectWithoutKeys,
                "the project that holds files/x has no usable key",
            ),
            (
                resting,
                "in the project that holds files/x. Please retry in 1s.",
            ),
        ];
        for (obstacle, said) in said {
            let message = Refusal::no_key(Some(obstacle), "m", "files/x").message();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn what_a_client_sends_is_repeated_in_part_only() {
        let refusal = Refusal::ModelOutOfScope {
            model: "é".repeat(1_000),
            allowed: "gemini-*".to_owned(),
        };

        assert!(refusal.message().len() < 400);
    }

    #[test]
    fn a_stream_that_died_ends_with_an_error_event_after_the_blank_line_of_a_half_one() {
        let cases = [
            (
                Surface::Native,
                true,
                "\r\n\r\ndata: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
            ),
            (
                Surface::Interactions,
                false,
                "event: error\ndata: {\"error\":{\"code\":\"unavailable\",\"message\":\"m\"},\"event_type\":\"error\"}\n\n",
            ),
        ];
        for (surface, half, expected) in cases {
            assert_eq!(stream_error(surface, half, "m"), expected);
        }
    }
}
