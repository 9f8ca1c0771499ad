//! The second secret that a client key may have for a time: the old one, after a rotation.
//!
//! A row stays when its secret has ended, without its last characters: the environment must not add the secret again.

use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, SqlitePool, Transaction};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::{ClientKeyId, HashKey};
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};

/// An old secret that is still valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSecret {
    pub last4: String,
    pub valid_until: Timestamp,
    /// `None`: not used since the rotation.
    pub last_used_at: Option<Timestamp>,
}

/// The hash of an old secret, for the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldSecretHash {
    pub hash: [u8; 32],
    pub client_key_id: ClientKeyId,
    pub valid_until: Timestamp,
}

/// Gives a key a new secret. The one before stays valid until `keep_until`; an older one ends.
pub async fn rotate(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    id: ClientKeyId,
    secret: &Secret,
    keep_until: Timestamp,
    act: &Act,
) -> Result<()> {
    let (hash, last4) = (hash_key.hash(secret.expose()).to_vec(), secret.last4());
    let old = sqlx::query!(
        "SELECT name, last4 FROM client_keys WHERE id = ?1 AND removed_at_ms IS NULL",
        id,
    );
    let old = old.fetch_optional(&mut **tx).await?;
    let old = old.ok_or_else(|| Error::NotFound(Thing::ClientKey, id.0.to_string()))?;
    end_rows(tx, id, act.now).await?;
    let kept = sqlx::query!(
        "
        INSERT INTO old_client_key_secrets (hash, client_key_id, last4, valid_until_ms)
        SELECT hash, id, last4, ?2
        FROM client_keys
        WHERE id = ?1
        ",
        id,
        keep_until,
    );
    kept.execute(&mut **tx).await?;
    let updated = sqlx::query!(
        "UPDATE client_keys SET hash = ?2, last4 = ?3, revision = ?4 WHERE id = ?1",
        id,
        hash,
        last4,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let until = (keep_until > act.now).then_some(keep_until);
    let before = json!({ "last4": old.last4 });
    let after = json!({ "last4": last4, "old_secret_until": until });
    let (subject, values) = (
        (Subject::ClientKey, Some(id.0)),
        (Some(before), Some(after)),
    );
    audit::insert(tx, act, Action::Rotate, subject, &old.name, values).await?;
    Ok(())
}

/// Ends the old secret of a key, which has this name. Returns whether there was one.
pub async fn end(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    name: &str,
    act: &Act,
) -> Result<bool> {
    let old = find(&mut **tx, id, act.now).await?;
    let Some(old) = old else { return Ok(false) };
    end_rows(tx, id, act.now).await?;
    // A running server reads the keys again.
    let changed = sqlx::query!(
        "UPDATE client_keys SET revision = ?2 WHERE id = ?1",
        id,
        act.revision
    );
    changed.execute(&mut **tx).await?;
    let before = json!({ "old_secret_until": old.valid_until });
    let after = json!({ "old_secret_until": null });
    let (subject, values) = (
        (Subject::ClientKey, Some(id.0)),
        (Some(before), Some(after)),
    );
    audit::insert(tx, act, Action::Rotate, subject, name, values).await?;
    Ok(true)
}

async fn end_rows(tx: &mut Transaction<'_, Sqlite>, id: ClientKeyId, now: Timestamp) -> Result<()> {
    let ended = sqlx::query!(
        "UPDATE old_client_key_secrets SET valid_until_ms = ?2 WHERE client_key_id = ?1 AND valid_until_ms > ?2",
        id,
        now,
    );
    ended.execute(&mut **tx).await?;
    Ok(())
}

/// The old secret of a key that is valid at `now`.
pub async fn find(
    db: impl SqliteExecutor<'_>,
    id: ClientKeyId,
    now: Timestamp,
) -> Result<Option<OldSecret>> {
    let found = sqlx::query_as!(
        OldSecret,
        r#"
        SELECT last4, valid_until_ms AS "valid_until: Timestamp", last_used_at_ms AS "last_used_at: Timestamp"
        FROM old_client_key_secrets
        WHERE client_key_id = ?1 AND valid_until_ms > ?2
        "#,
        id,
        now,
    );
    Ok(found.fetch_optional(db).await?)
}

/// Whether a secret with this hash was that of a key before a rotation.
pub async fn is_known(db: impl SqliteExecutor<'_>, hash: &[u8]) -> Result<bool> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM old_client_key_secrets WHERE hash = ?1) AS "known!: bool""#,
        hash
    );
    Ok(known.fetch_one(db).await?)
}

