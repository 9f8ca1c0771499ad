//! `ExportedKey`: a row of an export of upstream keys, and the secrets for it, whose export the audit records.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::pool::keys::upstream_key::{Billing, UpstreamKeyId};
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::csv_cells::cell;
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::upstream_keys::listed::ListedUpstreamKey;
use crate::storage::upstream_keys::place as place_of;

/// A key with what `import` reads of it; the names are those of the columns.
#[derive(Debug, Serialize)]
pub struct ExportedKey {
    pub key: String,
    pub label: String,
    pub project: Option<String>,
    pub billing: Billing,
    pub priority: i64,
    pub weight: i64,
    pub tags: Vec<String>,
    pub enabled: bool,
}

pub const COLUMNS: [&str; 8] = [
    "key", "label", "project", "billing", "priority", "weight", "tags", "enabled",
];

impl ExportedKey {
    /// The key with its secret; without one its last characters.
    pub fn new(listed: ListedUpstreamKey, secret: Option<&Secret>) -> Self {
        let masked = || format!("…{}", listed.last4);
        Self {
            key: secret.map_or_else(masked, |secret| secret.expose().to_owned()),
            label: listed.label,
            project: listed.project,
            billing: listed.billing,
            priority: listed.priority,
            weight: listed.weight,
            tags: listed.tags,
            enabled: listed.enabled,
        }
    }

    pub fn cells(&self) -> [String; COLUMNS.len()] {
        [
            cell(&self.key),
            cell(&self.label),
            cell(&self.project),
            cell(&self.billing),
            cell(&self.priority),
            cell(&self.weight),
            cell(&self.tags.join(",")),
            cell(&self.enabled),
        ]
    }
}

/// The secrets of those of the keys that are in use. Records in the audit of each that it was exported.
pub async fn export_secrets(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    ids: &[UpstreamKeyId],
    act: &Act,
) -> Result<HashMap<UpstreamKeyId, Secret>> {
    let list = json_array(ids);
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?2, ?3, ?4, ?5, 'export', 'upstream_key', id, label, NULL, json_object('label', label, 'last4', last4)
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NULL
        ",
        list,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
    );
    inserted.execute(&mut **tx).await?;
    let rows = sqlx::query!(
        r#"
        SELECT id AS "id!: UpstreamKeyId", secret AS "secret!", data_key_id AS "data_key_id: DataKeyId"
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NULL
        "#,
        list,
    );
    let mut secrets = HashMap::new();
    for row in rows.fetch_all(&mut **tx).await? {
        let place = row.id.0.to_string();
        let secret = data_keys.open_text(place_of(&place), row.data_key_id, row.secret)?;
        secrets.insert(row.id, Secret::new(&secret));
    }
    Ok(secrets)
}
