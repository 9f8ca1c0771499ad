//! Messages of alerts, each for one target: what is due, what was sent, and why not.

use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::Serialize;
use sqlx::{Sqlite, SqliteExecutor, SqlitePool, Transaction};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::alert_schedule::{AlertPhase, DeliveryState, due_at, next_attempt};
use crate::pool::alerts::{AlertKind, AlertSeverity};
use crate::pool::keys::upstream_key::KeyState;
use crate::storage::alert_events::{AlertEvent, AlertEventId};
use crate::storage::alert_targets::{AlertTarget, AlertTargetId};
use crate::storage::error::Result;
use crate::storage::paging::{BidirectionalPage, PagePosition};

/// Random characters of a message's id.
const ID_CHARACTERS: usize = 24;

/// The id of a message for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type, Serialize, ToSchema)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct AlertDeliveryId(pub i64);

/// A message for one target, and its attempts so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlertDelivery {
    pub target_id: AlertTargetId,
    pub phase: AlertPhase,
    /// The same at each attempt.
    pub message_id: String,
    pub state: DeliveryState,
    pub attempts: u32,
    /// When the first attempt was due.
    pub due_at: Timestamp,
    pub next_at: Timestamp,
    /// Redacted.
    pub last_error: Option<String>,
    pub sent_at: Option<Timestamp>,
}

impl NewAlertDelivery {
    /// A message of an alert that begins or ends at `now`.
    pub fn new(
        target: &AlertTarget,
        phase: AlertPhase,
        severity: AlertSeverity,
        now: Timestamp,
    ) -> Self {
        let terms = &target.terms;
        let due_at = due_at(severity, terms.quiet, &terms.time_zone(), now);
        Self {
            target_id: target.id,
            phase,
            message_id: new_message_id(),
            state: DeliveryState::Pending,
            attempts: 0,
            due_at,
            next_at: due_at,
            last_error: None,
            sent_at: None,
        }
    }

    /// Counts an attempt at `now`.
    pub fn count_attempt(
        &mut self,
        result: std::result::Result<(), FailedAttempt>,
        now: Timestamp,
    ) {
        self.attempts += 1;
        match result {
            Ok(()) => {
                self.state = DeliveryState::Sent;
                self.sent_at = Some(now);
                self.last_error = None;
            }
            Err(failed) => {
                self.last_error = Some(failed.error);
                let next = next_attempt(self.attempts, self.due_at, now);
                match next.filter(|_| !failed.is_gone) {
                    Some(next) => self.next_at = next,
                    None => self.state = DeliveryState::Failed,
                }
            }
        }
    }

    /// Counts an attempt that is not repeated.
    pub fn count_only_attempt(
        &mut self,
        result: std::result::Result<(), FailedAttempt>,
        now: Timestamp,
    ) {
        self.count_attempt(result, now);
        if self.state == DeliveryState::Pending {
            self.state = DeliveryState::Failed;
        }
    }
}

/// An attempt that the receiver did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Redacted.
    pub error: String,
    /// The receiver wants no messages any more.
    pub is_gone: bool,
}

/// A new id of a message.
pub fn new_message_id() -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(ID_CHARACTERS);
    "msg_".chars().chain(random.map(char::from)).collect()
}

/// A message that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAlertDelivery {
    pub id: AlertDeliveryId,
    pub delivery: NewAlertDelivery,
    pub event: AlertEvent,
}

/// A message as lists show it; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ListedAlertDelivery {
    pub id: AlertDeliveryId,
    pub target_id: AlertTargetId,
    pub target: String,
    pub phase: AlertPhase,
    pub state: DeliveryState,
    pub attempts: u32,
    pub next_at: Timestamp,
    pub last_error: Option<String>,
    pub sent_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// `None`: a test.
    pub kind: Option<AlertKind>,
    pub subject: Option<String>,
    pub detail: Option<String>,
    /// The state of the upstream key that the alert is about.
    pub key_state: Option<KeyState>,
}

