//! `ProbeRequests`: has the database probed before a handler reports whether it can be written, at most once a second.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::clock;

/// A result of this age is new enough, so that many requests cause few probes.
const MAX_AGE: Duration = Duration::from_secs(1);
/// A probe of a locked database takes seconds: then the last result is reported.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Requests for probes, and when the last one ended.
#[derive(Debug, Default)]
pub struct ProbeRequests {
    wanted: Notify,
    last_end: watch::Sender<Option<Instant>>,
}

impl ProbeRequests {
    /// Waits until the last probe is recent, but not for long.
    pub async fn refresh(&self) {
        let is_recent =
            |end: &Option<Instant>| end.is_some_and(|end| clock::instant() - end < MAX_AGE);
        let mut last_end = self.last_end.subscribe();
        if !is_recent(&last_end.borrow()) {
            self.wanted.notify_one();
            // After the time limit the last result stands.
            let _ = timeout(MAX_WAIT, last_end.changed()).await;
        }
    }

    /// Waits for a request.
    pub async fn requested(&self) {
        self.wanted.notified().await;
    }

    /// Notes that a probe has ended and its result is recorded.
    pub fn set_done(&self) {
        self.last_end.send_replace(Some(clock::instant()));
    }
}
