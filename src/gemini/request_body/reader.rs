//! Reads the body of a request, or a message of a live session.

use http::HeaderMap;

use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::encodings::{BodyFormat, format_of, unpack};
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::request_body::{form_reader, json_reader};

/// Reads the body of a request: one JSON document, packed or not, or the fields of a form. `most_bytes` bounds it when
/// unpacked. An empty body is read. Where reading fails, the content is what was found before.
pub fn read_body(
    body: &[u8],
    headers: &HeaderMap,
    most_bytes: u64,
) -> (BodyContent, Option<UnreadBody>) {
    let mut content = BodyContent::default();
    if body.is_empty() {
        return (content, None);
    }
    let read = unpack(body, headers, most_bytes).and_then(|unpacked| match format_of(headers)? {
        BodyFormat::Json => json_reader::read(&unpacked, &mut content),
        BodyFormat::Form { boundary } => form_reader::read(&unpacked, boundary, &mut content),
    });
    (content, read.err())
}

/// Reads a message of a live session.
pub fn read_message(message: &[u8]) -> (BodyContent, Option<UnreadBody>) {
    let mut content = BodyContent::default();
    let read = json_reader::read(message, &mut content);
    (content, read.err())
}

#[cfg(test)]
mod tests;
