//! Egress proxies: proxies for connections to Google, with their credentials and states.

pub mod listed;

use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteConnection, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::condition::{EgressCondition, EgressState};
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId, EgressScope};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::sealing::StoredPlace;
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::json_columns::{JsonTexts, json_array};
use crate::storage::upstream_keys::Evidence;

/// What an admin chooses for a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressProxyTerms {
    pub label: String,
    pub address: ProxyAddress,
    pub scope: EgressScope,
}

/// A proxy with what only lists show.
#[derive(Debug, Clone)]
pub struct StoredEgressProxy {
    pub proxy: EgressProxy,
    /// Redacted.
    pub state_message: Option<String>,
    pub created_at: Timestamp,
}

impl EgressProxyTerms {
    pub fn of(proxy: &EgressProxy) -> Self {
        Self {
            label: proxy.label.clone(),
            address: proxy.address.clone(),
            scope: proxy.scope.clone(),
        }
    }

    /// The values for the audit, without the credential.
    fn audited(&self) -> Value {
        json!({
            "label": self.label, "url": self.address.to_string(), "project_ids": project_ids(&self.scope),
            "tags": tags(&self.scope),
        })
    }
}

fn project_ids(scope: &EgressScope) -> &[ProjectId] {
    match scope {
        EgressScope::Projects(ids) => ids,
        EgressScope::All | EgressScope::Tags(_) => &[],
    }
}

fn tags(scope: &EgressScope) -> &[String] {
    match scope {
        EgressScope::Tags(tags) => tags,
        EgressScope::All | EgressScope::Projects(_) => &[],
    }
}

/// A row as it is stored.
struct EgressProxyRow {
    id: EgressProxyId,
    label: String,
    url: String,
    credential: String,
    data_key_id: Option<DataKeyId>,
    enabled: bool,
    project_ids: String,
    tags: JsonTexts,
    state: EgressState,
    state_rule: Option<String>,
    state_message: Option<String>,
    state_since: Timestamp,
    state_until: Option<Timestamp>,
    failed_probes: u32,
    state_reset_revision: i64,
    created_at: Timestamp,
}

impl EgressProxyRow {
    fn opened(mut self, data_keys: &DataKeys) -> Result<StoredEgressProxy> {
        let id = self.id.to_string();
        let stored = std::mem::take(&mut self.credential);
        let credential = data_keys.open_text(place(&id), self.data_key_id, stored)?;
        Ok(self.stored(Secret::new(&credential)))
    }

    /// With a mask as its credential, for what only shows that there is one.
    fn masked(self) -> StoredEgressProxy {
        let mask = if self.credential.is_empty() {
            ""
        } else {
            "…"
        };
        self.stored(Secret::new(mask))
    }

    fn stored(self, credential: Secret) -> StoredEgressProxy {
        let ids: Vec<ProjectId> = serde_json::from_str(&self.project_ids).unwrap_or_default();
        let tags = Vec::<String>::from(self.tags);
        let scope = if !ids.is_empty() {
            EgressScope::Projects(ids)
        } else if !tags.is_empty() {
            EgressScope::Tags(tags)
        } else {
            EgressScope::All
        };
        StoredEgressProxy {
            proxy: EgressProxy {
                id: self.id,
                label: self.label,
                address: ProxyAddress {
                    url: self.url,
                    credential,
                },
                enabled: self.enabled,
                scope,
                condition: EgressCondition {
                    state: self.state,
                    rule: self.state_rule.as_deref().and_then(Rule::named),
                    since: self.state_since,
                    until: self.state_until,
                    failed_probes: self.failed_probes,
                },
                state_reset_revision: self.state_reset_revision,
            },
            state_message: self.state_message,
            created_at: self.created_at,
        }
    }
}

/// Where the credential of the proxy with this id is stored.
pub fn place(id: &str) -> StoredPlace<'_> {
    StoredPlace {
        table: "egress_proxies",
        column: "credential",
        row: id,
    }
}

/// All proxies in use, by id, without their credentials: no master key is needed.
pub async fn list_masked(db: impl SqliteExecutor<'_>) -> Result<Vec<StoredEgressProxy>> {
    let rows = list_rows(db).await?.into_iter();
    Ok(rows.map(EgressProxyRow::masked).collect())
}

async fn list_opened(
    tx: &mut SqliteConnection,
    data_keys: &DataKeys,
) -> Result<Vec<StoredEgressProxy>> {
    let rows = list_rows(tx).await?.into_iter();
    rows.map(|row| row.opened(data_keys)).collect()
}

