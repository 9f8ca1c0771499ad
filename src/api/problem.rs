//! `Problem`: the body of every error of the API, as RFC 9457 describes it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;
use crate::pool::api_token::NotPermitted;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Seconds after which a request that the database refused for the moment may succeed.
const RETRY_SECONDS: u64 = 2;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The name of the status.
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do about it.
    detail: String,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The request can be read, and its values cannot be used.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    #[must_use]
    pub fn with_retry_after(self, seconds: u64) -> Self {
        let retry_after = Some(seconds);
        Self {
            retry_after,
            ..self
        }
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        let status = error.status();
        match &error {
            Error::Storage(cause) => {
                tracing::error!("a request of the admin API failed: {cause}");
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    Self::new(
                        status,
                        "the database cannot be used at the moment: try again in a few seconds",
                    )
                    .with_retry_after(RETRY_SECONDS)
                } else {
                    Self::new(
                        status,
                        "the server failed: its log says why, and `gemini-pool doctor` checks the database",
                    )
                }
            }
            Error::NotFound(..) => Self::new(
                status,
                format!("{error}: a GET of the collection lists what exists"),
            ),
            Error::Invalid(_)
            | Error::InvalidCsrfToken
            | Error::TooLarge
            | Error::TooSlow
            | Error::WrongMethod => Self::new(status, error.to_string()),
        }
    }
}

impl From<NotPermitted> for Problem {
    fn from(why: NotPermitted) -> Self {
        Self::new(StatusCode::FORBIDDEN, why.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
