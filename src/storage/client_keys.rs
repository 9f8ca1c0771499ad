//! Client keys, stored as hashes.

use serde::Serialize;
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::client_key::{ClientKey, ClientKeyId, HashKey};
use crate::pool::secret::Secret;
use crate::storage::error::{Error, Result};

/// A key as lists show it; the names are those of the JSON.
#[derive(Debug, Serialize)]
pub struct ListedKey {
    pub id: ClientKeyId,
    pub name: String,
    pub last4: String,
    pub note: String,
    pub enabled: bool,
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
    pub models: Vec<String>,
    pub paths: Vec<String>,
    pub addresses: Vec<String>,
    pub tags: Vec<String>,
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub prompt_tokens: i64,
    pub output_tokens: i64,
    pub total_tokens: i64,
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// What a client key may spend; `None`: no limit.
#[derive(Debug, Serialize)]
pub struct Limits {
    pub requests_per_minute: Option<i64>,
    pub requests_per_day: Option<i64>,
    pub tokens_per_minute: Option<i64>,
    pub tokens_per_day: Option<i64>,
    pub concurrency: Option<i64>,
    pub cost_per_month: Option<f64>,
}

/// A client key to be made.
#[derive(Debug)]
pub struct NewClientKey<'a> {
    pub name: &'a str,
    pub note: &'a str,
    pub secret: &'a Secret,
    pub expires_at: Option<Timestamp>,
}

/// Makes a client key. `None` when a key with this secret is or was known, and then nothing changes.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    key: &NewClientKey<'_>,
    now: Timestamp,
    revision: i64,
) -> Result<Option<ClientKeyId>> {
    let (hash, last4) = (
        hash_key.hash(key.secret.expose()).to_vec(),
        key.secret.last4(),
    );
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO client_keys (name, note, hash, last4, expires_at_ms, created_at_ms, revision)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (hash) DO NOTHING
        RETURNING id AS "id!: ClientKeyId"
        "#,
        key.name,
        key.note,
        hash,
        last4,
        key.expires_at,
        now,
        revision,
    );
    Ok(id.fetch_optional(&mut **tx).await?)
}

/// How many keys have a name that begins so, removed ones included.
pub async fn count_named(tx: &mut Transaction<'_, Sqlite>, prefix: &str) -> Result<i64> {
    let count = sqlx::query_scalar!(
        "SELECT count(*) FROM client_keys WHERE instr(name, ?1) = 1",
        prefix
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

/// All keys in use with their hashes, for the proxy.
pub async fn list_for_proxy(db: impl SqliteExecutor<'_>) -> Result<Vec<([u8; 32], ClientKey)>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            id AS "id: ClientKeyId", name, hash, enabled AS "enabled: bool", expires_at_ms AS "expires_at: Timestamp",
            tags
        FROM client_keys
        WHERE removed_at_ms IS NULL
        "#,
    );
    let rows = rows.fetch_all(db).await?;
    let keys = rows.into_iter().filter_map(|row| {
        let hash = row.hash.try_into().ok()?;
        Some((
            hash,
            ClientKey {
                id: row.id,
                name: row.name,
                enabled: row.enabled,
                expires_at: row.expires_at,
                tags: serde_json::from_str(&row.tags).ok()?,
            },
        ))
    });
    Ok(keys.collect())
}

/// The keys in use, by id.
pub async fn list(db: impl SqliteExecutor<'_>) -> Result<Vec<ListedKey>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            id AS "id: ClientKeyId", name, last4, note, enabled AS "enabled: bool",
            expires_at_ms AS "expires_at: Timestamp", requests_per_minute, requests_per_day, tokens_per_minute,
            tokens_per_day, concurrency, cost_per_month_nano_usd, models, paths, addresses, tags, requests, successes,
            failures, prompt_tokens, output_tokens, total_tokens, last_used_at_ms AS "last_used_at: Timestamp",
            created_at_ms AS "created_at: Timestamp"
        FROM client_keys
        WHERE removed_at_ms IS NULL
        ORDER BY id
        "#,
    );
    let texts = |json: &str| serde_json::from_str(json).unwrap_or_default();
    let rows = rows.fetch_all(db).await?;
    let listed = rows.into_iter().map(|row| ListedKey {
        id: row.id,
        name: row.name,
        last4: row.last4,
        note: row.note,
        enabled: row.enabled,
        expires_at: row.expires_at,
        limits: Limits {
            requests_per_minute: row.requests_per_minute,
            requests_per_day: row.requests_per_day,
            tokens_per_minute: row.tokens_per_minute,
            tokens_per_day: row.tokens_per_day,
            concurrency: row.concurrency,
            #[expect(
                clippy::cast_precision_loss,
                reason = "dollars are shown, not added up"
            )]
            cost_per_month: row.cost_per_month_nano_usd.map(|nano| nano as f64 / 1e9),
        },
        models: texts(&row.models),
        paths: texts(&row.paths),
        addresses: texts(&row.addresses),
        tags: texts(&row.tags),
        requests: row.requests,
        successes: row.successes,
        failures: row.failures,
        prompt_tokens: row.prompt_tokens,
        output_tokens: row.output_tokens,
        total_tokens: row.total_tokens,
        last_used_at: row.last_used_at,
        created_at: row.created_at,
    });
    Ok(listed.collect())
}

