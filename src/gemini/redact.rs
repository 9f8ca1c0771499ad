//! Redacts secrets: by value in what clients receive, also by pattern in log rows and log messages.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memmem;

use crate::gemini::block_filter::{BLOCK_BYTES, Block, BlockFilter};
use crate::gemini::key_mask::KeyMask;

/// Replaces a secret.
const MASK: &[u8] = b"[redacted]";
/// Maximum size of a text in a log row.
pub const MAX_ROW_TEXT_BYTES: usize = 512;
/// The begin of an ephemeral token, which an answer contains as the name of a resource.
const TOKEN_PREFIX: &[u8] = b"auth_tokens/";
/// Number of last bytes by which a value is found.
const TAIL_BYTES: usize = BLOCK_BYTES;
/// Bits of the filter of tails, large compared to the number of keys.
const FILTER_BITS: usize = 1 << 19;

/// The secret values, found in one pass over the text, however many there are.
#[derive(Debug)]
pub struct Redactor {
    by_tail: HashMap<Block, Vec<Box<[u8]>>>,
    tails: BlockFilter,
    short: Vec<Box<[u8]>>,
    /// Upstream keys in good answers.
    pub key_mask: KeyMask,
}

impl Default for Redactor {
    fn default() -> Self {
        Self {
            by_tail: HashMap::new(),
            tails: BlockFilter::with_bits(FILTER_BITS),
            short: Vec::new(),
            key_mask: KeyMask::default(),
        }
    }
}

impl Redactor {
    /// Redacts the keys of the pool and the names (`projects/123`) of its projects.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
        projects: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let keys = keys.into_iter();
        let mut redactor = Self {
            key_mask: KeyMask::new(keys.clone()),
            ..Self::default()
        };
        for key in keys {
            redactor.add(key);
        }
        for project in projects {
            redactor.add(project);
            // Messages contain the bare number too; a short one could be any number.
            if let Some(number) = project
                .strip_prefix("projects/")
                .filter(|number| number.len() >= TAIL_BYTES)
            {
                redactor.add(number);
            }
        }
        redactor
    }

    fn add(&mut self, value: &str) {
        let bytes = value.as_bytes();
        if let Some(tail) = bytes.last_chunk::<TAIL_BYTES>() {
            self.tails.insert(*tail);
            let same_tail = self.by_tail.entry(*tail).or_default();
            if same_tail.iter().any(|known| **known == *bytes) {
                return;
            }
            same_tail.push(bytes.into());
            // Longest first: `projects/123` before `123`.
            same_tail.sort_by_key(|value| std::cmp::Reverse(value.len()));
        } else if !bytes.is_empty() {
            self.short.push(bytes.into());
        }
    }

    /// The text without secret values; `None` when it contains none, so that it can be forwarded unchanged.
    pub fn redact(&self, text: &[u8]) -> Option<Vec<u8>> {
        mask_ranges(text, self.secret_ranges(text))
    }

    /// The text for a log row, redacted before it is shortened, so that no part of a secret is left.
    pub fn redact_for_row(&self, text: &str) -> String {
        // Limits the work: the row keeps even less.
        let text = &text[..text.floor_char_boundary(8 * MAX_ROW_TEXT_BYTES)];
        let clean = self.redact_message(text);
        clean[..clean.floor_char_boundary(MAX_ROW_TEXT_BYTES)].to_owned()
    }

    /// A message for a log row or the log: without secret values, and without anything that matches a secret's pattern.
    pub fn redact_message(&self, text: &str) -> String {
        let mut ranges = self.secret_ranges(text.as_bytes());
        ranges.extend(pattern_ranges(text.as_bytes()));
        let clean = mask_ranges(text.as_bytes(), ranges);
        clean.map_or_else(
            || text.to_owned(),
            |clean| String::from_utf8_lossy(&clean).into_owned(),
        )
    }

    /// A body that is kept: without secret values, what matches a secret's pattern, and the client's own `credential`.
    pub fn redact_body(&self, body: &[u8], credential: Option<&str>) -> Vec<u8> {
        let mut ranges = self.secret_ranges(body);
        ranges.extend(pattern_ranges(body));
        for start in memmem::find_iter(body, TOKEN_PREFIX) {
            let (start, rest) = (
                start + TOKEN_PREFIX.len(),
                &body[start + TOKEN_PREFIX.len()..],
            );
            let end = rest.iter().position(|byte| !is_part(*byte));
            ranges.push((start, start + end.unwrap_or(rest.len())));
        }
        if let Some(credential) = credential.filter(|credential| !credential.is_empty()) {
            let starts = memmem::find_iter(body, credential);
            ranges.extend(starts.map(|start| (start, start + credential.len())));
        }
        ranges.retain(|(start, end)| start < end);
        mask_ranges(body, ranges).unwrap_or_else(|| body.to_vec())
    }

    /// The ranges of secret values.
    fn secret_ranges(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        for (start, window) in text.windows(TAIL_BYTES).enumerate() {
            let Some(tail) = window.first_chunk::<TAIL_BYTES>() else {
                continue;
            };
            if !self.tails.may_contain(*tail) {
                continue;
            }
            let Some(values) = self.by_tail.get(tail) else {
                continue;
            };
            let end = start + TAIL_BYTES;
            if let Some(value) = values.iter().find(|value| text[..end].ends_with(value)) {
                ranges.push((end - value.len(), end));
            }
        }
        for value in &self.short {
            let starts = memmem::find_iter(text, value);
            ranges.extend(starts.map(|start| (start, start + value.len())));
        }
        ranges
    }
}

