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
    pub async fn intern(&mut self, db: &SqlitePool, value: &str) -> Result<i64> {
        if let Some(id) = self.0.get(value) {
            return Ok(*id);
        }
        sqlx::query!(
            "INSERT INTO strings (value) VALUES (?1) ON CONFLICT DO NOTHING",
            value
        )
        .execute(db)
        .await?;
        let id = sqlx::query_scalar!(r#"SELECT id AS "id!" FROM strings WHERE value = ?1"#, value)
            .fetch_one(db)
            .await?;
        if self.0.len() >= MAX_CACHED {
            self.0.clear();
        }
        self.0.insert(value.into(), id);
        Ok(id)
    }

    /// The same for an optional string.
    pub async fn intern_optional(
        &mut self,
        db: &SqlitePool,
        value: Option<&str>,
    ) -> Result<Option<i64>> {
        match value {
            Some(value) => Ok(Some(self.intern(db, value).await?)),
            None => Ok(None),
        }
    }
}
