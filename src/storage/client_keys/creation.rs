//! Creates a client key with all its terms, and checks that its name is free.

use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::pool::clients::client_key::{ClientKeyId, HashKey};
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::client_keys::{self, ClientKeyTerms, NewClientKey};
use crate::storage::error::{Error, Result};

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
    let Some(id) = client_keys::insert_row(tx, hash_key, &key, act).await? else {
        return Ok(None);
    };
    client_keys::write_terms(tx, id, terms, act).await?;
    let mut after = json!({
        "name": terms.name, "note": terms.note, "last4": secret.last4(), "expires_at": terms.expires_at,
    });
    let unlimited = ClientKeyTerms {
        name: terms.name.clone(),
        note: terms.note.clone(),
        expires_at: terms.expires_at,
        ..ClientKeyTerms::default()
    };
    if let Some((_, set)) = audit::difference(unlimited.to_json(), terms.to_json())
        && let (Some(after), Some(set)) = (after.as_object_mut(), set.as_object())
    {
        after.extend(set.clone());
    }
    let (subject, values) = ((Subject::ClientKey, Some(id.0)), (None, Some(after)));
    audit::insert(tx, act, Action::Create, subject, &terms.name, values).await?;
    Ok(Some(id))
}

/// The name, or the first of `name 2`, `name 3`, … that no key in use has.
pub async fn free_name(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<String> {
    let mut free = name.to_owned();
    let mut number = 1;
    while is_name_taken(&mut **tx, &free, None).await? {
        number += 1;
        free = format!("{name} {number}");
    }
    Ok(free)
}

/// Refuses a name that a key in use, other than `except`, has.
pub async fn refuse_taken_name(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    except: ClientKeyId,
) -> Result<()> {
    if is_name_taken(&mut **tx, name, Some(except)).await? {
        let wrong = format!("another client key is called {name:?} now: rename that one first");
        return Err(Error::Refused(wrong));
    }
    Ok(())
}

/// Whether a key in use, other than `except`, has this name: filters by name would mean both.
pub async fn is_name_taken(
    db: impl SqliteExecutor<'_>,
    name: &str,
    except: Option<ClientKeyId>,
) -> Result<bool> {
    let taken = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1
            FROM client_keys
            WHERE name = ?1 AND removed_at_ms IS NULL AND id IS NOT ?2
        ) AS "taken!: bool"
        "#,
        name,
        except,
    );
    Ok(taken.fetch_one(db).await?)
}
