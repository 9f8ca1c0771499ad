//! Sends a test message to a target at once, at an admin's request, and lists it among the messages.

use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send;
use crate::clock::Timestamp;
use crate::pool::alert_schedule::AlertPhase;
use crate::pool::alerts::AlertSeverity;
use crate::storage::alert_deliveries::{self, FailedAttempt, NewAlertDelivery};
use crate::storage::alert_targets::AlertTarget;
use crate::storage::db::Db;
use crate::storage::error::Result;

/// Sends the message, in quiet hours too: the admin waits for it. `url` is that of the dashboard. Returns the result of
/// sending; it fails only if the message cannot be stored.
pub async fn send_test(
    db: &Db,
    target: &AlertTarget,
    url: Option<&str>,
    now: Timestamp,
) -> Result<std::result::Result<(), FailedAttempt>> {
    let (phase, severity) = (AlertPhase::Test, AlertSeverity::Critical);
    let mut delivery = NewAlertDelivery::new(target, phase, severity, now);
    let message = AlertMessage::test(&delivery.message_id, &target.terms, url, now);
    let result = send::send(&target.terms, &message, now).await;
    delivery.count_only_attempt(result.clone(), now);
    let mut tx = db.begin().await?;
    alert_deliveries::insert(&mut tx, None, &delivery, now).await?;
    tx.commit().await?;
    Ok(result)
}
