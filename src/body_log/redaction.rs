//! Decodes, redacts, cuts and compresses captured bodies before they are stored.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use crate::body_log::capture::{BEYOND_LIMIT, CapturedBodies, CapturedBody};
use crate::gemini::redact::Redactor;
use crate::gemini::response::content_decoder::ContentDecoder;
use crate::pool::secret::Secret;
use crate::storage::request_bodies::{BodyForm, KeptBody, RequestBodies};

/// More is decoded than is kept, by up to the buffer of a decoder.
const DECODER_BUFFER: usize = 8 * 1024;

/// The bodies as they are stored, without the keys that `current` redacts. Takes some milliseconds.
pub fn redacted(bodies: &CapturedBodies, current: &Arc<Redactor>) -> io::Result<RequestBodies> {
    let mut redactors = vec![current];
    if !Arc::ptr_eq(current, &bodies.redactor) {
        redactors.push(&bodies.redactor);
    }
    let credential = bodies.credential.as_ref().map(Secret::expose);
    let keep = |body: &CapturedBody| {
        let (form, text) = redacted_text(body, bodies.max_bytes, &redactors, credential);
        KeptBody::compressed(form, body.content_type.clone(), body.bytes, &text)
    };
    Ok(RequestBodies {
        request_id: bodies.request_id,
        request: keep(&bodies.request)?,
        answer: keep(&bodies.answer)?,
    })
}

fn redacted_text(
    body: &CapturedBody,
    max_bytes: usize,
    redactors: &[&Arc<Redactor>],
    credential: Option<&str>,
) -> (BodyForm, String) {
    if body.is_file || is_binary_type(body.content_type.as_deref()) {
        return (BodyForm::Binary, String::new());
    }
    let Some((mut bytes, is_cut)) = decoded(body, max_bytes) else {
        return (BodyForm::Encoded, String::new());
    };
    let is_cut = is_cut || bytes.len() > max_bytes;
    for redactor in redactors {
        bytes = redactor.redact_body(&bytes, credential).into();
    }
    if is_cut {
        // A key that begins before the end of what was captured may be there in part, and is then the last that is there.
        let kept = bytes.len().saturating_sub(BEYOND_LIMIT).min(max_bytes);
        bytes.to_mut().truncate(kept);
    }
    match String::from_utf8(bytes.into_owned()) {
        Ok(text) if !text.contains('\0') => (
            if is_cut {
                BodyForm::Cut
            } else {
                BodyForm::Whole
            },
            text,
        ),
        Err(error) if is_cut && error.utf8_error().error_len().is_none() => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            (BodyForm::Cut, text)
        }
        Ok(_) | Err(_) => (BodyForm::Binary, String::new()),
    }
}

/// The bytes without their encodings, and whether some are missing; `None`: they cannot be decoded.
fn decoded(body: &CapturedBody, max_bytes: usize) -> Option<(Cow<'_, [u8]>, bool)> {
    let encodings = body.encodings.as_ref()?;
    if encodings.is_empty() {
        return Some((Cow::Borrowed(&body.captured), body.is_cut()));
    }
    let mut output = Vec::new();
    let mut decoder = ContentDecoder::new(encodings, max_bytes + BEYOND_LIMIT + DECODER_BUFFER);
    let result = decoder.decode(&body.captured, |piece| output.extend_from_slice(piece));
    let is_complete = result.is_ok() && !body.is_cut();
    let is_lost = output.is_empty() && !body.captured.is_empty();
    (!is_lost).then_some((Cow::Owned(output), !is_complete))
}

