//! Admins: their names, password hashes and display choices.

use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};

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
    /// The displayed columns of the log, as a JSON array; `None`: the default ones.
    pub log_columns: Option<String>,
    pub password_changed_at: Timestamp,
}

/// Whether there is no admin yet.
pub async fn is_empty(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let some = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM admins) AS "some!: bool""#);
    Ok(!some.fetch_one(db).await?)
}

/// The names of all admins, oldest first.
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
    act: &Act,
) -> Result<AdminId> {
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO admins (username, password_hash, created_at_ms, password_changed_at_ms)
        VALUES (?1, ?2, ?3, ?3)
        RETURNING id AS "id!: AdminId"
        "#,
        username,
        password_hash,
        act.now,
    );
    let id = id.fetch_one(&mut **tx).await?;
    record_change(tx, act, id, Action::Create, None, None).await?;
    Ok(id)
}

/// Sets a new password.
pub async fn update_password(
    tx: &mut Transaction<'_, Sqlite>,
    id: AdminId,
    password_hash: &str,
    act: &Act,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE admins SET password_hash = ?2, password_changed_at_ms = ?3 WHERE id = ?1",
        id,
        password_hash,
        act.now,
    );
    found(updated.execute(&mut **tx).await?.rows_affected(), id)?;
    record_change(tx, act, id, Action::ChangePassword, None, None).await
}

/// Sets the time zone of an admin, unless one was chosen before.
pub async fn adopt_zone(
    tx: &mut Transaction<'_, Sqlite>,
    id: AdminId,
    zone: &str,
    act: &Act,
) -> Result<()> {
    let is_chosen = sqlx::query_scalar!(
        r#"
        SELECT zone <> 'UTC' OR EXISTS (
            SELECT 1
            FROM audit_log
            WHERE subject = 'admin' AND subject_id = ?1 AND after ->> 'zone' IS NOT NULL
        ) AS "is_chosen!: bool"
        FROM admins
        WHERE id = ?1
        "#,
        id,
    );
    if is_chosen.fetch_one(&mut **tx).await? {
        return Ok(());
    }
    update_zone(tx, id, zone, act).await
}

/// Sets the time zone in which times are shown.
pub async fn update_zone(
    tx: &mut Transaction<'_, Sqlite>,
    id: AdminId,
    zone: &str,
    act: &Act,
) -> Result<()> {
    let before = sqlx::query_scalar!("SELECT zone FROM admins WHERE id = ?1", id);
    let before = before.fetch_optional(&mut **tx).await?;
    let updated = sqlx::query!("UPDATE admins SET zone = ?2 WHERE id = ?1", id, zone);
    found(updated.execute(&mut **tx).await?.rows_affected(), id)?;
    if before.as_deref() == Some(zone) {
        return Ok(());
    }
    let (before, after) = (json!({ "zone": before }), json!({ "zone": zone }));
    record_change(tx, act, id, Action::Update, Some(before), Some(after)).await
}

/// Sets the displayed columns of the log, as a JSON array; `None`: the default ones.
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

/// Inserts a change of an admin into the audit log.
pub async fn record_change(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    id: AdminId,
    action: Action,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    let username = sqlx::query_scalar!("SELECT username FROM admins WHERE id = ?1", id);
    let username = username.fetch_one(&mut **tx).await?;
    let subject = (Subject::Admin, Some(id.0));
    audit::insert(tx, act, action, subject, &username, (before, after)).await?;
    Ok(())
}

fn found(rows: u64, id: AdminId) -> Result<()> {
    if rows == 0 {
        Err(Error::NotFound(Thing::Admin, id.0.to_string()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::audit::Actor;
    use crate::storage::audit::tests::describe_changes;
    use crate::storage::db::Db;
    use crate::storage::{revision, sign_ins};

    #[sqlx::test]
    async fn changes_of_admins_are_in_the_audit_log_and_do_not_increment_the_revision(
        pool: SqlitePool,
    ) {
        let mut tx = Db::from_pool(pool).begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), Timestamp::from_millis(1_000));

        let id = insert(&mut tx, "ann", "hash", &act).await.unwrap();
        let mut signed_in = Vec::new();
        for browser in ["Firefox", "Safari", "curl"] {
            signed_in.push(
                sign_ins::insert(&mut tx, id, "192.0.2.1", browser, &act)
                    .await
                    .unwrap(),
            );
        }
        for zone in ["Asia/Taipei", "Asia/Taipei"] {
            update_zone(&mut tx, id, zone, &act).await.unwrap();
        }
        update_password(&mut tx, id, "other hash", &act)
            .await
            .unwrap();
        for _ in 0..2 {
            sign_ins::delete(&mut tx, id, signed_in[0], &act)
                .await
                .unwrap();
        }
        let others = sign_ins::delete_others(&mut tx, id, Some(signed_in[2]), &act).await;

        assert_eq!(others.unwrap(), 1);
        let expected = [
            "create admin ann: - → -",
            r#"sign_in admin ann: - → {"browser":"Firefox"}"#,
            r#"sign_in admin ann: - → {"browser":"Safari"}"#,
            r#"sign_in admin ann: - → {"browser":"curl"}"#,
            r#"update admin ann: {"zone":"UTC"} → {"zone":"Asia/Taipei"}"#,
            "change_password admin ann: - → -",
            r#"sign_out admin ann: {"address":"192.0.2.1","browser":"Firefox"} → -"#,
            r#"sign_out admin ann: {"address":"192.0.2.1","browser":"Safari"} → -"#,
        ];
        assert_eq!(describe_changes(&mut tx).await, expected);
        assert_eq!(revision::current(&mut *tx).await.unwrap(), 0);
        let missing = update_password(&mut tx, AdminId(9), "hash", &act).await;
        assert_eq!(missing.unwrap_err().to_string(), "admin 9 not found");
    }
}
