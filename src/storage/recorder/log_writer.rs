//! `LogWriter`: commits what is submitted, in batches, and folds the journal beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::pool::outcome::Outcome;
use crate::pool::traffic_counters::{CountedRequest, TrafficCounters};
use crate::storage::checkpoint::WalLimit;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::key_index;
use crate::storage::recorder::fold_schedule::FoldSchedule;
use crate::storage::recorder::index_schedule::IndexSchedule;
use crate::storage::recorder::journal::{self, Write};
use crate::storage::recorder::table_writer::{RefusedWrite, TableWriter, report_refused};
use crate::storage::request_logs::{LogKind, NewRequestLog};
use crate::storage::write_health::WriteHealth;

/// How many writes share a commit at most.
const MAX_BATCH: usize = 256;
/// How long the writer pauses after a failed write.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// What is submitted to the writer.
#[derive(Debug)]
pub(super) enum WriteCommand {
    /// A write, and the receiver of its commit.
    Write(Write, Option<oneshot::Sender<()>>),
    /// No write: acknowledges that everything before it is in its tables.
    Flush(oneshot::Sender<()>),
}

/// The other end of the queue of a [`Recorder`](super::Recorder).
#[derive(Debug)]
pub struct LogWriter {
    db: Db,
    queue: mpsc::UnboundedReceiver<WriteCommand>,
    health: Arc<WriteHealth>,
    traffic: Arc<Mutex<TrafficCounters>>,
    tables: TableWriter,
    schedule: FoldSchedule,
    /// `None` in a command: the server adds requests to the indexes.
    index_schedule: Option<IndexSchedule>,
    journal: Journal,
    wal_limit: WalLimit,
}

/// The journal's entries of this process, oldest first, as they are in the database.
#[derive(Debug, Default)]
struct Journal {
    entries: VecDeque<Entry>,
    /// The id of the last entry; `None`: not read yet.
    last_id: Option<i64>,
    /// Receivers that wait until every entry up to this one is folded.
    flushes: VecDeque<(i64, oneshot::Sender<()>)>,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    writes: Vec<Write>,
}

/// What was submitted together.
#[derive(Debug, Default)]
struct Batch {
    writes: Vec<Write>,
    /// The receiver of each write's commit.
    commits: Vec<Option<oneshot::Sender<()>>>,
    flushes: Vec<oneshot::Sender<()>>,
}

