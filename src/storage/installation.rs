//! `InstallationKeys`: the random key that hashes client keys, which the first start generates, and the data keys.

use rand::Rng;
use sqlx::{Sqlite, Transaction};
use zeroize::Zeroizing;

use crate::pool::clients::client_key::HashKey;
use crate::pool::sealing::StoredPlace;
use crate::storage::data_keys::{DataKeyId, DataKeyStore, DataKeys};
use crate::storage::error::Result;

/// The keys as one transaction sees them.
#[derive(Debug, Clone)]
pub struct InstallationKeys {
    /// Hashes client keys and fingerprints; it must never change.
    pub hash_key: HashKey,
    pub data_keys: DataKeys,
}

/// Loads the keys; generates the hash key when the table has none.
pub async fn keys(
    tx: &mut Transaction<'_, Sqlite>,
    store: &DataKeyStore,
) -> Result<InstallationKeys> {
    let data_keys = store.load(tx).await?;
    let row = sqlx::query!(
        r#"
        SELECT value, data_key_id AS "data_key_id: DataKeyId"
        FROM installation_secrets
        WHERE name = 'hash_key'
        "#
    );
    let value = if let Some(row) = row.fetch_optional(&mut **tx).await? {
        data_keys.open_bytes(place("hash_key"), row.data_key_id, row.value)?
    } else {
        let mut random = Zeroizing::new(vec![0; 32]);
        rand::rng().fill_bytes(&mut random);
        insert(tx, "hash_key", &random, &data_keys).await?;
        random
    };
    Ok(InstallationKeys {
        hash_key: HashKey::new(&value),
        data_keys,
    })
}

async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    value: &[u8],
    data_keys: &DataKeys,
) -> Result<()> {
    let stored = data_keys.seal_bytes(place(name), value);
    let data_key_id = data_keys.active();
    let inserted = sqlx::query!(
        "INSERT INTO installation_secrets (name, value, data_key_id) VALUES (?1, ?2, ?3)",
        name,
        stored,
        data_key_id,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// Where a secret of the installation is stored.
pub fn place(name: &str) -> StoredPlace<'_> {
    StoredPlace {
        table: "installation_secrets",
        column: "value",
        row: name,
    }
}
