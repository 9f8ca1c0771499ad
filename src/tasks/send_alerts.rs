//! Observes, records which alerts begin and end, and sends their messages to each target independently.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send;
use crate::app::App;
use crate::clock::{self, Timestamp, ticks};
use crate::pool::alert_schedule::{AlertPhase, DeliveryState};
use crate::pool::alerts::{AlertChange, AlertTracker};
use crate::storage::alert_deliveries::{self, FailedAttempt, NewAlertDelivery};
use crate::storage::alert_events::{self, AlertEvent};
use crate::storage::alert_targets::{self, AlertTarget, AlertTargetId};
use crate::storage::audit::{Act, Actor};
use crate::storage::error::Result;
use crate::tasks::observe_alerts::observe;

/// How often messages that are due are sent.
const PERIOD: Duration = Duration::from_secs(5);
const TICKS_PER_OBSERVATION: u32 = 3;

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut alerts = AlertWatch::default();
    let mut ticks = ticks(PERIOD);
    for tick in 0_u32.. {
        ticks.tick().await;
        let now = clock::now();
        if tick.is_multiple_of(TICKS_PER_OBSERVATION) {
            alerts.observe(&app, now).await;
        }
        alerts.start_sending(&app, now).await;
    }
}

/// Observes, starts to send what is due at `now`, and waits until it is sent.
pub async fn pass(app: &Arc<App>, alerts: &mut AlertWatch, now: Timestamp) {
    alerts.observe(app, now).await;
    alerts.start_sending(app, now).await;
    alerts.finish(now).await;
}

/// The open alerts, and the messages that are being sent.
#[derive(Debug, Default)]
pub struct AlertWatch {
    /// `None`: not read yet.
    tracker: Option<AlertTracker>,
    /// As last read.
    targets: Vec<AlertTarget>,
    /// Open alerts as messages show them, for their end while the database cannot be read.
    open: Vec<AlertEvent>,
    /// Changes that are not in the database yet, because it cannot be written.
    unsaved: Vec<UnsavedChange>,
    /// Attempts for unsaved messages, by the id of the message.
    direct: JoinSet<DirectAttempt>,
    /// One worker for each target: a slow receiver delays only its own messages.
    workers: HashMap<AlertTargetId, JoinHandle<()>>,
    is_failing: bool,
}

/// The result of an attempt for an unsaved message, by the message's id.
type DirectAttempt = (String, std::result::Result<(), FailedAttempt>);

/// An alert that began or ended, with its messages.
#[derive(Debug)]
struct UnsavedChange {
    change: AlertChange,
    event: AlertEvent,
    at: Timestamp,
    deliveries: Vec<NewAlertDelivery>,
}

impl AlertWatch {
    /// Observes once, and stores which alerts begin and end.
    pub async fn observe(&mut self, app: &App, now: Timestamp) {
        if let Err(error) = self.read(app).await {
            self.report(Some(&error.to_string()));
        }
        let Some(tracker) = &mut self.tracker else {
            return;
        };
        for change in tracker.observe(observe(app, now).await) {
            self.add(change, now);
        }
        self.save(app, now).await;
    }

    /// Reads the targets, and at first the open alerts.
    async fn read(&mut self, app: &App) -> Result<()> {
        if self.tracker.is_some() && app.recorder.problem().is_some() {
            return Ok(());
        }
        let db = &app.db.readers;
        self.targets = alert_targets::list(&app.db).await?;
        if self.tracker.is_none() {
            self.open = alert_events::list_open(db).await?;
            let open = self.open.iter().map(AlertEvent::key);
            self.tracker = Some(AlertTracker::restore(open));
        }
        Ok(())
    }

    /// Adds a change with a message for each target that wants it.
    fn add(&mut self, change: AlertChange, now: Timestamp) {
        let (event, phase) = match &change {
            AlertChange::Begin(condition) => {
                let event = AlertEvent {
                    kind: condition.key.kind,
                    subject: condition.key.subject.clone(),
                    severity: condition.key.kind.severity(),
                    detail: condition.detail.clone(),
                    key_state: condition.key_state,
                    began_at: now,
                    ended_at: None,
                };
                self.open.push(event.clone());
                (event, AlertPhase::Begin)
            }
            AlertChange::End(key) => {
                let Some(index) = self.open.iter().position(|event| event.key() == *key) else {
                    return;
                };
                let ended_at = Some(now);
                let event = self.open.swap_remove(index);
                (AlertEvent { ended_at, ..event }, AlertPhase::End)
            }
        };
        let targets = self.targets.iter();
        let targets = targets.filter(|target| target.enabled && target.terms.wants(event.kind));
        let deliveries =
            targets.map(|target| NewAlertDelivery::new(target, phase, event.severity, now));
        let deliveries = deliveries.collect();
        self.unsaved.push(UnsavedChange {
            change,
            event,
            at: now,
            deliveries,
        });
    }

    /// Stores what is not stored yet, in one transaction.
    async fn save(&mut self, app: &App, now: Timestamp) {
        self.collect_direct(now);
        // While the database is known to fail a transaction could wait for long, and so could the alert that it fails.
        let is_writable = app.recorder.problem().is_none();
        if self.unsaved.is_empty() || !self.direct.is_empty() || !is_writable {
            return;
        }
        match insert_all(app, &self.unsaved).await {
            Ok(()) => {
                self.unsaved.clear();
                self.report(None);
            }
            Err(error) => self.report(Some(&error.to_string())),
        }
    }

