//! Formats kept bodies for reading: JSON with line breaks, streams put together as text, base64 by its type and size.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::dashboard::components::bytes;

/// A shorter string is shown, whatever it is.
const MIN_BASE64_CHARACTERS: usize = 256;
/// A larger picture is shown by its type and size.
const MAX_PICTURE_BYTES: usize = 96 * 1024;
const MAX_PICTURES: usize = 8;
/// Deeper levels have the same indentation, so that no text grows without bound.
const MAX_INDENTED_LEVELS: usize = 16;

/// A body for a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadableBody {
    /// What the model answered, one text per candidate.
    pub answers: Vec<String>,
    /// All of the body: JSON, the events of a stream, or a text.
    pub text: String,
    pub is_stream: bool,
    pub pictures: Vec<Picture>,
}

/// A picture small enough to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// A type that browsers show as a picture without running anything.
    pub media_type: &'static str,
    pub base64: String,
    pub bytes: u64,
}

impl ReadableBody {
    pub fn read(text: &str) -> Self {
        let mut body = Self::default();
        let values: Vec<Value> = if is_event_stream(text) {
            body.is_stream = true;
            let events: Vec<&str> = text.split_inclusive('\n').collect();
            let mut values = Vec::new();
            for line in events {
                match line.strip_prefix("data:").map(str::trim) {
                    Some(data) if is_json(data) => {
                        values.extend(serde_json::from_str(data));
                        body.text.push_str("data: ");
                        body.add_json(data);
                        body.text.push('\n');
                    }
                    Some(_) | None => body.text.push_str(line),
                }
            }
            values
        } else if is_json(text) {
            body.add_json(text);
            match serde_json::from_str(text) {
                Ok(Value::Array(events)) => {
                    body.is_stream = true;
                    events
                }
                Ok(value) => vec![value],
                Err(_) => Vec::new(),
            }
        } else {
            text.clone_into(&mut body.text);
            Vec::new()
        };
        body.answers = answers(&values);
        body
    }

    /// Adds JSON with line breaks, in its own order, also if its end is missing.
    fn add_json(&mut self, json: &str) {
        let (mut rest, mut level) = (json, 0_usize);
        while let Some(first) = rest.chars().next() {
            let mut length = first.len_utf8();
            match first {
                '"' => {
                    length = string_length(rest);
                    self.add_string(&rest[..length]);
                }
                '{' | '[' => {
                    self.text.push(first);
                    let inner = rest[1..].trim_start();
                    if inner.starts_with(['}', ']']) {
                        self.text.push_str(&inner[..1]);
                        length = rest.len() - inner.len() + 1;
                    } else {
                        level += 1;
                        self.break_line(level);
                    }
                }
                '}' | ']' => {
                    level = level.saturating_sub(1);
                    self.break_line(level);
                    self.text.push(first);
                }
                ',' => {
                    self.text.push(first);
                    self.break_line(level);
                }
                ':' => self.text.push_str(": "),
                _ if first.is_ascii_whitespace() => {}
                _ => self.text.push(first),
            }
            rest = &rest[length..];
        }
    }

    fn break_line(&mut self, level: usize) {
        self.text.push('\n');
        for _ in 0..level.min(MAX_INDENTED_LEVELS) {
            self.text.push_str("  ");
        }
    }

