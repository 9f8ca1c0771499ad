//! Strings that many log rows repeat, stored once and referenced by id.

use std::collections::HashMap;

use sqlx::SqlitePool;

use crate::storage::error::Result;

/// Maximum number of cached strings; a full cache is cleared.
const MAX_CACHED: usize = 20_000;

/// A cache of the ids of recently used strings.
#[derive(Debug, Default)]
pub struct Strings(HashMap<Box<str>, i64>);

impl Strings {
    /// The id of `value`, which is inserted if it is new.
    pub async fn intern(&mut self, db: &SqlitePool, value: Option<&str>) -> Result<Option<i64>> {
        let Some(value) = value else { return Ok(None) };
        if let Some(id) = self.0.get(value) {
            return Ok(Some(*id));
        }
        let inserted = sqlx::query!(
            "INSERT INTO strings (value) VALUES (?1) ON CONFLICT DO NOTHING",
            value
        );
        inserted.execute(db).await?;
        let id = sqlx::query_scalar!(r#"SELECT id AS "id!" FROM strings WHERE value = ?1"#, value);
        let id = id.fetch_one(db).await?;
        if self.0.len() >= MAX_CACHED {
            self.0.clear();
        }
        self.0.insert(value.into(), id);
        Ok(Some(id))
    }
}
