//! `Recorder`: the one writer of log rows. The rows of many requests share a transaction.

mod counted_model;
mod statistics;
mod tables;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Sqlite, Transaction};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::pool::health::state_change::StateChange;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::storage::checkpoint::WalLimit;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::recorder::tables::{LogBatch, LogStatements};
use crate::storage::request_logs::{self, LogKind, NewRequestLog};
use crate::storage::resources::{self, NewResource};
use crate::storage::rollups::Sample;
use crate::storage::strings::Strings;
use crate::storage::upstream_keys::{Evidence, states};
use crate::storage::write_health::{WriteHealth, WriteProblem};
use crate::storage::{cooldowns, projects, quotas};

/// How many writes share a transaction at most.
const MAX_BATCH: usize = 512;
/// How long the writer pauses after a failed write.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// The queue to which the proxy submits writes.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<WriteCommand>,
    health: Arc<WriteHealth>,
}

/// The other end of the queue, for [`LogWriter::run`].
#[derive(Debug)]
pub struct LogWriter {
    db: Db,
    queue: mpsc::UnboundedReceiver<WriteCommand>,
    health: Arc<WriteHealth>,
    strings: Strings,
    statements: LogStatements,
    wal_limit: WalLimit,
}

#[derive(Debug)]
enum WriteCommand {
    /// A row, running or finished, and the receiver of its commit.
    Row(Box<NewRequestLog>, Option<oneshot::Sender<()>>),
    Change(StateChange, Evidence),
    /// No write: acknowledges that everything before it is committed.
    Flush(oneshot::Sender<()>),
}

impl Recorder {
    /// Makes the queue; nothing is written until the writer runs.
    pub fn new(db: Db) -> (Self, LogWriter) {
        let (sender, queue) = mpsc::unbounded_channel();
        let health = Arc::new(WriteHealth::default());
        let writer = LogWriter {
            db,
            queue,
            health: health.clone(),
            strings: Strings::default(),
            statements: LogStatements::default(),
            wal_limit: WalLimit::default(),
        };
        (
            Self {
                queue: sender,
                health,
            },
            writer,
        )
    }

    /// Submits a finished row. The receiver resolves when it is committed, and fails when the database refused it.
    pub fn record_finished(&self, row: Box<NewRequestLog>) -> oneshot::Receiver<()> {
        let (committed, receiver) = oneshot::channel();
        self.submit(WriteCommand::Row(row, Some(committed)));
        receiver
    }

    /// Submits a row that is still running.
    pub fn record_running(&self, row: Box<NewRequestLog>) {
        self.submit(WriteCommand::Row(row, None));
    }

    /// Submits a change that a verdict made.
    pub fn record_change(&self, change: StateChange, evidence: Evidence) {
        self.submit(WriteCommand::Change(change, evidence));
    }

    /// The receiver resolves when everything submitted before is committed.
    pub fn flush(&self) -> oneshot::Receiver<()> {
        let (committed, receiver) = oneshot::channel();
        self.submit(WriteCommand::Flush(committed));
        receiver
    }

    /// How many writes are not yet committed.
    pub fn pending(&self) -> usize {
        self.health.pending()
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

impl LogWriter {
    /// Writes until every [`Recorder`] is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            // Other ready tasks may submit rows too: yield as long as some do.
            let mut is_idle = false;
            while !is_idle && batch.len() < MAX_BATCH {
                tokio::task::yield_now().await;
                is_idle = self.queue.is_empty();
                while batch.len() < MAX_BATCH
                    && let Ok(write) = self.queue.try_recv()
                {
                    batch.push(write);
                }
            }
            let writes = batch.len();
            self.write_until_committed(&mut batch).await;
            self.wal_limit.count(&self.db, writes).await;
        }
    }

    /// Writes finished rows in one transaction, which no request has waited for: a past that is made up.
    pub async fn write_rows(&mut self, rows: Vec<NewRequestLog>) -> Result<()> {
        let rows = rows
            .into_iter()
            .map(|row| WriteCommand::Row(Box::new(row), None));
        self.write(&rows.collect::<Vec<_>>()).await
    }