    /// Adds a string with its quotes; base64 by its type and size.
    fn add_string(&mut self, quoted: &str) {
        let inner = quoted.trim_matches('"');
        let data_url = inner
            .strip_prefix("data:")
            .and_then(|url| url.split_once(";base64,"));
        let data = data_url.map_or(inner, |(_, data)| data);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(&byte);
        if data.len() < MIN_BASE64_CHARACTERS || !data.bytes().all(is_part) {
            self.text.push_str(quoted);
            return;
        }
        let size = u64::try_from(data.len() / 4 * 3).unwrap_or(u64::MAX);
        let media_type = media_type(data);
        let name = media_type.unwrap_or("base64");
        self.text.extend(["\"[", name, ", ", &bytes(size), "]\""]);
        let is_whole = quoted.len() > 1 && quoted.ends_with('"');
        if let Some(media_type) = media_type.filter(|name| name.starts_with("image/"))
            && is_whole
            && data.len() / 4 * 3 <= MAX_PICTURE_BYTES
            && self.pictures.len() < MAX_PICTURES
        {
            self.pictures.push(Picture {
                media_type,
                base64: standard(data),
                bytes: size,
            });
        }
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn is_event_stream(text: &str) -> bool {
    ["data:", "event:", "id:", ":"]
        .iter()
        .any(|field| text.trim_start().starts_with(field))
}

/// The length of the string at the begin, with its quotes as far as they are there.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// In the standard alphabet, without the escapes of JSON.
fn standard(data: &str) -> String {
    let characters = data.chars().filter(|character| *character != '\\');
    let characters = characters.map(|character| match character {
        '-' => '+',
        '_' => '/',
        character => character,
    });
    characters.collect()
}

/// The type of base64, by the first bytes; a content type that a client names may be wrong.
fn media_type(data: &str) -> Option<&'static str> {
    let start = STANDARD.decode(standard(data).get(..16)?).ok()?;
    let is = |magic: &[u8], at: usize| start.get(at..).is_some_and(|rest| rest.starts_with(magic));
    [
        (is(b"\x89PNG\r\n", 0), "image/png"),
        (is(b"\xff\xd8\xff", 0), "image/jpeg"),
        (is(b"GIF8", 0), "image/gif"),
        (is(b"RIFF", 0) && is(b"WEBP", 8), "image/webp"),
        (is(b"RIFF", 0) && is(b"WAVE", 8), "audio/wav"),
        (is(b"ID3", 0), "audio/mp3"),
        (is(b"%PDF", 0), "application/pdf"),
        (is(b"ftyp", 4), "video/mp4"),
    ]
    .into_iter()
    .find_map(|(is_one, name)| is_one.then_some(name))
}

/// The text of each candidate or choice, put together from all events.
pub fn answers(events: &[Value]) -> Vec<String> {
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    let items = |value: &Value, name| value[name].as_array().cloned().unwrap_or_default();
    let mut add = |of: &Value, text: &Value| {
        if let Some(text) = text.as_str() {
            let index = of["index"].as_u64().unwrap_or(0);
            texts.entry(index).or_default().push_str(text);
        }
    };
    for event in events {
        for candidate in items(event, "candidates") {
            for part in items(&candidate["content"], "parts") {
                if part["thought"] != Value::Bool(true) {
                    add(&candidate, &part["text"]);
                }
            }
        }
        for choice in items(event, "choices") {
            add(&choice, &choice["delta"]["content"]);
            add(&choice, &choice["message"]["content"]);
        }
        // An event of the Interactions API.
        if event["delta"]["type"] == "text" {
            add(event, &event["delta"]["text"]);
        }
        // A whole answer of it.
        for step in items(event, "steps") {
            for content in items(&step, "content") {
                add(event, &content["text"]);
            }
        }
    }
    texts
        .into_values()
        .filter(|text| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_line_breaks_in_its_own_order_even_if_it_is_cut() {
        let body = ReadableBody::read(r#"{"b":[1,{"a":"x,{\"y"}],"a":{},"c":[ ]}"#);
        let expected = "{\n  \"b\": [\n    1,\n    {\n      \"a\": \"x,{\\\"y\"\n    }\n  ],\n  \"a\": {},\n  \"c\": []\n}";
        assert_eq!(body.text, expected);

        assert_eq!(
            ReadableBody::read("{\"a\":[\"天").text,
            "{\n  \"a\": [\n    \"天"
        );
        assert_eq!(ReadableBody::read("plain <b>text").text, "plain <b>text");
        let deep = ReadableBody::read(&"[".repeat(10_000));
        assert!(deep.text.len() < 10_000 * (2 * MAX_INDENTED_LEVELS + 3));
    }

    #[test]
    fn the_texts_of_streams_are_put_together() {
        for (stream, answers) in [
            (
                "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Sca\"}]}}]}\r\n\r\n\
                 data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"secret\",\"thought\":true},{\"text\":\"ttering\"}]}}]}\r\n\r\n",
                vec!["Scattering"],
            ),
            (
                "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n\
                 data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"c\"}}]}\n\ndata: [DONE]\n\n",
                vec!["ac", "b"],
            ),
            (
                "event: content.delta\ndata: {\"delta\":{\"type\":\"text\",\"text\":\"blue\"},\"index\":0}\n\ndata: {\"cut",
                vec!["blue"],
            ),
            (
                "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]},\n{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]}}]}]",
                vec!["ab"],
            ),
        ] {
            let body = ReadableBody::read(stream);
            assert!(body.is_stream, "{stream}");
            assert_eq!(body.answers, answers, "{stream}");
            assert!(body.text.contains("\n  "), "{}", body.text);
        }
        let whole = ReadableBody::read(r#"{"choices":[{"message":{"content":"all"}}]}"#);
        assert_eq!(
            (whole.is_stream, whole.answers),
            (false, vec!["all".to_owned()])
        );
    }

    #[test]
    fn base64_is_shown_by_its_type_and_size_and_small_pictures_as_pictures() {
        let png = STANDARD.encode([b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 292]].concat());
        let url_safe = png.replace('+', "-").replace('/', "_");
        let other = STANDARD.encode([3; 3_000]);
        let large = STANDARD.encode([b"GIF89a".as_slice(), &vec![1; MAX_PICTURE_BYTES]].concat());
        let svg = STANDARD.encode("<svg onload='alert(1)'>".repeat(20));
        for (json, text, pictures) in [
            (format!("\"{png}\""), "\"[image/png, 300 B]\"", 1),
            (format!("\"{url_safe}\""), "\"[image/png, 300 B]\"", 1),
            (
                format!("\"data:text/html;base64,{png}\""),
                "\"[image/png, 300 B]\"",
                1,
            ),
            (format!("\"{other}\""), "\"[base64, 2.9 KiB]\"", 0),
            (format!("\"{large}\""), "\"[image/gif, 96 KiB]\"", 0),
            (
                format!("\"data:image/svg+xml;base64,{svg}\""),
                "\"[base64, 462 B]\"",
                0,
            ),
            (format!("\"{png}"), "\"[image/png, 300 B]\"", 0),
            ("\"short\"".to_owned(), "\"short\"", 0),
        ] {
            let body = ReadableBody::read(&format!("[{json}"));
            assert_eq!(body.text, format!("[\n  {text}"));
            assert_eq!(body.pictures.len(), pictures, "{text}");
            for picture in body.pictures {
                assert_eq!((picture.media_type, &picture.base64), ("image/png", &png));
            }
        }
    }
}