/// A project that was merged into another counts as that one.
async fn list_rows(db: impl SqliteExecutor<'_>) -> Result<Vec<EgressProxyRow>> {
    let rows = sqlx::query_as!(
        EgressProxyRow,
        r#"
        SELECT
            id AS "id!: EgressProxyId", label, url, credential AS "credential!: String",
            data_key_id AS "data_key_id: DataKeyId", enabled AS "enabled: bool",
            (
                SELECT json_group_array(coalesce(p.merged_into_id, p.id))
                FROM json_each(e.project_ids) AS named
                JOIN projects AS p ON p.id = named.value
            ) AS "project_ids!: String",
            tags AS "tags: JsonTexts", state AS "state: EgressState", state_rule, state_message,
            state_since_ms AS "state_since: Timestamp", state_until_ms AS "state_until: Timestamp",
            failed_probes AS "failed_probes: u32", state_reset_revision, created_at_ms AS "created_at: Timestamp"
        FROM egress_proxies AS e
        WHERE removed_at_ms IS NULL
        ORDER BY id
        "#
    );
    Ok(rows.fetch_all(db).await?)
}

/// All proxies in use, by id.
pub async fn list(db: &Db) -> Result<Vec<EgressProxy>> {
    // One transaction, so that the data keys are those of the rows.
    let mut tx = db.readers.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    let stored = list_opened(&mut tx, &data_keys).await?.into_iter();
    Ok(stored.map(|stored| stored.proxy).collect())
}

/// One proxy in use.
pub async fn find(db: &Db, id: EgressProxyId) -> Result<StoredEgressProxy> {
    let mut tx = db.readers.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    find_in(&mut tx, &data_keys, id).await
}

/// The same within a transaction.
pub async fn find_in(
    tx: &mut SqliteConnection,
    data_keys: &DataKeys,
    id: EgressProxyId,
) -> Result<StoredEgressProxy> {
    let stored = list_opened(tx, data_keys).await?.into_iter();
    let mut found = stored.filter(|stored| stored.proxy.id == id);
    found.next().ok_or_else(|| missing(id))
}

/// Creates a proxy, which is used until an attempt shows that it is broken. `None`, without a change, if another one has this label.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    terms: &EgressProxyTerms,
    act: &Act,
) -> Result<Option<EgressProxyId>> {
    let (project_ids, tags) = (
        json_array(project_ids(&terms.scope)),
        json_array(tags(&terms.scope)),
    );
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO egress_proxies (
            label, url, credential, enabled, project_ids, tags, state, state_since_ms, failed_probes,
            state_reset_revision, created_at_ms
        )
        VALUES (?1, ?2, '', 1, ?3, ?4, 'untested', ?5, 0, ?6, ?5)
        ON CONFLICT (label) WHERE removed_at_ms IS NULL DO NOTHING
        RETURNING id AS "id!: EgressProxyId"
        "#,
        terms.label,
        terms.address.url,
        project_ids,
        tags,
        act.now,
        act.revision,
    );
    let Some(id) = id.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    update_credential(tx, data_keys, id, &terms.address.credential).await?;
    let values = (None, Some(terms.audited()));
    record_change(tx, act, Action::Create, id, &terms.label, values).await?;
    Ok(Some(id))
}

/// Changes a proxy. Another address resets its state. Returns `false`, without a change, if another one has this label.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    before: &EgressProxy,
    terms: &EgressProxyTerms,
    act: &Act,
) -> Result<bool> {
    let id = before.id;
    let taken = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM egress_proxies WHERE label = ?1 AND id <> ?2 AND removed_at_ms IS NULL) AS "taken: bool"
        "#,
        terms.label,
        id,
    );
    if taken.fetch_one(&mut **tx).await? {
        return Ok(false);
    }
    let (project_ids, tags) = (
        json_array(project_ids(&terms.scope)),
        json_array(tags(&terms.scope)),
    );
    let updated = sqlx::query!(
        "
        UPDATE egress_proxies
        SET label = ?2, url = ?3, project_ids = ?4, tags = ?5
        WHERE id = ?1 AND removed_at_ms IS NULL
        ",
        id,
        terms.label,
        terms.address.url,
        project_ids,
        tags,
    );
    if updated.execute(&mut **tx).await?.rows_affected() == 0 {
        return Err(missing(id));
    }
    update_credential(tx, data_keys, id, &terms.address.credential).await?;
    if before.address != terms.address {
        reset_state(tx, id, act).await?;
    }
    let mut after = terms.audited();
    if before.address.credential != terms.address.credential {
        // The value stays out of the audit.
        after["credential"] = json!("changed");
    }
    let old = EgressProxyTerms::of(before).audited();
    if let Some((before, after)) = audit::difference(old, after) {
        let values = (Some(before), Some(after));
        record_change(tx, act, Action::Update, id, &terms.label, values).await?;
    }
    Ok(true)
}

