//! How commands print: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::Write;

use anyhow::Result;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::clock::Timestamp;

/// Prints a line. Returns an error where `println!` would panic: when the reader has closed the pipe.
pub fn line(text: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Prints warnings. The command continues.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

/// Prints columns under their headings; nothing when there are no rows.
pub fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<()> {
    let rows = rows.into_iter();
    let rows: Vec<_> = rows.map(|row| row.map(|text| printable(&text))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(headings)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    line(table.trim_fmt())
}

/// The text without characters that control a terminal or reorder text, which clients may have sent.
pub fn printable(text: &str) -> String {
    text.replace(is_unsafe, "�")
}

/// Whether a character controls a terminal (C0, C1), or the direction of text, so that a line reads as another one.
fn is_unsafe(letter: char) -> bool {
    letter.is_control() || is_direction(letter)
}

/// Whether a character changes the direction of text.
pub fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1 upstream key`, `2 upstream keys`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The time to the second; empty for `None`.
pub fn timestamp(time: Option<Timestamp>) -> String {
    let text = |time: Timestamp| time.to_jiff().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    time.map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_or_reorder_a_line_are_replaced() {
        for (text, expected) in [
            ("a\u{1b}[31mb\n", "a�[31mb�"),
            ("a\u{9b}31mb\u{85}", "a�31mb�"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a�b�c�"),
            ("Grüße 你好 🙂", "Grüße 你好 🙂"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
