//! `LogOutput`: writes the lines of the server's own log to standard error, with keys redacted and unsafe characters
//! escaped.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;

use crate::cli::output::is_direction;
use crate::gemini::redact::Redactor;

/// Redacts by pattern: what is logged of requests is redacted by value before, but a library may log what it passes.
static PATTERNS: LazyLock<Redactor> = LazyLock::new(Redactor::default);

/// Writes log lines to standard error, without keys, and with unsafe characters escaped. Those of C0 are escaped by the
/// log itself, which needs them for colours.
#[derive(Debug, Default)]
pub struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line is written at once, and is UTF-8.
        let text = PATTERNS.redact_message(&String::from_utf8_lossy(line));
        io::stderr().write_all(escaped(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    let is_escaped = |letter: char| is_direction(letter) || ('\u{80}'..='\u{9f}').contains(&letter);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let letters = text.chars().map(|letter| match letter {
        letter if is_escaped(letter) => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    });
    Cow::Owned(letters.collect())
}
