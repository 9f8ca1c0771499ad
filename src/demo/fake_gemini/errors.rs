//! `GoogleError`: Google's errors, word for word, in the form of each surface.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::json;
use super::keys::FakeKeyState;
use super::request_target::{BadCredentials, RequestTarget, ResponseFormat};

/// An error: its status and its body in the native form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleError {
    pub status: u16,
    pub body: Cow<'static, str>,
    pub kind: ErrorBodyKind,
}

/// The kind of a body, which decides whether each surface has its own form of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorBodyKind {
    Json,
    /// HTML of the front end.
    Html,
    /// Sent unchanged: `Behaviour::FixedResponse`.
    Verbatim,
}

/// A body from `errors/` (its README says where each comes from).
macro_rules! verbatim {
    ($status:literal, $name:literal) => {
        GoogleError {
            status: $status,
            body: Cow::Borrowed(include_str!(concat!("errors/", $name, ".json"))),
            kind: ErrorBodyKind::Json,
        }
    };
}

macro_rules! html {
    ($status:literal, $name:literal) => {
        GoogleError {
            status: $status,
            body: Cow::Borrowed(include_str!(concat!("errors/", $name, ".html"))),
            kind: ErrorBodyKind::Html,
        }
    };
}

impl GoogleError {
    /// An error with a message and nothing more.
    pub fn plain(status: u16, message: &str) -> Self {
        let error = ErrorEnvelope {
            error: ErrorFields {
                code: status,
                message: message.into(),
                status: status_name(status).into(),
            },
        };
        Self {
            status,
            body: json::pretty(&error).into(),
            kind: ErrorBodyKind::Json,
        }
    }

    pub fn quota(body: String) -> Self {
        Self {
            status: 429,
            body: body.into(),
            kind: ErrorBodyKind::Json,
        }
    }

    pub fn bad_credentials(bad: BadCredentials, request_target: &RequestTarget) -> Self {
        match bad {
            BadCredentials::Missing => verbatim!(403, "403-no-key"),
            BadCredentials::Several => verbatim!(400, "400-two-credentials"),
            BadCredentials::BearerOnNative => credential_kind(request_target),
        }
    }

    pub fn unknown_key() -> Self {
        verbatim!(400, "400-key-invalid")
    }

    pub fn unknown_model(request_target: &RequestTarget, model: &str) -> Self {
        let error = match request_target.format {
            ResponseFormat::Sse => verbatim!(404, "404-model-sse"),
            ResponseFormat::Json
            | ResponseFormat::JsonArray
            | ResponseFormat::OpenAi
            | ResponseFormat::Interactions => {
                verbatim!(404, "404-model")
            }
        };
        error
            .fill("<MODEL>", model)
            .fill("<VERSION>", &request_target.version)
            .fill("<SHORT_METHOD>", request_target.operation.short_name())
    }

    /// Also for files of other projects and for expired ones.
    pub fn no_such_file(id: &str) -> Self {
        verbatim!(403, "403-file").fill("<FILE>", id)
    }

    /// Also for caches of other projects and for expired ones.
    pub fn no_such_cache() -> Self {
        verbatim!(403, "403-cache")
    }

    pub fn cache_conflict() -> Self {
        verbatim!(400, "400-cache-conflict")
    }

    pub fn not_found() -> Self {
        Self::plain(404, "Requested entity was not found.")
    }

    /// The name is taken.
    pub fn already_exists() -> Self {
        verbatim!(409, "409-exists")
    }

    pub fn not_found_html() -> Self {
        html!(404, "404-not-found")
    }

    pub fn bad_argument() -> Self {
        verbatim!(400, "400-bad-argument")
    }

    pub fn too_many_tokens() -> Self {
        verbatim!(400, "400-too-many-tokens")
    }

