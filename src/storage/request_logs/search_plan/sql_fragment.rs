//! `SqlFragment`: a part of a search statement with the values of its parameters.

use sqlx::{QueryBuilder, Sqlite};

use crate::storage::json_columns::json_array;
use crate::storage::request_logs::id_range::IdRange;

/// A part of a statement: fixed text, and the values of its parameters.
#[derive(Debug, Clone)]
pub struct SqlFragment(pub &'static str, pub Vec<SqlValue>);

/// The value of a parameter.
#[derive(Debug, Clone)]
pub enum SqlValue {
    Number(i64),
    Text(String),
}

impl From<i64> for SqlValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Ids as one parameter.
pub fn json(ids: &[i64]) -> SqlValue {
    SqlValue::Text(json_array(ids))
}

/// Appends conditions that must all hold.
pub fn push_all(query: &mut QueryBuilder<Sqlite>, conditions: &[&SqlFragment]) {
    query.push("true");
    for SqlFragment(text, values) in conditions {
        query.push(" AND ");
        push(query, text, values);
    }
}

/// Appends the text with its values bound.
pub fn push(query: &mut QueryBuilder<Sqlite>, text: &'static str, values: &[SqlValue]) {
    let mut values = values.iter();
    for (index, part) in text.split('?').enumerate() {
        if index > 0 {
            match values.next() {
                Some(SqlValue::Number(number)) => query.push_bind(*number),
                Some(SqlValue::Text(text)) => query.push_bind(text.clone()),
                None => query.push("NULL"),
            };
        }
        query.push(part);
    }
}

/// Appends the condition that an id is within a range, after the text `before`.
pub fn push_range(query: &mut QueryBuilder<Sqlite>, id: &str, range: IdRange, before: &str) {
    query.push(format_args!("{before}{id} >= "));
    query.push_bind(range.least);
    query.push(format_args!(" AND {id} < "));
    query.push_bind(range.end);
}
