//! `OutputText`: counts the characters that a model wrote, and detects any other content of its reply.

/// Fields with the text of a model, on all surfaces.
const TEXT_KEYS: [&[u8]; 6] = [
    b"text",
    b"content",
    b"delta",
    b"arguments",
    b"reasoning_content",
    b"partial_arguments",
];
/// Fields with an object, or a list of objects, that is content without being text.
const PART_KEYS: [&[u8]; 9] = [
    b"functionCall",
    b"function_call",
    b"tool_calls",
    b"inlineData",
    b"inline_data",
    b"fileData",
    b"executableCode",
    b"codeExecutionResult",
    b"audio",
];
/// Longer keys have another meaning.
const MAX_KEY_BYTES: usize = 24;

/// Reads JSON in chunks, split anywhere, also inside events. Wrong JSON only makes the count less exact.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the state of a reader of bytes"
)]
pub struct OutputText {
    chars: u64,
    /// The beginning of the current string, or of the last one.
    string: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
    /// Whether the last string was the key of a text, and its value follows.
    expects_text: bool,
    is_text: bool,
    /// Whether the last string was the key of a part, and its object follows.
    expects_part: bool,
    has_part: bool,
}

impl OutputText {
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.in_string {
                self.read_string(byte);
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    self.is_text = self.expects_text;
                    self.expects_text = false;
                    self.expects_part = false;
                    self.string.clear();
                }
                b':' => {
                    let key = self.string.as_slice();
                    self.expects_text = TEXT_KEYS.contains(&key);
                    self.expects_part = PART_KEYS.contains(&key);
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'[' if self.expects_part => self.string.clear(),
                _ => {
                    self.has_part |= self.expects_part && byte == b'{';
                    self.expects_part = false;
                    self.expects_text = false;
                    self.string.clear();
                }
            }
        }
    }

    fn read_string(&mut self, byte: u8) {
        let is_escaped = std::mem::take(&mut self.is_escaped);
        match byte {
            b'"' if !is_escaped => {
                self.in_string = false;
                return;
            }
            b'\\' => self.is_escaped = !is_escaped,
            _ => {}
        }
        // An escape is one character, and so are the bytes of one.
        let begins_char = is_escaped || byte & 0xc0 != 0x80 && byte != b'\\';
        self.chars += u64::from(self.is_text && begins_char);
        if !self.is_text && self.string.len() <= MAX_KEY_BYTES {
            self.string.push(byte);
        }
    }

    /// The number of characters so far.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// Whether the reply has content so far: text, a function call, a picture, code.
    pub fn has_content(&self) -> bool {
        self.chars > 0 || self.has_part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_a_model_is_counted_wherever_the_answer_is_cut() {
        let cases = [
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"abcd"},{"thoughtSignature":"AAAA"}]}}]}"#,
                4,
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"你好\",\"role\":\"assistant\"}}]}\n\n",
                2,
            ),
            (r#"{"text" : "a\"b\\"}"#, 4),
            (r#"{"function":{"name":"f","arguments":"{\"a\":1}"}}"#, 7),
            (r#"{"embedding":{"values":[0.1]},"note":"text"}"#, 0),
        ];
        for (answer, expected) in cases {
            for size in 1..8 {
                let mut text = OutputText::default();
                answer
                    .as_bytes()
                    .chunks(size)
                    .for_each(|chunk| text.feed(chunk));
                assert_eq!(text.chars(), expected, "{answer}");
            }
        }
    }

    #[test]
    fn content_is_text_that_is_not_empty_or_another_part() {
        let cases = [
            (
                r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP"}]}"#,
                false,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"AAAA"}]}}]}"#,
                false,
            ),
            (
                r#"{"candidates":[{"content":{"role":"model"}}],"usageMetadata":{"promptTokenCount":3}}"#,
                false,
            ),
            (
                r#"{"choices":[{"delta":{"content":null,"role":"assistant","tool_calls":[]}}]}"#,
                false,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"functionCall" : {"name":"f","args":{}}}]}}]}"#,
                true,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"AAAA"}}]}}]}"#,
                true,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls": [ {"id":"","function":{"arguments":""}}]}}]}"#,
                true,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":" "}]}}]}"#,
                true,
            ),
        ];
        for (answer, expected) in cases {
            for size in 1..8 {
                let mut text = OutputText::default();
                let chunks = answer.as_bytes().chunks(size);
                chunks.for_each(|chunk| text.feed(chunk));
                assert_eq!(text.has_content(), expected, "{answer}");
            }
        }
    }
}
