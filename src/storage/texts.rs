//! Texts that many log rows repeat, kept once and named by number.

use std::collections::HashMap;

use sqlx::SqlitePool;

use crate::storage::error::Result;

/// How many texts are remembered before the memory starts anew.
const MOST: usize = 20_000;

/// The numbers of texts seen lately.
#[derive(Debug, Default)]
pub struct Texts(HashMap<Box<str>, i64>);

impl Texts {
    /// The number of `text`, which gets one when it is new.
    pub async fn number(&mut self, db: &SqlitePool, text: &str) -> Result<i64> {
        if let Some(id) = self.0.get(text) {
            return Ok(*id);
        }
        sqlx::query!(
            "INSERT INTO texts (text) VALUES (?1) ON CONFLICT DO NOTHING",
            text
        )
        .execute(db)
        .await?;
        let id = sqlx::query_scalar!(r#"SELECT id AS "id!" FROM texts WHERE text = ?1"#, text)
            .fetch_one(db)
            .await?;
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(text.into(), id);
        Ok(id)
    }

    /// The same for what may be absent.
    pub async fn number_of(&mut self, db: &SqlitePool, text: Option<&str>) -> Result<Option<i64>> {
        match text {
            Some(text) => Ok(Some(self.number(db, text).await?)),
            None => Ok(None),
        }
    }
}
