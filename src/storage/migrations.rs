//! The migrations that this program knows.

use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::SqliteConnection;

use crate::storage::error::Result;

/// All of them, in order.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The versions of the migrations that a database has. Only reads.
pub async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>> {
    let table = "SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let table: Option<i64> = sqlx::query_scalar(table)
        .fetch_optional(&mut *connection)
        .await?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    let applied = connection.list_applied_migrations().await?;
    let versions = applied.into_iter().map(|migration| migration.version);
    Ok(versions.collect())
}
