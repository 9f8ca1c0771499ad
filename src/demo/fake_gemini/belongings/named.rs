//! What the body of a request names must belong to the asker.

use memchr::memmem;
use serde_json::Value;

use super::asks::Asks;
use crate::demo::fake_gemini::errors::GoogleError;

/// Without any of these no body names anything: most are not read a second time.
const MARKS: [&[u8]; 7] = [
    b"ileUri",
    b"ile_uri",
    b"\"uri\"",
    b"ileName",
    b"ile_name",
    b"achedContent",
    b"ached_content",
];

/// Refuses what names something of another project, or what is not there.
pub fn check(asks: &Asks) -> Result<(), GoogleError> {
    let names_something = MARKS
        .iter()
        .any(|mark| memmem::find(asks.body, mark).is_some());
    if !names_something {
        return Ok(());
    }
    // A body that cannot be read is refused elsewhere.
    serde_json::from_slice(asks.body).map_or(Ok(()), |body| check_value(asks, &body))
}

/// The same, for a body that is JSON already.
pub fn check_value(asks: &Asks, value: &Value) -> Result<(), GoogleError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_value(asks, item)),
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| {
            if let Value::String(text) = value {
                return check_text(asks, field, text);
            }
            check_value(asks, value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn check_text(asks: &Asks, field: &str, text: &str) -> Result<(), GoogleError> {
    match field {
        "fileUri" | "file_uri" | "uri" | "fileName" | "file_name" => match file_id(text) {
            Some(id) if !asks.owns(&format!("files/{id}")) => Err(GoogleError::no_such_file(id)),
            Some(_) | None => Ok(()),
        },
        "cachedContent" | "cached_content" if !asks.owns(text) => Err(GoogleError::no_such_cache()),
        _ => Ok(()),
    }
}

/// The id in `files/ID`, or in a URL of Google's; any other URL is nobody's.
fn file_id(text: &str) -> Option<&str> {
    let path = match text.split_once("://") {
        None => text,
        Some((_, rest)) => {
            let rest = rest.strip_prefix("generativelanguage.googleapis.com/")?;
            rest.split_once('/')?.1
        }
    };
    path.strip_prefix("files/")?.split([':', '?', '/']).next()
}