fn is_binary_type(content_type: Option<&str>) -> bool {
    let content_type = content_type.unwrap_or_default().trim_start();
    ["image/", "audio/", "video/", "application/octet-stream"]
        .iter()
        .any(|kind| {
            let start = content_type.get(..kind.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::body_log::capture::CaptureMemory;

    const KEY: &str = "AIzaSyA-key-of-the-pool-0123456789abcde";
    const CREDENTIAL: &str = "client-key-of-the-tests";

    fn body(
        kind: &'static str,
        encoding: &'static str,
        pieces: &[&[u8]],
        max: usize,
    ) -> CapturedBody {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let mut body = CapturedBody::new(&Arc::new(CaptureMemory::default()));
        body.begin(&headers, false);
        for piece in pieces {
            body.add(piece, max);
        }
        body
    }

    fn text(body: &CapturedBody, max_bytes: usize) -> (BodyForm, String) {
        let redactor = Arc::new(Redactor::new([KEY], ["projects/123456789"]));
        redacted_text(body, max_bytes, &[&redactor], Some(CREDENTIAL))
    }

    #[test]
    fn secrets_are_redacted_wherever_chunks_and_the_limit_cut_them() {
        let plain =
            format!("{{\"a\":\"{KEY}\",\"b\":\"{CREDENTIAL}\",\"c\":\"projects/123456789\"}} ");
        let long = plain.repeat(40);
        for piece in [1, 7, 50, long.len()] {
            let pieces: Vec<&[u8]> = long.as_bytes().chunks(piece).collect();
            for max_bytes in (1_000..1_200).chain([long.len()]) {
                let body = body("application/json", "identity", &pieces, max_bytes);
                let (form, text) = text(&body, max_bytes);
                assert!(text.len() <= long.len() && !text.is_empty());
                assert_eq!(form == BodyForm::Cut, max_bytes < long.len());
                for secret in [KEY, CREDENTIAL, "123456789"] {
                    // Not even its first half, where the limit cuts it.
                    let part = &secret[..secret.len() / 2];
                    assert!(!text.contains(part), "{part} at {max_bytes}: {text}");
                }
            }
        }
    }

    #[test]
    fn the_pattern_of_a_credential_is_redacted_too() {
        let other = b"gp_0123456789012345678901234567890123456789 auth_tokens/0123456789abcdef";
        let body = body("text/plain", "identity", &[other], 9_000);
        let redacted = "[redacted] auth_tokens/[redacted]".to_owned();
        assert_eq!(text(&body, 9_000), (BodyForm::Whole, redacted));
    }

    #[test]
    fn an_encoded_body_is_decoded_up_to_the_limit_or_not_kept() {
        let plain = "data: {\"text\":\"blue\"}\n\n".repeat(10_000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(plain.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();

        let whole = body("text/event-stream", "gzip", &[&gzip], 1 << 20);
        assert_eq!(text(&whole, 1 << 20), (BodyForm::Whole, plain.clone()));
        let cut = body("text/event-stream", "gzip", &[&gzip], 2_000);
        let (form, start) = text(&cut, 2_000);
        assert_eq!((form, start.len()), (BodyForm::Cut, 2_000));
        assert!(plain.starts_with(&start));
        for encoding in ["compress", "br"] {
            let lost = body("text/event-stream", encoding, &[&[0xff; 40]], 2_000);
            assert_eq!(text(&lost, 2_000), (BodyForm::Encoded, String::new()));
        }
    }

    #[test]
    fn only_text_is_kept() {
        for (kind, bytes, form) in [
            ("image/png", "abc".as_bytes(), BodyForm::Binary),
            ("Audio/wav", b"abc", BodyForm::Binary),
            ("application/json", b"a\0b", BodyForm::Binary),
            ("application/json", &[0xff, 0xfe], BodyForm::Binary),
            ("application/json", "天空".as_bytes(), BodyForm::Whole),
            ("application/json", b"", BodyForm::Whole),
        ] {
            let body = body(kind, "identity", &[bytes], 9_000);
            assert_eq!(text(&body, 9_000).0, form, "{kind} {bytes:?}");
        }
        let long = "天".repeat(2_000);
        let cut = body("text/plain", "identity", &[long.as_bytes()], 1_000);
        assert_eq!(text(&cut, 1_000), (BodyForm::Cut, "天".repeat(333)));
    }
}
