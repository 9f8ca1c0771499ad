//! OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::proxy::refusal::Description;

pub fn body(description: &Description) -> Value {
    let (kind, code) = match description.status {
        StatusCode::UNAUTHORIZED => ("authentication_error", "invalid_api_key"),
        StatusCode::FORBIDDEN => ("permission_error", "key_not_usable"),
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", "rate_limit_exceeded"),
        status if status.is_client_error() => ("invalid_request_error", "invalid_request"),
        _ => ("server_error", "unavailable"),
    };
    error(&description.message, kind, code)
}

pub fn stream_error(message: &str) -> Value {
    error(message, "server_error", "unavailable")
}

fn error(message: &str, kind: &str, code: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
