//! Alerts that began and ended, and the deletion of old ones with their messages.

use std::time::Duration;

use sqlx::{Sqlite, SqliteExecutor, SqlitePool, Transaction};

use crate::clock::Timestamp;
use crate::pool::alert_schedule::TRIED_FOR;
use crate::pool::alerts::{AlertCondition, AlertKey, AlertKind, AlertSeverity};
use crate::pool::keys::upstream_key::KeyState;
use crate::storage::error::Result;

/// How long alerts and messages are kept after their end.
const KEPT_FOR: Duration = Duration::from_hours(24 * 90);

/// The id of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct AlertEventId(pub i64);

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEvent {
    pub kind: AlertKind,
    pub subject: String,
    pub severity: AlertSeverity,
    pub detail: String,
    /// The state of the upstream key that it is about.
    pub key_state: Option<KeyState>,
    pub began_at: Timestamp,
    /// `None`: it is open.
    pub ended_at: Option<Timestamp>,
}

impl AlertEvent {
    pub fn key(&self) -> AlertKey {
        AlertKey {
            kind: self.kind,
            subject: self.subject.clone(),
        }
    }
}

/// Inserts an alert that begins.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    condition: &AlertCondition,
    now: Timestamp,
) -> Result<AlertEventId> {
    let (key, severity) = (&condition.key, condition.key.kind.severity());
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO alert_events (kind, subject, severity, detail, key_state, began_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        RETURNING id AS "id!: AlertEventId"
        "#,
        key.kind,
        key.subject,
        severity,
        condition.detail,
        condition.key_state,
        now,
    );
    Ok(id.fetch_one(&mut **tx).await?)
}

/// Ends an open alert; `None`: there is none.
pub async fn end(
    tx: &mut Transaction<'_, Sqlite>,
    key: &AlertKey,
    now: Timestamp,
) -> Result<Option<AlertEventId>> {
    let id = sqlx::query_scalar!(
        r#"
        UPDATE alert_events
        SET ended_at_ms = ?3
        WHERE kind = ?1 AND subject = ?2 AND ended_at_ms IS NULL
        RETURNING id AS "id!: AlertEventId"
        "#,
        key.kind,
        key.subject,
        now,
    );
    Ok(id.fetch_optional(&mut **tx).await?)
}

/// The open alerts, newest first.
pub async fn list_open(db: impl SqliteExecutor<'_>) -> Result<Vec<AlertEvent>> {
    let events = sqlx::query_as!(
        AlertEvent,
        r#"
        SELECT
            kind AS "kind: AlertKind", subject, severity AS "severity: AlertSeverity", detail,
            key_state AS "key_state: KeyState", began_at_ms AS "began_at: Timestamp", ended_at_ms AS "ended_at: Timestamp"
        FROM alert_events
        WHERE ended_at_ms IS NULL
        ORDER BY id DESC
        "#
    );
    Ok(events.fetch_all(db).await?)
}

/// The models with requests in this hour or the last one, as far as they were sent to Google or lacked a key.
pub async fn list_models_in_use(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
) -> Result<Vec<String>> {
    let since = (now - Duration::from_hours(1)).start_of_hour();
    let models = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT strings.value
        FROM model_hours
        JOIN strings ON strings.id = model_hours.model_id
        WHERE hour_ms >= ?1 AND outcome NOT IN ('refused', 'client_error')
        "#,
        since,
    );
    Ok(models.fetch_all(db).await?)
}

/// Deletes alerts that ended long ago, tests of that time, and gives up messages that are too old.
pub async fn sweep(db: &SqlitePool, now: Timestamp) -> Result<()> {
    let (old, late) = (now - KEPT_FOR, now - TRIED_FOR);
    let ended = sqlx::query!("DELETE FROM alert_events WHERE ended_at_ms < ?1", old);
    ended.execute(db).await?;
    let messages = sqlx::query!(
        "DELETE FROM alert_deliveries WHERE created_at_ms < ?1 AND state <> 'pending'",
        old
    );
    messages.execute(db).await?;
    let late = sqlx::query!(
        r#"
        UPDATE alert_deliveries
        SET state = 'failed', last_error = coalesce(last_error, 'the target was disabled')
        WHERE state = 'pending' AND due_at_ms < ?1
        "#,
        late,
    );
    late.execute(db).await?;
    Ok(())
}
