//! JSON as Google writes it: pretty with two spaces and a last newline, or on one line with a space after colons only.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Two spaces, and a newline at the end: every unary answer and error.
pub fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("the fake's answers are plain JSON");
    text.push('\n');
    text
}

/// No spaces at all: the OpenAI layer and Interactions.
pub fn compact(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the fake's answers are plain JSON")
}

/// One line, as in an event of a native stream.
pub fn one_line(value: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(512);
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, OneLine))
        .expect("the fake's answers are plain JSON");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// `{"a": 1,"b": [2,3]}`
struct OneLine;

impl Formatter for OneLine {
    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
