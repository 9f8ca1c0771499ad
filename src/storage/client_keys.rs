//! Client keys, stored as hashes.

pub mod change;
pub mod creation;
pub mod filter;
pub mod rotation;
pub mod tries;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::{
    ClientKey, ClientKeyId, ClientKeyState, ClientLimits, HashKey,
};
use crate::pool::clients::scopes::Scopes;
use crate::pool::model_fallback::ModelFallback;
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::json_columns::json_array;

/// A key as lists show it; the names are those of the JSON.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedClientKey {
    pub id: ClientKeyId,
    pub name: String,
    pub last4: String,
    pub note: String,
    pub enabled: bool,
    pub expires_at: Option<Timestamp>,
    pub limits: ClientLimits,
    pub models: Vec<String>,
    pub paths: Vec<String>,
    pub addresses: Vec<String>,
    pub tags: Vec<String>,
    /// Whether it may receive access to Google that bypasses this server.
    pub direct_access: bool,
    /// Chains of models that answer in place of others, as the setting `model_fallback` has them; empty: none; `null`: those of
    /// the setting.
    #[schema(value_type = Option<String>)]
    pub model_fallback: Option<ModelFallback>,
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub prompt_tokens: i64,
    pub output_tokens: i64,
    pub total_tokens: i64,
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// The changeable attributes of a client key, serialized for the audit log with the names of the JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeyTerms {
    pub name: String,
    pub note: String,
    pub expires_at: Option<Timestamp>,
    #[serde(flatten)]
    pub limits: ClientLimits,
    pub models: Vec<String>,
    pub paths: Vec<String>,
    pub addresses: Vec<String>,
    pub tags: Vec<String>,
    /// Whether it may receive access to Google that bypasses this server.
    pub direct_access: bool,
    /// `None`: the chains of the setting.
    pub model_fallback: Option<ModelFallback>,
}

impl ListedClientKey {
    pub fn state(&self, now: Timestamp) -> ClientKeyState {
        ClientKeyState::of(self.enabled, self.expires_at, now)
    }
}

impl ClientKeyTerms {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("attributes serialize to JSON")
    }
}

/// A client key to create.
#[derive(Debug)]
pub struct NewClientKey<'a> {
    pub name: &'a str,
    pub note: &'a str,
    pub secret: &'a Secret,
    pub expires_at: Option<Timestamp>,
}

/// Creates a client key. `None`, without a change, if a key has or had this secret.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    key: &NewClientKey<'_>,
    act: &Act,
) -> Result<Option<ClientKeyId>> {
    let Some(id) = insert_row(tx, hash_key, key, act).await? else {
        return Ok(None);
    };
    let after = json!({
        "name": key.name, "note": key.note, "last4": key.secret.last4(), "expires_at": key.expires_at,
    });
    let (subject, values) = ((Subject::ClientKey, Some(id.0)), (None, Some(after)));
    audit::insert(tx, act, Action::Create, subject, key.name, values).await?;
    Ok(Some(id))
}

/// Inserts the row of a key, without an entry in the audit.
async fn insert_row(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    key: &NewClientKey<'_>,
    act: &Act,
) -> Result<Option<ClientKeyId>> {
    let hash = hash_key.hash(key.secret.expose()).to_vec();
    if rotation::is_known(&mut **tx, &hash).await? {
        return Ok(None);
    }
    let last4 = key.secret.last4();
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
        act.now,
        act.revision,
    );
    Ok(id.fetch_optional(&mut **tx).await?)
}

/// Replaces the changeable attributes of a client key. Returns whether any of them differs.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    terms: &ClientKeyTerms,
    act: &Act,
) -> Result<bool> {
    let row = find_row(&mut **tx, id).await?;
    // For a row that cannot be parsed only the new values are logged.
    let before = row.terms();
    let before = before.map_or_else(|| json!({}), |terms| terms.to_json());
    let Some((before, after)) = audit::difference(before, terms.to_json()) else {
        return Ok(false);
    };
    let (subject, values) = (
        (Subject::ClientKey, Some(id.0)),
        (Some(before), Some(after)),
    );
    audit::insert(tx, act, Action::Update, subject, &row.name, values).await?;
    write_terms(tx, id, terms, act).await?;
    Ok(true)
}

