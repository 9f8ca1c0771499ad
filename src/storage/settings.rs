//! Settings that differ from their defaults.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::storage::error::Result;

/// All rows, by name.
pub async fn list(db: impl SqliteExecutor<'_>) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!("SELECT name, value FROM settings ORDER BY name")
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.value)).collect())
}

/// Sets one, which the caller has checked; `revision` is of the same transaction.
pub async fn upsert(
    db: impl SqliteExecutor<'_>,
    name: &str,
    value: &str,
    now: Timestamp,
    revision: i64,
) -> Result<()> {
    sqlx::query!(
        "
        INSERT INTO settings (name, value, changed_at_ms, revision)
        VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (name) DO UPDATE
        SET value = excluded.value, changed_at_ms = excluded.changed_at_ms, revision = excluded.revision
        ",
        name,
        value,
        now,
        revision,
    )
    .execute(db)
    .await?;
    Ok(())
}