/// An encrypted credential is bound to the id of its row; an empty one is not encrypted.
async fn update_credential(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    id: EgressProxyId,
    credential: &Secret,
) -> Result<()> {
    let (row, plain) = (id.to_string(), credential.expose());
    let (stored, data_key_id) = if plain.is_empty() {
        (String::new(), None)
    } else {
        (data_keys.seal_text(place(&row), plain), data_keys.active())
    };
    let updated = sqlx::query!(
        "UPDATE egress_proxies SET credential = ?2, data_key_id = ?3 WHERE id = ?1",
        id,
        stored,
        data_key_id,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Enables or disables a proxy. Enabling also resets its state, so that it is used at once.
pub async fn update_enabled(
    tx: &mut Transaction<'_, Sqlite>,
    id: EgressProxyId,
    enabled: bool,
    act: &Act,
) -> Result<()> {
    let label = sqlx::query_scalar!(
        "UPDATE egress_proxies SET enabled = ?2 WHERE id = ?1 AND removed_at_ms IS NULL RETURNING label",
        id,
        enabled,
    );
    let label = label.fetch_optional(&mut **tx).await?;
    let label = label.ok_or_else(|| missing(id))?;
    let action = if enabled {
        reset_state(tx, id, act).await?;
        Action::Enable
    } else {
        Action::Disable
    };
    let values = (
        Some(json!({ "enabled": !enabled })),
        Some(json!({ "enabled": enabled })),
    );
    record_change(tx, act, action, id, &label, values).await
}

/// Has a proxy used again, whatever attempts have shown.
pub async fn clear_state(
    tx: &mut Transaction<'_, Sqlite>,
    proxy: &EgressProxy,
    act: &Act,
) -> Result<()> {
    reset_state(tx, proxy.id, act).await?;
    let values = (
        Some(json!({ "state": proxy.condition.state })),
        Some(json!({ "state": EgressState::Untested })),
    );
    record_change(tx, act, Action::Clear, proxy.id, &proxy.label, values).await
}

async fn reset_state(tx: &mut Transaction<'_, Sqlite>, id: EgressProxyId, act: &Act) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE egress_proxies
        SET
            state = 'untested', state_rule = NULL, state_message = NULL, state_since_ms = ?2, state_until_ms = NULL,
            failed_probes = 0, state_reset_revision = ?3
        WHERE id = ?1
        ",
        id,
        act.now,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Removes a proxy: its row stays as a tombstone for the logs. Its credential is wiped later, see [`wipe_removed`].
pub async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    proxy: &EgressProxy,
    act: &Act,
) -> Result<()> {
    let removed = sqlx::query!(
        "UPDATE egress_proxies SET removed_at_ms = ?2 WHERE id = ?1 AND removed_at_ms IS NULL",
        proxy.id,
        act.now,
    );
    if removed.execute(&mut **tx).await?.rows_affected() == 0 {
        return Err(missing(proxy.id));
    }
    let values = (Some(EgressProxyTerms::of(proxy).audited()), None);
    record_change(tx, act, Action::Delete, proxy.id, &proxy.label, values).await
}

/// Restores a removed proxy whose credential is still kept, unless another one has its label. Returns whether it did.
pub async fn restore(
    tx: &mut Transaction<'_, Sqlite>,
    id: EgressProxyId,
    act: &Act,
) -> Result<bool> {
    let label = sqlx::query_scalar!(
        "
        UPDATE OR IGNORE egress_proxies
        SET removed_at_ms = NULL
        WHERE id = ?1 AND removed_at_ms IS NOT NULL AND credential IS NOT NULL
        RETURNING label
        ",
        id,
    );
    let Some(label) = label.fetch_optional(&mut **tx).await? else {
        return Ok(false);
    };
    reset_state(tx, id, act).await?;
    let values = (None, Some(json!({ "label": label })));
    record_change(tx, act, Action::Restore, id, &label, values).await?;
    Ok(true)
}

/// Wipes the credentials of proxies removed before `time`.
pub async fn wipe_removed(db: impl SqliteExecutor<'_>, time: Timestamp) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE egress_proxies SET credential = NULL, data_key_id = NULL WHERE removed_at_ms < ?1 AND credential IS NOT NULL",
        time
    );
    updated.execute(db).await?;
    Ok(())
}

/// Stores a state that the server determined, unless an admin has set a newer one.
pub async fn update_condition(
    db: impl SqliteExecutor<'_>,
    id: EgressProxyId,
    condition: &EgressCondition,
    evidence: &Evidence,
) -> Result<()> {
    let rule = condition.rule.map(Rule::name);
    let message = Some(&evidence.message).filter(|message| rule.is_some() && !message.is_empty());
    let updated = sqlx::query!(
        "
        UPDATE egress_proxies
        SET
            state = ?2, state_rule = ?3, state_message = ?4, state_since_ms = ?5, state_until_ms = ?6, failed_probes = ?7
        WHERE id = ?1 AND state_since_ms <= ?5
        ",
        id,
        condition.state,
        rule,
        message,
        condition.since,
        condition.until,
        condition.failed_probes,
    );
    updated.execute(db).await?;
    Ok(())
}

async fn record_change(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    action: Action,
    id: EgressProxyId,
    label: &str,
    values: (Option<Value>, Option<Value>),
) -> Result<()> {
    let subject = (Subject::EgressProxy, Some(id.0));
    audit::insert(tx, act, action, subject, label, values).await?;
    Ok(())
}

fn missing(id: EgressProxyId) -> Error {
    Error::NotFound(Thing::EgressProxy, id.to_string())
}

#[cfg(test)]
mod tests;