    /// Logs that alerts cannot be stored, and when they can again, each once.
    fn report(&mut self, error: Option<&str>) {
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        match error {
            Some(error) if !was_failing => {
                tracing::warn!("alerts cannot be stored, and are sent from memory: {error}");
            }
            None if was_failing => tracing::info!("alerts are stored again"),
            Some(_) | None => {}
        }
    }

    /// Starts to send every message that is due, unless one is being sent to the same target.
    pub async fn start_sending(&mut self, app: &Arc<App>, now: Timestamp) {
        self.collect_direct(now);
        self.workers.retain(|_, worker| !worker.is_finished());
        if !self.unsaved.is_empty() {
            return self.start_direct(app, now);
        }
        if app.recorder.problem().is_some() {
            return;
        }
        let due = match alert_deliveries::list_due_targets(&app.db.readers, now).await {
            Ok(due) => due,
            Err(error) => return self.report(Some(&error.to_string())),
        };
        for id in due {
            self.workers.entry(id).or_insert_with(|| {
                let app = app.clone();
                tokio::spawn(async move {
                    if let Err(error) = send_due(&app, id, now).await {
                        tracing::warn!("the messages of alert target {id} are sent later: {error}");
                    }
                })
            });
        }
    }

    /// Sends messages that the database does not have, from memory.
    fn start_direct(&mut self, app: &Arc<App>, now: Timestamp) {
        if !self.direct.is_empty() {
            return;
        }
        for unsaved in &self.unsaved {
            for delivery in &unsaved.deliveries {
                let target = self.targets.iter();
                let mut target = target.filter(|target| target.id == delivery.target_id);
                let is_due = delivery.state == DeliveryState::Pending && delivery.next_at <= now;
                let Some(target) = target.next().filter(|_| is_due) else {
                    continue;
                };
                let (terms, id) = (target.terms.clone(), delivery.message_id.clone());
                let url = app.config.public_url.as_deref();
                let (phase, event) = (delivery.phase, &unsaved.event);
                let message = AlertMessage::of_event(&id, phase, event, &terms, url);
                self.direct
                    .spawn(async move { (id, send::send(&terms, &message, now).await) });
            }
        }
    }

    /// Counts the attempts for unsaved messages that have ended.
    fn collect_direct(&mut self, now: Timestamp) {
        while let Some(Ok(ended)) = self.direct.try_join_next() {
            self.count(ended, now);
        }
    }

    fn count(&mut self, (id, result): DirectAttempt, now: Timestamp) {
        let unsaved = self.unsaved.iter_mut();
        let mut deliveries = unsaved.flat_map(|unsaved| &mut unsaved.deliveries);
        if let Some(delivery) = deliveries.find(|delivery| delivery.message_id == id) {
            delivery.count_attempt(result, now);
        }
    }

    /// Waits until nothing is being sent.
    pub async fn finish(&mut self, now: Timestamp) {
        for (_, worker) in self.workers.drain() {
            let _ = worker.await;
        }
        while let Some(Ok(ended)) = self.direct.join_next().await {
            self.count(ended, now);
        }
    }
}

impl Drop for AlertWatch {
    /// What is being sent is due again at the next start.
    fn drop(&mut self) {
        for worker in self.workers.values() {
            worker.abort();
        }
    }
}

async fn insert_all(app: &App, unsaved: &[UnsavedChange]) -> Result<()> {
    let mut tx = app.db.begin().await?;
    for UnsavedChange {
        change,
        at,
        deliveries,
        ..
    } in unsaved
    {
        let event = match change {
            AlertChange::Begin(condition) => {
                Some(alert_events::insert(&mut tx, condition, *at).await?)
            }
            AlertChange::End(key) => alert_events::end(&mut tx, key, *at).await?,
        };
        let Some(event) = event else {
            continue;
        };
        for delivery in deliveries {
            alert_deliveries::insert(&mut tx, Some(event), delivery, *at).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Sends the messages that are due for a target, until one fails.
async fn send_due(app: &App, id: AlertTargetId, now: Timestamp) -> Result<()> {
    let target = alert_targets::find(&app.db, id).await?;
    for due in alert_deliveries::list_due(&app.db.readers, id, now).await? {
        let (mut delivery, url) = (due.delivery, app.config.public_url.as_deref());
        let (message_id, phase) = (&delivery.message_id, delivery.phase);
        let message = AlertMessage::of_event(message_id, phase, &due.event, &target.terms, url);
        let result = send::send(&target.terms, &message, now).await;
        let failed = result.as_ref().err().map(|failed| failed.is_gone);
        delivery.count_attempt(result, now);
        let mut tx = app.db.begin().await?;
        alert_deliveries::update(&mut tx, due.id, &delivery).await?;
        if failed == Some(true) {
            let act = Act::without_revision(Actor::schedule(), now);
            alert_targets::update_enabled(&mut tx, id, false, &act).await?;
        }
        tx.commit().await?;
        if failed.is_some() {
            break;
        }
    }
    Ok(())
}
