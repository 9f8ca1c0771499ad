//! Changes that an admin makes to many upstream keys at once.

use sqlx::{Sqlite, Transaction};

use crate::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId, updated_tags};
use crate::storage::audit::Act;
use crate::storage::error::Result;
use crate::storage::projects;
use crate::storage::upstream_keys::{self, removal, states};

/// A change of many keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    Enable,
    Disable,
    /// Clears states and cooldowns.
    Clear,
    Delete,
    Restore,
    Update {
        attributes: KeyAttributes,
        add_tags: Vec<String>,
        remove_tags: Vec<String>,
    },
}

/// What a change did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Without removed keys and those already in the new state.
    pub changed: usize,
    /// For restores: keys whose secrets are wiped.
    pub wiped: usize,
    /// For clearing: the states and the cooldowns that there were.
    pub cleared_states: usize,
    pub cleared_cooldowns: usize,
}

/// Changes those of the keys that are in use; a restore, those that were removed.
pub async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    change: &KeyChange,
    act: &Act,
) -> Result<ChangeCounts> {
    // Some keys may have been removed since they were selected.
    let existing = match change {
        KeyChange::Restore => ids.to_vec(),
        _ => upstream_keys::list_in_use(tx, ids).await?,
    };
    let mut counts = ChangeCounts {
        changed: existing.len(),
        ..ChangeCounts::default()
    };
    let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
    match change {
        KeyChange::Enable => states::update_enabled(tx, &existing, true, act).await?,
        KeyChange::Disable => states::update_enabled(tx, &existing, false, act).await?,
        KeyChange::Clear => {
            counts.cleared_states = count(states::clear_states(tx, &existing, act).await?);
            counts.cleared_cooldowns = count(projects::clear_cooldowns(tx, &existing, act).await?);
        }
        KeyChange::Delete => removal::delete(tx, &existing, act).await?,
        KeyChange::Restore => {
            let restored = removal::restore(tx, &existing, act).await?;
            counts.changed = count(restored.restored);
            counts.wiped = count(restored.wiped);
        }
        KeyChange::Update {
            attributes,
            add_tags,
            remove_tags,
        } => {
            counts.changed = 0;
            for id in &existing {
                let mut attributes = attributes.clone();
                if !add_tags.is_empty() || !remove_tags.is_empty() {
                    let tags = upstream_keys::tags(tx, *id).await?;
                    attributes.tags = Some(updated_tags(&tags, add_tags, remove_tags));
                }
                let has_changed = upstream_keys::update(tx, *id, &attributes, act).await?;
                counts.changed += usize::from(has_changed);
            }
        }
    }
    Ok(counts)
}
