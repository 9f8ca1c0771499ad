//! Takes our secrets out of what leaves: by value for clients, by pattern too for rows and logs.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memmem;

/// What stands in a secret's place.
const MASK: &[u8] = b"[redacted]";
/// How many bytes of a text a row keeps.
pub const MAX_ROW_TEXT_BYTES: usize = 512;
/// How many of a value's last bytes it is found by.
const TAIL_BYTES: usize = 8;
/// How many hashes of tails are told apart; a power of two, large beside the number of keys.
const HASH_COUNT: usize = 1 << 19;

/// The values that must not leave, found in one pass over the text however many there are.
#[derive(Debug)]
pub struct Redactor {
    by_tail: HashMap<[u8; TAIL_BYTES], Vec<Box<[u8]>>>,
    /// A bit for each hash that some tail has: nearly all of a text needs no more than a look at it.
    hashes: Box<[u64]>,
    short: Vec<Box<[u8]>>,
}

impl Default for Redactor {
    fn default() -> Self {
        let hashes = vec![0; HASH_COUNT / 64].into_boxed_slice();
        Self {
            by_tail: HashMap::new(),
            hashes,
            short: Vec::new(),
        }
    }
}

/// Where a tail has its bit: the word and the bit in it.
fn hash_bit(tail: [u8; TAIL_BYTES]) -> (usize, u64) {
    // Multiplied by 2^64 over the golden ratio the upper bits depend on all bytes.
    let hash = u64::from_le_bytes(tail).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let place = usize::try_from(hash >> (64 - HASH_COUNT.ilog2())).unwrap_or_default();
    (place / 64, 1 << (place % 64))
}

impl Redactor {
    /// Knows the keys of the pool and the names (`projects/123`) of its projects.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = &'a str>,
        projects: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut redactor = Self::default();
        for key in keys {
            redactor.add(key);
        }
        for project in projects {
            redactor.add(project);
            // The bare number is in messages too; a short one could be any number.
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
            let (word, bit) = hash_bit(*tail);
            self.hashes[word] |= bit;
            let same_tail = self.by_tail.entry(*tail).or_default();
            same_tail.push(bytes.into());
            // The longest first: `projects/123` before `123`.
            same_tail.sort_by_key(|value| std::cmp::Reverse(value.len()));
        } else if !bytes.is_empty() {
            self.short.push(bytes.into());
        }
    }

    /// The text without our values; `None` when it holds none, so that it can pass untouched.
    pub fn redact(&self, text: &[u8]) -> Option<Vec<u8>> {
        mask_ranges(text, self.secret_ranges(text))
    }

    /// What of a text may stand in a row. Redacted before it is cut, so that no secret is left in part.
    pub fn redact_for_row(&self, text: &str) -> String {
        // Nobody needs more than this to be looked through; what is kept is shorter still.
        let text = &text[..text.floor_char_boundary(8 * MAX_ROW_TEXT_BYTES)];
        let clean = self.redact_message(text);
        clean[..clean.floor_char_boundary(MAX_ROW_TEXT_BYTES)].to_owned()
    }

    /// A message for a row or the log: without our values, and without what only looks like a secret.
    pub fn redact_message(&self, text: &str) -> String {
        let mut ranges = self.secret_ranges(text.as_bytes());
        ranges.extend(pattern_ranges(text.as_bytes()));
        let clean = mask_ranges(text.as_bytes(), ranges);
        clean.map_or_else(
            || text.to_owned(),
            |clean| String::from_utf8_lossy(&clean).into_owned(),
        )
    }

    /// Where our values stand.
    fn secret_ranges(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        for (start, window) in text.windows(TAIL_BYTES).enumerate() {
            let Some(tail) = window.first_chunk::<TAIL_BYTES>() else {
                continue;
            };
            let (word, bit) = hash_bit(*tail);
            if self.hashes[word] & bit == 0 {
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

/// How what must not be in a row begins, and how long it goes on at least.
static PATTERNS: LazyLock<Vec<(memmem::Finder<'static>, usize)>> = LazyLock::new(|| {
    let begins = [
        ("AIza", 30),
        ("AQ.", 20),
        ("gp_", 20),
        ("gpa_", 20),
        ("ya29.", 10),
        ("api_key:", 1),
        ("projects/", 1),
        ("project_number:", 1),
    ];
    begins
        .map(|(begin, least)| (memmem::Finder::new(begin), least))
        .into()
});

/// Where something looks like a Google key, a client key of ours, an API token, or the name of a project.
fn pattern_ranges(text: &[u8]) -> Vec<(usize, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut ranges = Vec::new();
    for (finder, least) in PATTERNS.iter() {
        let begin = finder.needle();
        for start in finder.find_iter(text) {
            let rest = &text[start + begin.len()..];
            let length = rest
                .iter()
                .position(|byte| !is_part(byte))
                .unwrap_or(rest.len());
            let names_a_thing = begin.ends_with(b":") || begin.ends_with(b"/");
            if length >= *least {
                let from = if names_a_thing {
                    start + begin.len()
                } else {
                    start
                };
                ranges.push((from, start + begin.len() + length));
            }
        }
    }
    ranges
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
    fn our_values_go_wherever_they_stand() {
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
    fn rows_and_logs_lose_what_only_looks_like_a_secret_too() {
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
        fn no_value_survives(before in "[a-z0-9:'\" ]{0,30}", after in "[a-z0-9:'\" ]{0,30}", which in 0..3_usize) {
            let value = ["AIzaSyA-first-key", "plain-key-2", "tiny"][which];
            let text = format!("{before}{value}{after}{value}");

            let clean = String::from_utf8(redactor().redact(text.as_bytes()).unwrap()).unwrap();

            prop_assert!(!clean.contains(value), "{}", clean);
        }
    }
}
