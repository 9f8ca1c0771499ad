//! `GoogleError`: Google's refusals, word for word, in the form that each of its surfaces gives them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::call::{BadCredentials, Call, Form};
use super::fate::Fate;
use super::json;
use super::keys::KeyState;

/// One refusal: its status and its body in the native form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleError {
    pub status: u16,
    pub body: Cow<'static, str>,
    pub kind: BodyKind,
}

/// What a body is, and so whether a surface gives it a form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Json,
    /// HTML of the front end.
    Page,
    /// Given as it is: `Fate::Says`.
    AsIs,
}

/// A body from `errors/` (its README says where each comes from).
macro_rules! verbatim {
    ($status:literal, $name:literal) => {
        GoogleError {
            status: $status,
            body: Cow::Borrowed(include_str!(concat!("errors/", $name, ".json"))),
            kind: BodyKind::Json,
        }
    };
}

macro_rules! page {
    ($status:literal, $name:literal) => {
        GoogleError {
            status: $status,
            body: Cow::Borrowed(include_str!(concat!("errors/", $name, ".html"))),
            kind: BodyKind::Page,
        }
    };
}

impl GoogleError {
    /// An error with a message and nothing more.
    pub fn plain(status: u16, message: &str) -> Self {
        let error = Envelope {
            error: Fields {
                code: status,
                message: message.into(),
                status: status_name(status).into(),
            },
        };
        Self {
            status,
            body: json::pretty(&error).into(),
            kind: BodyKind::Json,
        }
    }

    pub fn quota(body: String) -> Self {
        Self {
            status: 429,
            body: body.into(),
            kind: BodyKind::Json,
        }
    }

    pub fn bad_credentials(bad: BadCredentials, call: &Call) -> Self {
        match bad {
            BadCredentials::Missing => verbatim!(403, "403-no-key"),
            BadCredentials::Several => verbatim!(400, "400-two-credentials"),
            BadCredentials::BearerOnNative => credential_kind(call),
        }
    }

    pub fn unknown_key() -> Self {
        verbatim!(400, "400-key-invalid")
    }

    pub fn unknown_model(call: &Call, model: &str) -> Self {
        let error = match call.form {
            Form::Sse => verbatim!(404, "404-model-sse"),
            Form::Json | Form::JsonArray | Form::OpenAi | Form::Interactions => {
                verbatim!(404, "404-model")
            }
        };
        error
            .fill("<MODEL>", model)
            .fill("<VERSION>", &call.version)
            .fill("<SHORT_METHOD>", call.operation.short_name())
    }

    /// Also what a file of another project gets, and one that has expired.
    pub fn no_such_file(id: &str) -> Self {
        verbatim!(403, "403-file").fill("<FILE>", id)
    }

    /// Also what a cache of another project gets, and one that has expired.
    pub fn no_such_cache() -> Self {
        verbatim!(403, "403-cache")
    }

    pub fn cache_conflict() -> Self {
        verbatim!(400, "400-cache-conflict")
    }

    pub fn not_found() -> Self {
        Self::plain(404, "Requested entity was not found.")
    }

    /// Somebody has this name.
    pub fn already_exists() -> Self {
        verbatim!(409, "409-exists")
    }

    pub fn no_such_page() -> Self {
        page!(404, "404-not-found")
    }

    pub fn bad_argument() -> Self {
        verbatim!(400, "400-bad-argument")
    }

    pub fn too_many_tokens() -> Self {
        verbatim!(400, "400-too-many-tokens")
    }

