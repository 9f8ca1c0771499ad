//! What reads bytes from outside, one function for each reader: it must not panic, and what it reads must hold.
//!
//! The programs in `fuzz_targets` and the test that replays the corpus call these functions.

use gemini_pool::gemini::errors::classify::{ErrorContext, classify};
use gemini_pool::gemini::errors::error_body::ErrorBody;
use gemini_pool::gemini::request_body::reader::{read_body, read_message};
use gemini_pool::gemini::response::tap::ResponseTap;
use gemini_pool::gemini::target::{Surface, Target};
use gemini_pool::pool::keys::import::{self, Expected};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde::de::IgnoredAny;

const MOST_BYTES: u64 = 1 << 20;
const SURFACES: [Surface; 3] = [Surface::Native, Surface::OpenAi, Surface::Interactions];
/// The boundary of the forms in the corpus.
const BOUNDARY: &str = "X";

/// A reader of bytes from outside.
pub type FuzzTarget = fn(&[u8]);

/// Each reader with the name of its program and of its folder in the corpus.
pub const ALL: [(&str, FuzzTarget); 6] = [
    ("request_body", request_body),
    ("multipart", multipart),
    ("response", response),
    ("key_import", key_import),
    ("target", target),
    ("error", error),
];

fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("a constant");
        (name.clone(), value)
    });
    pairs.collect()
}

/// A body that counts as read is one JSON document, or empty but for spaces.
pub fn request_body(data: &[u8]) {
    let (_, unread) = read_body(data, &HeaderMap::new(), MOST_BYTES);
    if unread.is_none() && !data.trim_ascii().is_empty() {
        serde_json::from_slice::<IgnoredAny>(data).expect("what is read is JSON");
    }
    let (_, unread_message) = read_message(data);
    if !data.is_empty() {
        assert_eq!(unread.is_none(), unread_message.is_none());
    }
    for encoding in ["gzip", "deflate", "gzip, gzip"] {
        let packed = headers(&[(CONTENT_ENCODING, encoding)]);
        let _ = read_body(data, &packed, MOST_BYTES);
    }
}

pub fn multipart(data: &[u8]) {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let form = headers(&[(CONTENT_TYPE, &content_type)]);
    let _ = read_body(data, &form, MOST_BYTES);
}

/// The facts of an intact response do not depend on where the network cuts it. The first byte says where.
pub fn response(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let cut = usize::from(first) * body.len() / 255;
    for (content_type, encoding) in [
        ("application/json", ""),
        ("text/event-stream", ""),
        ("application/json", "gzip"),
        ("text/event-stream", "br"),
    ] {
        let mut head = headers(&[(CONTENT_TYPE, content_type)]);
        if !encoding.is_empty() {
            head.extend(headers(&[(CONTENT_ENCODING, encoding)]));
        }
        for surface in SURFACES {
            let (mut whole, mut parts) = (
                ResponseTap::new(surface, &head),
                ResponseTap::new(surface, &head),
            );
            whole.feed(body);
            let (before, after) = body.split_at(cut);
            for part in [before, after] {
                let span = parts.feed(part);
                let inside = |at: Option<usize>| at.is_none_or(|at| at <= part.len());
                assert!(
                    inside(span.hold_from) && inside(span.release_at),
                    "{span:?}"
                );
            }
            // What is read of a damaged body may depend on the cut.
            let (of_whole, of_parts) = (whole.summary(), parts.summary());
            if !encoding.is_empty() || !is_intact(content_type, body) {
                continue;
            }
            assert_eq!(of_whole, of_parts);
            assert_eq!(whole.first_event(), parts.first_event());
            assert_eq!(whole.can_end_here(), parts.can_end_here());
            assert_eq!(whole.lacks_end(), parts.lacks_end());
        }
    }
}

/// Whether a body is JSON, or event lines of JSON.
fn is_intact(content_type: &str, body: &[u8]) -> bool {
    // What is ignored is not checked to be UTF-8.
    if std::str::from_utf8(body).is_err() {
        return false;
    }
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    if content_type == "application/json" {
        return is_json(body);
    }
    body.split(|byte| *byte == b'\n').all(|line| {
        let line = line.trim_ascii_end();
        match line.strip_prefix(b"data: ") {
            Some(data) => data == b"[DONE]" || is_json(data),
            None => line.is_empty() || line.starts_with(b"event: "),
        }
    })
}

/// A key can be sent in a header, and stands in a line of the text.
pub fn key_import(data: &[u8]) {
    let text = import::decode::decode(data);
    for expected in [Expected::AnyText, Expected::KeysOnly] {
        let read = import::read(&text, expected);
        for key in &read.keys {
            assert!(HeaderValue::from_str(key.secret.expose()).is_ok());
            assert!(key.line > 0);
        }
    }
}

/// The first line is the path, the second the query. What is sent to Google is a path without dot segments.
pub fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let asked = text.lines().take(2).collect::<Vec<_>>().join("?");
    // HTTP reads it first, and refuses control characters.
    let Ok(asked) = PathAndQuery::try_from(asked) else {
        return;
    };
    let (path, query) = (asked.path(), asked.query());
    for method in [Method::GET, Method::POST, Method::DELETE] {
        for has_bearer_token in [false, true] {
            let Ok(target) = Target::read(&method, path, query, has_bearer_token) else {
                continue;
            };
            let sent = &target.path_and_query;
            assert!(sent.starts_with('/') && !sent.starts_with("//"), "{sent}");
            assert!(
                !sent.contains(|character: char| character.is_ascii_control()),
                "{sent:?}"
            );
            let path = sent.split('?').next().unwrap_or_default();
            assert!(!path.split('/').any(|segment| segment == ".."), "{sent}");
        }
    }
}

/// The first two bytes are the status.
pub fn error(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let status = 200 + u16::from_be_bytes(*status) % 400;
    let body = ErrorBody::read(body);
    for surface in SURFACES {
        for content_type in [None, Some("application/json"), Some("text/html")] {
            let context = ErrorContext {
                surface,
                client_deadline: false,
            };
            let verdict = classify(status, content_type, &body, context);
            assert!(verdict.status.is_some());
        }
    }
}
