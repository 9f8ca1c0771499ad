//! Strings that many log rows repeat, stored once and referenced by id. What Google names is kept; what clients invent (addresses,
//! user agents, paths, models) is deleted with the last row that names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::storage::error::Result;

/// Maximum number of cached strings; a full cache is cleared.
const MAX_CACHED: usize = 20_000;
/// The model under which rollups count refused requests and models that Google never confirmed.
pub const OTHER_MODEL: &str = "other";

/// A stored string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredString {
    pub id: i64,
    /// Whether it stays without a row that names it.
    is_kept: bool,
    /// Whether it is a model that Google has answered well for.
    pub is_model: bool,
}

/// How long a string stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as a row names it as its address, user agent, path or model: those columns have indexes.
    Rows,
    /// For good.
    Kept,
    /// For good, as a model that Google has answered well for.
    Model,
}

/// The number of deletions of strings, by which caches detect them.
#[derive(Debug, Clone, Default)]
pub struct StringDeletions(Arc<AtomicU64>);

impl StringDeletions {
    /// Counts a deletion. Called within its transaction: a writer reads the count within the next one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A cache of recently used strings, for transactions that write.
#[derive(Debug, Default)]
pub struct Strings {
    by_value: HashMap<Box<str>, StoredString>,
    deletions: u64,
}

impl Strings {
    /// Begins a transaction: clears the cache if strings were deleted since the last one.
    pub fn begin(&mut self, deletions: &StringDeletions) {
        let count = deletions.count();
        if count != self.deletions {
            self.by_value.clear();
            self.deletions = count;
        }
    }

    /// The id of `value`, which is inserted if it is new. The cache must be cleared if the transaction is not committed.
    pub async fn intern(
        &mut self,
        tx: &mut Transaction<'_, Sqlite>,
        value: Option<&str>,
        lifetime: Lifetime,
    ) -> Result<Option<StoredString>> {
        let Some(value) = value else { return Ok(None) };
        let cached = self.by_value.get(value).copied();
        let known = match cached {
            Some(cached) => Some(cached),
            None => find(tx, value).await?,
        };
        let (is_kept, is_model) = (
            lifetime != Lifetime::Rows || known.is_some_and(|known| known.is_kept),
            lifetime == Lifetime::Model || known.is_some_and(|known| known.is_model),
        );
        let id = match known {
            Some(known) => known.id,
            None => insert(tx, value).await?,
        };
        let string = StoredString {
            id,
            is_kept,
            is_model,
        };
        let is_changed = known.map_or(is_kept, |known| known != string);
        if is_changed {
            let updated = sqlx::query!(
                "UPDATE strings SET is_kept = ?2, is_model = ?3 WHERE id = ?1",
                id,
                is_kept,
                is_model,
            );
            updated.execute(&mut **tx).await?;
        }
        if cached != Some(string) {
            if self.by_value.len() >= MAX_CACHED {
                self.by_value.clear();
            }
            self.by_value.insert(value.into(), string);
        }
        Ok(Some(string))
    }
}

/// The models that Google has answered well for, by name.
pub async fn list_models(db: impl SqliteExecutor<'_>) -> Result<Vec<String>> {
    let models = sqlx::query_scalar!("SELECT value FROM strings WHERE is_model = 1 ORDER BY value");
    Ok(models.fetch_all(db).await?)
}

async fn find(tx: &mut Transaction<'_, Sqlite>, value: &str) -> Result<Option<StoredString>> {
    let found = sqlx::query_as!(
        StoredString,
        r#"SELECT id AS "id!", is_kept AS "is_kept: bool", is_model AS "is_model: bool" FROM strings WHERE value = ?1"#,
        value,
    );
    Ok(found.fetch_optional(&mut **tx).await?)
}

async fn insert(tx: &mut Transaction<'_, Sqlite>, value: &str) -> Result<i64> {
    let inserted = sqlx::query_scalar!(
        r#"INSERT INTO strings (value) VALUES (?1) RETURNING id AS "id!""#,
        value
    );
    Ok(inserted.fetch_one(&mut **tx).await?)
}

/// Deletes unused strings among the `limit` next ones after `after`: a row that was written while it ran may name other strings at
/// its end. Returns the last one that was checked and how many were deleted; `None` at the end.
pub async fn delete_unused_after(
    tx: &mut Transaction<'_, Sqlite>,
    after: i64,
    limit: u32,
) -> Result<Option<(i64, u64)>> {
    let next = sqlx::query!(
        r#"
        SELECT json_group_array(id) AS "ids!: String", max(id) AS "last: i64"
        FROM (SELECT id FROM strings WHERE id > ?1 ORDER BY id LIMIT ?2)
        "#,
        after,
        limit,
    );
    let next = next.fetch_one(&mut **tx).await?;
    let Some(last) = next.last else {
        return Ok(None);
    };
    Ok(Some((last, delete_unused(tx, &next.ids).await?)))
}

/// Deletes those of these strings that are not kept and that no row names any more. Returns how many.
pub async fn delete_unused(tx: &mut Transaction<'_, Sqlite>, ids: &str) -> Result<u64> {
    let deleted = sqlx::query!(
        "
        DELETE FROM strings
        WHERE
            id IN (SELECT value FROM json_each(?1))
            AND is_kept = 0
            AND NOT EXISTS (SELECT 1 FROM request_logs WHERE client_ip_id = strings.id)
            AND NOT EXISTS (SELECT 1 FROM request_logs WHERE user_agent_id = strings.id)
            AND NOT EXISTS (SELECT 1 FROM request_logs WHERE path_id = strings.id)
            AND NOT EXISTS (SELECT 1 FROM request_logs WHERE model_id = strings.id)
        ",
        ids,
    );
    Ok(deleted.execute(&mut **tx).await?.rows_affected())
}
