//! `Idempotency-Key`: a request that is sent again, because its answer was lost, has no second effect.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::api::authorize::ApiCaller;
use crate::api::input::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::storage::api_answers::{self, AnswerKey, KnownAnswer, StoredAnswer};

pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Marks an answer that was stored.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The largest answer that is stored.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_KEY_CHARACTERS: usize = 255;

/// Marks an answer with a secret, which must not be stored.
#[derive(Debug, Clone, Copy)]
pub struct HasSecret;

/// Answers a repeated request as before, and stores the answer of a new one if it succeeds.
pub async fn replay(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let replayed = run_once(&app, &caller, request, next).await;
    replayed.unwrap_or_else(IntoResponse::into_response)
}

async fn run_once(
    app: &App,
    caller: &ApiCaller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let text = read_key(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let key = AnswerKey {
        token_id: caller.token.id,
        text: &text,
    };
    let hash = hash_of(&parts.uri.to_string(), &body);
    let mut tx = app.db.begin().await?;
    let known = api_answers::begin(&mut tx, key, &hash, caller.now).await?;
    tx.commit().await?;
    match known {
        KnownAnswer::None => {}
        KnownAnswer::OfAnotherRequest => {
            let detail = "this Idempotency-Key belongs to another request: use a new one";
            return Err(Problem::invalid(detail));
        }
        KnownAnswer::Unfinished => {
            let detail = "a request with this Idempotency-Key is running or was interrupted: check what it has done, \
                          then use a new key";
            return Err(Problem::conflict(detail));
        }
        KnownAnswer::Finished(answer) => return replayed(answer),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (response, answer) = keep(response).await;
    let stored = match &answer {
        Some(answer) => api_answers::finish(&app.db.writer, key, answer).await,
        // It may succeed when it is sent again.
        None => api_answers::delete(&app.db.writer, key).await,
    };
    if let Err(error) = stored {
        tracing::warn!("the answer of an Idempotency-Key could not be stored: {error}");
    }
    Ok(response)
}

fn read_key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY);
    let key = key.and_then(|value| value.to_str().ok()).map(str::trim);
    let key = key.filter(|key| (1..=MAX_KEY_CHARACTERS).contains(&key.len()));
    key.map(str::to_owned).ok_or_else(|| {
        Problem::bad_request("an Idempotency-Key has 1 to 255 ASCII characters, such as a UUID")
    })
}

fn hash_of(path: &str, body: &Bytes) -> [u8; 32] {
    Sha256::new()
        .chain_update(path)
        .chain_update([0])
        .chain_update(body)
        .finalize()
        .into()
}

/// The response, and what is stored of it; `None`: it is no success.
async fn keep(response: Response) -> (Response, Option<StoredAnswer>) {
    if !response.status().is_success() {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let has_secret = parts.extensions.get::<HasSecret>().is_some();
    let location = parts.headers.get(LOCATION);
    let location = location
        .and_then(|path| path.to_str().ok())
        .map(str::to_owned);
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        let detail = "the server failed: its log says why";
        let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
        return (problem.into_response(), None);
    };
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.filter(|text| !has_secret && text.len() <= MAX_ANSWER_BYTES);
    let answer = StoredAnswer {
        status,
        location,
        body: text.map(str::to_owned),
    };
    (Response::from_parts(parts, Body::from(bytes)), Some(answer))
}

fn replayed(answer: StoredAnswer) -> Result<Response, Problem> {
    let Some(body) = answer.body else {
        let made = answer
            .location
            .map_or_else(String::new, |path| format!(" {path}"));
        let detail = format!(
            "this request was carried out before and made{made}; its answer is not kept, because it held a secret that is \
             shown only once: delete what was made and create it again with a new Idempotency-Key if the secret is lost"
        );
        return Err(Problem::conflict(detail));
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(location) = answer.location.and_then(|path| path.parse().ok()) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}
