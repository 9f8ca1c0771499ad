//! Sign-ins of admins to the dashboard. A session is valid only while its sign-in exists.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, Transaction};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::storage::admins::{self, Admin, AdminId};
use crate::storage::audit::{Act, Action};
use crate::storage::error::Result;

/// The row id of a sign-in; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, Serialize, Deserialize, ToSchema)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct SignInId(pub i64);

/// A sign-in as the account's page shows it.
#[derive(Debug)]
pub struct SignIn {
    pub id: SignInId,
    pub address: String,
    pub user_agent: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// A sign-in with its admin; the names are those of the JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminSignIn {
    pub id: SignInId,
    pub username: String,
    pub address: String,
    pub user_agent: String,
    pub created_at: Timestamp,
    /// At most a minute behind.
    pub last_seen_at: Timestamp,
}

/// Inserts a sign-in of an admin.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    admin_id: AdminId,
    address: &str,
    user_agent: &str,
    act: &Act,
) -> Result<SignInId> {
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO sign_ins (admin_id, address, user_agent, created_at_ms, last_seen_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?4)
        RETURNING id AS "id!: SignInId"
        "#,
        admin_id,
        address,
        user_agent,
        act.now,
    );
    let id = id.fetch_one(&mut **tx).await?;
    let after = Some(json!({ "browser": user_agent }));
    admins::record_change(tx, act, admin_id, Action::SignIn, None, after).await?;
    Ok(id)
}

/// The admin of a sign-in and the time of its last request; `None` if the sign-in has ended.
pub async fn find_admin(
    db: impl SqliteExecutor<'_>,
    id: SignInId,
) -> Result<Option<(Admin, Timestamp)>> {
    let row = sqlx::query!(
        r#"
        SELECT
            a.id AS "id!: AdminId", a.username, a.password_hash, a.zone, a.log_columns,
            a.password_changed_at_ms AS "password_changed_at: Timestamp", s.last_seen_at_ms AS "last_seen_at: Timestamp"
        FROM sign_ins AS s
        JOIN admins AS a ON a.id = s.admin_id
        WHERE s.id = ?1
        "#,
        id,
    );
    Ok(row.fetch_optional(db).await?.map(|row| {
        let admin = Admin {
            id: row.id,
            username: row.username,
            password_hash: row.password_hash,
            zone: row.zone,
            log_columns: row.log_columns,
            password_changed_at: row.password_changed_at,
        };
        (admin, row.last_seen_at)
    }))
}

/// An admin's sign-ins, latest request first.
pub async fn list(db: impl SqliteExecutor<'_>, admin_id: AdminId) -> Result<Vec<SignIn>> {
    let rows = sqlx::query_as!(
        SignIn,
        r#"
        SELECT
            id AS "id!: SignInId", address, user_agent, created_at_ms AS "created_at: Timestamp",
            last_seen_at_ms AS "last_seen_at: Timestamp"
        FROM sign_ins
        WHERE admin_id = ?1
        ORDER BY last_seen_at_ms DESC, id DESC
        "#,
        admin_id,
    );
    Ok(rows.fetch_all(db).await?)
}

/// The sign-ins of all admins, newest first.
pub async fn list_all(db: impl SqliteExecutor<'_>) -> Result<Vec<AdminSignIn>> {
    let rows = sqlx::query_as!(
        AdminSignIn,
        r#"
        SELECT
            s.id AS "id!: SignInId", a.username, s.address, s.user_agent, s.created_at_ms AS "created_at: Timestamp",
            s.last_seen_at_ms AS "last_seen_at: Timestamp"
        FROM sign_ins AS s
        JOIN admins AS a ON a.id = s.admin_id
        ORDER BY s.id DESC
        "#,
    );
    Ok(rows.fetch_all(db).await?)
}

/// Stores the time of a sign-in's last request.
pub async fn update_last_seen(
    db: impl SqliteExecutor<'_>,
    id: SignInId,
    now: Timestamp,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE sign_ins SET last_seen_at_ms = ?2 WHERE id = ?1",
        id,
        now
    );
    updated.execute(db).await?;
    Ok(())
}

/// Ends one of an admin's sign-ins, if it exists.
pub async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    admin_id: AdminId,
    id: SignInId,
    act: &Act,
) -> Result<()> {
    let ended = sqlx::query_as!(
        EndedSignIn,
        "DELETE FROM sign_ins WHERE id = ?1 AND admin_id = ?2 RETURNING address, user_agent",
        id,
        admin_id,
    );
    if let Some(ended) = ended.fetch_optional(&mut **tx).await? {
        ended.record_sign_out(tx, admin_id, act).await?;
    }
    Ok(())
}

/// Ends an admin's sign-ins except one. Returns how many.
pub async fn delete_others(
    tx: &mut Transaction<'_, Sqlite>,
    admin_id: AdminId,
    except: Option<SignInId>,
    act: &Act,
) -> Result<usize> {
    let ended = sqlx::query_as!(
        EndedSignIn,
        "DELETE FROM sign_ins WHERE admin_id = ?1 AND id IS NOT ?2 RETURNING address, user_agent",
        admin_id,
        except,
    );
    let ended = ended.fetch_all(&mut **tx).await?;
    for sign_in in &ended {
        sign_in.record_sign_out(tx, admin_id, act).await?;
    }
    Ok(ended.len())
}

/// A deleted sign-in.
struct EndedSignIn {
    address: String,
    user_agent: String,
}

impl EndedSignIn {
    async fn record_sign_out(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        admin_id: AdminId,
        act: &Act,
    ) -> Result<()> {
        let before = Some(json!({ "address": self.address, "browser": self.user_agent }));
        admins::record_change(tx, act, admin_id, Action::SignOut, before, None).await
    }
}

/// Deletes sign-ins without a request since `before`. Returns how many.
pub async fn delete_unseen(db: impl SqliteExecutor<'_>, before: Timestamp) -> Result<u64> {
    let deleted = sqlx::query!("DELETE FROM sign_ins WHERE last_seen_at_ms < ?1", before);
    Ok(deleted.execute(db).await?.rows_affected())
}
