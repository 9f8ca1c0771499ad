//! Reads the list of client keys in `ALLOWED_API_KEYS`, which has commas and new lines and nothing else between keys.

use crate::pool::keys::import::shape::is_separator;
use crate::pool::secret::Secret;

const MAX_KEY_CHARACTERS: usize = 1_024;

/// An entry that cannot be a client key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEntry {
    /// Counted from 1.
    pub number: usize,
    /// The character that no key contains; `None`: the entry is too long.
    pub character: Option<char>,
}

/// Reads client keys that are separated by commas or new lines.
pub fn read(text: &str) -> Result<Vec<Secret>, InvalidEntry> {
    let parts = text
        .trim_start_matches('\u{feff}')
        .split([',', '\n', '\r'])
        .map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    let key = |(number, part): (usize, &str)| {
        let is_wrong = |char: &char| is_separator(*char) || !char.is_ascii_graphic();
        let character = part.chars().find(is_wrong);
        if character.is_some() || part.len() > MAX_KEY_CHARACTERS {
            return Err(InvalidEntry { number, character });
        }
        Ok(Secret::new(part))
    };
    (1..).zip(parts).map(key).collect()
}

/// A value with each run of characters of keys replaced by `…`: it shows quotes, brackets and separators only.
pub fn masked(text: &str) -> String {
    let mut masked = String::new();
    for char in text.trim_matches(['\n', '\r']).chars() {
        let is_shown = is_separator(char) || char == '@';
        match char {
            '\n' | '\r' => masked.push(' '),
            _ if is_shown => masked.push(char),
            _ if masked.ends_with('…') => (),
            _ => masked.push('…'),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_keys_are_separated_by_commas_and_new_lines_only() {
        let keys = read("one, two\nthree,,\r\n").unwrap();
        let keys: Vec<_> = keys.iter().map(Secret::expose).collect();
        assert_eq!(keys, ["one", "two", "three"]);

        for (text, number, character) in [
            ("one,two;three", 2, ';'),
            ("one two", 1, ' '),
            ("\"one\",two", 1, '"'),
            ("[\"one\"]", 1, '['),
            ("one|two", 1, '|'),
            ("one，two", 1, '，'),
            ("one,金鑰", 2, '金'),
        ] {
            let expected = InvalidEntry {
                number,
                character: Some(character),
            };
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_masked_value_shows_its_quotes_and_separators() {
        assert_eq!(masked(r#"["sk-1234","sk-5678"]"#), r#"["…","…"]"#);
        assert_eq!(masked("\"sk-1234,sk-5678\"\n"), "\"…,…\"");
        assert_eq!(masked("sk-1234 sk-5678"), "… …");
    }
}