/// Inserts a message, unless its target is gone.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    event: Option<AlertEventId>,
    delivery: &NewAlertDelivery,
    now: Timestamp,
) -> Result<()> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO alert_deliveries (
            event_id, target_id, phase, message_id, state, attempts, due_at_ms, next_at_ms, last_error, sent_at_ms,
            created_at_ms
        )
        SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
        FROM alert_targets
        WHERE id = ?2
        "#,
        event,
        delivery.target_id,
        delivery.phase,
        delivery.message_id,
        delivery.state,
        delivery.attempts,
        delivery.due_at,
        delivery.next_at,
        delivery.last_error,
        delivery.sent_at,
        now,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// The messages that are due for a target, oldest first. The end of an alert waits for the message of its begin.
pub async fn list_due(
    db: impl SqliteExecutor<'_>,
    target_id: AlertTargetId,
    now: Timestamp,
) -> Result<Vec<DueAlertDelivery>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            delivery.id AS "id!: AlertDeliveryId", phase AS "phase: AlertPhase", message_id,
            attempts AS "attempts: u32", due_at_ms AS "due_at: Timestamp", next_at_ms AS "next_at: Timestamp",
            last_error, kind AS "kind: AlertKind", subject, severity AS "severity: AlertSeverity", detail,
            key_state AS "key_state: KeyState", began_at_ms AS "began_at: Timestamp", ended_at_ms AS "ended_at: Timestamp"
        FROM alert_deliveries AS delivery
        JOIN alert_events AS event ON event.id = event_id
        WHERE target_id = ?1 AND state = 'pending' AND next_at_ms <= ?2 AND NOT EXISTS (
            SELECT 1
            FROM alert_deliveries AS begin
            WHERE begin.target_id = ?1 AND begin.event_id = delivery.event_id AND begin.id < delivery.id
                AND begin.state = 'pending'
        )
        ORDER BY delivery.id
        "#,
        target_id,
        now,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let due = rows.map(|row| DueAlertDelivery {
        id: row.id,
        delivery: NewAlertDelivery {
            target_id,
            phase: row.phase,
            message_id: row.message_id,
            state: DeliveryState::Pending,
            attempts: row.attempts,
            due_at: row.due_at,
            next_at: row.next_at,
            last_error: row.last_error,
            sent_at: None,
        },
        event: AlertEvent {
            kind: row.kind,
            subject: row.subject,
            severity: row.severity,
            detail: row.detail,
            key_state: row.key_state,
            began_at: row.began_at,
            ended_at: row.ended_at,
        },
    });
    Ok(due.collect())
}

/// The enabled targets that have a message due.
pub async fn list_due_targets(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
) -> Result<Vec<AlertTargetId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT target_id AS "id!: AlertTargetId"
        FROM alert_deliveries
        JOIN alert_targets ON alert_targets.id = target_id
        WHERE state = 'pending' AND next_at_ms <= ?1 AND enabled = 1
        "#,
        now,
    );
    Ok(ids.fetch_all(db).await?)
}

