//! Writes the cells of CSV files so that no spreadsheet runs one as a formula.

use serde::Serialize;
use serde_json::Value;

/// Characters with which spreadsheets begin a formula, in their full width too.
const FORMULA_SIGNS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// Characters after which a spreadsheet with another separator begins a cell.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];
/// Characters that spreadsheets may drop at the begin of a cell.
const DROPPED: [char; 3] = ['"', '\'', ' '];

pub type CsvWriter = csv::Writer<Vec<u8>>;

/// The lines that `write` writes.
pub fn written(write: impl FnOnce(&mut CsvWriter) -> csv::Result<()>) -> Vec<u8> {
    let mut writer = CsvWriter::from_writer(Vec::new());
    write(&mut writer).expect("memory can be written, and all rows have the same columns");
    writer.into_inner().expect("memory can be written")
}

/// A value as a cell. A null is an empty cell.
pub fn cell(value: &impl Serialize) -> String {
    match serde_json::to_value(value).expect("columns serialize to JSON") {
        Value::Null => String::new(),
        Value::String(text) => defused(&text),
        value => value.to_string(),
    }
}

/// The text with an apostrophe where a spreadsheet would begin a formula: clients choose their user agents, paths and models.
fn defused(text: &str) -> String {
    let mut defused = String::with_capacity(text.len());
    if text
        .trim_start_matches(DROPPED)
        .starts_with(['\t', '\r', '\n'])
    {
        defused.push('\'');
    }
    for part in text.split_inclusive(SEPARATORS) {
        if part.trim_start_matches(DROPPED).starts_with(FORMULA_SIGNS) {
            defused.push('\'');
        }
        defused.push_str(part);
    }
    defused
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The records of a file, its heading included.
    pub fn parsed(csv: &[u8]) -> Vec<csv::StringRecord> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(csv);
        reader.records().map(Result::unwrap).collect()
    }

    #[test]
    fn formulas_are_defused_and_other_text_is_unchanged() {
        for (text, expected) in [
            ("", ""),
            ("curl/8.0 (x; y) a=b+c-d@e", "curl/8.0 (x; y) a=b+c-d@e"),
            ("gemini-2.5-flash", "gemini-2.5-flash"),
            ("=1+1", "'=1+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\"=1+1\"", "'\"=1+1\""),
            ("'=1", "''=1"),
            (" +1", "' +1"),
            ("＝1", "'＝1"),
            ("\tx", "'\tx"),
            ("\r=1", "'\r'=1"),
            ("x;=HYPERLINK(\"u\");y", "x;'=HYPERLINK(\"u\");y"),
        ] {
            assert_eq!(defused(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_stay_numbers() {
        assert_eq!(cell(&Some(-5)), "-5");
        assert_eq!(cell(&-0.5), "-0.5");
        assert_eq!(cell(&true), "true");
        assert_eq!(cell(&None::<i64>), "");
    }

    proptest! {
        #[test]
        fn no_cell_runs_whatever_a_client_sends(
            texts in proptest::collection::vec("[-=+@;,\"' \t\r\na1＝]{0,12}|.*", 3),
        ) {
            let written = written(|writer| {
                // The id of a real row: a byte order mark would be dropped at the begin of a file.
                writer.write_field("1")?;
                for text in &texts {
                    writer.write_field(cell(text))?;
                }
                writer.write_record(None::<&[u8]>)
            });
            let cells = parsed(&written).remove(0);

            prop_assert_eq!(cells.len(), 1 + texts.len());
            for (cell, text) in cells.iter().skip(1).zip(&texts) {
                let plain = cell.trim_start_matches(['"', ' ']);
                prop_assert!(!plain.starts_with(['\t', '\r', '\n']), "{:?}", cell);
                for part in cell.split(SEPARATORS) {
                    let plain = part.trim_start_matches(['"', ' ']);
                    prop_assert!(!plain.starts_with(FORMULA_SIGNS), "{:?}", cell);
                }
                // Only apostrophes are added.
                let without = |text: &str| text.replace('\'', "");
                prop_assert_eq!(without(cell), without(text));
            }
        }
    }
}
