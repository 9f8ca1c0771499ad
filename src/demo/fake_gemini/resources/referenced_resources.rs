//! Refuses bodies that name resources of other projects.

use memchr::memmem;
use serde_json::Value;

use super::request_context::RequestContext;
use crate::demo::fake_gemini::errors::GoogleError;

/// Without any of these no body names anything: most are not read a second time.
const MARKS: [&[u8]; 12] = [
    b"ile_id",
    b"ileSearchStoreNames",
    b"ile_search_store_names",
    b"reviousInteractionId",
    b"revious_interaction_id",
    b"ileUri",
    b"ile_uri",
    b"\"uri\"",
    b"ileName",
    b"ile_name",
    b"achedContent",
    b"ached_content",
];

/// Refuses what names something of another project, or what is not there.
pub fn check(context: &RequestContext) -> Result<(), GoogleError> {
    let names_something = MARKS
        .iter()
        .any(|mark| memmem::find(context.body, mark).is_some());
    if !names_something {
        return Ok(());
    }
    // A body that cannot be read is refused elsewhere.
    serde_json::from_slice(context.body).map_or(Ok(()), |body| check_value(context, &body))
}

/// The same, for a body that is JSON already.
pub fn check_value(context: &RequestContext, value: &Value) -> Result<(), GoogleError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_value(context, item)),
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| match value {
            Value::String(text) => check_text(context, field, text),
            Value::Array(items) => items.iter().try_for_each(|item| match item {
                Value::String(text) => check_text(context, field, text),
                other => check_value(context, other),
            }),
            other => check_value(context, other),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn check_text(context: &RequestContext, field: &str, text: &str) -> Result<(), GoogleError> {
    match field {
        "fileUri" | "file_uri" | "uri" | "fileName" | "file_name" => match file_id(text) {
            Some(id) if !context.owns(&format!("files/{id}")) => Err(GoogleError::no_such_file(id)),
            Some(_) | None => Ok(()),
        },
        "input_file_id" | "file_id" if !context.owns(&format!("files/{}", plain_id(text))) => {
            Err(GoogleError::no_such_file(plain_id(text)))
        }
        "fileSearchStoreNames" | "file_search_store_names" if !context.owns(text) => {
            Err(GoogleError::not_found())
        }
        "previousInteractionId" | "previous_interaction_id"
            if !context.owns(&format!("interactions/{text}")) =>
        {
            Err(GoogleError::not_found())
        }
        "cachedContent" | "cached_content" if !context.owns(text) => {
            Err(GoogleError::no_such_cache())
        }
        _ => Ok(()),
    }
}

/// The id in `files/ID`, or in itself.
fn plain_id(text: &str) -> &str {
    text.trim_start_matches("files/")
}

/// The id in `files/ID`, or in a URL of Google's; no other URL names a file.
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
