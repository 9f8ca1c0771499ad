//! Reads the fields of a form; its files are passed over.

use std::collections::HashSet;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::Multipart;

use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::fields::{FieldMeaning, Place, canonical, meaning_of};
use crate::gemini::request_body::media::media_tokens;
use crate::gemini::request_body::unread::UnreadBody;

/// Reads a form into `content`. A field that occurs twice, or a field with a meaning that is sent as a file, is an error.
pub fn read(body: &[u8], boundary: &str, content: &mut BodyContent) -> Result<(), UnreadBody> {
    // The parser is asynchronous, but all its input is there: it never waits.
    let read = read_parts(body, boundary, content).now_or_never();
    read.unwrap_or_else(|| Err(UnreadBody("the form is not complete".into())))
}

async fn read_parts(
    body: &[u8],
    boundary: &str,
    content: &mut BodyContent,
) -> Result<(), UnreadBody> {
    let whole = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(body))]);
    let mut parts = Multipart::new(whole, boundary);
    let broken = |error: multer::Error| UnreadBody(format!("the form is broken: {error}").into());
    let mut seen = HashSet::new();
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let Some(name) = part.name().map(ToOwned::to_owned) else {
            return Err(UnreadBody("a part of the form has no name".into()));
        };
        let field = canonical(name.as_str().into());
        let field = field.strip_suffix("[]").unwrap_or(&field);
        let meaning = meaning_of(field, Place::ROOT);
        if part.file_name().is_some() {
            // Google could take it for the field.
            if !may_be_file(field, meaning) {
                return Err(UnreadBody(format!("the field {name:?} is a file").into()));
            }
            let kind = part.content_type().map_or("", |kind| kind.essence_str());
            content.add_tokens(media_tokens(kind, None));
            continue;
        }
        // OpenAI's clients repeat the fields of an array, as in `include[]`.
        if !name.ends_with("[]") && !seen.insert(field.to_owned()) {
            return Err(UnreadBody(
                format!("the field {name:?} occurs twice").into(),
            ));
        }
        let text = part.bytes().await.map_err(broken)?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| UnreadBody(format!("the field {name:?} is not UTF-8").into()))?;
        content.read_text(meaning, Place::ROOT, text)?;
    }
    Ok(())
}

/// Whether a field can be a file: `file`, `image`, `mask` and others that have no meaning as a text.
fn may_be_file(field: &str, meaning: FieldMeaning) -> bool {
    field == "file" || matches!(meaning, FieldMeaning::Text | FieldMeaning::Media)
}
