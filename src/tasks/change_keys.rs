//! Runs the jobs that add, change or undo many upstream keys: some keys per transaction, so that no request waits.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;
use crate::jobs::{Job, JobWork, KnownKeys};
use crate::pool::batch_pace::BatchPace;
use crate::pool::keys::imported_keys::ImportedKey;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::audit::Act;
use crate::storage::error::{Error, Result};
use crate::storage::undo::{self, UndoableAct};
use crate::storage::upstream_keys::change::{self, KeyChange};
use crate::storage::upstream_keys::{InsertedKey, imported};
use crate::storage::{installation, upstream_keys};

/// Maximum number of keys changed in one transaction, which blocks the writing of log rows for some milliseconds.
const KEYS_PER_TRANSACTION: u32 = 250;
/// After so many keys the write-ahead log is copied while nothing of the job is written: otherwise it grows beyond all bounds, and
/// its truncation would block requests.
const KEYS_PER_COPY: usize = 5_000;
/// Maximum number of retries while the database cannot be written, each after a pause.
const MAX_RETRIES: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Runs one job after the other.
pub async fn run(app: Arc<App>) {
    loop {
        let (job, work) = app.jobs.next_change().await;
        run_job(&app, &job, work).await;
    }
}

/// Runs a job, to its end or to the first failure.
pub async fn run_job(app: &App, job: &Job, work: JobWork) {
    let done = match &work {
        JobWork::Change(ids, change) => change_all(app, job, ids, change).await,
        JobWork::Import { keys, known } => import_all(app, job, keys, *known).await,
        JobWork::Undo(acts) => undo_all(app, job, acts).await,
        // These have queues of their own.
        JobWork::Test(_) | JobWork::WhatIf(_) => Ok(()),
    };
    drop(work);
    // The key registry is reloaded before the job is reported as ended. If that fails, the regular reload follows soon.
    if let Err(error) = app.reload(clock::now()).await {
        tracing::warn!("changes could not be loaded: {error}");
    }
    if let Err(error) = &done {
        tracing::error!("upstream keys could not be changed: {error}");
    }
    job.update_progress(|progress| {
        progress.failed = done.err().map(|error| error.to_string());
        progress.ended = true;
    });
}

async fn change_all(app: &App, job: &Job, ids: &[UpstreamKeyId], change: &KeyChange) -> Result<()> {
    let mut batches = Batches::of(ids);
    while let Some(ids) = batches.next() {
        let mut retries = WriteRetries::default();
        let took = loop {
            match change_chunk(app, job, ids, change).await {
                Ok(took) => break took,
                Err(error) => retries.wait_or_fail(error).await?,
            }
        };
        batches.pause_after(app, took).await;
    }
    Ok(())
}

/// Items that are written in transactions so short, and so far apart, that requests wait for none of them for long.
struct Batches<'a, T> {
    items: &'a [T],
    pace: BatchPace,
    /// The size of the last batch.
    size: usize,
    /// Items since the write-ahead log was copied.
    uncopied: usize,
}

impl<'a, T> Batches<'a, T> {
    fn of(items: &'a [T]) -> Self {
        Self {
            items,
            pace: BatchPace::of_job(KEYS_PER_TRANSACTION),
            size: 0,
            uncopied: 0,
        }
    }

    /// The items of the next transaction.
    fn next(&mut self) -> Option<&'a [T]> {
        let size = usize::try_from(self.pace.size()).unwrap_or(usize::MAX);
        let (batch, rest) = self.items.split_at(size.min(self.items.len()));
        self.items = rest;
        self.size = batch.len();
        Some(batch).filter(|batch| !batch.is_empty())
    }

    /// Pauses after a transaction that held the write lock for `took`.
    async fn pause_after(&mut self, app: &App, took: Duration) {
        self.uncopied += self.size;
        if self.uncopied >= KEYS_PER_COPY {
            self.uncopied = 0;
            // If this fails, the next time or the checkpoint task copies it too.
            if let Err(error) = app.db.restart_wal().await {
                tracing::debug!("no checkpoint this time: {error}");
            }
        }
        let size = u32::try_from(self.size).unwrap_or(u32::MAX);
        let pause = self.pace.after(size, took);
        if !self.items.is_empty() {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn change_chunk(
    app: &App,
    job: &Job,
    ids: &[UpstreamKeyId],
    change: &KeyChange,
) -> Result<Duration> {
    let mut tx = app.db.begin().await?;
    let begin = clock::instant();
    let act = Act::begin(&mut tx, &job.actor, clock::now()).await?;
    let counts = change::apply(&mut tx, ids, change, &act).await?;
    tx.commit().await?;
    let took = begin.elapsed();
    job.update_progress(|progress| {
        progress.done += ids.len();
        progress.changed += counts.changed;
        progress.wiped += counts.wiped;
        progress.cleared_states += counts.cleared_states;
        progress.cleared_cooldowns += counts.cleared_cooldowns;
        let first = progress.revisions.map_or(act.revision, |(first, _)| first);
        progress.revisions = Some((first, act.revision));
    });
    Ok(took)
}

/// Undoes acts, each in one transaction: it was made in one.
async fn undo_all(app: &App, job: &Job, acts: &[UndoableAct]) -> Result<()> {
    for undone in acts {
        let mut retries = WriteRetries::default();
        while let Err(error) = undo_act(app, job, undone).await {
            retries.wait_or_fail(error).await?;
        }
    }
    Ok(())
}

async fn undo_act(app: &App, job: &Job, undone: &UndoableAct) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &job.actor, clock::now()).await?;
    let changed = match undo::undo(&mut tx, undone.id, &act).await {
        Ok(done) => done.undone,
        // Changed again since.
        Err(Error::NotFound(..)) => 0,
        Err(error) => return Err(error),
    };
    tx.commit().await?;
    job.update_progress(|progress| {
        progress.done += undone.count();
        progress.changed += changed;
    });
    Ok(())
}

