//! Estimates the tokens of texts and media.

use std::time::Duration;

/// Characters of text per token, approximately (Google's guide to tokens).
const CHARS_PER_TOKEN: u64 = 4;
/// The tokens of a picture, and of a page of a document (Google's guide to tokens, and a recording).
const PICTURE_TOKENS: u64 = 258;
/// The tokens of a second of sound (Google's guide to tokens).
const AUDIO_TOKENS_PER_SECOND: u64 = 32;
/// The tokens of a second of film, with one picture a second and its sound (Google's guide to tokens).
const VIDEO_TOKENS_PER_SECOND: u64 = 263 + AUDIO_TOKENS_PER_SECOND;
/// The usual bit rates of sound and film, and the usual size of a page: the length of media is not read from them.
const AUDIO_BYTES_PER_SECOND: u64 = 16_000;
const VIDEO_BYTES_PER_SECOND: u64 = 250_000;
const PAGE_BYTES: u64 = 100_000;
/// The assumed length of media that a request only names.
const NAMED_MEDIA_LENGTH: Duration = Duration::from_mins(1);
const NAMED_PAGES: u64 = 10;

/// The tokens of a text of this length.
pub fn text_tokens(chars: u64) -> u64 {
    chars.div_ceil(CHARS_PER_TOKEN)
}

/// The tokens of a picture, of sound, of a film or a document, in base64; `None`: it is only named.
///
/// `kind` is a MIME type, a format such as `wav`, or empty.
pub fn media_tokens(kind: &str, base64_bytes: Option<usize>) -> u64 {
    let bytes = base64_bytes.map(|length| count(length) / 4 * 3);
    let named_seconds = NAMED_MEDIA_LENGTH.as_secs();
    let seconds = |per_second| bytes.map_or(named_seconds, |bytes| bytes / per_second + 1);
    match kind.split('/').next().unwrap_or_default() {
        "audio" | "wav" | "mp3" => seconds(AUDIO_BYTES_PER_SECOND) * AUDIO_TOKENS_PER_SECOND,
        "video" => seconds(VIDEO_BYTES_PER_SECOND) * VIDEO_TOKENS_PER_SECOND,
        "text" => text_tokens(bytes.unwrap_or_default()),
        _ if kind == "application/pdf" => {
            bytes.map_or(NAMED_PAGES, |bytes| bytes / PAGE_BYTES + 1) * PICTURE_TOKENS
        }
        _ => PICTURE_TOKENS,
    }
}

pub fn is_data_url(text: &str) -> bool {
    text.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// The tokens of the media in a `data:` URL.
pub fn data_url_tokens(url: &str) -> u64 {
    let (head, data) = url.split_once(',').unwrap_or((url, ""));
    let kind = head[head.len().min(5)..]
        .split(';')
        .next()
        .unwrap_or_default();
    media_tokens(kind, Some(data.len()))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
