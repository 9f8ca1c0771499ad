//! Runs the jobs that add, change or undo many upstream keys: some keys per transaction, so that no request waits.

use std::ops::Range;
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
const KEYS_PER_COPY: usize = 2_500;
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
        JobWork::Change(ids, _) => write_in_batches(app, job, &work, ids.len()).await,
        JobWork::Import { keys, .. } => write_in_batches(app, job, &work, keys.len()).await,
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

/// Writes a job of `count` keys in transactions so short, and so far apart, that requests wait for none of them for long.
async fn write_in_batches(app: &App, job: &Job, work: &JobWork, count: usize) -> Result<()> {
    let mut pace = BatchPace::of_job(KEYS_PER_TRANSACTION);
    let mut written = 0;
    // Keys since the write-ahead log was copied.
    let mut uncopied = 0;
    while written < count {
        let size = usize::try_from(pace.size()).unwrap_or(usize::MAX);
        let batch = written..count.min(written + size);
        let size = batch.len();
        let mut retries = WriteRetries::default();
        let took = loop {
            let no_reload = app.hold_reloads().await;
            let result = write_batch(app, job, work, batch.clone()).await;
            drop(no_reload);
            match result {
                Ok(took) => break took,
                Err(error) => retries.wait_or_fail(error).await?,
            }
        };
        written += size;
        uncopied += size;
        if uncopied >= KEYS_PER_COPY {
            uncopied = 0;
            // If this fails, the next time or the checkpoint task copies it too.
            if let Err(error) = app.db.restart_wal().await {
                tracing::debug!("no checkpoint this time: {error}");
            }
        }
        let pause = pace.after(u32::try_from(size).unwrap_or(u32::MAX), took);
        if written < count {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}

/// Writes some keys of a job in one transaction, and returns how long it held the write lock.
async fn write_batch(
    app: &App,
    job: &Job,
    work: &JobWork,
    batch: Range<usize>,
) -> Result<Duration> {
    match work {
        JobWork::Change(ids, change) => change_chunk(app, job, &ids[batch], change).await,
        JobWork::Import { keys, known } => import_chunk(app, job, &keys[batch], *known).await,
        // These are not written in batches.
        JobWork::Undo(_) | JobWork::Test(_) | JobWork::WhatIf(_) => Ok(Duration::ZERO),
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
