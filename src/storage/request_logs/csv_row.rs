//! Log rows as lines of CSV, whose columns have the names of the JSON.

use crate::storage::csv_cells::{CsvWriter, cell, written};
use crate::storage::request_logs::listed::RequestLog;

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
    finish_reason service_tier bound_by cost_usd stop_reason fallback_model turns close_code
    egress_id egress
}

/// The header line.
pub fn heading() -> Vec<u8> {
    written(|writer| writer.write_record(COLUMNS))
}

/// A line for each row.
pub fn rows(rows: &[RequestLog]) -> Vec<u8> {
    written(|writer| rows.iter().try_for_each(|row| write_row(writer, row)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::storage::csv_cells::tests::parsed;
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

    #[tokio::test]
    async fn columns_have_the_names_values_and_order_of_the_json() {
        let mut row = listed_row().await;
        (row.turns, row.close_code) = (Some(3), Some(1000));
        row.fallback_model = Some("gemini-2.5-flash-lite".to_owned());
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
}