async fn import_all(
    app: &App,
    job: &Job,
    keys: &[ImportedKey],
    known_keys: KnownKeys,
) -> Result<()> {
    let mut batches = Batches::of(keys);
    while let Some(keys) = batches.next() {
        let mut retries = WriteRetries::default();
        let took = loop {
            match import_chunk(app, job, keys, known_keys).await {
                Ok(took) => break took,
                Err(error) => retries.wait_or_fail(error).await?,
            }
        };
        batches.pause_after(app, took).await;
    }
    Ok(())
}

async fn import_chunk(
    app: &App,
    job: &Job,
    keys: &[ImportedKey],
    known_keys: KnownKeys,
) -> Result<Duration> {
    let mut tx = app.db.begin().await?;
    let begin = clock::instant();
    let installation_keys = installation::keys(&mut tx, &app.db.data_keys).await?;
    let act = Act::begin(&mut tx, &job.actor, clock::now()).await?;
    let (mut new, mut restored, mut known, mut changed) = (0, 0, 0, 0);
    let mut differing = 0;
    let inserted = imported::insert_all(&mut tx, &installation_keys, keys, true, &act).await?;
    for (key, inserted) in keys.iter().zip(inserted) {
        let attributes = &key.attributes;
        match inserted {
            InsertedKey::New(_) => new += 1,
            InsertedKey::Restored(_) => restored += 1,
            InsertedKey::Existing(id) => {
                known += 1;
                if attributes.is_empty() {
                    continue;
                }
                match known_keys {
                    KnownKeys::Keep => {}
                    KnownKeys::Compare => {
                        let differs = upstream_keys::differs(&mut tx, id, attributes).await?;
                        differing += usize::from(differs);
                    }
                    KnownKeys::Update => {
                        let has_changed =
                            upstream_keys::update(&mut tx, id, attributes, &act).await?;
                        changed += usize::from(has_changed);
                    }
                }
            }
        }
    }
    tx.commit().await?;
    let took = begin.elapsed();
    job.update_progress(|progress| {
        progress.done += keys.len();
        progress.new += new;
        progress.restored += restored;
        progress.known += known;
        progress.differing += differing;
        progress.changed += changed;
        let first = progress.revisions.map_or(act.revision, |(first, _)| first);
        progress.revisions = Some((first, act.revision));
    });
    Ok(took)
}

/// The number of failed attempts.
#[derive(Debug, Default)]
struct WriteRetries(u32);

impl WriteRetries {
    /// Waits before the next attempt, or returns the error if no retry can help.
    async fn wait_or_fail(&mut self, error: Error) -> Result<()> {
        if !self.may_retry(&error) {
            return Err(error);
        }
        tracing::warn!(
            retries = self.0,
            "upstream keys cannot be changed yet: {error}"
        );
        tokio::time::sleep(RETRY_DELAY).await;
        Ok(())
    }

    fn may_retry(&mut self, error: &Error) -> bool {
        self.0 += 1;
        error.is_transient() && self.0 <= MAX_RETRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_writes_are_retried_a_limited_number_of_times() {
        let full = Error::Sqlx(sqlx::Error::PoolTimedOut);
        let mut retries = WriteRetries::default();

        for _ in 0..MAX_RETRIES {
            assert!(retries.may_retry(&full));
        }

        assert!(!retries.may_retry(&full));
        let wrong = Error::Refused("refused".to_owned());
        assert!(!WriteRetries::default().may_retry(&wrong));
    }
}