/// Beginnings of secrets, each with the minimum length of the rest.
static PATTERNS: LazyLock<Vec<(memmem::Finder<'static>, usize)>> = LazyLock::new(|| {
    let prefixes = [
        ("AIza", 30),
        ("AQ.", 20),
        ("gp_", 20),
        ("gpa_", 20),
        ("ya29.", 10),
        ("api_key:", 1),
        ("projects/", 1),
        ("project_number:", 1),
    ];
    prefixes
        .map(|(prefix, min_length)| (memmem::Finder::new(prefix), min_length))
        .into()
});

/// The ranges that match the pattern of a Google key, a client key, an API token, or a project name.
fn pattern_ranges(text: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    for (finder, min_length) in PATTERNS.iter() {
        let prefix = finder.needle();
        for start in finder.find_iter(text) {
            let rest = &text[start + prefix.len()..];
            let length = rest
                .iter()
                .position(|byte| !is_part(*byte))
                .unwrap_or(rest.len());
            let is_label = prefix.ends_with(b":") || prefix.ends_with(b"/");
            if length >= *min_length {
                let from = if is_label {
                    start + prefix.len()
                } else {
                    start
                };
                ranges.push((from, start + prefix.len() + length));
            }
        }
    }
    ranges
}

/// Whether keys and tokens contain such a byte.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn mask_ranges(text: &[u8], mut ranges: Vec<(usize, usize)>) -> Option<Vec<u8>> {
    if ranges.is_empty() {
        return None;
    }
    ranges.sort_unstable();
    let mut clean = Vec::with_capacity(text.len());
    let mut position = 0;
    for (start, end) in ranges {
        if end <= position {
            continue;
        }
        if start >= position {
            clean.extend_from_slice(&text[position..start]);
            clean.extend_from_slice(MASK);
        }
        position = end;
    }
    clean.extend_from_slice(&text[position..]);
    Some(clean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(
            ["AIzaSyA-first-key", "plain-key-2", "tiny"],
            ["projects/123456789"],
        )
    }

    #[test]
    fn secret_values_are_redacted_anywhere_in_a_text() {
        let cases = [
            (
                "Consumer 'api_key:AIzaSyA-first-key' suspended",
                "Consumer 'api_key:[redacted]' suspended",
            ),
            ("plain-key-2plain-key-2", "[redacted][redacted]"),
            ("a tiny one", "a [redacted] one"),
            (
                "projects/123456789 or 123456789",
                "[redacted] or [redacted]",
            ),
        ];
        for (text, expected) in cases {
            let redacted = redactor().redact(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(redacted).unwrap(), expected);
        }
        assert_eq!(
            redactor().redact(b"nothing of ours: AIzaSyB-other-key"),
            None
        );
    }

    #[test]
    fn rows_and_logs_are_redacted_by_pattern_too() {
        let text = "key AIzaSyBcdefghijklmnopqrstuvwxyz-12345678 of projects/42, project_number:7";

        assert_eq!(
            redactor().redact_message(text),
            "key [redacted] of projects/[redacted], project_number:[redacted]"
        );
        assert_eq!(
            redactor().redact_message("projects/ and AIza alone"),
            "projects/ and AIza alone"
        );
    }

    proptest! {
        #[test]
        fn no_secret_value_is_left(before in "[a-z0-9:'\" ]{0,30}", after in "[a-z0-9:'\" ]{0,30}", which in 0..3_usize) {
            let value = ["AIzaSyA-first-key", "plain-key-2", "tiny"][which];
            let text = format!("{before}{value}{after}{value}");

            let clean = String::from_utf8(redactor().redact(text.as_bytes()).unwrap()).unwrap();

            prop_assert!(!clean.contains(value), "{}", clean);
        }
    }
}
