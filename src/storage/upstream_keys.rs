//! Upstream keys: adding and changing them, and the ones that a running server loads.

pub mod change;
pub mod exported;
pub mod history;
pub mod imported;
pub mod listed;
pub mod removal;
pub mod search;
pub mod states;
pub mod undo_attributes;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::task::consume_budget;

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::imported_keys::ImportedKey;
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId,
};
use crate::pool::request_id::RequestId;
use crate::pool::sealing::StoredPlace;
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::installation::InstallationKeys;
use crate::storage::json_columns::{JsonTexts, json_array};
use crate::storage::projects;

/// The result of adding a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertedKey {
    New(UpstreamKeyId),
    /// A removed key was restored.
    Restored(UpstreamKeyId),
    Existing(UpstreamKeyId),
}

/// The answer on which a key's state or a cooldown is based.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub status: Option<u16>,
    /// Redacted.
    pub message: String,
    pub request_id: RequestId,
}

/// Adds one key as [`imported::insert_all`] does.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    keys: &InstallationKeys,
    secret: &Secret,
    attributes: &KeyAttributes,
    restore: bool,
    act: &Act,
) -> Result<InsertedKey> {
    let key = ImportedKey {
        attributes: attributes.clone(),
        ..ImportedKey::new(secret.clone(), 1)
    };
    let inserted = imported::insert_all(tx, keys, &[key], restore, act).await?;
    let inserted = inserted.into_iter().next();
    inserted.ok_or(Error::Sqlx(sqlx::Error::RowNotFound))
}

/// Whether [`update`] would change anything of the key.
pub async fn differs(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    attributes: &KeyAttributes,
) -> Result<bool> {
    let known = find_attributes(tx, id).await?;
    would_change(tx, &known, attributes).await
}

/// The attributes of a key in use.
struct CurrentAttributes {
    label: String,
    priority: i64,
    weight: u32,
    tags: Vec<String>,
    project_id: ProjectId,
    /// The project's name, else its number.
    project: Option<String>,
    billing: Billing,
}

async fn find_attributes(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
) -> Result<CurrentAttributes> {
    let attributes = sqlx::query_as!(
        CurrentAttributes,
        r#"
        SELECT
            k.label, k.priority, k.weight AS "weight: u32", k.tags AS "tags: JsonTexts",
            k.project_id AS "project_id: ProjectId", coalesce(p.name, p.number) AS "project?: String",
            p.billing AS "billing: Billing"
        FROM upstream_keys AS k
        JOIN projects AS p ON p.id = k.project_id
        WHERE k.id = ?1 AND k.removed_at_ms IS NULL
        "#,
        id,
    );
    let attributes = attributes.fetch_optional(&mut **tx).await?;
    attributes.ok_or_else(|| missing(id))
}

async fn would_change(
    tx: &mut Transaction<'_, Sqlite>,
    known: &CurrentAttributes,
    attributes: &KeyAttributes,
) -> Result<bool> {
    let in_another = match &attributes.project {
        Some(called) => projects::find(tx, called).await? != Some(known.project_id),
        None => false,
    };
    let known = KeyAttributes {
        label: Some(known.label.clone()),
        project: attributes.project.clone(),
        billing: Some(known.billing),
        priority: Some(known.priority),
        weight: Some(known.weight),
        tags: Some(known.tags.clone()),
    };
    Ok(in_another || attributes.or(&known) != known)
}