/// The ids of the keys in use that are turned on, or of those that are turned off.
pub async fn list_ids(tx: &mut Transaction<'_, Sqlite>, enabled: bool) -> Result<Vec<ClientKeyId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: ClientKeyId"
        FROM client_keys
        WHERE removed_at_ms IS NULL AND enabled = ?1
        ORDER BY id
        "#,
        enabled,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// Turns a key on or off.
pub async fn update_enabled(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    enabled: bool,
    revision: i64,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE client_keys SET enabled = ?2, revision = ?3 WHERE id = ?1 AND removed_at_ms IS NULL",
        id,
        enabled,
        revision,
    );
    found(updated.execute(&mut **tx).await?.rows_affected(), id)
}

/// Removes a key: its row stays as a tombstone for the logs.
pub async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    now: Timestamp,
    revision: i64,
) -> Result<()> {
    let removed = sqlx::query!(
        "UPDATE client_keys SET removed_at_ms = ?2, revision = ?3 WHERE id = ?1 AND removed_at_ms IS NULL",
        id,
        now,
        revision,
    );
    found(removed.execute(&mut **tx).await?.rows_affected(), id)
}

fn found(rows: u64, id: ClientKeyId) -> Result<()> {
    if rows == 0 {
        Err(Error::NotFound(format!("client key {}", id.0)))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::client_key::ClientKeys;
    use crate::storage::db::Db;
    use crate::storage::installation;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    async fn add(db: &Db, name: &str, secret: &str) -> Option<ClientKeyId> {
        let mut tx = db.begin().await.unwrap();
        let hash_key = installation::hash_key(&mut tx).await.unwrap();
        let key = NewClientKey {
            name,
            note: "",
            secret: &Secret::new(secret),
            expires_at: Some(NOW),
        };
        let id = insert(&mut tx, &hash_key, &key, NOW, 1).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    #[sqlx::test]
    async fn a_key_is_known_by_its_secret_which_is_stored_nowhere(pool: SqlitePool) {
        let db = Db::of(pool.clone());
        let id = add(&db, "alice", "secret-of-alice").await.unwrap();

        let mut tx = db.begin().await.unwrap();
        let hash_key = installation::hash_key(&mut tx).await.unwrap();
        drop(tx);
        let keys = ClientKeys::new(hash_key, list_for_proxy(&pool).await.unwrap());
        let found = keys.find("secret-of-alice").unwrap();
        assert_eq!((found.id, found.expires_at), (id, Some(NOW)));
        assert!(keys.find("secret-of-bob").is_none());
        let stored: Vec<u8> = sqlx::query_scalar(
            "SELECT CAST(name || note || hash || last4 AS BLOB) FROM client_keys",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(memchr::memmem::find(&stored, b"secret-of-alice"), None);
    }

    #[sqlx::test]
    async fn a_secret_makes_one_key_ever(pool: SqlitePool) {
        let db = Db::of(pool.clone());
        let id = add(&db, "env-1", "secret-1234").await.unwrap();
        assert_eq!(add(&db, "env-2", "secret-1234").await, None);

        let mut tx = db.begin().await.unwrap();
        delete(&mut tx, id, NOW, 2).await.unwrap();
        assert_eq!(count_named(&mut tx, "env-").await.unwrap(), 1);
        tx.commit().await.unwrap();

        assert_eq!(add(&db, "env-2", "secret-1234").await, None);
        assert!(list(&pool).await.unwrap().is_empty());
        assert!(list_for_proxy(&pool).await.unwrap().is_empty());
    }

    #[sqlx::test]
    async fn a_key_is_turned_off_and_on_unless_it_is_missing(pool: SqlitePool) {
        let db = Db::of(pool.clone());
        let id = add(&db, "alice", "secret-1234").await.unwrap();

        let mut tx = db.begin().await.unwrap();
        update_enabled(&mut tx, id, false, 2).await.unwrap();
        assert_eq!(list_ids(&mut tx, false).await.unwrap(), [id]);
        assert!(list_ids(&mut tx, true).await.unwrap().is_empty());
        update_enabled(&mut tx, id, true, 3).await.unwrap();
        let missing = update_enabled(&mut tx, ClientKeyId(7), true, 3).await;
        assert_eq!(missing.unwrap_err().to_string(), "client key 7 not found");
        tx.commit().await.unwrap();

        assert!(list(&pool).await.unwrap()[0].enabled);
    }
}
