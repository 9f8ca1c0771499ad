//! Finds upstream keys in any text: lines, CSV, JSON, the lines of an environment file.

use std::collections::HashSet;

use serde_json::Value;

use crate::pool::secret::Secret;

/// What a text holds.
#[derive(Debug, Default)]
pub struct Import {
    /// Each key once, as they came.
    pub keys: Vec<Secret>,
    /// How often a key came again.
    pub duplicates: usize,
    /// What stood where a key was expected.
    pub odd: Vec<Odd>,
}

/// An entry that is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    /// Counted from 1.
    pub line: usize,
    /// Its first characters: at most four, and a quarter of it, because it may be a key with a slip in it.
    pub start: String,
}

/// How Google's keys begin: standard keys, and auth keys.
const GOOGLES: [&str; 2] = ["AIza", "AQ."];
/// A key of Google's has at least so many characters; shorter ones are taken only where they stand alone.
const TOKEN_CHARACTERS: usize = 23;
const FEWEST_CHARACTERS: usize = 8;
const MOST_CHARACTERS: usize = 1_024;

/// Finds the keys in `text`.
///
/// What looks like a Google key (`AIza…`, `AQ.…`) is found anywhere. Where there is none, a line, a CSV cell or a JSON
/// text that could be a key is taken whole.
pub fn parse(text: &str) -> Import {
    let mut found = Found::default();
    let text = text.trim_start_matches('\u{feff}');
    if let Some(json) = json(text) {
        found.json(&json, true, &|entry| line_of(text, entry));
        return found.import;
    }
    let mut header = None;
    let mut is_first = true;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        if is_first {
            is_first = false;
            header = key_column(line);
            if header.is_some() {
                continue;
            }
        }
        found.line(number, line, header);
    }
    found.import
}

#[derive(Default)]
struct Found {
    import: Import,
    seen: HashSet<Secret>,
}

impl Found {
    fn line(&mut self, number: usize, line: &str, key_column: Option<usize>) {
        let (is_place, value) = match assignment(line) {
            Some((name, value)) => (names_keys(name), value),
            None => (true, line),
        };
        if let Some(json) = json(value) {
            self.json(&json, is_place, &|_| number);
            return;
        }
        let tokens = tokens(value);
        if !tokens.is_empty() {
            self.keys(tokens);
            return;
        }
        if !is_place {
            return;
        }
        let bullets = ["- ", "* "];
        let value = bullets
            .iter()
            .find_map(|bullet| value.strip_prefix(bullet))
            .unwrap_or(value);
        let cells: Vec<_> = cells(value).collect();
        match key_column {
            Some(column) => self.entry(number, cells.get(column).copied().unwrap_or_default()),
            None => self.entries(number, &cells),
        }
    }

    /// Takes the cells that begin like Google's keys, or else all.
    fn entries(&mut self, number: usize, cells: &[&str]) {
        let alike = cells.iter().any(|cell| is_like_googles(cell));
        for cell in cells.iter().filter(|cell| !cell.is_empty()) {
            if !alike || is_like_googles(cell) {
                self.entry(number, cell);
            }
        }
    }

    fn entry(&mut self, number: usize, entry: &str) {
        if is_plausible(entry) {
            self.key(entry);
        } else {
            let shown = (entry.chars().count() / 4).min(4);
            self.import.odd.push(Odd {
                line: number,
                start: entry.chars().take(shown).collect(),
            });
        }
    }

    fn keys(&mut self, texts: Vec<&str>) {
        for text in texts {
            self.key(text);
        }
    }

    fn key(&mut self, text: &str) {
        let key = Secret::new(text);
        if self.seen.insert(key.clone()) {
            self.import.keys.push(key);
        } else {
            self.import.duplicates += 1;
        }
    }