    /// The error of a behaviour for this request; `None`: it is answered. `models` are the names of its model.
    pub fn of_behaviour(
        behaviour: &Behaviour,
        request_target: &RequestTarget,
        models: &[&str],
        key: Option<&FakeKeyState>,
    ) -> Option<Self> {
        let uses_quota = request_target.operation.uses_quota();
        let error = match behaviour {
            Behaviour::Invalid => verbatim!(400, "400-key-invalid"),
            Behaviour::InvalidEchoingKey => verbatim!(400, "400-key-invalid-debuginfo"),
            Behaviour::Expired => verbatim!(400, "400-key-expired"),
            Behaviour::NotFound => verbatim!(400, "400-key-not-found"),
            Behaviour::Unauthenticated if !request_target.operation.is_list() => {
                credential_kind(request_target)
            }
            Behaviour::Leaked => verbatim!(403, "403-leaked"),
            Behaviour::Suspended => verbatim!(403, "403-suspended"),
            Behaviour::ServiceDisabled => verbatim!(403, "403-service-disabled"),
            Behaviour::ServiceBlocked => verbatim!(403, "403-service-blocked")
                .fill("<METHOD>", &request_target.method_name()),
            Behaviour::ReferrerBlocked => verbatim!(403, "403-referrer-blocked"),
            Behaviour::ProjectDenied => verbatim!(403, "403-project-denied"),
            Behaviour::BillingEmpty if uses_quota => verbatim!(402, "402-prepay-empty"),
            Behaviour::BillingEmpty429 if uses_quota => verbatim!(429, "429-prepay-empty"),
            Behaviour::SpendingCap if uses_quota => verbatim!(429, "429-spending-cap"),
            Behaviour::QuotaZero(zero) if uses_quota && models.contains(&zero.as_str()) => {
                verbatim!(429, "429-limit-zero").fill("<MODEL>", zero)
            }
            Behaviour::ModelRetired(retired) if models.contains(&retired.as_str()) => {
                verbatim!(404, "404-model-retired").fill("<MODEL>", retired)
            }
            Behaviour::LocationUnsupported => verbatim!(400, "400-location"),
            Behaviour::Exhausted if uses_quota => verbatim!(429, "429-no-details"),
            Behaviour::ExhaustedHelpOnly if uses_quota => verbatim!(429, "429-help-only"),
            Behaviour::ForbiddenHtml => html!(403, "403-forbidden"),
            Behaviour::InternalError => verbatim!(500, "500-internal"),
            Behaviour::BadGatewayHtml => html!(502, "502-server-error"),
            Behaviour::Overloaded if uses_quota => verbatim!(503, "503-high-demand"),
            Behaviour::OverloadedLegacyText if uses_quota => verbatim!(503, "503-overloaded"),
            Behaviour::DeadlineExceeded => verbatim!(504, "504-deadline"),
            Behaviour::FixedResponse(status, body) => Self {
                status: *status,
                body: body.clone().into(),
                kind: ErrorBodyKind::Verbatim,
            },
            Behaviour::Healthy
            | Behaviour::Unauthenticated
            | Behaviour::BillingEmpty
            | Behaviour::BillingEmpty429
            | Behaviour::SpendingCap
            | Behaviour::QuotaZero(_)
            | Behaviour::ModelRetired(_)
            | Behaviour::Exhausted
            | Behaviour::ExhaustedHelpOnly
            | Behaviour::Overloaded
            | Behaviour::OverloadedLegacyText
            | Behaviour::SlowFirstByte(_)
            | Behaviour::NeverRespond
            | Behaviour::CloseConnection
            | Behaviour::ResetConnection
            | Behaviour::MalformedResponse
            | Behaviour::TruncatedHead
            | Behaviour::TruncatedBody
            | Behaviour::AbortStream(_)
            | Behaviour::StallStream(_)
            | Behaviour::StreamError { .. }
            | Behaviour::FirstEventError(_)
            | Behaviour::EmptyReply(_)
            | Behaviour::EveryNth(..)
            | Behaviour::Sequence(_) => return None,
        };
        let key = key.map_or(("", ""), |key| (&key.secret, &key.project));
        Some(
            error
                .fill("<API_KEY>", key.0)
                .fill("<PROJECT_NUMBER>", key.1),
        )
    }

