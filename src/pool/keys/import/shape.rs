//! The forms of keys: Google's are recognized in any text, others only where a key is expected.

use std::ops::Range;

use crate::pool::keys::imported_keys::MIN_KEY_CHARACTERS;

/// Prefixes of Google's keys: standard keys and auth keys.
const GOOGLES: [&str; 2] = ["AIza", "AQ."];
/// The length of every standard key.
const STANDARD_CHARACTERS: usize = 39;
/// Minimum length of a Google key inside other text; a shorter one is an incomplete key.
const MIN_GOOGLE_CHARACTERS: usize = 23;
const MAX_KEY_CHARACTERS: usize = 1_024;

/// A text in the form of a Google key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleText {
    pub range: Range<usize>,
    /// Whether it is shortened, masked or an example.
    pub is_incomplete: bool,
}

/// All texts in the form of a Google key: a known prefix, then letters, digits, `_` and `-`.
pub fn google_texts(text: &str) -> Vec<GoogleText> {
    let mut found = Vec::new();
    let mut place = 0;
    while let Some((start, prefix)) = next_prefix(text, place) {
        place = start + prefix.len();
        if !is_boundary(text, start)
            && found
                .last()
                .is_none_or(|last: &GoogleText| last.range.end != start)
        {
            continue;
        }
        let rest = text[place..].bytes();
        let end = place + rest.take_while(|byte| is_key_byte(*byte)).count();
        let after_last = found.last().map_or(0, |last| last.range.end);
        let end = start + key_length(&text[after_last..start], &text[start..end], prefix);
        let is_incomplete = end - start < MIN_GOOGLE_CHARACTERS
            || is_masked_after(&text[end..])
            || is_example(&text[start..end]);
        found.push(GoogleText {
            range: start..end,
            is_incomplete,
        });
        place = end;
    }
    // The prefix alone, as in a sentence about keys, is not even an incomplete key.
    found.retain(|found| !found.is_incomplete || found.range.len() > GOOGLES[0].len() + 1);
    found
}

/// The complete keys of Google's forms in a text.
pub fn google_keys(text: &str) -> Vec<&str> {
    let found = google_texts(text).into_iter();
    let complete = found.filter(|found| !found.is_incomplete);
    complete.map(|found| &text[found.range]).collect()
}

/// Whether `text` as a whole could be a key of an unknown form.
pub fn is_plausible(text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let is_date_or_time = letters == 0 && text.contains(['-', ':', '/', '.', '+']);
    (MIN_KEY_CHARACTERS..=MAX_KEY_CHARACTERS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'`[](){}<>\\,;|@".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && !is_date_or_time
        && !is_reference(text)
        && !is_example(text)
        // A masked key.
        && !["***", "..."].iter().any(|part| text.contains(part))
}

/// Whether `text` names a key instead of being one: a variable, a path, a URL.
fn is_reference(text: &str) -> bool {
    ["$", "%", "--", "/", "./", "~/", "os.environ"]
        .iter()
        .any(|start| text.starts_with(start))
        || text.contains("://")
        || is_variable_of_keys(text)
}

/// Whether `text` is the name of a variable, such as `GEMINI_API_KEY`.
fn is_variable_of_keys(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().all(is_inside)
        && ["_KEY", "_TOKEN", "_SECRET"]
            .iter()
            .any(|end| text.contains(end))
}

/// Whether `text` is an example that was never replaced by a key.
pub fn is_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    let is_addressed = has("your") && ["key", "api", "here"].into_iter().any(has);
    is_addressed
        || ["xxxxx", "placeholder", "replace", "changeme", "change-me"]
            .into_iter()
            .any(has)
}

/// The characters between keys, and around them.
pub fn is_separator(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || ",;|\"'`[](){}<>，；、｜“”‘’「」『』（）【】《》«»\u{feff}\u{200b}".contains(char)
}

/// The parts of a text between separators, with their places. Written-out line ends (`\n`) separate too.
pub fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((place, char)) = chars.next() {
        let is_escape = char == '\\' && chars.peek().is_some_and(|(_, next)| "nrt".contains(*next));
        if is_escape || is_separator(char) {
            tokens.extend(start.take().map(|start| start..place));
            if is_escape {
                chars.next();
            }
        } else {
            start.get_or_insert(place);
        }
    }
    tokens.extend(start.map(|start| start..text.len()));
    tokens
}

fn next_prefix(text: &str, from: usize) -> Option<(usize, &'static str)> {
    // One search for both: the time stays linear where only one of them occurs.
    let mut starts = text[from..]
        .match_indices('A')
        .map(|(place, _)| from + place);
    starts.find_map(|start| {
        let prefix = GOOGLES
            .iter()
            .find(|prefix| text[start..].starts_with(**prefix))?;
        Some((start, *prefix))
    })
}

