//! Periodic cleanup: writes rows that count unrecorded refusals, wipes the secrets of keys and proxies removed a day
//! ago and of ended rotations, and deletes expired sign-ins, unconfirmed imports, kept answers of the API and old
//! alerts.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app::App;
use crate::auth::session;
use crate::clock::{self, Timestamp, ticks};
use crate::pool::clients::auth_failures::UnrecordedFailures;
use crate::pool::outcome::Outcome;
use crate::storage::alert_events;
use crate::storage::api_answers;
use crate::storage::client_keys::rotation;
use crate::storage::egress_proxies;
use crate::storage::request_logs::NewRequestLog;
use crate::storage::upstream_keys;
use crate::storage::upstream_keys::removal::SECRET_KEPT;

const PERIOD: Duration = Duration::from_secs(5);
/// What has expired in the database is deleted within a minute.
const TICKS_PER_DATABASE_SWEEP: u32 = 12;

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    for tick in 0_u32.. {
        ticks.tick().await;
        sweep_memory(&app, clock::now());
        if tick.is_multiple_of(TICKS_PER_DATABASE_SWEEP) {
            sweep_database(&app, clock::now()).await;
        }
    }
}

/// Runs the cleanup that is due at `now`.
pub async fn pass(app: &App, now: Timestamp) {
    sweep_memory(app, now);
    sweep_database(app, now).await;
}

fn sweep_memory(app: &App, now: Timestamp) {
    let failures = app.auth_failures.lock().sweep(now);
    let wrong_bases = app.wrong_bases.lock().sweep(now);
    for (unrecorded, status, what) in [
        (failures, 401, "without a valid client key"),
        (wrong_bases, 404, "below a wrong base URL"),
    ] {
        for UnrecordedFailures { address, count } in unrecorded {
            let error = format!("{count} more requests {what} within a minute");
            let row = row(app, now, Some(address), status, error);
            drop(app.recorder.record_finished(Box::new(row)));
        }
    }
    // A wrong token of the admin API is no row of the log.
    drop(app.api_token_failures.lock().sweep(now));
    app.login_throttle.lock().sweep(now);
    app.my_usage_throttle.lock().sweep(now);
    if !app.recorder.is_failing() {
        let count = app.unrecorded_refusals.swap(0, Ordering::Relaxed);
        if count > 0 {
            let error =
                format!("{count} requests were refused while the database could not be written");
            drop(
                app.recorder
                    .record_finished(Box::new(row(app, now, None, 503, error))),
            );
        }
    }
    app.jobs.remove_expired(now);
}

async fn sweep_database(app: &App, now: Timestamp) {
    if let Err(error) =
        upstream_keys::removal::wipe_removed(&app.db.writer, now - SECRET_KEPT).await
    {
        tracing::warn!("secrets of removed keys could not be wiped: {error}");
    }
    if let Err(error) = egress_proxies::wipe_removed(&app.db.writer, now - SECRET_KEPT).await {
        tracing::warn!("credentials of removed egress proxies could not be wiped: {error}");
    }
    if let Err(error) = api_answers::delete_old(&app.db.writer, now).await {
        tracing::warn!("old answers of the admin API could not be deleted: {error}");
    }
    let uses = std::mem::take(&mut *app.old_secret_uses.lock());
    let uses: Vec<_> = uses.into_iter().collect();
    let recorded = rotation::record_uses(&app.db.writer, &uses).await;
    if recorded.is_err() {
        let mut unrecorded = app.old_secret_uses.lock();
        for (id, at) in uses {
            unrecorded.entry(id).or_insert(at);
        }
    }
    if let Err(error) = recorded.and(rotation::wipe_ended(&app.db.writer, now).await) {
        tracing::warn!("old secrets of client keys could not be updated: {error}");
    }
    if let Err(error) = session::delete_expired_sessions(&app.db, now).await {
        tracing::warn!("expired sign-ins could not be deleted: {error}");
    }
    if let Err(error) = alert_events::sweep(&app.db.writer, now).await {
        tracing::warn!("old alerts could not be deleted: {error}");
    }
}

/// One row for many requests without rows of their own.
fn row(
    app: &App,
    now: Timestamp,
    address: Option<IpAddr>,
    status: u16,
    error: String,
) -> NewRequestLog {
    NewRequestLog {
        client_ip: address.map(|address| address.to_string()),
        status: Some(status),
        outcome: Some(Outcome::Refused),
        error: Some(error),
        duration_ms: Some(0),
        ..NewRequestLog::started(
            app.request_ids.next(now),
            now,
            "*".to_owned(),
            "*".to_owned(),
        )
    }
}