    /// Takes Google's keys, and other texts where a key may stand: `is_place`.
    fn json(&mut self, value: &Value, is_place: bool, line_of: &dyn Fn(&str) -> usize) {
        match value {
            Value::String(text) => {
                let tokens = tokens(text);
                if tokens.is_empty() && is_place {
                    self.entry(line_of(text), text.trim());
                }
                self.keys(tokens);
            }
            Value::Array(items) => {
                for item in items {
                    self.json(item, is_place, line_of);
                }
            }
            Value::Object(members) => {
                let has_token = |text: &str| !tokens(text).is_empty();
                let is_told = members.iter().any(|(name, member)| {
                    names_keys(name) || has_token(name) || member.as_str().is_some_and(has_token)
                });
                for (name, member) in members {
                    self.keys(tokens(name));
                    // Beside a key stand its label, its project and so on.
                    let is_place = names_keys(name) || (is_place && !is_told);
                    self.json(member, is_place, line_of);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }
}

fn json(text: &str) -> Option<Value> {
    let text = text.trim().trim_matches(['\'', '`']);
    let is_some = text.starts_with(['[', '{', '"']);
    is_some.then(|| serde_json::from_str(text).ok())?
}

/// The line on which a JSON text first stands; the parser forgets places.
fn line_of(text: &str, entry: &str) -> usize {
    let place = text.find(entry).filter(|_| !entry.is_empty()).unwrap_or(0);
    text[..place].matches('\n').count() + 1
}

/// `NAME=value` as environment files have it. Names of them are in capitals, so that a key with a `=` is none.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    (is_name && value.bytes().any(|byte| byte != b'=')).then_some((name, value))
}

/// Whether a variable, a column or a JSON member of this name holds upstream keys.
fn names_keys(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let others = ["allowed", "client", "public", "admin", "openai", "master"];
    let ends = ["apikey", "apikeys", "upstreamkey", "upstreamkeys"];
    let whole = [
        "key", "keys", "secret", "secrets", "token", "tokens", "value",
    ];
    !others.iter().any(|other| name.contains(other))
        && (whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end)))
}

/// Which column of a table holds the keys, if `line` is its heading.
fn key_column(line: &str) -> Option<usize> {
    let is_heading = assignment(line).is_none() && tokens(line).is_empty();
    is_heading.then(|| cells(line).position(names_keys))?
}

/// The parts of a line, without their quotes and brackets.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_end_matches([',', ';']);
    line.split([',', ';', '\t']).map(|cell| {
        cell.trim_matches(|char: char| char.is_whitespace() || "\"'`[](){}<>".contains(char))
    })
}

fn is_like_googles(text: &str) -> bool {
    GOOGLES.iter().any(|beginning| text.starts_with(beginning))
}

/// What in `text` has the form of a Google key: a known beginning, then letters, digits, `_` and `-`.
fn tokens(text: &str) -> Vec<&str> {
    let is_inside = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    let token = |word| {
        let word: &str = word;
        let word = word.trim_start_matches(['-', '_', '.']);
        let beginning = GOOGLES
            .iter()
            .find(|beginning| word.starts_with(**beginning))?;
        let rest = &word[beginning.len()..];
        let end = beginning.len() + rest.find('.').unwrap_or(rest.len());
        (end >= TOKEN_CHARACTERS).then(|| &word[..end])
    };
    text.split(|char| !is_inside(char))
        .filter_map(token)
        .collect()
}