/// Applies attributes to a key and its project. Returns whether that changed anything.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    attributes: &KeyAttributes,
    act: &Act,
) -> Result<bool> {
    let known = find_attributes(tx, id).await?;
    if !would_change(tx, &known, attributes).await? {
        return Ok(false);
    }
    let label = attributes.label.as_ref().unwrap_or(&known.label);
    let priority = attributes.priority.unwrap_or(known.priority);
    let weight = attributes.weight.unwrap_or(known.weight);
    let tags = attributes.tags.as_ref().unwrap_or(&known.tags);
    let tags_json = json_array(tags);
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET label = ?2, priority = ?3, weight = ?4, tags = ?5, revision = ?6
        WHERE id = ?1
        ",
        id,
        label,
        priority,
        weight,
        tags_json,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let mut project_id = known.project_id;
    if let Some(called) = &attributes.project {
        project_id = projects::assign(tx, id, called, act).await?;
    }
    if let Some(billing) = attributes.billing {
        projects::update_billing(tx, project_id, billing, act).await?;
    }
    let is_moved = project_id != known.project_id;
    let project = attributes.project.as_ref().filter(|_| is_moved);
    let project = project.or(known.project.as_ref());
    let mut before = json!({
        "label": known.label, "project": known.project, "priority": known.priority, "weight": known.weight,
        "tags": known.tags,
    });
    let mut after = json!({
        "label": label, "project": project, "priority": priority, "weight": weight, "tags": tags,
    });
    if is_moved {
        // So that undoing it gives a project of its own the billing that the former one had.
        before["billing"] = json!(known.billing);
        after["billing"] = json!(find_attributes(tx, id).await?.billing);
    }
    if let Some((before, after)) = audit::difference(before, after) {
        let values = (Some(before), Some(after));
        let subject = (Subject::UpstreamKey, Some(id.0));
        audit::insert(tx, act, Action::Update, subject, &known.label, values).await?;
    }
    Ok(true)
}

