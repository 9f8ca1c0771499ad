//! Adding keys that were read from a text.

use sqlx::{Sqlite, Transaction};

use crate::pool::clients::client_key::HashKey;
use crate::pool::keys::imported_keys::ImportedKey;
use crate::storage::audit::Act;
use crate::storage::error::Result;
use crate::storage::upstream_keys::{self, InsertedKey, states};

/// Adds a key as [`upstream_keys::insert`] does; one that the text marks as disabled is added disabled.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    key: &ImportedKey,
    restore: bool,
    act: &Act,
) -> Result<InsertedKey> {
    let ImportedKey {
        secret,
        attributes,
        is_disabled,
        ..
    } = key;
    let inserted = upstream_keys::insert(tx, hash_key, secret, attributes, restore, act).await?;
    match inserted {
        InsertedKey::New(id) | InsertedKey::Restored(id) if *is_disabled => {
            states::update_enabled(tx, &[id], false, act).await?;
        }
        InsertedKey::New(_) | InsertedKey::Restored(_) | InsertedKey::Existing(_) => (),
    }
    Ok(inserted)
}
