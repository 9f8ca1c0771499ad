//! Lists as JSON: in columns, and as parameters of statements.

use serde::Serialize;

/// A column with a JSON array of strings; any other text is read as an empty list.
#[derive(Debug, sqlx::Type)]
#[sqlx(transparent)]
pub struct JsonTexts(String);

impl From<JsonTexts> for Vec<String> {
    fn from(column: JsonTexts) -> Self {
        serde_json::from_str(&column.0).unwrap_or_default()
    }
}

/// A JSON array, for a column or for `json_each`.
pub fn json_array<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).expect("rows, strings and numbers serialize to JSON")
}
