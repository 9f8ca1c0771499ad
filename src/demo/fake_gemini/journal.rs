//! `Journal`: the received requests and their ends, for tests.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::keys::FakeKeyState;
use super::resources::received_body::ReceivedBody;
use super::state::FakeState;

/// How much of each request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingLevel {
    /// Counts only, for load.
    Counts,
    Heads,
    Bodies,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub at_ms: i64,
    pub method: String,
    /// As received, without decoding.
    pub path_and_query: String,
    pub version: http::Version,
    /// In the received order, except that repeated names are grouped.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Empty unless bodies are recorded, and for the bytes of uploads.
    pub body: Bytes,
    pub body_bytes: usize,
    /// Its key, if there was exactly one.
    pub key: Option<String>,
}

impl ReceivedRequest {
    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// A client that disconnected before the end of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDisconnect {
    pub at_ms: i64,
    pub key: Option<String>,
    /// Number of pieces of the body that were sent; 0: perhaps not even the head.
    pub chunks_sent: usize,
}

/// Maximum number of requests kept; the oldest are dropped first.
const MAX_RECEIVED: usize = 10_000;

#[derive(Default)]
pub struct Journal {
    pub requests: AtomicU64,
    pub open_connections: AtomicUsize,
    pub connections: AtomicU64,
    pub open_responses: AtomicUsize,
    pub open_streams: AtomicUsize,
    received: Mutex<VecDeque<ReceivedRequest>>,
    disconnects: Mutex<Vec<ClientDisconnect>>,
}

impl Journal {
    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> CountedConnection<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open_connections.fetch_add(1, Ordering::Relaxed);
        CountedConnection(&self.open_connections)
    }

    pub fn record(
        &self,
        recording: RecordingLevel,
        at_ms: i64,
        head: &Parts,
        received_body: &ReceivedBody,
        key: Option<&str>,
    ) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if recording == RecordingLevel::Counts {
            return;
        }
        let headers = head.headers.iter();
        let received = ReceivedRequest {
            at_ms,
            method: head.method.to_string(),
            path_and_query: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            version: head.version,
            headers: headers
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: match recording {
                RecordingLevel::Bodies => received_body.text.clone(),
                RecordingLevel::Counts | RecordingLevel::Heads => Bytes::new(),
            },
            body_bytes: received_body.bytes,
            key: key.map(str::to_owned),
        };
        let mut kept = self.received.lock();
        if kept.len() == MAX_RECEIVED {
            kept.pop_front();
        }
        kept.push_back(received);
    }

    pub fn received(&self) -> Vec<ReceivedRequest> {
        let kept = self.received.lock();
        kept.iter().cloned().collect()
    }

    pub fn disconnects(&self) -> Vec<ClientDisconnect> {
        let disconnects = self.disconnects.lock();
        disconnects.clone()
    }

    /// Forgets ended requests, and keeps the open ones.
    pub fn reset(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.connections.store(0, Ordering::Relaxed);
        let mut received = self.received.lock();
        received.clear();
        let mut disconnects = self.disconnects.lock();
        disconnects.clear();
    }
}

pub struct CountedConnection<'a>(&'a AtomicUsize);

impl Drop for CountedConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer in progress. Dropped before `finish`, it counts as a client that disconnected.
pub struct OpenResponse {
    state: Arc<FakeState>,
    key: Option<Arc<FakeKeyState>>,
    /// Cancelled when the fake itself cuts connections off: no client disconnected then.
    cut_off: CancellationToken,
    is_stream: bool,
    finished: bool,
    pub chunks_sent: usize,
}

impl OpenResponse {
    pub fn begin(state: Arc<FakeState>, cut_off: CancellationToken) -> Self {
        let journal = &state.journal;
        journal.open_responses.fetch_add(1, Ordering::Relaxed);
        Self {
            state,
            key: None,
            cut_off,
            is_stream: false,
            finished: false,
            chunks_sent: 0,
        }
    }

    pub fn set_key(&mut self, key: Arc<FakeKeyState>) {
        key.begin_request();
        self.key = Some(key);
    }

    pub fn mark_stream(&mut self) {
        self.is_stream = true;
        let journal = &self.state.journal;
        journal.open_streams.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the end of the answer, as its behaviour intends.
    pub fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for OpenResponse {
    fn drop(&mut self) {
        let journal = &self.state.journal;
        journal.open_responses.fetch_sub(1, Ordering::Relaxed);
        if self.is_stream {
            journal.open_streams.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(key) = &self.key {
            key.end_request();
        }
        if !self.finished && !self.cut_off.is_cancelled() {
            let disconnect = ClientDisconnect {
                at_ms: (self.state.clock)(),
                key: self.key.as_ref().map(|key| key.secret.clone()),
                chunks_sent: self.chunks_sent,
            };
            let mut disconnects = journal.disconnects.lock();
            disconnects.push(disconnect);
        }
    }
}
