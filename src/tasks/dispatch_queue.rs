//! Dispatches queued requests whenever a lease is released or a cooldown ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::clock::{self, Timestamp};

/// Maximum time between two passes without a known cooldown end: the queue's notification covers everything else.
const MAX_IDLE: Duration = Duration::from_mins(1);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut next = None;
    loop {
        let wait = next.map_or(MAX_IDLE, |at: Timestamp| at - clock::now());
        // A timeout and a notification both cause a pass.
        let _ = timeout(wait, app.key_queue.notified()).await;
        next = pass(&app, clock::now());
    }
}

/// Dispatches all requests that can get a key at `now`. Returns the time of the next pass.
pub fn pass(app: &App, now: Timestamp) -> Option<Timestamp> {
    app.key_queue.dispatch(&app.keys, now)
}
