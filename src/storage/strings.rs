//! Texts that many log rows repeat, kept once and named by number.

use std::collections::HashMap;

use sqlx::SqlitePool;

use crate::storage::error::Result;

/// How many texts are remembered before the memory starts anew.
const MAX_CACHED: usize = 20_000;

/// The numbers of texts seen lately.
#[derive(Debug, Default)]
pub struct Strings(HashMap<Box<str>, i64>);

impl Strings {
    /// The number of `text`, which gets one when it is new.
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

    /// The same for what may be absent.
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
