//! The error shape of Google's Interactions API: `{"error": {"code", "message"}}`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::proxy::refusal::{Description, Refusal};

pub fn body(refusal: &Refusal, description: &Description) -> Value {
    let code = match description.status {
        StatusCode::UNAUTHORIZED => "authentication",
        StatusCode::FORBIDDEN => "permission_denied",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::TOO_MANY_REQUESTS if refusal.is_for_the_day() => "quota_exceeded",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_exceeded",
        status if status.is_client_error() => "invalid_request",
        StatusCode::GATEWAY_TIMEOUT => "deadline_exceeded",
        _ => "unavailable",
    };
    json!({"error": {"code": code, "message": description.message}})
}

pub fn stream_error(message: &str) -> Value {
    json!({"event_type": "error", "error": {"code": "unavailable", "message": message}})
}
