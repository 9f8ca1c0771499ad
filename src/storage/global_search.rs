//! Finds keys of both kinds by a part of their name, or by their last four characters.

use sqlx::SqliteExecutor;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::error::Result;

/// A found upstream key.
#[derive(Debug)]
pub struct FoundUpstreamKey {
    pub id: UpstreamKeyId,
    pub label: String,
    pub last4: String,
}

/// A found client key.
#[derive(Debug)]
pub struct FoundClientKey {
    pub id: ClientKeyId,
    pub name: String,
    pub last4: String,
}

/// Upstream keys in use with the text in their label, in any case, or as their last four characters; these first.
pub async fn find_upstream_keys(
    db: impl SqliteExecutor<'_>,
    text: &str,
    limit: u32,
) -> Result<Vec<FoundUpstreamKey>> {
    let part = text.to_ascii_lowercase();
    let keys = sqlx::query_as!(
        FoundUpstreamKey,
        r#"
        SELECT id AS "id!: UpstreamKeyId", label, last4
        FROM upstream_keys
        WHERE removed_at_ms IS NULL AND (last4 = ?2 OR instr(lower(label), ?1) > 0)
        ORDER BY last4 = ?2 DESC, id
        LIMIT ?3
        "#,
        part,
        text,
        limit,
    );
    Ok(keys.fetch_all(db).await?)
}

/// Client keys in use with the text in their name, in any case, or as their last four characters; these first.
pub async fn find_client_keys(
    db: impl SqliteExecutor<'_>,
    text: &str,
    limit: u32,
) -> Result<Vec<FoundClientKey>> {
    let part = text.to_ascii_lowercase();
    let keys = sqlx::query_as!(
        FoundClientKey,
        r#"
        SELECT id AS "id!: ClientKeyId", name, last4
        FROM client_keys
        WHERE removed_at_ms IS NULL AND (last4 = ?2 OR instr(lower(name), ?1) > 0)
        ORDER BY last4 = ?2 DESC, id
        LIMIT ?3
        "#,
        part,
        text,
        limit,
    );
    Ok(keys.fetch_all(db).await?)
}
