//! `LogOutput`: where the lines of the log go.

use std::io::{self, Write};

use crate::cli::output::is_direction;

/// Writes log lines to standard error, with unsafe characters escaped. Those of C0 are escaped by the log itself, which
/// needs them for colours.
#[derive(Debug, Default)]
pub struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line is written at once, and is UTF-8.
        let text = String::from_utf8_lossy(line);
        let is_escaped =
            |letter: char| is_direction(letter) || ('\u{80}'..='\u{9f}').contains(&letter);
        if text.contains(is_escaped) {
            let escaped: String = text
                .chars()
                .map(|letter| match letter {
                    letter if is_escaped(letter) => format!("\\u{:04x}", u32::from(letter)),
                    letter => letter.to_string(),
                })
                .collect();
            io::stderr().write_all(escaped.as_bytes())?;
        } else {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