/// How many other keys share a project with one of these.
pub async fn count_keys_sharing_projects(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<u32> {
    let ids = json_array(ids);
    let count = sqlx::query_scalar!(
        r#"
        WITH these AS (SELECT value AS id FROM json_each(?1))
        SELECT count(*) AS "count!: u32"
        FROM upstream_keys
        WHERE removed_at_ms IS NULL AND id NOT IN (SELECT id FROM these)
            AND project_id IN (SELECT project_id FROM upstream_keys WHERE id IN (SELECT id FROM these))
        "#,
        ids,
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

/// Keys that changed after `revision`, or whose projects did: the keys in use, and the ids of the removed ones.
pub async fn list_changed(
    db: &Db,
    revision: i64,
) -> Result<(Vec<UpstreamKey>, Vec<UpstreamKeyId>)> {
    // One transaction, so that the data keys are those of the rows.
    let mut tx = db.readers.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    list_changed_in(&mut tx, &data_keys, revision).await
}

/// The same within a transaction.
pub(in crate::storage) async fn list_changed_in(
    tx: &mut SqliteConnection,
    data_keys: &DataKeys,
    revision: i64,
) -> Result<(Vec<UpstreamKey>, Vec<UpstreamKeyId>)> {
    let rows = sqlx::query!(
        r#"
        SELECT
            k.id AS "id!: UpstreamKeyId", k.project_id AS "project_id: ProjectId",
            coalesce(p.name, p.number) AS "project?: String", p.number, p.billing AS "billing: Billing", k.label, k.tags,
            k.secret, k.data_key_id AS "data_key_id: DataKeyId", k.enabled AS "enabled: bool", k.priority, k.weight AS "weight: u32",
            k.state AS "state: KeyState", k.state_rule, k.state_since_ms AS "since: Timestamp", k.state_until_ms AS "until: Timestamp",
            k.next_check_at_ms AS "next_check: Timestamp", k.failed_checks AS "failed_checks: u32",
            k.state_reset_revision, k.last_used_at_ms AS "last_used_at: Timestamp",
            k.checked_at_ms AS "checked_at: Timestamp", k.removed_at_ms
        FROM upstream_keys AS k
        JOIN projects AS p ON p.id = k.project_id
        WHERE k.id IN (
            SELECT id
            FROM upstream_keys
            WHERE revision > ?1
            UNION
            SELECT changed.id
            FROM projects
            JOIN upstream_keys AS changed ON changed.project_id = projects.id
            WHERE projects.revision > ?1
        )
        ORDER BY k.id
        "#,
        revision,
    );
    let (mut keys, mut removed) = (Vec::new(), Vec::new());
    for row in rows.fetch_all(tx).await? {
        // Requests may use the thread meanwhile.
        consume_budget().await;
        let (Some(secret), None) = (row.secret, row.removed_at_ms) else {
            removed.push(row.id);
            continue;
        };
        let place = row.id.0.to_string();
        let secret = match data_keys.open_text(self::place(&place), row.data_key_id, secret) {
            Ok(secret) => secret,
            // The other keys can serve.
            Err(error) => {
                tracing::error!(upstream_key.id = row.id.0, "upstream key not used: {error}");
                removed.push(row.id);
                continue;
            }
        };
        keys.push(UpstreamKey {
            id: row.id,
            project_id: row.project_id,
            project: row.project,
            project_number: row.number,
            billing: row.billing,
            label: row.label,
            tags: serde_json::from_str(&row.tags).unwrap_or_default(),
            secret: Secret::new(&secret),
            enabled: row.enabled,
            priority: row.priority,
            weight: row.weight,
            condition: KeyCondition {
                state: row.state,
                rule: row.state_rule.as_deref().and_then(Rule::named),
                since: row.since,
                until: row.until,
                next_check: row.next_check,
                failed_checks: row.failed_checks,
            },
            state_reset_revision: row.state_reset_revision,
            last_used_at: row.last_used_at,
            checked_at: row.checked_at,
        });
    }
    Ok((keys, removed))
}

/// The ids of the keys in use: all, or only the enabled or disabled ones.
pub async fn list_ids(
    tx: &mut Transaction<'_, Sqlite>,
    enabled: Option<bool>,
) -> Result<Vec<UpstreamKeyId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: UpstreamKeyId"
        FROM upstream_keys
        WHERE removed_at_ms IS NULL AND (?1 IS NULL OR enabled = ?1)
        ORDER BY id
        "#,
        enabled,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// The subset of these keys that is in use.
pub async fn list_in_use(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<Vec<UpstreamKeyId>> {
    let list = json_array(ids);
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: UpstreamKeyId"
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NULL
        ORDER BY id
        "#,
        list,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// The tags of a key in use.
pub async fn tags(tx: &mut Transaction<'_, Sqlite>, id: UpstreamKeyId) -> Result<Vec<String>> {
    Ok(find_attributes(tx, id).await?.tags)
}

/// Ready keys too: a running server may have a new state that is not written yet.
pub async fn reset_states(tx: &mut Transaction<'_, Sqlite>, list: &str, act: &Act) -> Result<()> {
    let reset = sqlx::query!(
        "
        UPDATE upstream_keys
        SET
            state = 'ready', state_rule = NULL, state_status = NULL, state_message = NULL, state_request_id = NULL,
            state_since_ms = ?2, state_until_ms = NULL, next_check_at_ms = NULL, failed_checks = 0,
            state_reset_revision = ?3, revision = ?3
        WHERE id IN (SELECT value FROM json_each(?1))
        ",
        list,
        act.now,
        act.revision,
    );
    reset.execute(&mut **tx).await?;
    Ok(())
}

/// The ids as JSON for statements; fails if one of them is not a key in use.
pub async fn json_ids_in_use(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<String> {
    let list = json_array(ids);
    let unknown = sqlx::query_scalar!(
        r#"
        SELECT CAST(j.value AS INTEGER) AS "secret!: UpstreamKeyId"
        FROM json_each(?1) AS j
        LEFT JOIN upstream_keys AS k ON k.id = j.value AND k.removed_at_ms IS NULL
        WHERE k.id IS NULL
        LIMIT 1
        "#,
        list,
    );
    match unknown.fetch_optional(&mut **tx).await? {
        Some(id) => Err(missing(id)),
        None => Ok(list),
    }
}

/// Where the secret of the key with this id is stored.
pub fn place(id: &str) -> StoredPlace<'_> {
    StoredPlace {
        table: "upstream_keys",
        column: "secret",
        row: id,
    }
}

fn missing(id: UpstreamKeyId) -> Error {
    Error::NotFound(Thing::UpstreamKey, id.0.to_string())
}

#[cfg(test)]
mod tests;
