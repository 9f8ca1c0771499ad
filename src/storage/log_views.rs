//! Filters of the log that an admin has saved under a name: a choice of that admin, which no other one sees.

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::storage::admins::AdminId;
use crate::storage::error::Result;

/// Maximum number of views of an admin.
const MAX_VIEWS: i64 = 50;

/// The row id of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct LogViewId(pub i64);

/// A saved view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    pub id: LogViewId,
    pub name: String,
    /// The query of the page's URL.
    pub query: String,
}

/// The views of an admin, by name.
pub async fn list(db: impl SqliteExecutor<'_>, admin: AdminId) -> Result<Vec<LogView>> {
    let views = sqlx::query_as!(
        LogView,
        r#"
        SELECT id AS "id: LogViewId", name, query
        FROM log_views
        WHERE admin_id = ?1
        ORDER BY name
        "#,
        admin,
    );
    Ok(views.fetch_all(db).await?)
}

/// Saves a view, in place of one of the same name. Returns whether there was room for it.
pub async fn save(
    tx: &mut Transaction<'_, Sqlite>,
    admin: AdminId,
    name: &str,
    query: &str,
    now: Timestamp,
) -> Result<bool> {
    let saved = sqlx::query!(
        "
        INSERT INTO log_views (admin_id, name, query, created_at_ms)
        SELECT ?1, ?2, ?3, ?4
        WHERE (SELECT count(*) FROM log_views WHERE admin_id = ?1 AND name <> ?2) < ?5
        ON CONFLICT (admin_id, name) DO UPDATE SET query = excluded.query
        ",
        admin,
        name,
        query,
        now,
        MAX_VIEWS,
    );
    Ok(saved.execute(&mut **tx).await?.rows_affected() > 0)
}

/// Renames a view of an admin. Returns whether it exists and no other one has the name.
pub async fn rename(
    tx: &mut Transaction<'_, Sqlite>,
    admin: AdminId,
    id: LogViewId,
    name: &str,
) -> Result<bool> {
    let renamed = sqlx::query!(
        "UPDATE OR IGNORE log_views SET name = ?3 WHERE id = ?1 AND admin_id = ?2",
        id,
        admin,
        name,
    );
    Ok(renamed.execute(&mut **tx).await?.rows_affected() > 0)
}

/// Deletes a view of an admin.
pub async fn delete(tx: &mut Transaction<'_, Sqlite>, admin: AdminId, id: LogViewId) -> Result<()> {
    let deleted = sqlx::query!(
        "DELETE FROM log_views WHERE id = ?1 AND admin_id = ?2",
        id,
        admin,
    );
    deleted.execute(&mut **tx).await?;
    Ok(())
}
