//! Tests with JSON that lenient parsers accept: the reader finds the same in it, or the body is unread.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MOST_BYTES, headers, read};
use crate::gemini::request_body::fields::canonical;
use crate::gemini::request_body::reader::read_body;
use crate::gemini::resources::name::ResourceName;
use std::collections::BTreeSet;

/// A document that is written strictly, leniently, or in a mixture.
#[derive(Debug, Clone)]
enum Loose {
    Scalar(String),
    Text(String, Quotes),
    Array(Vec<Loose>, Extra),
    Object(Vec<(String, Quotes, Loose)>, Extra),
}

#[derive(Debug, Clone, Copy)]
enum Quotes {
    Double,
    Escaped,
    Single,
    /// Of keys only.
    None,
}

#[derive(Debug, Clone, Copy)]
enum Extra {
    Nothing,
    TrailingComma,
    Comment,
}

impl Loose {
    fn write(&self, text: &mut String) {
        match self {
            Self::Scalar(scalar) => text.push_str(scalar),
            Self::Text(content, quotes) => write_text(content, *quotes, text),
            Self::Array(elements, extra) => {
                text.push('[');
                for (number, element) in elements.iter().enumerate() {
                    text.push_str(if number > 0 { " ," } else { "" });
                    element.write(text);
                }
                write_extra(*extra, text);
                text.push(']');
            }
            Self::Object(fields, extra) => {
                text.push('{');
                for (number, (key, quotes, value)) in fields.iter().enumerate() {
                    text.push_str(if number > 0 { ",\n" } else { "" });
                    write_text(key, *quotes, text);
                    text.push_str(": ");
                    value.write(text);
                }
                write_extra(*extra, text);
                text.push('}');
            }
        }
    }
}

fn write_text(content: &str, quotes: Quotes, text: &mut String) {
    match quotes {
        Quotes::Double => text.push_str(&json!(content).to_string()),
        Quotes::Escaped => {
            let units = content.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            text.extend(["\"".to_owned(), units.collect(), "\"".to_owned()]);
        }
        Quotes::Single => text.extend(["'", content, "'"]),
        Quotes::None => text.push_str(content),
    }
}

fn write_extra(extra: Extra, text: &mut String) {
    text.push_str(match extra {
        Extra::Nothing => "",
        Extra::TrailingComma => ",",
        Extra::Comment => "/* comment */",
    });
}

/// Parses as protobuf's reader and other lenient ones do, and returns all values of a key at any depth.
struct LenientParser<'a> {
    rest: &'a str,
    found: Vec<(String, String)>,
}

