//! Removes everything that a lost master key has encrypted.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::pool::master_key::MasterKeyId;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::Result;
use crate::storage::sealed_rows::erase_deleted;

/// What a lost master key takes with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostSecrets {
    /// In use, or removed so recently that they could be restored.
    pub upstream_keys: u64,
    pub alert_targets: u64,
    /// With a credential; in use, or removed so recently that they could be restored.
    pub egress_proxies: u64,
    pub request_bodies: u64,
    /// Their secrets are verified with a key that was encrypted.
    pub client_keys: u64,
}

/// Counts what is encrypted.
pub async fn count(connection: &mut SqliteConnection) -> Result<LostSecrets> {
    let counts = sqlx::query_as!(
        LostSecrets,
        r#"
        SELECT
            (SELECT count(*) FROM upstream_keys WHERE data_key_id IS NOT NULL AND secret IS NOT NULL) AS "upstream_keys!: u64",
            (SELECT count(*) FROM alert_targets WHERE data_key_id IS NOT NULL) AS "alert_targets!: u64",
            (SELECT count(*) FROM egress_proxies WHERE data_key_id IS NOT NULL) AS "egress_proxies!: u64",
            (SELECT count(*) FROM request_bodies WHERE data_key_id IS NOT NULL) AS "request_bodies!: u64",
            CASE WHEN EXISTS (SELECT 1 FROM installation_secrets WHERE data_key_id IS NOT NULL)
                THEN (SELECT count(*) FROM client_keys WHERE removed_at_ms IS NULL)
                ELSE 0
            END AS "client_keys!: u64"
        "#
    );
    Ok(counts.fetch_one(connection).await?)
}

/// Removes everything that is encrypted, and the data keys. Upstream keys become tombstones without a secret; client keys stay, and
/// need new secrets.
pub async fn forget(
    tx: &mut Transaction<'_, Sqlite>,
    master_key: &MasterKeyId,
    act: &Act,
) -> Result<()> {
    let removed = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?1, ?2, ?3, ?4, 'delete', 'upstream_key', id, label, json_object('label', label, 'last4', last4), NULL
        FROM upstream_keys
        WHERE data_key_id IS NOT NULL AND removed_at_ms IS NULL
        ",
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
    );
    removed.execute(&mut **tx).await?;
    erase_deleted(tx, true).await?;
    let wiped = sqlx::query!(
        "
        UPDATE upstream_keys
        SET secret = NULL, data_key_id = NULL, removed_at_ms = coalesce(removed_at_ms, ?1), revision = ?2
        WHERE data_key_id IS NOT NULL
        ",
        act.now,
        act.revision,
    );
    wiped.execute(&mut **tx).await?;
    // They stay in use: the proxy refuses what comes without a credential, and no request goes out by another way.
    let emptied = sqlx::query!(
        "UPDATE egress_proxies SET credential = '', data_key_id = NULL WHERE data_key_id IS NOT NULL"
    );
    emptied.execute(&mut **tx).await?;
    for statement in [
        sqlx::query!("DELETE FROM alert_targets WHERE data_key_id IS NOT NULL"),
        sqlx::query!("DELETE FROM request_bodies WHERE data_key_id IS NOT NULL"),
        sqlx::query!("DELETE FROM installation_secrets WHERE data_key_id IS NOT NULL"),
        sqlx::query!("DELETE FROM wrapped_data_keys"),
        sqlx::query!("DELETE FROM data_keys"),
        sqlx::query!("DELETE FROM master_keys"),
    ] {
        statement.execute(&mut **tx).await?;
    }
    erase_deleted(tx, false).await?;
    let (subject, name) = ((Subject::MasterKey, None), master_key.to_string());
    audit::insert(tx, act, Action::Delete, subject, &name, (None, None)).await?;
    Ok(())
}