/// A step that is repeated until the database takes it.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// Commits a batch to the journal.
    Append(&'a [Write]),
    /// Commits a batch to the tables.
    Write(&'a [Write]),
    /// Moves entries to the tables.
    Fold(&'a [Entry]),
    /// Adds so many attempts to the indexes of keys and projects.
    Index(u32),
}

impl LogWriter {
    pub(super) fn new(
        db: Db,
        queue: mpsc::UnboundedReceiver<WriteCommand>,
        (health, traffic): (Arc<WriteHealth>, Arc<Mutex<TrafficCounters>>),
        schedule: FoldSchedule,
    ) -> Self {
        Self {
            db,
            queue,
            health,
            traffic,
            tables: TableWriter::default(),
            index_schedule: schedule.has_journal().then(IndexSchedule::default),
            schedule,
            journal: Journal::default(),
            wal_limit: WalLimit::default(),
        }
    }

    /// Writes until every [`Recorder`](super::Recorder) is gone, the queue is empty and the journal is folded.
    pub async fn run(mut self) {
        let mut received = Vec::with_capacity(MAX_BATCH);
        while self.receive(&mut received).await {
            self.fold_while(FoldSchedule::is_full).await;
            let mut batch = Batch::default();
            batch.extend(received.drain(..));
            self.commit(batch).await;
            if self.schedule.is_due(clock::instant()) {
                self.fold_portion().await;
            }
            self.index_portion().await;
        }
        self.fold_while(|schedule| schedule.due_at().is_some())
            .await;
    }

    /// Writes finished rows in one transaction, which no request has waited for: a past that is made up.
    pub async fn write_rows(&mut self, rows: Vec<NewRequestLog>) -> Result<()> {
        let rows = rows.into_iter().map(|row| Write::Row(Box::new(row)));
        let rows: Vec<_> = rows.collect();
        let refused = self
            .tables
            .write(&self.db, &rows.iter().collect::<Vec<_>>(), &[])
            .await?;
        self.count_in_tables(rows.len());
        while self.index_portion().await {}
        refused
            .into_iter()
            .next()
            .map_or(Ok(()), |refused| Err(refused.error))
    }

    /// Receives what is submitted next; nothing if a fold is due first. Returns whether more can come.
    async fn receive(&mut self, received: &mut Vec<WriteCommand>) -> bool {
        if self.schedule.is_due(clock::instant()) {
            self.take_submitted(received);
            return true;
        }
        let receiving = self.queue.recv_many(received, MAX_BATCH);
        let count = match self.schedule.due_at() {
            None => receiving.await,
            Some(at) => match tokio::time::timeout_at(at.into(), receiving).await {
                Ok(count) => count,
                Err(_) => return true,
            },
        };
        // Other ready tasks may submit rows too: yield as long as some do.
        let mut is_idle = false;
        while !is_idle && received.len() < MAX_BATCH {
            tokio::task::yield_now().await;
            is_idle = self.queue.is_empty();
            self.take_submitted(received);
        }
        count > 0
    }

    /// Takes what is in the queue now, up to a full batch.
    fn take_submitted(&mut self, received: &mut Vec<WriteCommand>) {
        while received.len() < MAX_BATCH
            && let Ok(write) = self.queue.try_recv()
        {
            received.push(write);
        }
    }

    /// Commits a batch, however long the database cannot be written. A commit is acknowledged to its receiver; the sender of a
    /// refused write is dropped.
    async fn commit(&mut self, batch: Batch) {
        let Batch {
            writes,
            mut commits,
            flushes,
        } = batch;
        let (count, flushed) = (writes.len(), flushes.len());
        let is_read_soon = writes.iter().any(Write::is_read_soon);
        if self.schedule.is_direct(count, clock::instant()) {
            if count > 0 {
                for RefusedWrite { index, error } in self.repeat(Step::Write(&writes)).await {
                    report_refused(&writes[index], &error);
                    commits[index] = None;
                }
                self.schedule.written(clock::instant());
                self.count_traffic(&writes);
                self.count_in_tables(count);
            }
        } else if count > 0 {
            self.repeat(Step::Append(&writes)).await;
            self.schedule.journalled(count, clock::instant());
            let id = self.journal.last_id.unwrap_or(0);
            self.journal.entries.push_back(Entry { id, writes });
        }
        self.health.remove_pending(count + flushed);
        for committed in commits.into_iter().flatten() {
            // The receiver may be gone.
            let _ = committed.send(());
        }
        if is_read_soon || flushed > 0 {
            self.schedule.demand(clock::instant());
        }
        let last = self.journal.entries.back().map_or(0, |entry| entry.id);
        self.journal
            .flushes
            .extend(flushes.into_iter().map(|flush| (last, flush)));
        self.journal.acknowledge();
        self.wal_limit.count(&self.db, count).await;
    }

    /// Adds the next requests to the indexes of keys and projects, if there are enough. Returns whether it looked for them.
    async fn index_portion(&mut self) -> bool {
        let Some(schedule) = self.index_schedule.as_ref().filter(|index| index.is_due()) else {
            return false;
        };
        let portion = schedule.portion();
        self.repeat(Step::Index(portion)).await;
        true
    }

    async fn fold_while(&mut self, is_wanted: impl Fn(&FoldSchedule) -> bool) {
        while is_wanted(&self.schedule) {
            self.fold_portion().await;
        }
    }

    /// Moves the oldest entries of the journal to the tables.
    async fn fold_portion(&mut self) {
        let begin = clock::instant();
        let (mut portion, mut count) = (Vec::new(), 0);
        while let Some(entry) = self.journal.entries.pop_front_if(|entry| {
            count == 0 || count + entry.writes.len() <= self.schedule.portion()
        }) {
            count += entry.writes.len();
            portion.push(entry);
        }
        for RefusedWrite { index, error } in self.repeat(Step::Fold(&portion)).await {
            let write = portion.iter().flat_map(|entry| &entry.writes).nth(index);
            report_refused(write.expect("a position among the writes"), &error);
        }
        self.schedule.folded(count, begin.elapsed());
        self.count_traffic(portion.iter().flat_map(|entry| &entry.writes));
        self.count_in_tables(count);
        self.journal.acknowledge();
        self.wal_limit.count(&self.db, count).await;
    }

    /// Adds finished requests to the sums of the metrics.
    fn count_traffic<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) {
        let mut traffic = self.traffic.lock();
        for write in writes {
            if let Write::Row(row) = write
                && row.kind == LogKind::Request
                && let Some(outcome) = row.outcome
            {
                traffic.add_request(CountedRequest {
                    outcome,
                    model: row.model.as_deref(),
                    client_key: row.client_key_id,
                    first_byte_ms: row.first_byte_ms,
                    duration_ms: row.duration_ms,
                    usage: &row.usage,
                    cost_nano_usd: row.cost_nano_usd,
                });
                for attempt in &row.attempts {
                    traffic.add_attempt(attempt.rule.as_ref());
                    if let Some(id) = attempt.egress_id {
                        traffic.add_egress(id, attempt.outcome == Some(Outcome::Network));
                    }
                }
            }
        }
    }

    fn count_in_tables(&mut self, writes: usize) {
        if let Some(schedule) = &mut self.index_schedule {
            schedule.written(writes);
        }
    }

    /// Repeats a step until it is committed. Returns the writes that the database refused in a transaction that began well. After
    /// any other error they stay in memory.
    async fn repeat(&mut self, step: Step<'_>) -> Vec<RefusedWrite> {
        let mut has_failed = false;
        loop {
            // After a failure the write-ahead log is copied before anything is added to it: rows that wait could fill the
            // room that a full disk has again with log, which then has none to be copied to.
            let copied = if has_failed {
                self.db.copy_wal().await.map(drop)
            } else {
                Ok(())
            };
            let done = match copied {
                _ if self.health.is_damaged() => Err(Error::Damaged(self.db.path().clone())),
                Ok(()) => self.step(step).await,
                Err(error) => Err(error),
            };
            let error = match done {
                Ok(refused) => {
                    self.health.record_success(refused.len() < step.count());
                    return refused;
                }
                Err(error) => error,
            };
            // A connection to a file that was moved cannot be replaced, and is good once the file is back.
            if !matches!(error, Error::FileMoved(_) | Error::Damaged(_)) {
                self.db.replace_writer();
            }
            self.health.record_failure(&error, self.db.path());
            has_failed = true;
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    async fn step(&mut self, step: Step<'_>) -> Result<Vec<RefusedWrite>> {
        match step {
            Step::Append(writes) => {
                let last_id = match self.journal.last_id {
                    Some(id) => id,
                    None => journal::last_id(&self.db.writer).await?,
                };
                // Kept before the entry is written, so that a repetition has the same id.
                self.journal.last_id = Some(last_id);
                journal::append(&self.db, last_id + 1, writes).await?;
                self.journal.last_id = Some(last_id + 1);
                Ok(Vec::new())
            }
            Step::Write(writes) => {
                let writes: Vec<_> = writes.iter().collect();
                self.tables.write(&self.db, &writes, &[]).await
            }
            Step::Fold(entries) => {
                let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
                let writes = entries.iter().flat_map(|entry| &entry.writes);
                let writes: Vec<_> = writes.collect();
                self.tables.write(&self.db, &writes, &ids).await
            }
            Step::Index(portion) => {
                let begin = clock::instant();
                let last = key_index::add_portion(&self.db, portion, key_index::LEFT_OUT).await?;
                // Only the server changes it.
                self.tables.indexed_until = Some(match last {
                    Some(last) => last,
                    None => key_index::indexed_until(&self.db.writer).await?,
                });
                if let Some(schedule) = &mut self.index_schedule {
                    schedule.looked(last.map(|_| begin.elapsed()));
                }
                Ok(Vec::new())
            }
        }
    }
}

impl Step<'_> {
    /// The number of its writes.
    fn count(&self) -> usize {
        match self {
            Self::Append(writes) | Self::Write(writes) => writes.len(),
            Self::Fold(entries) => entries.iter().map(|entry| entry.writes.len()).sum(),
            Self::Index(_) => 0,
        }
    }
}

impl Journal {
    /// Acknowledges the flushes whose entries are folded.
    fn acknowledge(&mut self) {
        let oldest = self.entries.front().map_or(i64::MAX, |entry| entry.id);
        while let Some((_, flush)) = self.flushes.pop_front_if(|(last, _)| *last < oldest) {
            // The receiver may be gone.
            let _ = flush.send(());
        }
    }
}

impl Batch {
    fn extend(&mut self, received: impl Iterator<Item = WriteCommand>) {
        for command in received {
            match command {
                WriteCommand::Write(write, committed) => {
                    self.writes.push(write);
                    self.commits.push(committed);
                }
                WriteCommand::Flush(flush) => self.flushes.push(flush),
            }
        }
    }
}
