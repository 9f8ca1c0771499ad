//! `Recorder`: the one writer of log rows. The rows of many requests share a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Sqlite, Transaction};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, Timestamp};
use crate::pool::keys::Change;
use crate::pool::outcome::Outcome;
use crate::pool::usage::Usage;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::request_logs::{self, Kind, NewRequestLog};
use crate::storage::sums::{Addend, Sums};
use crate::storage::texts::Texts;
use crate::storage::upstream_keys::{Evidence, Statistics};
use crate::storage::{client_keys, cooldowns, upstream_keys};

/// How many writes share a transaction at most.
const BATCH: usize = 512;
/// How long the writer rests after the database would not be written.
const REST: Duration = Duration::from_millis(250);

/// Where the proxy hands in what is to be written.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Write>,
    health: Arc<Health>,
}

/// How the writing goes, for whoever must know.
#[derive(Debug, Default)]
pub struct Health {
    /// Writes handed in and not yet committed.
    pending: AtomicUsize,
    failing: AtomicBool,
}

/// The other end of the queue, for [`Writer::run`].
#[derive(Debug)]
pub struct Writer {
    db: Db,
    queue: mpsc::UnboundedReceiver<Write>,
    health: Arc<Health>,
    texts: Texts,
}

#[derive(Debug)]
enum Write {
    /// A row, running or finished, and who waits for its commit.
    Row(Box<NewRequestLog>, Option<oneshot::Sender<()>>),
    Change(Change, Evidence),
}

impl Recorder {
    /// Makes the queue; nothing is written until the writer runs.
    pub fn new(db: Db) -> (Self, Writer) {
        let (sender, queue) = mpsc::unbounded_channel();
        let health = Arc::new(Health::default());
        let writer = Writer {
            db,
            queue,
            health: health.clone(),
            texts: Texts::default(),
        };
        (
            Self {
                queue: sender,
                health,
            },
            writer,
        )
    }

    /// Hands in a finished row. The receiver hears when it is committed, or is dropped when it will never be.
    pub fn finish(&self, row: Box<NewRequestLog>) -> oneshot::Receiver<()> {
        let (committed, waits) = oneshot::channel();
        self.hand_in(Write::Row(row, Some(committed)));
        waits
    }

    /// Hands in a row that is still running.
    pub fn open(&self, row: Box<NewRequestLog>) {
        self.hand_in(Write::Row(row, None));
    }

    /// Hands in what a verdict changed.
    pub fn change(&self, change: Change, evidence: Evidence) {
        self.hand_in(Write::Change(change, evidence));
    }

    /// How many writes wait.
    pub fn pending(&self) -> usize {
        self.health.pending.load(Ordering::Relaxed)
    }

    /// Whether the last try to write failed.
    pub fn is_failing(&self) -> bool {
        self.health.failing.load(Ordering::Relaxed)
    }

    fn hand_in(&self, write: Write) {
        self.health.pending.fetch_add(1, Ordering::Relaxed);
        // The writer outlives every request; without it there is nobody left to tell.
        let _ = self.queue.send(write);
    }
}

