//! `Traces`: requests that have ended, on their way to a collector of OpenTelemetry.

pub mod exporter;
pub mod spans;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pool::traceparent::TraceParent;
use crate::storage::request_logs::NewRequestLog;

/// Requests that wait at most; those beyond are not traced.
const MAX_WAITING: usize = 2_048;

/// A request that has ended, and the span of its client that it belongs to.
#[derive(Debug)]
pub struct EndedRequest {
    pub row: NewRequestLog,
    pub parent: Option<TraceParent>,
}

/// The queue between requests and the task that exports them.
#[derive(Debug, Default)]
pub struct Traces {
    waiting: Mutex<Vec<EndedRequest>>,
    notify: Notify,
    /// Requests that wait or are being exported.
    pending: AtomicUsize,
    exported: Notify,
    /// Requests that were not exported, since the start.
    dropped: AtomicU64,
}

impl Traces {
    /// Submits a request that has ended. A full queue drops it: no request waits for a collector.
    pub fn submit(&self, request: EndedRequest) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            drop(waiting);
            self.count_dropped(1);
            return;
        }
        self.pending.fetch_add(1, Ordering::SeqCst);
        waiting.push(request);
        drop(waiting);
        self.notify.notify_one();
    }

    /// Waits for requests, and takes all of them.
    pub async fn take(&self) -> Vec<EndedRequest> {
        loop {
            let taken = self.take_waiting();
            if !taken.is_empty() {
                return taken;
            }
            self.notify.notified().await;
        }
    }

    /// Takes all requests that wait now.
    pub fn take_waiting(&self) -> Vec<EndedRequest> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// Counts requests that were taken and are exported, or lost.
    pub fn finish(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
        self.exported.notify_waiters();
    }

    pub fn count_dropped(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Requests that were not exported, since the start of the server.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything submitted before is exported or lost.
    pub async fn settle(&self) {
        loop {
            let exported = self.exported.notified();
            if self.pending.load(Ordering::SeqCst) == 0 {
                return;
            }
            exported.await;
        }
    }
}
