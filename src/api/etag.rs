//! `ETag` and `If-Match`: refuses a change if another program has changed the object meanwhile.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;

/// The tag of the values that can be changed. Statistics are no part of it: they change with every request.
pub fn etag_of(changeable: &impl Serialize) -> String {
    let json = serde_json::to_vec(changeable).expect("attributes serialize to JSON");
    let digest = format!("{:x}", Sha256::digest(json));
    format!("\"{}\"", &digest[..16])
}

/// Refuses the request if it has an `If-Match` without the current tag.
pub fn check_match(headers: &HeaderMap, current: &str) -> Result<(), Problem> {
    let mut lists = headers.get_all(IF_MATCH).iter().peekable();
    if lists.peek().is_none() {
        return Ok(());
    }
    let mut tags = lists.filter_map(|list| list.to_str().ok());
    if tags.any(|list| {
        list.split(',')
            .any(|tag| matches!(tag.trim(), "*") || tag.trim() == current)
    }) {
        return Ok(());
    }
    let detail = "it was changed since: read it again, and send the change with its new ETag";
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail))
}

/// An answer with the tag of its values.
pub fn tagged(value: &impl Serialize, etag: &str) -> Response {
    let mut response = Json(value).into_response();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_passes_only_with_the_current_tag_or_none() {
        let current = etag_of(&["a"]);
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, value.parse().unwrap());
            check_match(&headers, &current).is_ok()
        };

        assert!(check_match(&HeaderMap::new(), &current).is_ok());
        assert!(check(&current) && check("*") && check(&format!("\"x\", {current}")));
        assert!(!check("\"x\"") && !check(&format!("W/{current}")) && !check(""));
        assert_ne!(etag_of(&["b"]), current);
    }
}
