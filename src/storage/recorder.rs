//! `Recorder`: the one writer of log rows. The rows of many requests share a transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Sqlite, Transaction};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, Timestamp};
use crate::pool::health::state_change::StateChange;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::request_logs::{self, LogKind, NewRequestLog};
use crate::storage::resources::{self, NewResource};
use crate::storage::rollups::{QuotaDays, Rollups, Sample};
use crate::storage::strings::Strings;
use crate::storage::upstream_keys::{Evidence, KeyStatistics};
use crate::storage::write_batch::{StatementCache, Table, WriteBatch};
use crate::storage::{cooldowns, projects, quotas, upstream_keys};

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

/// The state of the writer, shared with all recorders.
#[derive(Debug, Default)]
pub struct WriteHealth {
    /// Writes that were submitted and are not yet committed.
    pending: AtomicUsize,
    failing: AtomicBool,
    /// Whether the last probe failed, which writes even while no row waits.
    probe_failed: AtomicBool,
}

/// The other end of the queue, for [`LogWriter::run`].
#[derive(Debug)]
pub struct LogWriter {
    db: Db,
    queue: mpsc::UnboundedReceiver<WriteCommand>,
    health: Arc<WriteHealth>,
    strings: Strings,
    statements: StatementCache,
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
            statements: StatementCache::default(),
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
        self.health.pending.load(Ordering::Relaxed)
    }

    /// Whether the last write or probe failed.
    pub fn is_failing(&self) -> bool {
        self.health.failing.load(Ordering::Relaxed)
            || self.health.probe_failed.load(Ordering::Relaxed)
    }

    /// Notes whether the database could be written just now, had there been something.
    pub fn record_probe(&self, succeeded: bool) {
        self.health
            .probe_failed
            .store(!succeeded, Ordering::Relaxed);
    }

    fn submit(&self, write: WriteCommand) {
        self.health.pending.fetch_add(1, Ordering::Relaxed);
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
            self.write_until_committed(&mut batch).await;
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
        loop {
            let Err(error) = self.write(batch).await else {
                if self.health.failing.swap(false, Ordering::Relaxed) {
                    tracing::warn!("the database can be written again");
                }
                return Ok(());
            };
            self.db.replace_writer();
            // The ids of strings were read on the connection that failed.
            self.strings = Strings::default();
            if error.is_refusal() {
                // The database itself can be written.
                self.health.failing.store(false, Ordering::Relaxed);
                return Err(error);
            }
            let pending = self.health.pending.load(Ordering::Relaxed);
            if !self.health.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    pending,
                    "the database cannot be written, log rows wait in memory: {error}. \
                     Free the disk or end the program that locks it"
                );
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    fn acknowledge(&self, committed: impl ExactSizeIterator<Item = WriteCommand>) {
        self.health
            .pending
            .fetch_sub(committed.len(), Ordering::Relaxed);
        for write in committed {
            if let WriteCommand::Row(_, Some(committed)) | WriteCommand::Flush(committed) = write {
                // The receiver may be gone.
                let _ = committed.send(());
            }
        }
    }

    fn give_up(&self, refused: &WriteCommand, error: &Error) {
        self.health.pending.fetch_sub(1, Ordering::Relaxed);
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
        let mut rows = WriteBatch::default();
        let mut batch_statistics = BatchStatistics::default();
        let (mut changes, mut checked) = (Vec::new(), Vec::new());
        let (mut created, mut deleted) = (Vec::new(), Vec::new());
        for write in batch {
            match write {
                WriteCommand::Row(row, _) => {
                    // A new text stands by itself, and may stay when the rest is rolled back.
                    let (cells, model_id) = row.cells(&self.db.writer, &mut self.strings).await?;
                    // A row may be opened and finished in one batch: the later line stands.
                    rows.add_row(Table::RequestLogs, cells);
                    for cells in row.attempt_cells() {
                        rows.add_row(Table::Attempts, cells);
                    }
                    created.extend(NewResource::created_by(row));
                    deleted.extend(row.deleted_resources.iter().map(String::as_str));
                    if row.outcome.is_some() && row.kind == LogKind::Request {
                        batch_statistics.add_request(row, model_id);
                    }
                    if row.kind == LogKind::Check {
                        batch_statistics.add_check(row, model_id);
                        checked.extend(row.attempts.first());
                    }
                }
                WriteCommand::Change(change, evidence) => changes.push((change, evidence)),
                WriteCommand::Flush(_) => {}
            }
        }
        batch_statistics.add_rows_to(&mut rows);
        let mut tx = self.db.begin().await?;
        for (change, evidence) in changes {
            apply(&mut tx, change, evidence).await?;
        }
        for attempt in checked {
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            upstream_keys::update_checked_at(&mut *tx, id, at).await?;
        }
        rows.write(&mut tx, &mut self.statements).await?;
        // Apart from the lines, because few requests make anything. What was made anew under a name just deleted stays.
        if !deleted.is_empty() {
            resources::delete(&mut *tx, &deleted).await?;
        }
        if !created.is_empty() {
            resources::upsert(&mut *tx, &created).await?;
        }
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
            upstream_keys::update_condition(&mut **tx, *id, condition, evidence).await
        }
        StateChange::Checked { id, condition } => {
            upstream_keys::update_checked_condition(&mut **tx, *id, condition).await
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
        } => {
            quotas::upsert_limit(
                &mut **tx,
                *project_id,
                model,
                *measure,
                *limit,
                *at,
                evidence,
            )
            .await
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

/// What finished rows add to statistics and sums.
#[derive(Debug, Default)]
struct BatchStatistics {
    rollups: Rollups,
    quotas: QuotaDays,
    /// In the order of the table, which a large batch then goes through once.
    upstream_keys: BTreeMap<i64, KeyStatistics>,
    client_keys: HashMap<i64, KeyStatistics>,
}

impl BatchStatistics {
    fn add_request(&mut self, row: &NewRequestLog, model_id: Option<i64>) {
        let Some(outcome) = row.outcome else { return };
        let sample = Sample {
            outcome,
            usage: &row.usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms,
            duration_ms: row.duration_ms,
        };
        self.rollups
            .add_request(row.started_at, model_id, row.client_key_id, sample);
        if let Some(id) = row.client_key_id {
            add_sample(
                self.client_keys.entry(id.0).or_default(),
                id.0,
                row.started_at,
                sample,
                None,
            );
        }
        let no_usage = TokenUsage::default();
        for (index, attempt) in row.attempts.iter().enumerate() {
            // Only the attempt that answered has spent tokens that we know of.
            let is_last = index + 1 == row.attempts.len();
            let sample = Sample {
                outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
                usage: if is_last { &row.usage } else { &no_usage },
                cost_nano_usd: row.cost_nano_usd.filter(|_| is_last),
                first_byte_ms: attempt.first_byte_ms,
                duration_ms: attempt.duration_ms,
            };
            let id = attempt.upstream_key_id;
            self.rollups.add_attempt(attempt.started_at, id, sample);
            if let Some(model_id) = model_id.filter(|_| uses_quota(sample.outcome)) {
                let tokens = sample.usage.prompt.unwrap_or(0);
                let requests = row.quota_requests;
                self.quotas
                    .add(attempt.started_at, id, model_id, requests, tokens);
            }
            add_sample(
                self.upstream_keys.entry(id.0).or_default(),
                id.0,
                attempt.started_at,
                sample,
                attempt.error.as_deref(),
            );
        }
    }

    /// A check is in no statistic, but Google counts what it has generated.
    fn add_check(&mut self, row: &NewRequestLog, model_id: Option<i64>) {
        if let (Some(model_id), Some(attempt)) = (model_id, row.attempts.last()) {
            let (id, tokens) = (attempt.upstream_key_id, row.usage.prompt.unwrap_or(0));
            let requests = row.quota_requests;
            self.quotas
                .add(attempt.started_at, id, model_id, requests, tokens);
        }
    }

    fn add_rows_to(self, batch: &mut WriteBatch) {
        for statistics in self.upstream_keys.values() {
            batch.add_row(Table::UpstreamKeys, statistics.upstream_key_cells());
        }
        for statistics in self.client_keys.values() {
            batch.add_row(Table::ClientKeys, statistics.client_key_cells());
        }
        self.rollups.add_rows_to(batch);
        self.quotas.add_rows_to(batch);
    }
}

/// Whether Google counts an attempt that ended so: not what it refused, nor what never reached it.
fn uses_quota(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Success
        | Outcome::UpstreamError
        | Outcome::ClientGone
        | Outcome::BrokenOff
        | Outcome::Interrupted => true,
        Outcome::ClientError
        | Outcome::Quota
        | Outcome::KeyFault
        | Outcome::Network
        | Outcome::NoKey
        | Outcome::Refused => false,
    }
}

fn add_sample(
    statistics: &mut KeyStatistics,
    id: i64,
    at: Timestamp,
    sample: Sample,
    error: Option<&str>,
) {
    statistics.id = id;
    statistics.requests += 1;
    statistics.successes += u64::from(sample.outcome == Outcome::Success);
    statistics.failures += u64::from(sample.outcome.is_failure());
    statistics.prompt_tokens += sample.usage.prompt.unwrap_or(0);
    statistics.output_tokens += sample.usage.output.unwrap_or(0);
    statistics.total_tokens += sample.usage.total.unwrap_or(0);
    statistics.last_used_at_ms = statistics.last_used_at_ms.max(at.as_millis());
    if let Some(error) = error.filter(|_| sample.outcome.is_failure()) {
        statistics.last_error = Some(error.to_owned());
    }
}

/// Ends what a run that died left unfinished, with its sums, in one transaction. Returns how many rows.
pub async fn interrupt_running(db: &Db) -> Result<usize> {
    let mut tx = db.begin().await?;
    let running = request_logs::list_running(&mut tx).await?;
    let mut batch_statistics = BatchStatistics::default();
    let usage = TokenUsage::default();
    for row in &running {
        let sample = |outcome, duration_ms| Sample {
            outcome,
            usage: &usage,
            cost_nano_usd: None,
            first_byte_ms: None,
            duration_ms,
        };
        let attempts = request_logs::list_attempts_of(&mut tx, row.id).await?;
        if row.kind != LogKind::Request {
            continue;
        }
        let interrupted = sample(Outcome::Interrupted, None);
        batch_statistics.rollups.add_request(
            row.started_at,
            row.model_id,
            row.client_key_id,
            interrupted,
        );
        if let Some(id) = row.client_key_id {
            add_sample(
                batch_statistics.client_keys.entry(id.0).or_default(),
                id.0,
                row.started_at,
                interrupted,
                None,
            );
        }
        for (id, started_at, outcome, duration_ms) in attempts {
            let duration_ms = duration_ms.and_then(|ms| u64::try_from(ms).ok());
            let sample = sample(outcome.unwrap_or(Outcome::Interrupted), duration_ms);
            batch_statistics.rollups.add_attempt(started_at, id, sample);
            add_sample(
                batch_statistics.upstream_keys.entry(id.0).or_default(),
                id.0,
                started_at,
                sample,
                None,
            );
        }
    }
    request_logs::interrupt_running(&mut tx).await?;
    let mut batch = WriteBatch::default();
    batch_statistics.add_rows_to(&mut batch);
    batch.write(&mut tx, &mut StatementCache::default()).await?;
    cooldowns::delete_expired(&mut *tx, clock::now()).await?;
    tx.commit().await?;
    Ok(running.len())
}

#[cfg(test)]
pub mod tests {
    use sqlx::SqlitePool;
    use tempfile::TempDir;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::pool::health::cooldown::Cooldown;
    use crate::pool::health::verdict::Rule;
    use crate::pool::keys::upstream_key::{
        KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKeyId,
    };
    use crate::pool::secret::Secret;
    use crate::storage::audit::tests::act;
    use crate::storage::client_keys::NewClientKey;
    use crate::storage::consistency::find_inconsistencies;
    use crate::storage::request_logs::tests::{row, running};
    use crate::storage::{client_keys, installation};

    /// Writes rows as a running server does, and waits until they are committed.
    pub async fn write(db: &Db, rows: Vec<NewRequestLog>) {
        let (recorder, writer) = Recorder::new(db.clone());
        for row in rows {
            if row.outcome.is_some() {
                drop(recorder.record_finished(Box::new(row)));
            } else {
                recorder.record_running(Box::new(row));
            }
        }
        drop(recorder);
        writer.run().await;
    }

    /// Two upstream keys and a client key, with the ids 1 and 2, and 1.
    pub async fn add_keys(db: &Db) {
        let now = Timestamp::from_millis(0);
        let mut tx = db.begin().await.unwrap();
        let hash_key = installation::hash_key(&mut tx).await.unwrap();
        let act = act(&mut tx, now).await;
        for text in ["first-secret", "second-secret"] {
            let secret = Secret::new(text);
            let nothing = KeyAttributes::default();
            upstream_keys::insert(&mut tx, &hash_key, &secret, &nothing, true, &act)
                .await
                .unwrap();
        }
        let key = NewClientKey {
            name: "client",
            note: "",
            secret: &Secret::new("client-secret"),
            expires_at: None,
        };
        client_keys::insert(&mut tx, &hash_key, &key, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// A row whose first attempt failed with the other key.
    fn retried(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        let mut failed = row.attempts[0].clone();
        failed.upstream_key_id = UpstreamKeyId(2);
        (failed.outcome, failed.status) = (Some(Outcome::Quota), Some(429));
        failed.error = Some("too many requests".to_owned());
        row.attempts.insert(0, failed);
        row
    }

    fn anonymous(seconds: i64) -> NewRequestLog {
        let mut row = row(seconds);
        (row.client_key_id, row.model) = (None, None);
        (row.outcome, row.status) = (Some(Outcome::Refused), Some(401));
        row.attempts.clear();
        row.usage = TokenUsage::default();
        row
    }

    #[sqlx::test]
    async fn rows_statistics_and_sums_agree(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut check = row(3);
        (check.kind, check.client_key_id) = (LogKind::Check, None);

        write(
            &db,
            vec![row(0), retried(1), anonymous(2), check, running(4)],
        )
        .await;
        // The same request as before, now finished; and an hour and a day later.
        write(&db, vec![row(4), row(3_600), retried(90_000)]).await;

        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        let keys = upstream_keys::list(&pool, Timestamp::from_millis(0))
            .await
            .unwrap();
        let counts = |index: usize| {
            let key = &keys[index];
            (key.requests, key.successes, key.failures, key.total_tokens)
        };
        assert_eq!(counts(0), (5, 5, 0, 35));
        assert_eq!(counts(1), (2, 0, 2, 0));
        assert_eq!(keys[1].last_error.as_deref(), Some("too many requests"));
        let clients = client_keys::list(&pool).await.unwrap();
        assert_eq!((clients[0].requests, clients[0].total_tokens), (5, 35));
    }

    #[sqlx::test]
    async fn a_statistic_that_is_off_is_found(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, vec![row(0)]).await;
        sqlx::query("UPDATE upstream_keys SET successes = 5 WHERE id = 1")
            .execute(&pool)
            .await
            .unwrap();

        let found = find_inconsistencies(&pool).await.unwrap();

        assert_eq!(found.len(), 1);
        assert_eq!(found[0].counter, "successes of upstream key 1");
        assert_eq!((found[0].from_rows, found[0].from_statistics), (1, 5));
    }

    #[sqlx::test]
    async fn a_row_opened_and_finished_in_one_batch_counts_once(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;

        write(&db, vec![running(0), row(0)]).await;

        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        assert!(
            request_logs::list_running_ids(&pool)
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[sqlx::test]
    async fn what_a_dead_run_left_is_interrupted_and_counted_once(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut settled = running(1);
        settled.attempts[0].outcome = Some(Outcome::Quota);
        let mut check = running(2);
        (check.kind, check.client_key_id) = (LogKind::Check, None);
        let id = settled.id;
        write(&db, vec![running(0), settled, check, row(3)]).await;

        assert_eq!(interrupt_running(&db).await.unwrap(), 3);
        assert_eq!(interrupt_running(&db).await.unwrap(), 0);

        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        let row = request_logs::listed::find(&pool, id).await.unwrap();
        assert_eq!(row.outcome, Some(Outcome::Interrupted));
        assert_eq!(row.attempt_list.unwrap()[0].outcome, Some(Outcome::Quota));
        let keys = upstream_keys::list(&pool, Timestamp::from_millis(0))
            .await
            .unwrap();
        assert_eq!((keys[0].requests, keys[0].failures), (3, 2));
    }

    #[sqlx::test]
    async fn a_finished_row_is_acknowledged_when_it_is_committed(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let (recorder, writer) = Recorder::new(db);
        let committed = recorder.record_finished(Box::new(row(0)));
        assert_eq!(recorder.pending(), 1);

        let writing = tokio::spawn(writer.run());
        committed.await.unwrap();

        assert_eq!((recorder.pending(), recorder.is_failing()), (0, false));
        assert!(request_logs::listed::find(&pool, row(0).id).await.is_ok());
        drop(recorder);
        writing.await.unwrap();
    }

    #[sqlx::test]
    async fn a_row_the_database_refuses_is_lost_alone_and_not_acknowledged(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let (recorder, writer) = Recorder::new(db);
        let mut wrong = row(1);
        // No attempt ends so.
        wrong.attempts[0].outcome = Some(Outcome::Refused);

        let heard = [row(0), wrong, row(2)].map(|row| recorder.record_finished(Box::new(row)));
        drop(recorder);
        writer.run().await;

        let heard = heard.map(|mut committed| committed.try_recv());
        assert_eq!(heard, [Ok(()), Err(TryRecvError::Closed), Ok(())]);
        assert_eq!(count(&pool).await, 2);
    }

    /// A database whose connections are a server's.
    async fn database() -> (TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_file(&folder.path().join("pool.db")).await.unwrap();
        db.migrate().await.unwrap();
        add_keys(&db).await;
        (folder, db)
    }

    /// Waits until a write has failed.
    async fn fails(recorder: &Recorder) {
        let failing = async {
            while !recorder.is_failing() {
                tokio::task::yield_now().await;
            }
        };
        let failed = tokio::time::timeout(Duration::from_mins(1), failing).await;
        failed.expect("a write fails");
    }

    async fn count(db: &SqlitePool) -> i64 {
        let counted = sqlx::query_scalar("SELECT count(*) FROM request_logs");
        counted.fetch_one(db).await.unwrap()
    }

    /// Rows from this second on, with texts that are new to the database.
    fn many_rows(since: i64) -> Vec<NewRequestLog> {
        let rows = (since..since + 300).map(|seconds| {
            let mut row = row(seconds);
            row.user_agent = Some(format!("agent {seconds} {}", "x".repeat(300)));
            row
        });
        rows.collect()
    }

    #[tokio::test]
    async fn rows_that_a_full_disk_did_not_take_are_written_when_it_has_room() {
        let (_folder, db) = database().await;
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        // In turns, there is no room for the strings, for the rows, or for the sums.
        for (turn, room) in (1..).zip([0, 3, 30, 60]) {
            let most = (pages + room).to_string();
            db.set_up_writer("max_page_count", &most).await.unwrap();
            let (recorder, writer) = Recorder::new(db.clone());
            let writing = tokio::spawn(writer.run());
            let commits: Vec<_> = many_rows(turn * 1_000)
                .into_iter()
                .map(|row| recorder.record_finished(Box::new(row)))
                .collect();
            fails(&recorder).await;

            db.set_up_writer("max_page_count", "1073741823")
                .await
                .unwrap();

            for committed in commits {
                committed.await.unwrap();
            }
            assert_eq!((recorder.pending(), recorder.is_failing()), (0, false));
            drop(recorder);
            writing.await.unwrap();
        }
        assert_eq!(count(&db.readers).await, 4 * 300);
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_a_full_disk_undid_within_a_transaction_is_written_when_it_has_room() {
        let (_folder, db) = database().await;
        db.set_up_writer("max_page_count", "1").await.unwrap();
        let (recorder, writer) = Recorder::new(db.clone());
        let writing = tokio::spawn(writer.run());
        let condition = KeyCondition {
            state: KeyState::Invalid,
            ..KeyCondition::ready(Timestamp::from_millis(1_000))
        };
        let evidence = Evidence {
            status: Some(400),
            message: "x".repeat(100_000),
            request_id: row(0).id,
        };
        let id = UpstreamKeyId(1);
        recorder.record_change(StateChange::Key { id, condition }, evidence);
        fails(&recorder).await;
        let committed = recorder.record_finished(Box::new(row(0)));

        db.set_up_writer("max_page_count", "1073741823")
            .await
            .unwrap();

        committed.await.unwrap();
        drop(recorder);
        writing.await.unwrap();
        let keys = upstream_keys::list(&db.readers, Timestamp::from_millis(0)).await;
        assert_eq!(keys.unwrap()[0].state.as_str(), "invalid");
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    }

    #[tokio::test]
    async fn rows_whose_commit_sqlite_undid_are_written_again() {
        let (_folder, db) = database().await;
        let (recorder, mut writer) = Recorder::new(db.clone());
        // From now on the writer has the numbers of all strings, so that the rows are what it commits next.
        writer.write_rows(vec![anonymous(9)]).await.unwrap();
        {
            let mut connection = db.writer.acquire().await.unwrap();
            let mut handle = connection.lock_handle().await.unwrap();
            handle.set_commit_hook(|| false);
        }
        let commits =
            [0, 1, 2].map(|seconds| recorder.record_finished(Box::new(anonymous(seconds))));

        drop(recorder);
        writer.run().await;

        for committed in commits {
            committed.await.unwrap();
        }
        assert_eq!(count(&db.readers).await, 4);
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    }

    #[tokio::test]
    async fn rows_wait_after_any_error_that_is_not_theirs() {
        let (_folder, db) = database().await;
        let rename = async |from: &str, to: &str| {
            sqlx::query(&format!("ALTER TABLE {from} RENAME TO {to}"))
                .execute(&db.writer)
                .await
                .unwrap();
        };
        rename("attempts", "elsewhere").await;
        let (recorder, writer) = Recorder::new(db.clone());
        let writing = tokio::spawn(writer.run());
        let commits = [0, 1, 2].map(|seconds| recorder.record_finished(Box::new(row(seconds))));
        fails(&recorder).await;

        rename("elsewhere", "attempts").await;

        for committed in commits {
            committed.await.unwrap();
        }
        drop(recorder);
        writing.await.unwrap();
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    }

    #[sqlx::test]
    async fn what_verdicts_change_is_written(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let (since, until) = (Timestamp::from_millis(1_000), Timestamp::from_millis(9_000));
        let (recorder, writer) = Recorder::new(db);
        let evidence = Evidence {
            status: Some(400),
            message: "API key not valid".to_owned(),
            request_id: row(0).id,
        };
        let condition = KeyCondition {
            state: KeyState::Invalid,
            rule: Some(Rule::QuotaWithoutDetail),
            next_check: Some(until),
            ..KeyCondition::ready(since)
        };
        let id = UpstreamKeyId(1);
        recorder.record_change(StateChange::Key { id, condition }, evidence.clone());
        let cooldown = Cooldown {
            rule: Rule::QuotaWithoutDetail,
            step: 2,
            since,
            until,
        };
        let change = StateChange::Cooldown {
            project_id: ProjectId(2),
            model: "gemini-flash-latest".to_owned(),
            cooldown,
        };
        recorder.record_change(change, evidence);
        drop(recorder);
        writer.run().await;

        let keys = upstream_keys::list(&pool, since).await.unwrap();
        assert_eq!(
            (keys[0].state.as_str(), keys[1].state.as_str()),
            ("invalid", "cooling_down")
        );
        assert_eq!(keys[1].state_until, Some(until));
        let cooldowns = cooldowns::list_changed(&pool, -1, since).await.unwrap();
        assert_eq!(
            cooldowns,
            [(ProjectId(2), "gemini-flash-latest".to_owned(), cooldown)]
        );
    }
}
