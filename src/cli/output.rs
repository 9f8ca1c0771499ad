//! The output of commands: tables for people, JSON for programs. Only a terminal gets colours and lines that fit its
//! width.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

use anyhow::Result;

use comfy_table::{ContentArrangement, Table, presets};
use console::{StyledObject, Term, style, truncate_str};
use serde::Serialize;

use crate::clock::Timestamp;

/// Prints a line. Returns an error where `println!` would panic: when the reader has closed the pipe.
pub fn line(text: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Prints warnings. The command continues.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        let word = style("warning:").yellow().bold().for_stderr();
        eprintln!("{word} {warning}");
    }
}

/// The word before an error on standard error.
pub fn styled_error() -> StyledObject<&'static str> {
    style("error:").red().bold().for_stderr()
}

/// The columns of the terminal that standard output is; `None`: it is none.
pub fn terminal_columns() -> Option<u16> {
    let size = Term::stdout().size_checked();
    size.map(|(_, columns)| columns)
}

/// The line as the terminal shows it whole; unchanged where the output is none.
pub fn cut_to(columns: Option<u16>, line: &str) -> Cow<'_, str> {
    match columns {
        Some(columns) => truncate_str(line, columns.into(), "…"),
        None => line.into(),
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
    let text = layout(headings, rows, terminal_columns());
    if text.is_empty() {
        return Ok(());
    }
    line(text)
}

/// The lines of a table, of which cells are wrapped where the columns are not enough for it.
fn layout<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    columns: Option<u16>,
) -> String {
    let rows = rows.into_iter();
    let rows: Vec<_> = rows.map(|row| row.map(|text| printable(&text))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(headings)
        .add_rows(rows);
    if let Some(columns) = columns {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
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
    use console::measure_text_width;

    use super::*;

    #[test]
    fn a_table_is_no_wider_than_the_terminal_and_loses_no_word() {
        let row = |name: &str| [name.to_owned(), "one two three four five six".repeat(3)];
        let rows = || [row("first"), row("第二個")];

        let unlimited = layout(["NAME", "WHY"], rows(), None);
        let narrow = layout(["NAME", "WHY"], rows(), Some(40));

        assert_eq!(unlimited.lines().count(), 3, "{unlimited}");
        for line in narrow.lines() {
            assert!(measure_text_width(line) <= 40, "{narrow}");
        }
        let letters = |text: &str| text.chars().filter(|char| !char.is_whitespace()).count();
        assert_eq!(letters(&narrow), letters(&unlimited), "{narrow}");
        assert_eq!(layout(["NAME"], [], Some(40)), "");
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(cut_to(None, "a long line"), "a long line");
        assert_eq!(cut_to(Some(6), "a long line"), "a lon…");
        assert_eq!(cut_to(Some(20), "a long line"), "a long line");
    }

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
