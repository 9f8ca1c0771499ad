//! Admins: who may use the dashboard, and what they have chosen for themselves.

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::storage::error::{Error, Result};

/// The row id of an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct AdminId(pub i64);

/// An admin's row.
#[derive(Debug, Clone)]
pub struct Admin {
    pub id: AdminId,
    pub username: String,
    /// An argon2id PHC string.
    pub password_hash: String,
    /// The IANA name of the time zone in which times are shown.
    pub zone: String,
    /// Which columns of the log are shown, as a JSON array; `None`: the usual ones.
    pub log_columns: Option<String>,
    pub password_changed_at: Timestamp,
}

/// Whether nobody may administer yet.
pub async fn is_empty(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let some = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM admins) AS "some!: bool""#);
    Ok(!some.fetch_one(db).await?)
}

/// Every admin's name, the first one first.
pub async fn list_usernames(db: impl SqliteExecutor<'_>) -> Result<Vec<String>> {
    let names = sqlx::query_scalar!("SELECT username FROM admins ORDER BY id");
    Ok(names.fetch_all(db).await?)
}

/// The admin of this name.
pub async fn find_named(db: impl SqliteExecutor<'_>, username: &str) -> Result<Option<Admin>> {
    let admin = sqlx::query_as!(
        Admin,
        r#"
        SELECT
            id AS "id!: AdminId", username, password_hash, zone, log_columns,
            password_changed_at_ms AS "password_changed_at: Timestamp"
        FROM admins
        WHERE username = ?1
        "#,
        username,
    );
    Ok(admin.fetch_optional(db).await?)
}

/// Adds an admin.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    username: &str,
    password_hash: &str,
    now: Timestamp,
) -> Result<AdminId> {
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO admins (username, password_hash, created_at_ms, password_changed_at_ms)
        VALUES (?1, ?2, ?3, ?3)
        RETURNING id AS "id!: AdminId"
        "#,
        username,
        password_hash,
        now,
    );
    Ok(id.fetch_one(&mut **tx).await?)
}

/// Sets a new password.
pub async fn update_password(
    tx: &mut Transaction<'_, Sqlite>,
    id: AdminId,
    password_hash: &str,
    now: Timestamp,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE admins SET password_hash = ?2, password_changed_at_ms = ?3 WHERE id = ?1",
        id,
        password_hash,
        now,
    );
    found(updated.execute(&mut **tx).await?.rows_affected(), id)
}

/// Sets the zone in which times are shown.
pub async fn update_zone(tx: &mut Transaction<'_, Sqlite>, id: AdminId, zone: &str) -> Result<()> {
    let updated = sqlx::query!("UPDATE admins SET zone = ?2 WHERE id = ?1", id, zone);
    found(updated.execute(&mut **tx).await?.rows_affected(), id)
}

/// Sets which columns of the log are shown, as a JSON array; `None`: the usual ones.
pub async fn update_log_columns(
    tx: &mut Transaction<'_, Sqlite>,
    id: AdminId,
    columns: Option<&str>,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE admins SET log_columns = ?2 WHERE id = ?1",
        id,
        columns
    );
    found(updated.execute(&mut **tx).await?.rows_affected(), id)
}

fn found(rows: u64, id: AdminId) -> Result<()> {
    if rows == 0 {
        Err(Error::NotFound(format!("admin {}", id.0)))
    } else {
        Ok(())
    }
}
