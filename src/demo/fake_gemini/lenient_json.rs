//! Reads JSON as leniently as the JSON parser of protobuf, which is the one behind Google's API.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

/// The maximum depth of nesting that Google accepts.
const MAX_DEPTH: usize = 100;

/// Whether `system_instruction` and `systemInstruction` are the same field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldNames {
    /// A message of protobuf, which accepts both; of a repeated field the last one counts.
    EitherCase,
    AsWritten,
}

/// Parses one document. In addition to strict JSON it accepts unquoted keys, strings in single quotes, a comma after the
/// last member, a backslash before any character, control characters and invalid UTF-8 in strings, and lone surrogates.
/// `None`: protobuf's parser refuses it too.
pub fn parse(json: &[u8], field_names: FieldNames) -> Option<Value> {
    let text = String::from_utf8_lossy(json);
    let mut parser = Parser {
        input: text.chars().peekable(),
        field_names,
    };
    let value = parser.value(0)?;
    parser.skip_whitespace();
    parser.input.next().is_none().then_some(value)
}

struct Parser<'a> {
    input: Peekable<Chars<'a>>,
    field_names: FieldNames,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_whitespace();
        match self.input.peek()? {
            '{' if depth < MAX_DEPTH => self.object(depth + 1),
            '[' if depth < MAX_DEPTH => self.array(depth + 1),
            '"' | '\'' => self.string().map(Value::String),
            _ => serde_json::from_str(&self.word()).ok(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        self.input.next();
        while !self.skip('}') {
            let key = match self.input.peek()? {
                '"' | '\'' => self.string()?,
                _ => self.identifier()?,
            };
            if !self.skip(':') {
                return None;
            }
            let key = match self.field_names {
                FieldNames::EitherCase => camel_case(&key),
                FieldNames::AsWritten => key,
            };
            fields.insert(key, self.value(depth)?);
            self.end_of_member('}')?;
        }
        Some(Value::Object(fields))
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.input.next();
        while !self.skip(']') {
            items.push(self.value(depth)?);
            self.end_of_member(']')?;
        }
        Some(Value::Array(items))
    }

    /// Skips the comma after a member; `None` if neither a comma nor the end of the container follows.
    fn end_of_member(&mut self, end: char) -> Option<()> {
        let is_valid = self.skip(',') || self.input.peek() == Some(&end);
        is_valid.then_some(())
    }

    /// Skips whitespace, then this character if it follows.
    fn skip(&mut self, expected: char) -> bool {
        self.skip_whitespace();
        self.input.next_if_eq(&expected).is_some()
    }

    fn skip_whitespace(&mut self) {
        while self.input.next_if(char::is_ascii_whitespace).is_some() {}
    }

    /// A key without quotes.
    fn identifier(&mut self) -> Option<String> {
        let word = self.word();
        let is_valid = !word.starts_with(|first: char| first.is_ascii_digit())
            && !word.contains(['+', '-', '.'])
            && !word.is_empty();
        is_valid.then_some(word)
    }

    /// The characters of an identifier, number or literal.
    fn word(&mut self) -> String {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || "_$+-.".contains(*c);
        std::iter::from_fn(|| self.input.next_if(is_part)).collect()
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.input.next()?;
        let mut text = String::new();
        loop {
            match self.input.next()? {
                '\\' => text.push(self.escaped()?),
                end if end == quote => return Some(text),
                plain => text.push(plain),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.input.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => self.code_point()?,
            other => other,
        })
    }

    fn code_point(&mut self) -> Option<char> {
        let high = self.code_unit()?;
        let mut following = self.input.clone();
        let is_pair = (0xd800..0xdc00).contains(&high)
            && following.next() == Some('\\')
            && following.next() == Some('u');
        if !is_pair {
            return Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.input = following;
        let low = self.code_unit()?;
        let pair = (0x10000 + ((high - 0xd800) << 10)).checked_add(low.checked_sub(0xdc00)?);
        Some(char::from_u32(pair?).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn code_unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| {
            Some(unit << 4 | self.input.next()?.to_digit(16)?)
        })
    }
}

fn camel_case(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut is_after_underscore = false;
    for c in key.chars() {
        if c == '_' {
            is_after_underscore = true;
        } else if std::mem::take(&mut is_after_underscore) {
            name.push(c.to_ascii_uppercase());
        } else {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_protobuf_reads_it() {
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        for (text, expected) in [
            (
                r#"{"a": [1, -2.5e3, true, null]}"#,
                Some(json!({"a": [1, -2.5e3, true, null]})),
            ),
            (
                "{a: 1, $b_2: 2, null: 3}",
                Some(json!({"a": 1, "$b2": 2, "null": 3})),
            ),
            ("{'a': 'it is \"so\"'}", Some(json!({"a": "it is \"so\""}))),
            ("{\"a\": [1, 2,],}", Some(json!({"a": [1, 2]}))),
            (r#"["\a\'\"\/\v\n"]"#, Some(json!(["a'\"/\u{b}\n"]))),
            ("[\"two\nlines\"]", Some(json!(["two\nlines"]))),
            (
                r#"["\ud83d\ude00", "\ud83d", "\ude00!"]"#,
                Some(json!(["😀", "\u{fffd}", "\u{fffd}!"])),
            ),
            (
                r#"{"file_uri": 1, "fileUri": 2}"#,
                Some(json!({"fileUri": 2})),
            ),
            (
                r#"{"fileUri": 1, "file\u0055ri": 2}"#,
                Some(json!({"fileUri": 2})),
            ),
            ("{a: 1,, b: 2}", None),
            ("{,}", None),
            ("[1 2]", None),
            ("{a 1}", None),
            ("{1a: 1}", None),
            ("[01]", None),
            ("[yes]", None),
            ("[\"open]", None),
            ("[\"\\u12\"]", None),
            ("{} {}", None),
            ("", None),
            (&deep, None),
        ] {
            assert_eq!(
                parse(text.as_bytes(), FieldNames::EitherCase),
                expected,
                "{text}"
            );
        }
        let both = br#"{"file_id": 1, "fileId": 2}"#;
        let as_written = parse(both, FieldNames::AsWritten);
        assert_eq!(as_written, Some(json!({"file_id": 1, "fileId": 2})));
        let replaced = parse(b"['\xff']", FieldNames::AsWritten);
        assert_eq!(replaced, Some(json!(["\u{fffd}"])));
    }
}
