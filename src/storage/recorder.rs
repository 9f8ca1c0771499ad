//! `Recorder`: how rows and state changes are submitted to the one task that writes them.
//!
//! The commit that a client waits for appends a batch to the journal. Folds move many batches at once to the tables, in one
//! transaction with the statistics and rollups.

mod counted_model;
mod fold_schedule;
mod index_schedule;
pub mod interrupted;
pub mod journal;
mod log_writer;
mod portion;
pub mod rebuild;
mod statistics;
mod stored_sketches;
pub mod table_writer;
mod tables;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::pool::health::state_change::StateChange;
use crate::pool::traffic_counters::TrafficCounters;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::recorder::fold_schedule::FoldSchedule;
use crate::storage::recorder::journal::Write;
pub use crate::storage::recorder::log_writer::LogWriter;
use crate::storage::recorder::log_writer::WriteCommand;
use crate::storage::request_logs::NewRequestLog;
use crate::storage::upstream_keys::Evidence;
use crate::storage::write_health::{WriteHealth, WriteProblem};

/// How long a page waits for the journal at most.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The queue to which the proxy submits writes.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<WriteCommand>,
    health: Arc<WriteHealth>,
    traffic: Arc<Mutex<TrafficCounters>>,
}

impl Recorder {
    /// Makes the queue; nothing is written until the writer runs. Only for the server, which holds the lock of the database.
    pub fn new(db: Db) -> (Self, LogWriter) {
        Self::with_schedule(db, FoldSchedule::default())
    }

    /// The same for a command, which writes to the tables at once: the journal belongs to the server.
    pub fn without_journal(db: Db) -> (Self, LogWriter) {
        Self::with_schedule(db, FoldSchedule::without_journal())
    }

    fn with_schedule(db: Db, schedule: FoldSchedule) -> (Self, LogWriter) {
        let (sender, queue) = mpsc::unbounded_channel();
        let health = Arc::new(WriteHealth::default());
        let traffic = Arc::<Mutex<TrafficCounters>>::default();
        let writer = LogWriter::new(db, queue, (health.clone(), traffic.clone()), schedule);
        (
            Self {
                queue: sender,
                health,
                traffic,
            },
            writer,
        )
    }

    /// Submits a finished row. The receiver resolves when it is committed, and fails when the database refused it.
    pub fn record_finished(&self, row: Box<NewRequestLog>) -> oneshot::Receiver<()> {
        let (committed, receiver) = oneshot::channel();
        self.submit(WriteCommand::Write(Write::Row(row), Some(committed)));
        receiver
    }

    /// Submits a row that is still running.
    pub fn record_running(&self, row: Box<NewRequestLog>) {
        self.submit(WriteCommand::Write(Write::Row(row), None));
    }

    /// Submits a change that a verdict made.
    pub fn record_change(&self, change: StateChange, evidence: Evidence) {
        self.submit(WriteCommand::Write(Write::Change(change, evidence), None));
    }

    /// The receiver resolves when everything submitted before is in its tables.
    pub fn flush(&self) -> oneshot::Receiver<()> {
        let (committed, receiver) = oneshot::channel();
        self.submit(WriteCommand::Flush(committed));
        receiver
    }

    /// Waits until everything submitted before is in its tables, for at most a second; not at all while the database fails.
    pub async fn settle(&self) {
        if !self.is_failing() {
            let _ = tokio::time::timeout(SETTLE_TIMEOUT, self.flush()).await;
        }
    }

    /// How many writes are not yet committed.
    pub fn pending(&self) -> usize {
        self.health.pending()
    }

    /// How many writes were committed since the start.
    pub fn committed(&self) -> u64 {
        self.health.committed()
    }

    /// Sums of the rows that came into their tables since the start.
    pub fn traffic(&self) -> TrafficCounters {
        self.traffic.lock().clone()
    }

    /// Whether the last write or probe failed.
    pub fn is_failing(&self) -> bool {
        self.problem().is_some()
    }

    /// Why the last write or probe failed; `None`: it succeeded.
    pub fn problem(&self) -> Option<WriteProblem> {
        self.health.problem()
    }

    /// Records whether the database could be written just now, had there been something.
    pub fn record_probe(&self, result: &Result<()>, path: &Path) {
        self.health.record_probe(result, path);
    }

    fn submit(&self, write: WriteCommand) {
        self.health.add_pending();
        // The writer outlives every request.
        let _ = self.queue.send(write);
    }
}

#[cfg(test)]
pub mod tests;
