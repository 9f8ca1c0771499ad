//! Sends a refusal to the client, once its row is committed.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::gemini::target::{METHODS, Surface, TargetError};
use crate::proxy::dialect::body;
use crate::proxy::record::Record;
use crate::proxy::refusal::{Description, Refusal, whole_seconds};

/// Records a refusal and answers with it.
pub async fn refuse(refusal: &Refusal, mut record: Record) -> Response {
    let description = refusal.describe();
    let surface = match refusal {
        // The right path shows it, the wrong one may not.
        Refusal::WrongBase { wrong_base, .. } => wrong_base.surface,
        _ => record.surface(),
    };
    let text = body(refusal, &description, surface);
    let mut response = respond(&description, text.clone());
    record.answer_head(response.headers(), false);
    record.answer_bytes(text.as_bytes());
    record.add_headers(response.headers_mut());
    record.refused(
        description.status,
        description.outcome,
        &description.message,
    );
    record.finish().await;
    response
}

/// The answer to a path that is not proxied, which has no row.
pub fn unknown_path() -> Response {
    let refusal = Refusal::BadTarget(TargetError::UnknownPath);
    let description = refusal.describe();
    let text = body(&refusal, &description, Surface::Native);
    respond(&description, text)
}

fn respond(description: &Description, text: String) -> Response {
    let content_type = [(CONTENT_TYPE, "application/json; charset=UTF-8")];
    let mut response = (description.status, content_type, text).into_response();
    if let Some(wait) = description.retry_after {
        let seconds = HeaderValue::from(whole_seconds(wait));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if description.status == StatusCode::METHOD_NOT_ALLOWED {
        let served = HeaderValue::from_str(&METHODS.join(", ")).expect("methods are ASCII");
        response.headers_mut().insert(ALLOW, served);
    }
    response
}
