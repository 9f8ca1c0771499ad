//! Creates a client key with all its terms.

use sqlx::{Sqlite, Transaction};

use crate::pool::clients::client_key::{ClientKeyId, HashKey};
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::client_keys::{self, ClientKeyTerms, NewClientKey};
use crate::storage::error::Result;

/// Creates a client key with limits and scopes. `None`, without a change, if a key has or had this secret.
pub async fn create(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    secret: &Secret,
    terms: &ClientKeyTerms,
    act: &Act,
) -> Result<Option<ClientKeyId>> {
    let key = NewClientKey {
        name: &terms.name,
        note: &terms.note,
        secret,
        expires_at: terms.expires_at,
    };
    let inserted = client_keys::insert(tx, hash_key, &key, act).await?;
    if let Some(id) = inserted {
        client_keys::update(tx, id, terms, act).await?;
    }
    Ok(inserted)
}
