//! Probes whether the database can be read and written, so that `/readyz` reports it even while no row is written.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::ticks;
use crate::storage::wal_watch::WalWatch;

const PERIOD: Duration = Duration::from_secs(1);
/// The interval while nothing is written and no result is requested.
const IDLE_PERIOD: Duration = Duration::from_mins(1);

/// Probes until the server stops: each second while the database is written or fails, else when a result is requested.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    let mut log = WalWatch::new(app.db.path());
    let mut idle = IDLE_PERIOD;
    loop {
        let is_requested = tokio::select! {
            _ = ticks.tick() => false,
            () = app.probe_requests.requested() => true,
        };
        idle += PERIOD;
        let is_due = is_requested
            || idle >= IDLE_PERIOD
            || log.has_changed()
            || app.recorder.is_failing()
            || app.db.check_file().is_err();
        if is_due {
            let result = app.db.probe().await;
            app.recorder.record_probe(&result, app.db.path());
            app.probe_requests.set_done();
            idle = Duration::ZERO;
        }
    }
}
