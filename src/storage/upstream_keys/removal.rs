//! Removed upstream keys: tombstones that can be restored until their secrets are wiped.

use std::time::Duration;

use sqlx::{Sqlite, SqliteExecutor, Transaction};
use tokio::task::consume_budget;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::HashKey;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::upstream_keys::imported::fingerprint;
use crate::storage::upstream_keys::json_ids_in_use;

/// Removes keys: their rows stay as tombstones for the logs. Their secrets are wiped later, see [`wipe_removed`].
pub async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    act: &Act,
) -> Result<()> {
    let list = json_ids_in_use(tx, ids).await?;
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET removed_at_ms = ?2, revision = ?3
        WHERE id IN (SELECT value FROM json_each(?1))
        ",
        list,
        act.now,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?2, ?3, ?4, ?5, 'delete', 'upstream_key', id, label, json_object('label', label, 'last4', last4), NULL
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1))
        ",
        list,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// How long the secret of a removed key is kept, so that the key can be restored.
pub const SECRET_KEPT: Duration = Duration::from_hours(24);

/// A key that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedKey {
    pub id: UpstreamKeyId,
    pub label: String,
    pub last4: String,
    pub removed_at: Timestamp,
    /// Whether its secret is still kept.
    pub is_restorable: bool,
}

/// The removed key with this id, if it is one.
pub async fn find_removed(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
) -> Result<Option<RemovedKey>> {
    let key = sqlx::query_as!(
        RemovedKey,
        r#"
        SELECT
            id AS "id!: UpstreamKeyId", label, last4, removed_at_ms AS "removed_at!: Timestamp",
            secret IS NOT NULL AS "is_restorable!: bool"
        FROM upstream_keys
        WHERE id = ?1 AND removed_at_ms IS NOT NULL
        "#,
        id,
    );
    Ok(key.fetch_optional(db).await?)
}

/// The removed keys that can be restored, the last one first.
pub async fn list_restorable(db: impl SqliteExecutor<'_>, limit: u32) -> Result<Vec<RemovedKey>> {
    let keys = sqlx::query_as!(
        RemovedKey,
        r#"
        SELECT
            id AS "id!: UpstreamKeyId", label, last4, removed_at_ms AS "removed_at!: Timestamp",
            true AS "is_restorable!: bool"
        FROM upstream_keys
        WHERE removed_at_ms IS NOT NULL AND secret IS NOT NULL
        ORDER BY removed_at_ms DESC, id DESC
        LIMIT ?1
        "#,
        limit,
    );
    Ok(keys.fetch_all(db).await?)
}

/// How many removed keys can be restored.
pub async fn count_restorable(db: impl SqliteExecutor<'_>) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!: i64" FROM upstream_keys WHERE removed_at_ms IS NOT NULL AND secret IS NOT NULL"#
    );
    Ok(count.fetch_one(db).await?)
}

/// Whether a secret belongs to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretStatus {
    New,
    InUse,
    /// Its key was removed; adding it restores the key.
    Removed,
}

/// The status of each of these secrets, in their order.
pub async fn find_secret_statuses(
    db: impl SqliteExecutor<'_>,
    hash_key: &HashKey,
    secrets: impl Iterator<Item = &Secret>,
) -> Result<Vec<SecretStatus>> {
    let mut fingerprints = Vec::new();
    for secret in secrets {
        // Requests may use the thread meanwhile.
        consume_budget().await;
        fingerprints.push(fingerprint(hash_key, secret));
    }
    let mut statuses = vec![SecretStatus::New; fingerprints.len()];
    let fingerprints = json_array(&fingerprints);
    // One row with all of them costs much less than a row for each.
    let known = sqlx::query_scalar!(
        r#"
        SELECT json_group_array(json_array(secret.key, k.removed_at_ms IS NOT NULL)) AS "known!: String"
        FROM json_each(?1) AS secret
        JOIN upstream_keys AS k ON k.fingerprint = unhex(secret.value)
        "#,
        fingerprints,
    );
    let known = known.fetch_one(db).await?;
    let known: Vec<(usize, usize)> =
        serde_json::from_str(&known).expect("the query returns a JSON array of numbers");
    for (place, removed) in known {
        statuses[place] = [SecretStatus::InUse, SecretStatus::Removed][removed];
    }
    Ok(statuses)
}

/// The result of undoing a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreCounts {
    pub restored: u64,
    /// Keys with wiped secrets: only adding them again restores them.
    pub wiped: u64,
}

/// Restores removed keys unchanged. Ignores keys in use and unknown ids.
pub async fn restore(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    act: &Act,
) -> Result<RestoreCounts> {
    let list = json_array(ids);
    let wiped = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!: u32"
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NOT NULL AND secret IS NULL
        "#,
        list,
    );
    let wiped = wiped.fetch_one(&mut **tx).await?;
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?2, ?3, ?4, ?5, 'restore', 'upstream_key', id, label, NULL, json_object('label', label, 'last4', last4)
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NOT NULL AND secret IS NOT NULL
        ",
        list,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
    );
    inserted.execute(&mut **tx).await?;
    let restored = sqlx::query!(
        "
        UPDATE upstream_keys
        SET removed_at_ms = NULL, revision = ?2
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NOT NULL AND secret IS NOT NULL
        ",
        list,
        act.revision,
    );
    Ok(RestoreCounts {
        restored: restored.execute(&mut **tx).await?.rows_affected(),
        wiped: wiped.into(),
    })
}

/// Wipes the secrets of keys removed before `time`.
pub async fn wipe_removed(db: impl SqliteExecutor<'_>, time: Timestamp) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET secret = NULL, data_key_id = NULL
        WHERE removed_at_ms < ?1 AND secret IS NOT NULL
        ",
        time,
    );
    updated.execute(db).await?;
    Ok(())
}
