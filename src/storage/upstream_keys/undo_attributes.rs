//! Gives an upstream key back the attributes that an update replaced.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Sqlite, Transaction};

use crate::pool::keys::upstream_key::{Billing, KeyAttributes, UpstreamKeyId};
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::Result;
use crate::storage::{projects, upstream_keys};

/// The values before an update, as its entry in the audit has them: only those that it changed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReplacedAttributes {
    label: Option<String>,
    project: Option<String>,
    billing: Option<Billing>,
    priority: Option<i64>,
    weight: Option<u32>,
    tags: Option<Vec<String>>,
}

/// Applies the replaced values. A key that was in a project without a name gets a project of its own, with the billing of the
/// former one. Returns whether that changed anything.
pub async fn undo(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    before: &Value,
    act: &Act,
) -> Result<bool> {
    let replaced = serde_json::from_value::<ReplacedAttributes>(before.clone());
    let replaced = replaced.unwrap_or_default();
    let was_unnamed = before.get("project").is_some_and(Value::is_null);
    let attributes = KeyAttributes {
        label: replaced.label,
        project: replaced.project,
        // A project with a name has kept its own.
        billing: None,
        priority: replaced.priority,
        weight: replaced.weight,
        tags: replaced.tags,
    };
    let has_changed = upstream_keys::update(tx, id, &attributes, act).await?;
    if was_unnamed {
        let known = upstream_keys::find_attributes(tx, id).await?;
        let own = projects::separate(tx, id, act).await?;
        // Where the audit has none, that of both projects was the same. The limits follow from it until Google names others.
        let billing = replaced.billing.unwrap_or(known.billing);
        projects::update_billing(tx, own, billing, act).await?;
        let (before, after) = (
            json!({ "project": known.project }),
            json!({ "project": null }),
        );
        let (subject, values) = (
            (Subject::UpstreamKey, Some(id.0)),
            (Some(before), Some(after)),
        );
        audit::insert(tx, act, Action::Update, subject, &known.label, values).await?;
    }
    Ok(has_changed || was_unnamed)
}