    /// The error event with this code, inside a stream.
    pub fn in_stream(code: u16) -> Self {
        match code {
            429 => verbatim!(429, "429-no-details"),
            500 => verbatim!(500, "500-internal"),
            503 => verbatim!(503, "503-high-demand"),
            504 => verbatim!(504, "504-deadline"),
            499 => Self::plain(499, "The operation was cancelled."),
            other => Self::plain(other, "Request contains an invalid argument."),
        }
    }

    /// The body in the form of this surface.
    pub fn body_for(&self, format: ResponseFormat) -> String {
        if self.kind != ErrorBodyKind::Json {
            return self.body.to_string();
        }
        match format {
            ResponseFormat::Json | ResponseFormat::Sse => self.body.to_string(),
            ResponseFormat::JsonArray => format!("[{}]", self.body),
            ResponseFormat::OpenAi => format!("[{}]\n", self.body),
            ResponseFormat::Interactions => self.interactions_body(),
        }
    }

    pub fn content_type(&self, format: ResponseFormat) -> &'static str {
        match format {
            _ if self.body.starts_with('<') => "text/html; charset=UTF-8",
            ResponseFormat::Sse => "text/event-stream",
            ResponseFormat::Json
            | ResponseFormat::JsonArray
            | ResponseFormat::OpenAi
            | ResponseFormat::Interactions => "application/json; charset=UTF-8",
        }
    }

    /// The error as the last piece of a stream that has begun.
    pub fn as_event(&self, format: ResponseFormat, is_first: bool) -> String {
        match format {
            ResponseFormat::Sse | ResponseFormat::Json => {
                format!("data: {}\r\n\r\n", json::one_line(&self.fields()))
            }
            ResponseFormat::JsonArray => {
                let before = if is_first { "[" } else { "\n,\r\n" };
                format!("{before}{}\n]", self.body.trim_end())
            }
            ResponseFormat::OpenAi => format!("data: {}\n\n", json::compact(&self.fields())),
            ResponseFormat::Interactions => format!(
                "event: error\ndata: {{\"event_type\":\"error\",\"error\":{}}}\n\n",
                json::compact(&self.interactions_status())
            ),
        }
    }

    fn fill(mut self, placeholder: &str, value: &str) -> Self {
        if self.body.contains(placeholder) {
            self.body = self.body.replace(placeholder, value).into();
        }
        self
    }

    fn interactions_body(&self) -> String {
        let status = json::one_line(&self.interactions_status());
        format!("{{\"error\": {status}}}")
    }

    fn interactions_status(&self) -> InteractionsStatus {
        let message = self.fields().error.message;
        InteractionsStatus {
            code: match self.status {
                400 => "invalid_request",
                401 => "authentication",
                402 => "payment_required",
                403 => "permission_denied",
                404 if message.contains("models/") => "model_not_found",
                404 => "not_found",
                429 if self.body.contains("PerDay") => "quota_exceeded",
                429 => "rate_limit_exceeded",
                499 => "cancelled",
                503 => "unavailable",
                _ => "internal_error",
            },
            message: message.into_owned(),
        }
    }

    /// The error without its details. A body of `Behaviour::FixedResponse` may be anything.
    fn fields(&self) -> ErrorEnvelope<'_> {
        serde_json::from_str(&self.body).unwrap_or_else(|_| ErrorEnvelope {
            error: ErrorFields {
                code: self.status,
                message: Cow::Borrowed(&self.body),
                status: status_name(self.status).into(),
            },
        })
    }
}

fn credential_kind(request_target: &RequestTarget) -> GoogleError {
    verbatim!(401, "401-credential-kind").fill("<METHOD>", &request_target.method_name())
}

fn status_name(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

#[derive(Serialize, Deserialize)]
struct ErrorEnvelope<'a> {
    #[serde(borrow)]
    error: ErrorFields<'a>,
}

/// In Google's order.
#[derive(Serialize, Deserialize)]
struct ErrorFields<'a> {
    code: u16,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[derive(Serialize)]
struct InteractionsStatus {
    code: &'static str,
    message: String,
}
