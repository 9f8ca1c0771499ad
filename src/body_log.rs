//! `BodyLog`: bodies that wait to be stored. They are captured beside the requests, in limited memory, and lost when it is full.

pub mod capture;
pub mod redaction;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::body_log::capture::{BodyCapture, CaptureMemory, CapturedBodies};
use crate::gemini::redact::Redactor;
use crate::pool::body_log::{BodyLogMode, lists_client};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::settings::Settings;

/// The queue between requests and the task that stores bodies.
#[derive(Debug, Default)]
pub struct BodyLog {
    queue: Mutex<VecDeque<CapturedBodies>>,
    notify: Notify,
    memory: Arc<CaptureMemory>,
    /// Bodies that are in the queue or being stored.
    pending: AtomicUsize,
    stored: Notify,
}

impl BodyLog {
    /// Begins to capture the bodies of a request, if they may be kept. `sample` draws a number from 0 to 99. With the mode off, one
    /// comparison is all that a request costs.
    pub fn begin(
        &self,
        settings: &Settings,
        client: ClientKeyId,
        sample: impl FnOnce() -> u64,
        redactor: impl FnOnce() -> Arc<Redactor>,
    ) -> Option<Box<BodyCapture>> {
        let is_kept = settings.body_log_mode != BodyLogMode::Off
            && lists_client(&settings.body_log_client_keys, client)
            && sample() < settings.body_log_sample_percent;
        let max_bytes = usize::try_from(settings.body_log_max_bytes).unwrap_or(usize::MAX);
        is_kept.then(|| {
            let mode = settings.body_log_mode;
            Box::new(BodyCapture::new(mode, max_bytes, redactor(), &self.memory))
        })
    }

    /// Submits the bodies of a request that has ended.
    pub fn submit(&self, bodies: CapturedBodies) {
        self.pending.fetch_add(1, Ordering::SeqCst);
        self.queue.lock().push_back(bodies);
        self.notify.notify_one();
    }

    /// Waits for bodies, and takes up to `limit` of them.
    pub async fn take(&self, limit: usize) -> Vec<CapturedBodies> {
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.is_empty() {
                    let count = queue.len().min(limit);
                    return queue.drain(..count).collect();
                }
            }
            self.notify.notified().await;
        }
    }

    /// Counts bodies that were taken and are stored, or lost.
    pub fn finish(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
        self.stored.notify_waiters();
    }

    /// Waits until everything submitted before is stored.
    pub async fn settle(&self) {
        loop {
            let stored = self.stored.notified();
            if self.pending.load(Ordering::SeqCst) == 0 {
                return;
            }
            stored.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientKeyId = ClientKeyId(7);

    #[test]
    fn nothing_is_prepared_for_a_request_whose_bodies_are_not_kept() {
        let log = BodyLog::default();
        for (mode, clients, sample_percent, is_kept) in [
            (BodyLogMode::Off, "", 100, false),
            (BodyLogMode::All, "", 100, true),
            (BodyLogMode::Errors, "7", 100, true),
            (BodyLogMode::All, "8", 100, false),
            (BodyLogMode::All, "", 31, true),
            (BodyLogMode::All, "", 30, false),
        ] {
            let settings = Settings {
                body_log_mode: mode,
                body_log_client_keys: clients.to_owned(),
                body_log_sample_percent: sample_percent,
                ..Settings::default()
            };
            let mut has_redactor = false;
            let capture = log.begin(
                &settings,
                CLIENT,
                || 30,
                || {
                    has_redactor = true;
                    Arc::default()
                },
            );
            let case = format!("{mode:?} {clients} {sample_percent}");
            assert_eq!(
                (capture.is_some(), has_redactor),
                (is_kept, is_kept),
                "{case}"
            );
        }
    }
}