impl Writer {
    /// Writes until every [`Recorder`] is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.write_all(&mut batch).await;
        }
    }

    /// Writes a batch, however long the database refuses.
    async fn write_all(&mut self, batch: &mut Vec<Write>) {
        while let Err(error) = self.write(batch).await {
            self.texts.forget();
            if error.is_passing() {
                let pending = self.health.pending.load(Ordering::Relaxed);
                if !self.health.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        pending,
                        "the database cannot be written, log rows wait in memory: {error}. \
                         Free the disk or end the program that locks it"
                    );
                }
                tokio::time::sleep(REST).await;
            } else {
                self.write_singly(batch).await;
                break;
            }
        }
        self.health
            .pending
            .fetch_sub(batch.len(), Ordering::Relaxed);
        if self.health.failing.swap(false, Ordering::Relaxed) {
            tracing::warn!("the database can be written again");
        }
        for write in batch.drain(..) {
            if let Write::Row(_, Some(committed)) = write {
                // The request may no longer wait.
                let _ = committed.send(());
            }
        }
    }

    /// Finds what the database will never take, so that it does not hold up the rest.
    async fn write_singly(&mut self, batch: &[Write]) {
        for write in batch {
            while let Err(error) = self.write(std::slice::from_ref(write)).await {
                self.texts.forget();
                if !error.is_passing() {
                    tracing::error!("a log row was refused by the database: {error}");
                    break;
                }
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// One transaction: rows, attempts, statistics and sums, which so always agree.
    async fn write(&mut self, batch: &[Write]) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let mut lines = HashMap::with_capacity(batch.len());
        let mut attempt_lines = Vec::new();
        let mut totals = Totals::default();
        for write in batch {
            match write {
                Write::Row(row, _) => {
                    let line = row.line(&mut tx, &mut self.texts).await?;
                    if row.outcome.is_some() && row.kind == Kind::Request {
                        totals.add(row, line.model_id);
                    }
                    // A row may be opened and finished in one batch: the later line stands.
                    lines.insert(row.id, line);
                    attempt_lines.extend(row.attempt_lines());
                }
                Write::Change(change, evidence) => apply(&mut tx, change, evidence).await?,
            }
        }
        if !lines.is_empty() {
            request_logs::upsert(&mut tx, &lines.into_values().collect::<Vec<_>>()).await?;
        }
        if !attempt_lines.is_empty() {
            request_logs::upsert_attempts(&mut tx, &attempt_lines).await?;
        }
        totals.write(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    change: &Change,
    evidence: &Evidence,
) -> Result<()> {
    match change {
        Change::Key { id, condition } => {
            upstream_keys::update_condition(&mut **tx, *id, condition, evidence).await
        }
        Change::Cooldown {
            project_id,
            model,
            cooldown,
        } => cooldowns::upsert(&mut **tx, *project_id, model, cooldown, evidence).await,
    }
}

/// What finished rows add to statistics and sums.
#[derive(Debug, Default)]
struct Totals {
    sums: Sums,
    upstream_keys: HashMap<i64, Statistics>,
    client_keys: HashMap<i64, Statistics>,
}

impl Totals {
    fn add(&mut self, row: &NewRequestLog, model_id: Option<i64>) {
        let Some(outcome) = row.outcome else { return };
        let addend = Addend {
            outcome,
            usage: &row.usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms,
            duration_ms: row.duration_ms,
        };
        self.sums
            .add_request(row.started_at, model_id, row.client_key_id, addend);
        if let Some(id) = row.client_key_id {
            add(
                self.client_keys.entry(id.0).or_default(),
                id.0,
                row.started_at,
                addend,
                None,
            );
        }
        let nothing = Usage::default();
        for (place, attempt) in row.attempts.iter().enumerate() {
            // Only the attempt that answered has spent tokens that we know of.
            let last = place + 1 == row.attempts.len();
            let addend = Addend {
                outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
                usage: if last { &row.usage } else { &nothing },
                cost_nano_usd: row.cost_nano_usd.filter(|_| last),
                first_byte_ms: attempt.first_byte_ms,
                duration_ms: attempt.duration_ms,
            };
            let id = attempt.upstream_key_id;
            self.sums.add_attempt(attempt.started_at, id, addend);
            add(
                self.upstream_keys.entry(id.0).or_default(),
                id.0,
                attempt.started_at,
                addend,
                attempt.error.as_deref(),
            );
        }
    }

    async fn write(self, tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
        if !self.upstream_keys.is_empty() {
            let statistics: Vec<_> = self.upstream_keys.into_values().collect();
            upstream_keys::add_statistics(tx, &statistics).await?;
        }
        if !self.client_keys.is_empty() {
            let statistics: Vec<_> = self.client_keys.into_values().collect();
            client_keys::add_statistics(tx, &statistics).await?;
        }
        self.sums.upsert(tx).await
    }
}

fn add(statistics: &mut Statistics, id: i64, at: Timestamp, addend: Addend, error: Option<&str>) {
    statistics.id = id;
    statistics.requests += 1;
    statistics.successes += u64::from(addend.outcome == Outcome::Success);
    statistics.failures += u64::from(addend.outcome.is_failure());
    statistics.prompt_tokens += addend.usage.prompt.unwrap_or(0);
    statistics.output_tokens += addend.usage.output.unwrap_or(0);
    statistics.total_tokens += addend.usage.total.unwrap_or(0);
    statistics.last_used_at_ms = statistics.last_used_at_ms.max(at.as_millis());
    if let Some(error) = error.filter(|_| addend.outcome.is_failure()) {
        statistics.last_error = Some(error.to_owned());
    }
}

/// Ends what a run that died left unfinished, with its sums, in one transaction. Returns how many rows.
pub async fn interrupt_running(db: &Db) -> Result<usize> {
    let mut tx = db.begin().await?;
    let running = request_logs::list_running(&mut tx).await?;
    let mut totals = Totals::default();
    let usage = Usage::default();
    for row in &running {
        let addend = |outcome, duration_ms| Addend {
            outcome,
            usage: &usage,
            cost_nano_usd: None,
            first_byte_ms: None,
            duration_ms,
        };
        let attempts = request_logs::list_attempts_of(&mut tx, row.id).await?;
        if row.kind != Kind::Request {
            continue;
        }
        let interrupted = addend(Outcome::Interrupted, None);
        totals
            .sums
            .add_request(row.started_at, row.model_id, row.client_key_id, interrupted);
        if let Some(id) = row.client_key_id {
            add(
                totals.client_keys.entry(id.0).or_default(),
                id.0,
                row.started_at,
                interrupted,
                None,
            );
        }
        for (id, started_at, outcome, duration_ms) in attempts {
            let duration_ms = duration_ms.and_then(|ms| u64::try_from(ms).ok());
            let addend = addend(outcome.unwrap_or(Outcome::Interrupted), duration_ms);
            totals.sums.add_attempt(started_at, id, addend);
            add(
                totals.upstream_keys.entry(id.0).or_default(),
                id.0,
                started_at,
                addend,
                None,
            );
        }
    }
    request_logs::interrupt_running(&mut tx).await?;
    totals.write(&mut tx).await?;
    cooldowns::delete_ended(&mut *tx, clock::now()).await?;
    tx.commit().await?;
    Ok(running.len())
}