/// Whether a key can begin at `start`: it is not the middle of a longer word. A hyphen belongs to the word before it,
/// several are a separator; the letter of an escape (`\n`, `%2C`) belongs to no word.
fn is_boundary(text: &str, start: usize) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
    match &text.as_bytes()[..start] {
        [] | [.., b'\\', b'n' | b'r' | b't'] | [.., b'\\', b'u', _, _, _, _] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., word, b'-' | b'_' | b'.'] => !is_word(word),
        [.., last] => !is_word(last),
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// How much of `word` is the key: hyphens can separate it from a text that follows. `before` is the text since the
/// last key.
fn key_length(before: &str, word: &str, prefix: &str) -> usize {
    let is_standard = prefix == GOOGLES[0];
    if is_standard && word.len() > STANDARD_CHARACTERS {
        let rest = &word[STANDARD_CHARACTERS..];
        let dashes = rest.len() - rest.trim_start_matches(['-', '_']).len();
        if dashes > 1 || dashes == rest.len() || GOOGLES.iter().any(|other| rest.starts_with(other))
        {
            return STANDARD_CHARACTERS;
        }
    }
    if is_standard && word.len() == STANDARD_CHARACTERS {
        return word.len();
    }
    // `mail---password---key---note`: the run of hyphens before the key separates after it too.
    let before = before.trim_end();
    let dashes = before.len() - before.trim_end_matches('-').len();
    let separator = "-".repeat(if (2..4).contains(&dashes) { dashes } else { 4 });
    let cut = word
        .find(&separator)
        .filter(|cut| *cut >= MIN_GOOGLE_CHARACTERS);
    let cut = cut.unwrap_or(word.len());
    let trimmed = word[..cut].trim_end_matches('-').len();
    if cut < word.len() || dashes > 1 {
        trimmed
    } else {
        cut
    }
}

/// Whether the text after a key shows that its end was left out.
fn is_masked_after(rest: &str) -> bool {
    ["...", "…", "***", "•", "●"]
        .iter()
        .any(|mask| rest.starts_with(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AIzaSyMadeUp000000000000000000000000001";
    const AUTH: &str = "AQ.MadeUp-0000000000000000000000000000000000000001";

    #[test]
    fn googles_keys_are_found_between_any_separators() {
        let cases = [
            "KEY",
            "mail@example.com----password----KEY",
            "mail@example.com----password----KEY----",
            "mail@example.com---password---KEY---note",
            "mail@example.com--password--KEY--note",
            "a:b:KEY:c",
            "https://example.com/v1?key=KEY&alt=sse",
            r"keys=x\nKEY\ny",
            "a%2CKEY%2Cb",
            "金鑰KEY，備用",
            "'KEY'.",
        ];
        for case in cases {
            for key in [KEY, AUTH] {
                let text = case.replace("KEY", key);
                assert_eq!(google_keys(&text), [key], "{text}");
            }
        }
        assert_eq!(google_keys(&KEY.repeat(2)), [KEY, KEY]);
    }

    #[test]
    fn shortened_masked_and_example_keys_are_incomplete() {
        for text in [
            "AIzaSyMadeUp...0001",
            "AIzaSyMadeUp0000",
            "AIzaSyMadeUp00000000000000000000…",
            "AIzaSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
            "AIzaSy-your-gemini-api-key-goes-here",
        ] {
            let found = google_texts(text);
            assert!(found.len() == 1 && found[0].is_incomplete, "{text}");
        }
        for text in [
            "keys begin with AIza or AQ.",
            "sk-AIzaSyMadeUp000000000000000000000000001",
        ] {
            assert_eq!(google_texts(text), [], "{text}");
        }
    }

    #[test]
    fn a_plausible_key_is_one_visible_token() {
        for text in [
            "opaque-key-1",
            "a-base64-key==",
            "12345678",
            "sk-abc_def.ghi:jkl",
        ] {
            assert!(is_plausible(text), "{text}");
        }
        for text in [
            "short",
            "has a space",
            "ann@example.com",
            "\"quoted-key\"",
            "a,b,c,d,e",
            "https://example.com",
            "$GEMINI_API_KEY",
            "os.environ/GEMINI_KEY",
            "2024-01-02",
            "YOUR_API_KEY",
            "GEMINI_API_KEY",
            "abcd***efgh",
            "金鑰金鑰金鑰",
        ] {
            assert!(!is_plausible(text), "{text}");
        }
    }

    #[test]
    fn tokens_lie_between_separators() {
        let text = r#"["a1", 'b2';c3|d4，e5\nf6]"#;
        let found: Vec<_> = tokens(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["a1", "b2", "c3", "d4", "e5", "f6"]);
    }
}
