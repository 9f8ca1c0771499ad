//! The revision: a counter by which a running server detects changes that another process made.

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::storage::error::Result;

/// Adds one within the transaction that changes keys, clients or settings. Returns the new revision for their rows.
pub async fn bump(tx: &mut Transaction<'_, Sqlite>) -> Result<i64> {
    let revision =
        sqlx::query_scalar!("UPDATE revision SET value = value + 1 WHERE id = 1 RETURNING value");
    Ok(revision.fetch_one(&mut **tx).await?)
}

pub async fn current(db: impl SqliteExecutor<'_>) -> Result<i64> {
    Ok(
        sqlx::query_scalar!("SELECT value FROM revision WHERE id = 1")
            .fetch_one(db)
            .await?,
    )
}