/// Writes the changeable attributes of a key, without an entry in the audit.
async fn write_terms(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    terms: &ClientKeyTerms,
    act: &Act,
) -> Result<()> {
    let limits = [
        terms.limits.requests_per_minute,
        terms.limits.requests_per_day,
        terms.limits.tokens_per_minute,
        terms.limits.tokens_per_day,
        terms.limits.concurrency,
        terms.limits.cost_per_month_nano_usd,
    ];
    let [
        requests_per_minute,
        requests_per_day,
        tokens_per_minute,
        tokens_per_day,
        concurrency,
        cost,
    ] = limits.map(|limit| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)));
    let lists = [&terms.models, &terms.paths, &terms.addresses, &terms.tags];
    let [models, paths, addresses, tags] = lists.map(|texts| json_array(texts));
    let fallback = terms.model_fallback.as_ref().map(ModelFallback::to_text);
    let updated = sqlx::query!(
        r#"
        UPDATE client_keys
        SET name = ?2, note = ?3, expires_at_ms = ?4, requests_per_minute = ?5, requests_per_day = ?6,
            tokens_per_minute = ?7, tokens_per_day = ?8, concurrency = ?9, cost_per_month_nano_usd = ?10, models = ?11,
            paths = ?12, addresses = ?13, tags = ?14, direct_access = ?15, revision = ?16, model_fallback = ?17
        WHERE id = ?1 AND removed_at_ms IS NULL
        "#,
        id,
        terms.name,
        terms.note,
        terms.expires_at,
        requests_per_minute,
        requests_per_day,
        tokens_per_minute,
        tokens_per_day,
        concurrency,
        cost,
        models,
        paths,
        addresses,
        tags,
        terms.direct_access,
        act.revision,
        fallback,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// How many keys have a name with this prefix, removed ones included.
pub async fn count_with_prefix(tx: &mut Transaction<'_, Sqlite>, prefix: &str) -> Result<i64> {
    let count = sqlx::query_scalar!(
        "SELECT count(*) FROM client_keys WHERE instr(name, ?1) = 1",
        prefix
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

/// All keys in use with their hashes, for the proxy.
pub async fn list_for_proxy(db: impl SqliteExecutor<'_>) -> Result<Vec<([u8; 32], ClientKey)>> {
    let rows = list_rows(db, None).await?;
    let keys = rows.into_iter().filter_map(|row| {
        let terms = row.terms();
        let scopes = terms
            .as_ref()
            .and_then(|terms| Scopes::new(&terms.models, &terms.paths, &terms.addresses).ok());
        if scopes.is_none() {
            tracing::warn!(
                client_key.id = row.id.0,
                "all requests of client key {} are refused: its limits or scopes cannot be parsed",
                row.id.0
            );
        }
        let terms = terms.unwrap_or_default();
        let key = ClientKey {
            id: row.id,
            name: row.name,
            enabled: row.enabled,
            expires_at: row.expires_at,
            limits: terms.limits,
            scopes,
            tags: terms.tags,
            direct_access: terms.direct_access,
            model_fallback: terms.model_fallback,
        };
        Some((row.hash.try_into().ok()?, key))
    });
    Ok(keys.collect())
}

/// The changeable attributes of one key.
pub async fn find_terms(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
) -> Result<ClientKeyTerms> {
    let row = find_row(&mut **tx, id).await?;
    // Read as "no limits", they would be saved so by a change of another attribute.
    row.terms().ok_or_else(|| {
        Error::Refused(format!(
            "client key {} has limits or scopes that cannot be parsed: remove it and create another",
            id.0
        ))
    })
}

/// A row as it is stored, not validated.
struct ClientKeyRow {
    id: ClientKeyId,
    name: String,
    note: String,
    hash: Vec<u8>,
    enabled: bool,
    expires_at: Option<Timestamp>,
    requests_per_minute: Option<i64>,
    requests_per_day: Option<i64>,
    tokens_per_minute: Option<i64>,
    tokens_per_day: Option<i64>,
    concurrency: Option<i64>,
    cost_per_month_nano_usd: Option<i64>,
    models: String,
    paths: String,
    addresses: String,
    tags: String,
    direct_access: bool,
    model_fallback: Option<String>,
    last4: String,
    requests: i64,
    successes: i64,
    failures: i64,
    prompt_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    last_used_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl ClientKeyRow {
    /// `None` if a limit is not positive, a list is not valid JSON or a chain of models is none.
    fn terms(&self) -> Option<ClientKeyTerms> {
        let limits = self.limits(|stored| match stored {
            None => Some(None),
            Some(most) => u64::try_from(most).ok().filter(|most| *most > 0).map(Some),
        });
        let texts = |json: &str| serde_json::from_str(json).ok();
        Some(ClientKeyTerms {
            name: self.name.clone(),
            note: self.note.clone(),
            expires_at: self.expires_at,
            limits: limits?,
            models: texts(&self.models)?,
            paths: texts(&self.paths)?,
            addresses: texts(&self.addresses)?,
            tags: texts(&self.tags)?,
            direct_access: self.direct_access,
            model_fallback: match &self.model_fallback {
                None => None,
                Some(text) => Some(ModelFallback::parse(text)?),
            },
        })
    }

    /// The limits as `read` from their columns; `None` if one of them cannot be read.
    fn limits(&self, read: impl Fn(Option<i64>) -> Option<Option<u64>>) -> Option<ClientLimits> {
        Some(ClientLimits {
            requests_per_minute: read(self.requests_per_minute)?,
            requests_per_day: read(self.requests_per_day)?,
            tokens_per_minute: read(self.tokens_per_minute)?,
            tokens_per_day: read(self.tokens_per_day)?,
            concurrency: read(self.concurrency)?,
            cost_per_month_nano_usd: read(self.cost_per_month_nano_usd)?,
        })
    }
}

/// The rows of the keys in use, or of one of them, ordered by id.
async fn list_rows(
    db: impl SqliteExecutor<'_>,
    only: Option<ClientKeyId>,
) -> Result<Vec<ClientKeyRow>> {
    let (first, last) = only.map_or((i64::MIN, i64::MAX), |id| (id.0, id.0));
    let rows = sqlx::query_as!(
        ClientKeyRow,
        r#"
        SELECT
            id AS "id: ClientKeyId", name, note, hash, enabled AS "enabled: bool",
            expires_at_ms AS "expires_at: Timestamp", requests_per_minute, requests_per_day, tokens_per_minute,
            tokens_per_day, concurrency, cost_per_month_nano_usd, models, paths, addresses, tags,
            direct_access AS "direct_access: bool", model_fallback, last4, requests, successes, failures, prompt_tokens, output_tokens,
            total_tokens, last_used_at_ms AS "last_used_at: Timestamp", created_at_ms AS "created_at: Timestamp"
        FROM client_keys
        WHERE removed_at_ms IS NULL AND id BETWEEN ?1 AND ?2
        ORDER BY id
        "#,
        first,
        last,
    );
    Ok(rows.fetch_all(db).await?)
}

async fn find_row(db: impl SqliteExecutor<'_>, id: ClientKeyId) -> Result<ClientKeyRow> {
    let found = list_rows(db, Some(id)).await?.pop();
    found.ok_or_else(|| missing(id))
}

/// The keys in use, ordered by id.
pub async fn list(db: impl SqliteExecutor<'_>) -> Result<Vec<ListedClientKey>> {
    let rows = list_rows(db, None).await?;
    Ok(rows.into_iter().map(ListedClientKey::from).collect())
}

/// A key in use.
pub async fn find(db: impl SqliteExecutor<'_>, id: ClientKeyId) -> Result<ListedClientKey> {
    Ok(find_row(db, id).await?.into())
}

impl From<ClientKeyRow> for ListedClientKey {
    /// Omits limits and lists that cannot be read.
    fn from(row: ClientKeyRow) -> Self {
        let limit = |stored: Option<i64>| stored.and_then(|most| u64::try_from(most).ok());
        let texts = |json: &str| serde_json::from_str(json).unwrap_or_default();
        Self {
            id: row.id,
            limits: row.limits(|stored| Some(limit(stored))).unwrap_or_default(),
            name: row.name,
            last4: row.last4,
            note: row.note,
            enabled: row.enabled,
            expires_at: row.expires_at,
            models: texts(&row.models),
            paths: texts(&row.paths),
            addresses: texts(&row.addresses),
            tags: texts(&row.tags),
            direct_access: row.direct_access,
            model_fallback: row.model_fallback.as_deref().and_then(ModelFallback::parse),
            requests: row.requests,
            successes: row.successes,
            failures: row.failures,
            prompt_tokens: row.prompt_tokens,
            output_tokens: row.output_tokens,
            total_tokens: row.total_tokens,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
        }
    }
}

/// The ids of the keys in use that are enabled, or of those that are disabled.
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

/// Those of the keys that are in use, ordered by id.
async fn list_ids_in_use(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[ClientKeyId],
) -> Result<Vec<ClientKeyId>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let ids = json_array(&ids);
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: ClientKeyId"
        FROM client_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NULL
        ORDER BY id
        "#,
        ids,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// Enables or disables a key. Returns whether that changed it.
pub async fn update_enabled(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    enabled: bool,
    act: &Act,
) -> Result<bool> {
    let row = find_row(&mut **tx, id).await?;
    if row.enabled == enabled {
        return Ok(false);
    }
    let updated = sqlx::query!(
        "UPDATE client_keys SET enabled = ?2, revision = ?3 WHERE id = ?1",
        id,
        enabled,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let action = if enabled {
        Action::Enable
    } else {
        Action::Disable
    };
    let (before, after) = (
        json!({ "enabled": row.enabled }),
        json!({ "enabled": enabled }),
    );
    let (subject, values) = (
        (Subject::ClientKey, Some(id.0)),
        (Some(before), Some(after)),
    );
    audit::insert(tx, act, action, subject, &row.name, values).await?;
    Ok(true)
}

/// Removes a key: its row stays as a tombstone for the logs.
pub async fn delete(tx: &mut Transaction<'_, Sqlite>, id: ClientKeyId, act: &Act) -> Result<()> {
    let removed = sqlx::query!(
        "
        UPDATE client_keys
        SET removed_at_ms = ?2, revision = ?3
        WHERE id = ?1 AND removed_at_ms IS NULL
        RETURNING name, last4
        ",
        id,
        act.now,
        act.revision,
    );
    let removed = removed.fetch_optional(&mut **tx).await?;
    let removed = removed.ok_or_else(|| missing(id))?;
    let before = json!({ "name": removed.name, "last4": removed.last4 });
    let (subject, values) = ((Subject::ClientKey, Some(id.0)), (Some(before), None));
    audit::insert(tx, act, Action::Delete, subject, &removed.name, values).await?;
    Ok(())
}

fn missing(id: ClientKeyId) -> Error {
    Error::NotFound(Thing::ClientKey, id.0.to_string())
}

#[cfg(test)]
mod tests;
