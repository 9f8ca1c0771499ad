//! Small chores: sums up guesses of client keys, wipes the secrets of keys removed a day ago.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::pool::guessing::Unrecorded;
use crate::pool::outcome::Outcome;
use crate::pool::usage::Usage;
use crate::storage::request_logs::{Kind, NewRequestLog};
use crate::storage::upstream_keys;

const PERIOD: Duration = Duration::from_secs(5);
/// How long a removed key's secret is kept, so that the removal can be undone.
const UNDO: Duration = Duration::from_hours(24);

/// Does the chores for ever.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        pass(&app, clock::now()).await;
    }
}

/// Does the chores that are due at `now`.
pub async fn pass(app: &Arc<App>, now: Timestamp) {
    let unrecorded = app
        .guesses
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .sweep(now);
    for guesses in unrecorded {
        app.recorder.finish(Box::new(row_of(app, guesses, now)));
    }
    if let Err(error) = upstream_keys::wipe_removed(&app.db.writer, now - UNDO).await {
        tracing::warn!("secrets of removed keys could not be wiped: {error}");
    }
}

/// One row for many failures.
fn row_of(app: &App, guesses: Unrecorded, now: Timestamp) -> NewRequestLog {
    let (count, address) = (guesses.count, guesses.address);
    NewRequestLog {
        id: app.ids.next(now),
        started_at: now,
        kind: Kind::Request,
        client_key_id: None,
        client_ip: Some(address.to_string()),
        user_agent: None,
        method: "*".to_owned(),
        path: "*".to_owned(),
        model: None,
        model_version: None,
        operation: None,
        streamed: false,
        status: Some(401),
        outcome: Some(Outcome::Refused),
        error: Some(format!(
            "{count} more requests without a valid client key within a minute"
        )),
        attempts: Vec::new(),
        wait_ms: 0,
        first_byte_ms: None,
        duration_ms: Some(0),
        request_bytes: 0,
        response_bytes: 0,
        usage: Usage::default(),
        finish_reason: None,
        service_tier: None,
        cost_nano_usd: None,
    }
}
