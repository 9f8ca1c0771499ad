//! Reads the path, the query and the JSON body of a request strictly: names that the document does not have are
//! refused.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum_extra::extract::Query;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::problem::Problem;

/// The largest body: an import of a hundred thousand keys.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// The parameters of a path.
#[derive(Debug)]
pub struct PathOf<T>(pub T);

/// The query; unknown names are refused by the type.
#[derive(Debug)]
pub struct QueryOf<T>(pub T);

/// A JSON body; unknown members are refused by the type.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(Problem::bad_request(
                format!("the path cannot be read: {}", error.body_text()),
            )),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad_request(format!(
                "the query cannot be read: {}",
                error.body_text()
            ))),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "send JSON, with the header `content-type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = read_body(request.into_body()).await?;
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_data() => Err(Problem::invalid(format!(
                "the body cannot be used: {error}"
            ))),
            Err(error) => Err(Problem::bad_request(format!(
                "the body is not JSON: {error}"
            ))),
        }
    }
}

/// A whole body that arrives in time and is not too large.
pub async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let body = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
    let Ok(body) = body else {
        let detail = "the body did not arrive within a minute: send it again";
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    };
    body.map_err(|_| {
        let detail = "the body is broken off or larger than 16 MiB: send it in parts";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json"))
}

/// A member of a JSON object that may be missing, `null` or a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Missing,
    Null,
    Value(T),
}

impl<T> Patch<T> {
    /// Replaces the value unless the member is missing.
    pub fn apply(self, target: &mut Option<T>) {
        match self {
            Self::Missing => {}
            Self::Null => *target = None,
            Self::Value(value) => *target = Some(value),
        }
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Patch<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(deserializer)?;
        Ok(value.map_or(Self::Null, Self::Value))
    }
}
