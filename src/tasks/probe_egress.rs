//! Probes egress proxies that are broken, so that those that work again are used again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::app::App;
use crate::clock::{self, Timestamp, ticks};
use crate::gemini::reachability;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::request_id::RequestId;
use crate::storage::upstream_keys::Evidence;

const PERIOD: Duration = Duration::from_secs(1);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    loop {
        ticks.tick().await;
        pass(&app, clock::now()).await;
    }
}

/// Sends a request without a key through each proxy whose probe is due at `now`: any answer shows that it works.
pub async fn pass(app: &App, now: Timestamp) {
    let due = app.keys.lock().begin_egress_probes(now);
    join_all(due.into_iter().map(|id| probe(app, id))).await;
}

async fn probe(app: &App, id: EgressProxyId) {
    let found = reachability::check(&app.gemini, Some(id)).await;
    let evidence = Evidence {
        status: found.as_ref().ok().map(|found| found.status),
        message: match &found {
            Ok(_) => String::new(),
            Err(error) => app.redactor().redact_for_row(&error.message),
        },
        // No request of a client.
        request_id: RequestId(0),
    };
    let mut keys = app.keys.lock();
    let change = keys.end_egress_probe(id, found.is_ok(), clock::now());
    // Under the lock, so that changes are stored in the order of the results.
    if let Some(change) = &change {
        app.recorder.record_change(change.clone(), evidence);
    }
    drop(keys);
    if let Some(change) = change.filter(|_| found.is_ok()) {
        app.key_queue.notify();
        tracing::info!(egress_proxy.id = id.0, "{change}");
    }
}
