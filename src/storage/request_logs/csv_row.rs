//! Log rows as lines of CSV, whose columns have the names of the JSON.

use serde::Serialize;
use serde_json::Value;

use crate::storage::request_logs::listed::RequestLog;

/// Characters with which spreadsheets begin a formula, in their full width too.
const FORMULA_SIGNS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// Characters after which a spreadsheet with another separator begins a cell.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];
/// Characters that spreadsheets may drop at the begin of a cell.
const DROPPED: [char; 3] = ['"', '\'', ' '];

type CsvWriter = csv::Writer<Vec<u8>>;

/// Defines the columns: the fields of a listed row except its attempts.
macro_rules! columns {
    ($($name:ident)+) => {
        const COLUMNS: &[&str] = &[$(stringify!($name)),+];

        fn write_row(writer: &mut CsvWriter, row: &RequestLog) -> csv::Result<()> {
            $(writer.write_field(cell(&row.$name))?;)+
            writer.write_record(None::<&[u8]>)
        }
    };
}

columns! {
    id started_at kind client_key_id client_key client_ip user_agent method path model model_version operation streamed
    status outcome error attempts upstream_key_id upstream_key project wait_ms first_byte_ms duration_ms request_bytes
    response_bytes prompt_tokens output_tokens thought_tokens cached_tokens tool_tokens total_tokens usage_estimated
    finish_reason service_tier bound_by cost_usd stop_reason turns close_code
}

/// The header line.
pub fn heading() -> Vec<u8> {
    written(|writer| writer.write_record(COLUMNS))
}

/// A line for each row.
pub fn rows(rows: &[RequestLog]) -> Vec<u8> {
    written(|writer| rows.iter().try_for_each(|row| write_row(writer, row)))
}

fn written(write: impl FnOnce(&mut CsvWriter) -> csv::Result<()>) -> Vec<u8> {
    let mut writer = CsvWriter::from_writer(Vec::new());
    write(&mut writer).expect("memory can be written, and all rows have the same columns");
    writer.into_inner().expect("memory can be written")
}

/// A null is an empty cell.
fn cell(value: &impl Serialize) -> String {
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::db::tests::open_migrated;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::listed::find;
    use crate::storage::request_logs::tests::row;

    async fn listed_row() -> RequestLog {
        let (_folder, db) = open_migrated().await;
        add_keys(&db).await;
        write(&db, vec![row(0)]).await;
        find(&db.readers, row(0).id).await.unwrap()
    }

    fn parsed(csv: &[u8]) -> Vec<csv::StringRecord> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(csv);
        reader.records().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn columns_have_the_names_values_and_order_of_the_json() {
        let mut row = listed_row().await;
        (row.turns, row.close_code) = (Some(3), Some(1000));
        row.attempt_list = None;

        let record = parsed(&rows(&[row.clone()])).remove(0);

        let json = serde_json::to_string(&row).unwrap();
        let object: serde_json::Map<String, Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(object.len(), COLUMNS.len());
        let positions = COLUMNS
            .iter()
            .map(|name| json.find(&format!("\"{name}\":")).unwrap());
        assert!(positions.is_sorted());
        assert_eq!(
            parsed(&heading())[0],
            csv::StringRecord::from(COLUMNS.to_vec())
        );
        for (name, cell) in COLUMNS.iter().zip(&record) {
            let expected = match &object[*name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            assert_eq!(cell, expected, "{name}");
        }
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