    /// Writes a batch, however long the database cannot be written. A commit is acknowledged to its receiver; the sender of a
    /// refused write is dropped.
    async fn write_until_committed(&mut self, batch: &mut Vec<WriteCommand>) {
        if self.write_or_wait(batch).await.is_ok() {
            self.acknowledge(batch.drain(..));
            return;
        }
        // A write was refused: each one alone, so that only the refused ones are lost.
        for write in batch.drain(..) {
            match self.write_or_wait(std::slice::from_ref(&write)).await {
                Ok(()) => self.acknowledge([write].into_iter()),
                Err(error) => self.give_up(&write, &error),
            }
        }
    }

    /// Retries until the writes are committed, or until the database refuses one of them in a transaction that began well.
    /// After any other error they stay in memory.
    async fn write_or_wait(&mut self, batch: &[WriteCommand]) -> Result<()> {
        // Writes are committed in order, so that everything before a flush is committed when it is reached.
        if batch
            .iter()
            .all(|write| matches!(write, WriteCommand::Flush(_)))
        {
            return Ok(());
        }
        let mut has_failed = false;
        loop {
            // After a failure the write-ahead log is copied before anything is added to it: rows that wait could fill the
            // room that a full disk has again with log, which then has none to be copied to.
            let copied = if has_failed {
                self.db.copy_wal().await.map(drop)
            } else {
                Ok(())
            };
            let written = match copied {
                _ if self.health.is_damaged() => Err(Error::Damaged(self.db.path().clone())),
                Ok(()) => self.write(batch).await,
                Err(error) => Err(error),
            };
            let Err(error) = written else {
                let has_rows = batch
                    .iter()
                    .any(|write| matches!(write, WriteCommand::Row(..)));
                self.health.record_success(has_rows);
                return Ok(());
            };
            // A connection to a file that was moved cannot be replaced, and is good once the file is back.
            if !matches!(error, Error::FileMoved(_) | Error::Damaged(_)) {
                self.db.replace_writer();
            }
            // Strings of the transaction that failed are not stored.
            self.strings = Strings::default();
            if error.is_refusal() {
                // The database itself can be written.
                self.health.record_success(false);
                return Err(error);
            }
            self.health.record_failure(&error, self.db.path());
            has_failed = true;
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    fn acknowledge(&self, committed: impl ExactSizeIterator<Item = WriteCommand>) {
        self.health.remove_pending(committed.len());
        for write in committed {
            if let WriteCommand::Row(_, Some(committed)) | WriteCommand::Flush(committed) = write {
                // The receiver may be gone.
                let _ = committed.send(());
            }
        }
    }

    fn give_up(&self, refused: &WriteCommand, error: &Error) {
        self.health.remove_pending(1);
        match refused {
            WriteCommand::Row(row, _) => {
                let id = row.id;
                tracing::error!(request.id = %id, "the log row {id} is lost, the database refused it: {error}");
            }
            WriteCommand::Change(change, _) => {
                tracing::error!("a change is lost, the database refused it: {error}: {change:?}");
            }
            WriteCommand::Flush(_) => {}
        }
    }

    /// One transaction: rows, attempts, statistics and sums, which so always agree, and what requests have made.
    async fn write(&mut self, batch: &[WriteCommand]) -> Result<()> {
        let mut tx = self.db.begin().await?;
        self.strings.begin(&self.db.string_deletions);
        let mut rows = LogBatch::default();
        let mut batch_statistics = BatchStatistics::default();
        let (mut changes, mut checked) = (Vec::new(), Vec::new());
        let (mut created, mut deleted) = (Vec::new(), Vec::new());
        for write in batch {
            match write {
                WriteCommand::Row(row, _) => {
                    // A row may be opened and finished in one batch: the later line stands.
                    let model = rows.add_row(row, &mut tx, &mut self.strings).await?;
                    created.extend(NewResource::created_by(row));
                    deleted.extend(row.deleted_resources.iter().map(String::as_str));
                    if row.outcome.is_some() && row.kind == LogKind::Request {
                        batch_statistics.add_row(row, model);
                    }
                    if row.kind == LogKind::Check {
                        batch_statistics.add_check(row, model);
                        checked.extend(row.attempts.first());
                    }
                }
                WriteCommand::Change(change, evidence) => changes.push((change, evidence)),
                WriteCommand::Flush(_) => {}
            }
        }
        rows.add_statistics(&batch_statistics);
        for (change, evidence) in changes {
            apply(&mut tx, change, evidence).await?;
        }
        for attempt in checked {
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            states::update_checked_at(&mut *tx, id, at).await?;
        }
        rows.write(&mut tx, &mut self.statements).await?;
        // Apart from the lines, because few requests make anything. What was made anew under a name just deleted stays.
        if !deleted.is_empty() {
            resources::delete(&mut *tx, &deleted).await?;
        }
        if !created.is_empty() {
            resources::upsert(&mut *tx, &created).await?;
        }
        // As late as possible: what is committed to a file that is gone would be acknowledged, and lost.
        self.db.check_file()?;
        tx.commit().await?;
        Ok(())
    }
}

async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    change: &StateChange,
    evidence: &Evidence,
) -> Result<()> {
    match change {
        StateChange::Key { id, condition } => {
            states::update_condition(&mut **tx, *id, condition, evidence).await
        }
        StateChange::Checked { id, condition } => {
            states::update_checked_condition(&mut **tx, *id, condition).await
        }
        StateChange::Cooldown {
            project_id,
            model,
            cooldown,
        } => cooldowns::upsert(&mut **tx, *project_id, model, cooldown, evidence).await,
        StateChange::CooldownLifted { project_id, model } => {
            cooldowns::delete(&mut **tx, *project_id, model).await
        }
        StateChange::Limit {
            project_id,
            model,
            measure,
            limit,
            at,
            is_known: _,
        } => {
            let (id, db) = (*project_id, &mut **tx);
            quotas::upsert_limit(db, id, model, *measure, *limit, *at, evidence).await
        }
        StateChange::Billing {
            project_id,
            billing,
        } => projects::record_billing(tx, *project_id, *billing).await,
        StateChange::Project { id, number } => {
            projects::record_number(tx, *id, number, clock::now()).await?;
            Ok(())
        }
    }
}

/// Ends what a run that died left unfinished, with its sums, in one transaction. Returns how many rows.
pub async fn interrupt_running(db: &Db) -> Result<u64> {
    let mut tx = db.begin().await?;
    let mut statistics = BatchStatistics::default();
    // Their models are those that the rollups count them under.
    let interrupted = request_logs::interrupt_running(&mut tx).await?;
    let requests = interrupted.iter();
    for row in requests.filter(|row| row.kind == LogKind::Request) {
        let (usage, no_usage) = (row.usage(), TokenUsage::default());
        let sample = Sample {
            outcome: Outcome::Interrupted,
            usage: &usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms.map(u64::from),
            duration_ms: row.duration_ms.map(u64::from),
        };
        statistics.add_request(row.started_at, row.model_id, row.client_key_id, sample);
        let attempts = request_logs::list_attempts_of(&mut tx, row.id).await?;
        let count = attempts.len();
        for (number, attempt) in (1..).zip(attempts) {
            let is_last = number == count;
            let sample = Sample {
                outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
                usage: if is_last { &usage } else { &no_usage },
                cost_nano_usd: row.cost_nano_usd.filter(|_| is_last),
                // Not in the row of an attempt.
                first_byte_ms: None,
                duration_ms: attempt.duration_ms.map(u64::from),
            };
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            statistics.add_attempt(at, id, sample, None);
        }
    }
    let mut batch = LogBatch::default();
    batch.add_statistics(&statistics);
    batch.write(&mut tx, &mut LogStatements::default()).await?;
    cooldowns::delete_expired(&mut *tx, clock::now()).await?;
    tx.commit().await?;
    Ok(u64::try_from(interrupted.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub mod tests;