impl LenientParser<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self
                .rest
                .strip_prefix("/*")
                .and_then(|rest| rest.split_once("*/"))
            {
                Some((_, rest)) => self.rest = rest,
                None => return,
            }
        }
    }

    fn take(&mut self, token: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn text(&mut self) -> Option<String> {
        self.skip();
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|letter| ['"', '\''].contains(letter))?;
        let mut units = Vec::new();
        let mut letters = self.rest[1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => {
                    let (_, escape) = letters.next()?;
                    if escape == 'u' {
                        let code: String =
                            letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        units.push(u16::from_str_radix(&code, 16).ok()?);
                    } else {
                        units.extend(escape.encode_utf16(&mut [0; 2]).iter());
                    }
                }
                _ if letter == quote => {
                    self.rest = &self.rest[1 + at + letter.len_utf8()..];
                    return String::from_utf16(&units).ok();
                }
                _ => units.extend(letter.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        None
    }

    fn word(&mut self) -> String {
        self.skip();
        let end = self
            .rest
            .find(|letter: char| !letter.is_alphanumeric() && !"_-.+".contains(letter));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word.to_owned()
    }

    fn value(&mut self, key: &str) {
        if self.take('[') {
            while !self.take(']') && !self.rest.is_empty() {
                self.value(key);
                self.take(',');
            }
        } else if self.take('{') {
            while !self.take('}') && !self.rest.is_empty() {
                let key = self.text().unwrap_or_else(|| self.word());
                self.take(':');
                self.value(&key);
                self.take(',');
            }
        } else if let Some(text) = self.text() {
            self.found.push((key.to_owned(), text));
        } else {
            self.word();
        }
    }
}

fn any_quotes() -> impl Strategy<Value = Quotes> {
    prop_oneof![12 => Just(Quotes::Double), 4 => Just(Quotes::Escaped), 1 => Just(Quotes::Single)]
}

fn any_document() -> impl Strategy<Value = Loose> {
    let extra = || prop_oneof![20 => Just(Extra::Nothing), 1 => Just(Extra::TrailingComma), 1 => Just(Extra::Comment)];
    let key_quotes = || prop_oneof![20 => any_quotes(), 1 => Just(Quotes::None)];
    let keys = [
        "model",
        "fileUri",
        "file_uri",
        "cachedContent",
        "contents",
        "parts",
        "file_id",
        "x",
    ];
    let key = move || proptest::sample::select(keys.to_vec()).prop_map(str::to_owned);
    let text = prop_oneof![
        "files/[a-c]{1,2}",
        "cachedContents/[a-c]",
        "models/[a-c]",
        "[a-zé/\u{1f600}]{0,5}"
    ];
    let leaf = prop_oneof![
        6 => (text, any_quotes()).prop_map(|(text, quotes)| Loose::Text(text, quotes)),
        1 => prop_oneof!["true", "null", "-?[1-9][0-9]{0,3}(\\.[0-9]{1,2})?"].prop_map(Loose::Scalar),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 1..4), extra())
                .prop_map(|(elements, extra)| Loose::Array(elements, extra)),
            (
                proptest::collection::vec((key(), key_quotes(), inner), 1..5),
                extra()
            )
                .prop_map(|(fields, extra)| Loose::Object(fields, extra)),
        ]
    })
}

/// Whether an object has a key twice, or in both spellings.
fn repeats_a_key(document: &Loose) -> bool {
    match document {
        Loose::Scalar(_) | Loose::Text(..) => false,
        Loose::Array(elements, _) => elements.iter().any(repeats_a_key),
        Loose::Object(fields, _) => {
            let keys: BTreeSet<_> = fields
                .iter()
                .map(|(key, ..)| canonical(key.into()))
                .collect();
            keys.len() < fields.len() || fields.iter().any(|(.., value)| repeats_a_key(value))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_a_lenient_parser_finds_is_found_or_the_body_is_unread(document in any_document()) {
        let mut text = String::new();
        document.write(&mut text);
        let mut lenient = LenientParser { rest: &text, found: Vec::new() };
        lenient.value("");

        let (body, unread) = read(&text);

        let is_strict = serde_json::from_str::<Value>(&text).is_ok() && !repeats_a_key(&document);
        prop_assert_eq!(unread.is_none(), is_strict, "{}: {:?}", text, unread);
        if unread.is_none() {
            for (key, value) in &lenient.found {
                let is_model = key == "model" && !value.is_empty();
                prop_assert!(!is_model || body.models.contains(value.strip_prefix("models/").unwrap_or(value)), "{}", text);
                let is_file = key.to_lowercase().starts_with("file") && value.starts_with("files/");
                let is_cache = key == "cachedContent" && value.starts_with("cachedContents/");
                let name = (is_file || is_cache).then(|| ResourceName::of_text(value)).flatten();
                prop_assert!(name.is_none_or(|name| body.names.contains(&name)), "{}", text);
            }
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[ -~"\\{}\[\],:\n]{0,80}"#) {
        let form = headers(&[("content-type", "multipart/form-data; boundary=b")]);
        read(&bytes);
        read(&text);
        read_body(&bytes, &form, MOST_BYTES);
        read_body(text.as_bytes(), &form, MOST_BYTES);
        read_body(&bytes, &headers(&[("content-encoding", "gzip")]), MOST_BYTES);
    }
}
