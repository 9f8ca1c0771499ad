//! `Traces`: requests that have ended, on their way to a collector of OpenTelemetry.

pub mod exporter;
pub mod spans;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pool::settings::Settings;
use crate::pool::traceparent::{TraceParent, UpstreamTraceParent};
use crate::storage::request_logs::NewRequestLog;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Requests that wait at most; those beyond are not traced.
const MAX_WAITING: usize = 2_048;

/// A request that has ended, and its place in a trace.
#[derive(Debug)]
pub struct EndedRequest {
    pub row: NewRequestLog,
    pub place: TracePlace,
}

/// The place of a request in a trace.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracePlace {
    /// The span of the client that the request belongs to.
    pub parent: Option<TraceParent>,
    /// The request's own span, if Google received its ids; otherwise they are drawn when it has ended.
    pub own: Option<TraceParent>,
}

impl TracePlace {
    /// The place below the span that the client names.
    pub fn of_client(headers: &HeaderMap) -> Self {
        let parent = headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok());
        Self {
            parent: parent.and_then(TraceParent::parse),
            own: None,
        }
    }

    /// Whether the request is a part of a trace: not if the client does not sample it.
    pub fn is_traced(&self) -> bool {
        self.parent.is_none_or(|parent| parent.is_sampled)
    }

    /// Changes the headers for Google as the settings say.
    pub fn apply(&mut self, settings: &Settings, headers: &mut HeaderMap) {
        match settings.upstream_traceparent {
            UpstreamTraceParent::Client => {}
            UpstreamTraceParent::None => {
                headers.remove(TRACEPARENT);
                headers.remove(TRACESTATE);
            }
            UpstreamTraceParent::Pool => {
                if settings.otlp_endpoint.is_empty() || !self.is_traced() {
                    return;
                }
                let new_trace = || rand::random_range(1..=u128::MAX);
                let own = TraceParent {
                    trace_id: self.parent.map_or_else(new_trace, |parent| parent.trace_id),
                    span_id: rand::random_range(1..=u64::MAX),
                    is_sampled: true,
                };
                if self.parent.is_none() {
                    // It belongs to the trace of a `traceparent` that could not be read.
                    headers.remove(TRACESTATE);
                }
                let value = HeaderValue::try_from(own.to_string());
                headers.insert(TRACEPARENT, value.expect("the ids are ASCII"));
                self.own = Some(own);
            }
        }
    }
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
