//! What was made at random at the first start and must stay.

use rand::Rng;
use sqlx::{Sqlite, Transaction};

use crate::pool::clients::client_key::HashKey;
use crate::storage::error::Result;

/// The key under which client keys and fingerprints are hashed; made when there is none.
pub async fn hash_key(tx: &mut Transaction<'_, Sqlite>) -> Result<HashKey> {
    let mut random = vec![0; 32];
    rand::rng().fill_bytes(&mut random);
    sqlx::query!(
        "
        INSERT INTO installation_secrets (name, value)
        VALUES ('hash_key', ?1)
        ON CONFLICT DO NOTHING
        ",
        random,
    )
    .execute(&mut **tx)
    .await?;
    let key = sqlx::query_scalar!("SELECT value FROM installation_secrets WHERE name = 'hash_key'");
    Ok(HashKey::new(&key.fetch_one(&mut **tx).await?))
}