    /// What a fate says to this request; `None`: nothing against answering it. `models` are the names its model has.
    pub fn of_fate(
        fate: &Fate,
        call: &Call,
        models: &[&str],
        key: Option<&KeyState>,
    ) -> Option<Self> {
        let spends = call.operation.spends();
        let error = match fate {
            Fate::Invalid => verbatim!(400, "400-key-invalid"),
            Fate::InvalidEchoingKey => verbatim!(400, "400-key-invalid-debuginfo"),
            Fate::Expired => verbatim!(400, "400-key-expired"),
            Fate::NotFound => verbatim!(400, "400-key-not-found"),
            Fate::Unauthenticated if !call.operation.is_list() => credential_kind(call),
            Fate::Leaked => verbatim!(403, "403-leaked"),
            Fate::Suspended => verbatim!(403, "403-suspended"),
            Fate::ServiceDisabled => verbatim!(403, "403-service-disabled"),
            Fate::Restricted => {
                verbatim!(403, "403-service-blocked").fill("<METHOD>", &call.method_name())
            }
            Fate::ReferrerBlocked => verbatim!(403, "403-referrer-blocked"),
            Fate::ProjectDenied => verbatim!(403, "403-project-denied"),
            Fate::BillingEmpty if spends => verbatim!(402, "402-prepay-empty"),
            Fate::BillingEmpty429 if spends => verbatim!(429, "429-prepay-empty"),
            Fate::SpendingCap if spends => verbatim!(429, "429-spending-cap"),
            Fate::QuotaZero(zero) if spends && models.contains(&zero.as_str()) => {
                verbatim!(429, "429-limit-zero").fill("<MODEL>", zero)
            }
            Fate::ModelRetired(retired) if models.contains(&retired.as_str()) => {
                verbatim!(404, "404-model-retired").fill("<MODEL>", retired)
            }
            Fate::LocationUnsupported => verbatim!(400, "400-location"),
            Fate::Exhausted if spends => verbatim!(429, "429-no-details"),
            Fate::ExhaustedHelpOnly if spends => verbatim!(429, "429-help-only"),
            Fate::ForbiddenPage => page!(403, "403-forbidden"),
            Fate::InternalError => verbatim!(500, "500-internal"),
            Fate::BadGatewayPage => page!(502, "502-server-error"),
            Fate::Overloaded if spends => verbatim!(503, "503-high-demand"),
            Fate::OverloadedOldText if spends => verbatim!(503, "503-overloaded"),
            Fate::DeadlineExceeded => verbatim!(504, "504-deadline"),
            Fate::Says(status, body) => Self {
                status: *status,
                body: body.clone().into(),
                kind: BodyKind::AsIs,
            },
            Fate::Healthy
            | Fate::Unauthenticated
            | Fate::BillingEmpty
            | Fate::BillingEmpty429
            | Fate::SpendingCap
            | Fate::QuotaZero(_)
            | Fate::ModelRetired(_)
            | Fate::Exhausted
            | Fate::ExhaustedHelpOnly
            | Fate::Overloaded
            | Fate::OverloadedOldText
            | Fate::SlowFirstByte(_)
            | Fate::Hang
            | Fate::HangUp
            | Fate::Reset
            | Fate::GarbageAnswer
            | Fate::HalfHead
            | Fate::CutBody
            | Fate::CutStream(_)
            | Fate::StallStream(_)
            | Fate::StreamError { .. }
            | Fate::FirstEventError(_)
            | Fate::EveryNth(..)
            | Fate::Sequence(_) => return None,
        };
        let key = key.map_or(("", ""), |key| (&key.secret, &key.project));
        Some(
            error
                .fill("<API_KEY>", key.0)
                .fill("<PROJECT_NUMBER>", key.1),
        )
    }

    /// The error that stands inside a stream with this code.
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

    /// The body as this surface gives it.
    pub fn body_for(&self, form: Form) -> String {
        if self.kind != BodyKind::Json {
            return self.body.to_string();
        }
        match form {
            Form::Json | Form::Sse => self.body.to_string(),
            Form::JsonArray => format!("[{}]", self.body),
            Form::OpenAi => format!("[{}]\n", self.body),
            Form::Interactions => self.interactions_body(),
        }
    }

    pub fn content_type(&self, form: Form) -> &'static str {
        match form {
            _ if self.body.starts_with('<') => "text/html; charset=UTF-8",
            Form::Sse => "text/event-stream",
            Form::Json | Form::JsonArray | Form::OpenAi | Form::Interactions => {
                "application/json; charset=UTF-8"
            }
        }
    }

    /// The error as the last piece of a stream that has begun.
    pub fn as_event(&self, form: Form, is_first: bool) -> String {
        match form {
            Form::Sse | Form::Json => format!("data: {}\r\n\r\n", json::line(&self.fields())),
            Form::JsonArray => {
                let before = if is_first { "[" } else { "\n,\r\n" };
                format!("{before}{}\n]", self.body.trim_end())
            }
            Form::OpenAi => format!("data: {}\n\n", json::compact(&self.fields())),
            Form::Interactions => format!(
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
        let status = json::line(&self.interactions_status());
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

    /// The error without its details. A body of `Fate::Says` may be anything.
    fn fields(&self) -> Envelope<'_> {
        serde_json::from_str(&self.body).unwrap_or_else(|_| Envelope {
            error: Fields {
                code: self.status,
                message: Cow::Borrowed(&self.body),
                status: status_name(self.status).into(),
            },
        })
    }
}

fn credential_kind(call: &Call) -> GoogleError {
    verbatim!(401, "401-credential-kind").fill("<METHOD>", &call.method_name())
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
struct Envelope<'a> {
    #[serde(borrow)]
    error: Fields<'a>,
}

/// In Google's order.
#[derive(Serialize, Deserialize)]
struct Fields<'a> {
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
