//! States of upstream keys: set by an admin, by the server's verdicts and by checks.

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{KeyCondition, UpstreamKeyId};
use crate::storage::audit::{Act, Action};
use crate::storage::error::Result;
use crate::storage::upstream_keys::{Evidence, json_ids_in_use, reset_states};

/// Enables or disables keys. Enabling also clears their states, so that they are leased at once.
pub async fn update_enabled(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    enabled: bool,
    act: &Act,
) -> Result<()> {
    let list = json_ids_in_use(tx, ids).await?;
    let action = if enabled {
        Action::Enable
    } else {
        Action::Disable
    };
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?3, ?4, ?5, ?6, ?7, 'upstream_key', id, label,
            json_patch(
                json_object('enabled', json(iif(enabled, 'true', 'false'))),
                iif(?2 AND state <> 'ready', json_object('state', state, 'rule', state_rule), '{}')
            ),
            json_patch(
                json_object('enabled', json(iif(?2, 'true', 'false'))),
                iif(?2 AND state <> 'ready', json_object('state', 'ready'), '{}')
            )
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND (enabled <> ?2 OR (?2 AND state <> 'ready'))
        ",
        list,
        enabled,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
        action,
    );
    inserted.execute(&mut **tx).await?;
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET enabled = ?2, revision = ?3
        WHERE id IN (SELECT value FROM json_each(?1))
        ",
        list,
        enabled,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    if enabled {
        reset_states(tx, &list, act).await?;
    }
    Ok(())
}

/// Resets keys to ready. Returns how many were not ready.
pub async fn clear_states(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    act: &Act,
) -> Result<u64> {
    let list = json_ids_in_use(tx, ids).await?;
    let cleared = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?2, ?3, ?4, ?5, 'clear', 'upstream_key', id, label, json_object('state', state, 'rule', state_rule),
            json_object('state', 'ready')
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND state <> 'ready'
        ",
        list,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
    );
    let cleared = cleared.execute(&mut **tx).await?.rows_affected();
    reset_states(tx, &list, act).await?;
    Ok(cleared)
}

/// Stores a state that the server determined, unless an admin has set a newer one.
pub async fn update_condition(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    condition: &KeyCondition,
    evidence: &Evidence,
) -> Result<()> {
    let rule = condition.rule.map(Rule::name);
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET
            state = ?2, state_rule = ?3, state_status = ?4, state_message = ?5, state_request_id = ?6,
            state_since_ms = ?7, state_until_ms = ?8, next_check_at_ms = ?9, failed_checks = ?10
        WHERE id = ?1 AND state_since_ms <= ?7
        ",
        id,
        condition.state,
        rule,
        evidence.status,
        evidence.message,
        evidence.request_id,
        condition.since,
        condition.until,
        condition.next_check,
        condition.failed_checks,
    );
    updated.execute(db).await?;
    Ok(())
}

/// Stores the state after a check and keeps the evidence, unless an admin has set a newer state.
pub async fn update_checked_condition(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    condition: &KeyCondition,
) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET state = ?2, state_since_ms = ?3, state_until_ms = ?4, next_check_at_ms = ?5, failed_checks = ?6
        WHERE id = ?1 AND state_since_ms <= ?3
        ",
        id,
        condition.state,
        condition.since,
        condition.until,
        condition.next_check,
        condition.failed_checks,
    );
    updated.execute(db).await?;
    Ok(())
}

/// Stores when a key was last checked.
pub async fn update_checked_at(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    at: Timestamp,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE upstream_keys SET checked_at_ms = ?2 WHERE id = ?1",
        id,
        at
    );
    updated.execute(db).await?;
    Ok(())
}

/// Makes a running server reload the states of these keys from the database, as after an admin's change.
pub async fn mark_states_changed(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
    revision: i64,
) -> Result<()> {
    for id in ids {
        let updated = sqlx::query!(
            "UPDATE upstream_keys SET state_reset_revision = ?2, revision = ?2 WHERE id = ?1",
            id,
            revision,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(())
}