/// Stores the last attempt of a message.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    id: AlertDeliveryId,
    delivery: &NewAlertDelivery,
) -> Result<()> {
    let updated = sqlx::query!(
        r#"
        UPDATE alert_deliveries
        SET state = ?2, attempts = ?3, next_at_ms = ?4, last_error = ?5, sent_at_ms = ?6
        WHERE id = ?1
        "#,
        id,
        delivery.state,
        delivery.attempts,
        delivery.next_at,
        delivery.last_error,
        delivery.sent_at,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// A page of all messages, newest first.
pub async fn list(
    db: &SqlitePool,
    position: PagePosition,
    limit: usize,
) -> Result<BidirectionalPage<ListedAlertDelivery>> {
    let id = |delivery: &ListedAlertDelivery| delivery.id.0;
    let read = read_page(db, position, limit).await?;
    // The newest page is always full: a partial one would shift when a message is added.
    if matches!(position, PagePosition::NewerThan(_)) && read.len() < limit {
        let newest = read_page(db, PagePosition::Newest, limit).await?;
        return Ok(BidirectionalPage::new(
            newest,
            PagePosition::Newest,
            limit,
            id,
        ));
    }
    Ok(BidirectionalPage::new(read, position, limit, id))
}

/// One more than `limit`, in the order of [`BidirectionalPage::new`].
async fn read_page(
    db: &SqlitePool,
    position: PagePosition,
    limit: usize,
) -> Result<Vec<ListedAlertDelivery>> {
    let (after, before, is_ascending) = match position {
        PagePosition::Newest => (0, i64::MAX, false),
        PagePosition::OlderThan(id) => (0, id, false),
        PagePosition::NewerThan(id) => (id, i64::MAX, true),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let found = sqlx::query_as!(
        ListedAlertDelivery,
        r#"
        SELECT
            delivery.id AS "id!: AlertDeliveryId", target_id AS "target_id: AlertTargetId", target.name AS target,
            phase AS "phase: AlertPhase", state AS "state: DeliveryState", attempts AS "attempts: u32",
            next_at_ms AS "next_at: Timestamp", last_error, sent_at_ms AS "sent_at: Timestamp",
            delivery.created_at_ms AS "created_at: Timestamp", event.kind AS "kind?: AlertKind",
            event.subject AS "subject?", event.detail AS "detail?", event.key_state AS "key_state: KeyState"
        FROM alert_deliveries AS delivery
        JOIN alert_targets AS target ON target.id = target_id
        LEFT JOIN alert_events AS event ON event.id = event_id
        WHERE delivery.id > ?1 AND delivery.id < ?2
        ORDER BY iif(?3, delivery.id, -delivery.id)
        LIMIT ?4
        "#,
        after,
        before,
        is_ascending,
        limit,
    );
    Ok(found.fetch_all(db).await?)
}

/// The message of each target that fails now, or else the last one: a later success must not hide a failure.
pub async fn list_last(db: impl SqliteExecutor<'_>) -> Result<Vec<ListedAlertDelivery>> {
    let found = sqlx::query_as!(
        ListedAlertDelivery,
        r#"
        SELECT
            delivery.id AS "id!: AlertDeliveryId", target_id AS "target_id: AlertTargetId", target.name AS target,
            phase AS "phase: AlertPhase", state AS "state: DeliveryState", attempts AS "attempts: u32",
            next_at_ms AS "next_at: Timestamp", last_error, sent_at_ms AS "sent_at: Timestamp",
            delivery.created_at_ms AS "created_at: Timestamp", event.kind AS "kind?: AlertKind",
            event.subject AS "subject?", event.detail AS "detail?", event.key_state AS "key_state: KeyState"
        FROM alert_targets AS target
        JOIN alert_deliveries AS delivery
            ON delivery.id = (
                SELECT id
                FROM alert_deliveries
                WHERE target_id = target.id
                ORDER BY state = 'pending' AND last_error IS NOT NULL DESC, id DESC
                LIMIT 1
            )
        LEFT JOIN alert_events AS event ON event.id = event_id
        "#
    );
    Ok(found.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::alert_targets::tests::webhook;
    use crate::storage::alert_targets::{self, AlertTarget};
    use crate::storage::audit::{Act, Actor};
    use crate::storage::data_keys::DataKeys;
    use crate::storage::db::Db;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[sqlx::test]
    async fn a_later_success_does_not_hide_a_message_that_fails(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let mut tx = db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), NOW);
        let terms = webhook("ops", &[]);
        let id = alert_targets::insert(&mut tx, &DataKeys::default(), &terms, &act).await;
        let target = AlertTarget {
            id: id.unwrap().unwrap(),
            enabled: true,
            terms,
        };
        let severity = AlertKind::NoKey.severity();
        let error = "status 502".to_owned();
        let failed = FailedAttempt {
            error,
            is_gone: false,
        };
        for (attempt, expected) in [
            (Ok(()), DeliveryState::Sent),
            (Err(failed), DeliveryState::Pending),
            (Ok(()), DeliveryState::Pending),
        ] {
            let mut delivery = NewAlertDelivery::new(&target, AlertPhase::Begin, severity, NOW);
            delivery.count_attempt(attempt, NOW);
            insert(&mut tx, None, &delivery, NOW).await.unwrap();

            let last = list_last(&mut *tx).await.unwrap();

            let states: Vec<_> = last.iter().map(|message| message.state).collect();
            assert_eq!(states, [expected]);
        }
    }
}