/// All old secrets that are valid at `now`.
pub async fn list_for_proxy(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
) -> Result<Vec<OldSecretHash>> {
    let rows = sqlx::query!(
        r#"
        SELECT hash, client_key_id AS "id: ClientKeyId", valid_until_ms AS "valid_until: Timestamp"
        FROM old_client_key_secrets
        WHERE valid_until_ms > ?1
        "#,
        now,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let hashes = rows.filter_map(|row| {
        Some(OldSecretHash {
            hash: row.hash.try_into().ok()?,
            client_key_id: row.id,
            valid_until: row.valid_until,
        })
    });
    Ok(hashes.collect())
}

/// Records when old secrets were last used.
pub async fn record_uses(db: &SqlitePool, uses: &[(ClientKeyId, Timestamp)]) -> Result<()> {
    for (id, at) in uses {
        let updated = sqlx::query!(
            "
            UPDATE old_client_key_secrets
            SET last_used_at_ms = ?2
            WHERE client_key_id = ?1 AND valid_until_ms > ?2
            ",
            id,
            at,
        );
        updated.execute(db).await?;
    }
    Ok(())
}

/// Wipes what is known of secrets that have ended, but for the hash.
pub async fn wipe_ended(db: &SqlitePool, now: Timestamp) -> Result<()> {
    let wiped = sqlx::query!(
        "
        UPDATE old_client_key_secrets
        SET last4 = '', last_used_at_ms = NULL
        WHERE valid_until_ms <= ?1 AND last4 <> ''
        ",
        now,
    );
    wiped.execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::audit::tests::{act, describe_changes};
    use crate::storage::client_keys::{self, NewClientKey};
    use crate::storage::db::Db;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const END: Timestamp = Timestamp::from_millis(5_000);
    const ID: ClientKeyId = ClientKeyId(1);

    async fn add(db: &Db, secret: &str) -> Option<ClientKeyId> {
        let mut tx = db.begin().await.unwrap();
        let act = act(&mut tx, NOW).await;
        let secret = Secret::new(secret);
        let key = NewClientKey {
            name: "notebook",
            note: "",
            secret: &secret,
            expires_at: None,
        };
        let id = client_keys::insert(&mut tx, &hash_key(), &key, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        id
    }

    fn hash_key() -> HashKey {
        HashKey::new(b"key")
    }

    async fn rotate_to(db: &Db, secret: &str, keep_until: Timestamp) {
        let mut tx = db.begin().await.unwrap();
        let act = act(&mut tx, NOW).await;
        let secret = Secret::new(secret);
        rotate(&mut tx, &hash_key(), ID, &secret, keep_until, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    #[sqlx::test]
    async fn an_old_secret_is_known_until_its_end_and_never_added_again(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        add(&db, "secret-of-the-first-day").await.unwrap();

        rotate_to(&db, "secret-of-the-second-day", END).await;
        record_uses(&db.writer, &[(ID, NOW)]).await.unwrap();

        let old = find(&db.readers, ID, NOW).await.unwrap().unwrap();
        assert_eq!((old.valid_until, old.last_used_at), (END, Some(NOW)));
        let hashes = list_for_proxy(&db.readers, NOW).await.unwrap();
        assert_eq!(hashes[0].hash, hash_key().hash("secret-of-the-first-day"));
        assert_eq!(list_for_proxy(&db.readers, END).await.unwrap(), []);
        wipe_ended(&db.writer, END).await.unwrap();
        assert_eq!(find(&db.readers, ID, END).await.unwrap(), None);
        // Wiped: even a time before its end finds no last characters.
        let wiped = find(&db.readers, ID, NOW).await.unwrap().unwrap();
        assert_eq!((wiped.last4.as_str(), wiped.last_used_at), ("", None));
        assert_eq!(add(&db, "secret-of-the-first-day").await, None);
        assert_eq!(add(&db, "secret-of-the-second-day").await, None);
    }

    #[sqlx::test]
    async fn a_second_rotation_ends_the_oldest_secret_and_an_end_can_be_brought_forward(
        pool: SqlitePool,
    ) {
        let db = Db::from_pool(pool);
        add(&db, "first").await.unwrap();
        rotate_to(&db, "second", END).await;
        rotate_to(&db, "third", END).await;
        let hashes = list_for_proxy(&db.readers, NOW).await.unwrap();
        assert_eq!(hashes.len(), 1);
        assert_eq!(hashes[0].hash, hash_key().hash("second"));

        let mut tx = db.begin().await.unwrap();
        let act = act(&mut tx, NOW).await;
        assert!(end(&mut tx, ID, "notebook", &act).await.unwrap());
        assert!(!end(&mut tx, ID, "notebook", &act).await.unwrap());
        let changes = describe_changes(&mut tx).await;
        tx.commit().await.unwrap();

        assert_eq!(list_for_proxy(&db.readers, NOW).await.unwrap(), []);
        assert_eq!(
            changes
                .iter()
                .filter(|change| change.contains("rotate"))
                .count(),
            3,
            "{changes:?}"
        );
    }
}