/// Whether `text` could be a key, of a form we do not know.
fn is_plausible(text: &str) -> bool {
    (FEWEST_CHARACTERS..=MOST_CHARACTERS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'`[](){}<>\\,;".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        // An address, or a key that somebody masked.
        && !["://", "***", "..."].iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = "AIzaSyFirst-0000000000000000000000000001";
    const SECOND: &str = "AQ.Second_00000000000000000000000000000002";

    fn keys(text: &str) -> Vec<String> {
        let keys = parse(text).keys;
        keys.iter().map(|key| key.expose().to_owned()).collect()
    }

    #[test]
    fn googles_keys_are_found_in_any_text() {
        let cases = [
            "FIRST\nSECOND",
            "\u{feff}FIRST\r\n\r\n  SECOND  \r\n",
            "FIRST,SECOND",
            "label,key\nmy label here,FIRST\n\"another, one\",SECOND\n",
            "FIRST;paid;my-first-label\nSECOND;free;another-label",
            r#"["FIRST", "SECOND"]"#,
            r#"{"keys": [{"name": "not-a-key", "key": "FIRST"}, {"name": "not-a-key", "key": "SECOND"}]}"#,
            r#"{"FIRST": "some-label", "SECOND": "other-label"}"#,
            "{\"key\": \"FIRST\"}\n{\"key\": \"SECOND\"}",
            r#"API_KEYS=["FIRST","SECOND"]"#,
            "API_KEYS='[\"FIRST\",\"SECOND\"]'",
            "API_KEYS=[\n  \"FIRST\",\n  \"SECOND\"\n]",
            "MYSQL_HOST=some-database-host\nALLOWED_TOKENS=[\"sk-123456789\"]\nPAID_KEY=FIRST\nVERTEX_API_KEYS=[\"SECOND\"]",
            "use FIRST, or else (SECOND).",
            "https://example.com/v1beta/models?key=FIRST&alt=sse\n- SECOND",
        ];
        for case in cases {
            let text = case.replace("FIRST", FIRST).replace("SECOND", SECOND);
            assert_eq!(keys(&text), [FIRST, SECOND], "{case}");
            assert_eq!(parse(&text).odd, [], "{case}");
        }
    }

    #[test]
    fn other_keys_are_taken_where_a_key_is_expected() {
        let cases = [
            "opaque-key-1\nopaque-key-2",
            "opaque-key-1, 'opaque-key-2'",
            "label\tapi key\nfirst-label\topaque-key-1\nsecond-label\topaque-key-2",
            "key\nopaque-key-1\nopaque-key-2",
            r#"["opaque-key-1", "opaque-key-2"]"#,
            r#"[{"label": "first-label", "api_key": "opaque-key-1"}, {"api_key": "opaque-key-2"}]"#,
            r#"{"ALLOWED_TOKENS": ["sk-123456789"], "API_KEYS": ["opaque-key-1", "opaque-key-2"]}"#,
            "# old-key-0000\nDATABASE_TYPE=mysql-or-sqlite\nexport GEMINI_API_KEYS=opaque-key-1,opaque-key-2\n\
             ALLOWED_API_KEYS=sk-123456789",
        ];
        for case in cases {
            assert_eq!(keys(case), ["opaque-key-1", "opaque-key-2"], "{case}");
            assert_eq!(parse(case).odd, [], "{case}");
        }
        assert_eq!(keys("a-base64-key=="), ["a-base64-key=="]);
    }

    #[test]
    fn odd_entries_and_duplicates_are_told_without_telling_keys() {
        let text = format!(
            "{FIRST}\n\nhas a space in it, which no key has\nshort\nAIzaSy...0001\n{FIRST}"
        );
        let import = parse(&text);

        let odd: Vec<_> = import
            .odd
            .iter()
            .map(|odd| (odd.line, odd.start.as_str()))
            .collect();
        assert_eq!(odd, [(3, "has "), (3, "whic"), (4, "s"), (5, "AIz")]);
        assert_eq!((import.keys.len(), import.duplicates), (1, 1));

        let json = "[\n  \"opaque-key-1\",\n  \"no key\"\n]";
        assert_eq!(parse(json).odd[0].line, 3);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in r#"(AIza|AQ\.|API_KEYS=|key|[\[\]{}",;=:\n\t .*#-]|[a-z0-9]{1,30}|\PC){0,60}"#) {
            let import = parse(&text);

            let lines = text.lines().count().max(1);
            for odd in &import.odd {
                prop_assert!(odd.start.chars().count() <= 4 && (1..=lines).contains(&odd.line));
            }
            for key in &import.keys {
                prop_assert!(key.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            }
            let unique: HashSet<_> = import.keys.iter().collect();
            prop_assert_eq!(unique.len(), import.keys.len());
        }

        #[test]
        fn every_key_is_found_however_keys_are_separated(
            keys in proptest::collection::vec("(AIza[A-Za-z0-9_-]{35}|AQ\\.[A-Za-z0-9][A-Za-z0-9_-]{29})", 1..20),
            separator in r#"\n|\r\n|,|;|\t| |", "|\n\n- | and "#,
        ) {
            let import = parse(&keys.join(&separator));

            let mut expected = Vec::new();
            for key in &keys {
                if !expected.contains(&key.as_str()) {
                    expected.push(key);
                }
            }
            let found: Vec<_> = import.keys.iter().map(Secret::expose).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(import.duplicates, keys.len() - import.keys.len());
        }
    }
}
