//! Lends to requests that wait, whenever a key is given back or a rest ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::clock::{self, Timestamp};

/// How long nobody looks while nobody knows of a time: the bell tells of everything else.
const MAX_IDLE: Duration = Duration::from_mins(1);

/// Lends for ever.
pub async fn run(app: Arc<App>) {
    let mut next = None;
    loop {
        let wait = next.map_or(MAX_IDLE, |at: Timestamp| at - clock::now());
        // Either the bell or the time: both mean to look.
        let _ = timeout(wait, app.key_queue.notified()).await;
        next = pass(&app, clock::now());
    }
}

/// Lends what can be lent at `now`. Returns when to look again.
pub fn pass(app: &App, now: Timestamp) -> Option<Timestamp> {
    app.key_queue.dispatch(&app.keys, now)
}
