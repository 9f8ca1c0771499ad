//! Random secrets that the first start generates and that must never change.

use rand::Rng;
use sqlx::{Sqlite, Transaction};

use crate::pool::clients::client_key::HashKey;
use crate::storage::error::Result;

/// The key that hashes client keys and fingerprints; generated when the table has none.
pub async fn hash_key(tx: &mut Transaction<'_, Sqlite>) -> Result<HashKey> {
    let mut random = vec![0; 32];
    rand::rng().fill_bytes(&mut random);
    let inserted = sqlx::query!(
        "
        INSERT INTO installation_secrets (name, value)
        VALUES ('hash_key', ?1)
        ON CONFLICT DO NOTHING
        ",
        random,
    );
    inserted.execute(&mut **tx).await?;
    let key = sqlx::query_scalar!("SELECT value FROM installation_secrets WHERE name = 'hash_key'");
    Ok(HashKey::new(&key.fetch_one(&mut **tx).await?))
}
