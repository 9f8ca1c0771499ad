//! `Jobs`: background jobs of admins, with their progress, and keys that wait for a confirmation. All in memory.

use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::imported_keys::{ImportedKey, KeyImport};
use crate::pool::keys::upstream_key::{KeyState, UpstreamKeyId};
use crate::pool::what_if::{WhatIfChange, WhatIfResult};
use crate::storage::audit::Actor;
use crate::storage::undo::UndoableAct;
use crate::storage::upstream_keys::change::KeyChange;

/// Maximum number of jobs kept.
const MAX_JOBS: usize = 50;
/// Maximum number of pending confirmations, and their lifetime.
const MAX_PENDING: usize = 8;
const PENDING_LIFETIME: Duration = Duration::from_mins(15);
/// The total of a job that counts its progress in per cent.
pub const PER_CENT: usize = 100;
/// Maximum number of results kept of a test of many keys: failed ones first.
pub const MAX_RESULTS: usize = 200;

/// All jobs of a running server.
#[derive(Debug, Default)]
pub struct Jobs {
    recent: Mutex<VecDeque<Arc<Job>>>,
    /// Keys that were pasted and not yet imported.
    pub pasted: PendingConfirmations<KeyImport>,
    /// All keys that matched when the admin was asked to confirm a change: exactly these are changed.
    pub matched: PendingConfirmations<Vec<UpstreamKeyId>>,
    /// The same for client keys.
    pub matched_clients: PendingConfirmations<Vec<ClientKeyId>>,
    changes: JobQueue,
    tests: JobQueue,
    replays: JobQueue,
}

#[derive(Debug, Default)]
struct JobQueue {
    queued: Mutex<VecDeque<(Arc<Job>, JobWork)>>,
    notify: Notify,
}

/// A job and its progress. Only its [`JobWork`] contains the keys, and is dropped with the work: a job is kept for
/// long, which secrets must not be.
#[derive(Debug)]
pub struct Job {
    /// Random, because it is part of URLs.
    pub id: u64,
    pub actor: Actor,
    pub started_at: Timestamp,
    pub kind: JobKind,
    /// Number of keys to process.
    pub total: usize,
    progress: Mutex<JobProgress>,
    changed_notify: Notify,
}

/// The work of a job, with its keys.
#[derive(Debug)]
pub enum JobWork {
    Test(Vec<UpstreamKeyId>),
    Change(Vec<UpstreamKeyId>, KeyChange),
    Import {
        keys: Vec<ImportedKey>,
        known: KnownKeys,
    },
    /// Undoes changes of keys.
    Undo(Vec<UndoableAct>),
    WhatIf(WhatIfQuestion),
}

/// What is asked of a replay of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WhatIfQuestion {
    pub change: WhatIfChange,
    /// How far back the requests go.
    pub span: Duration,
}

/// What an import does with keys that are in the pool already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownKeys {
    Keep,
    /// Keeps them, and counts those whose attributes differ, which takes as long as adding them.
    Compare,
    /// Updates their attributes.
    Update,
}

/// The kind of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    Test,
    Change(KeyChange),
    Import,
    Undo,
    WhatIf(WhatIfQuestion),
}

/// The progress of a job.
#[derive(Debug, Clone, Default)]
pub struct JobProgress {
    pub done: usize,
    pub ended: bool,
    /// The error that ended it early.
    pub failed: Option<String>,
    /// Number of keys that changed: without removed keys and those already in the new state.
    pub changed: usize,
    /// For imports.
    pub new: usize,
    pub restored: usize,
    pub known: usize,
    /// Known keys whose attributes differ from those of the import, and stay.
    pub differing: usize,
    /// For restores: keys whose secrets are wiped.
    pub wiped: usize,
    /// For clearing.
    pub cleared_states: usize,
    pub cleared_cooldowns: usize,
    /// The first and the last revision of its acts.
    pub revisions: Option<(i64, i64)>,
    /// For tests.
    pub alive: usize,
    pub refused: usize,
    pub unclear: usize,
    pub results: Vec<TestedKey>,
    /// For replays of the log.
    pub what_if: Option<WhatIfResult>,
}

/// The result of one key's test; the field names are those of the JSON.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TestedKey {
    pub id: UpstreamKeyId,
    pub label: String,
    pub last4: String,
    pub result: TestResult,
    pub state: KeyState,
    pub status: Option<u16>,
    /// `None`: the key works.
    pub rule: Option<Cow<'static, str>>,
    /// Redacted.
    pub error: Option<String>,
    /// Whether something else than Gemini answered.
    pub foreign_answer: bool,
    pub duration_ms: u64,
}

/// The conclusion of a key's test.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TestResult {
    Refused,
    /// The response proves nothing about the key.
    Unclear,
    Alive,
}

/// Pending confirmations: a few, each with a limited lifetime, by random ids that are part of URLs and forms.
#[derive(Debug)]
pub struct PendingConfirmations<T>(Mutex<VecDeque<(Timestamp, u64, Arc<T>)>>);

impl JobWork {
    /// Number of keys to process.
    pub fn total(&self) -> usize {
        match self {
            Self::Test(ids) | Self::Change(ids, _) => ids.len(),
            Self::Import { keys, .. } => keys.len(),
            Self::Undo(acts) => acts.iter().map(UndoableAct::count).sum(),
            Self::WhatIf(_) => PER_CENT,
        }
    }

    fn kind(&self) -> JobKind {
        match self {
            Self::Test(_) => JobKind::Test,
            Self::Change(_, change) => JobKind::Change(change.clone()),
            Self::Import { .. } => JobKind::Import,
            Self::Undo(_) => JobKind::Undo,
            Self::WhatIf(question) => JobKind::WhatIf(*question),
        }
    }
}

impl Job {
    pub fn progress(&self) -> JobProgress {
        let progress = self.progress.lock();
        progress.clone()
    }

    pub fn has_ended(&self) -> bool {
        let progress = self.progress.lock();
        progress.ended
    }

    /// Changes its progress, and wakes all waiting tasks.
    pub fn update_progress(&self, change: impl FnOnce(&mut JobProgress)) {
        let mut progress = self.progress.lock();
        change(&mut progress);
        drop(progress);
        self.changed_notify.notify_waiters();
    }

    /// Waits until it has ended, or until `limit` is over.
    pub async fn wait_until_ended(&self, limit: Duration) -> JobProgress {
        let ended = async {
            loop {
                let changed_notify = self.changed_notify.notified();
                if self.has_ended() {
                    return;
                }
                changed_notify.await;
            }
        };
        // After the time limit the current progress is returned.
        let _ = tokio::time::timeout(limit, ended).await;
        self.progress()
    }
}

impl Jobs {
    /// Queues a job, after those that already wait.
    pub fn start(&self, work: JobWork, actor: Actor, now: Timestamp) -> Arc<Job> {
        let job = Arc::new(Job {
            id: rand::random(),
            actor,
            started_at: now,
            kind: work.kind(),
            total: work.total(),
            progress: Mutex::default(),
            changed_notify: Notify::new(),
        });
        let mut jobs = self.recent.lock();
        jobs.push_back(job.clone());
        // A running job is kept: otherwise its page would report that it was interrupted.
        while jobs.len() > MAX_JOBS
            && let Some(ended) = jobs.iter().position(|job| job.has_ended())
        {
            jobs.remove(ended);
        }
        drop(jobs);
        let queue = match job.kind {
            JobKind::Test => &self.tests,
            JobKind::Change(_) | JobKind::Import | JobKind::Undo => &self.changes,
            JobKind::WhatIf(_) => &self.replays,
        };
        let mut queued = queue.queued.lock();
        queued.push_back((job.clone(), work));
        drop(queued);
        queue.notify.notify_one();
        job
    }

    /// A job that is still kept.
    pub fn find(&self, id: u64) -> Option<Arc<Job>> {
        let jobs = self.recent.lock();
        jobs.iter().find(|job| job.id == id).cloned()
    }

    /// Jobs that run or wait.
    pub fn running(&self) -> Vec<Arc<Job>> {
        let jobs = self.recent.lock();
        let running = jobs.iter().filter(|job| !job.has_ended());
        running.cloned().collect()
    }

    /// Waits for the next job that changes keys.
    pub async fn next_change(&self) -> (Arc<Job>, JobWork) {
        self.changes.next().await
    }

    /// Waits for the next job that tests keys.
    pub async fn next_test(&self) -> (Arc<Job>, JobWork) {
        self.tests.next().await
    }

    /// Waits for the next replay of the log.
    pub async fn next_replay(&self) -> (Arc<Job>, JobWork) {
        self.replays.next().await
    }

    /// Removes expired confirmations.
    pub fn remove_expired(&self, now: Timestamp) {
        drop(self.pasted.unexpired(now));
        drop(self.matched.unexpired(now));
        drop(self.matched_clients.unexpired(now));
    }
}

impl<T> Default for PendingConfirmations<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> PendingConfirmations<T> {
    /// Stores a pending confirmation and returns its id.
    pub fn insert(&self, value: T, now: Timestamp) -> u64 {
        let id = rand::random();
        let mut pending = self.unexpired(now);
        while pending.len() >= MAX_PENDING {
            pending.pop_front();
        }
        pending.push_back((now, id, Arc::new(value)));
        id
    }

    /// The pending confirmation with this id; `None` if it has expired.
    pub fn get(&self, id: u64, now: Timestamp) -> Option<Arc<T>> {
        let pending = self.unexpired(now);
        let matching = pending.iter().find(|(_, other, _)| *other == id);
        matching.map(|(_, _, value)| value.clone())
    }

    pub fn remove(&self, id: u64) {
        let mut pending = self.0.lock();
        pending.retain(|(_, other, _)| *other != id);
    }

    fn unexpired(&self, now: Timestamp) -> MutexGuard<'_, VecDeque<(Timestamp, u64, Arc<T>)>> {
        let mut pending = self.0.lock();
        pending.retain(|(since, _, _)| now - *since < PENDING_LIFETIME);
        pending
    }
}

impl JobQueue {
    async fn next(&self) -> (Arc<Job>, JobWork) {
        loop {
            let notify = self.notify.notified();
            let next = {
                let mut queued = self.queued.lock();
                queued.pop_front()
            };
            match next {
                Some(next) => return next,
                None => notify.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[tokio::test]
    async fn tests_and_changes_have_separate_queues_and_progress_is_visible() {
        let jobs = Jobs::default();
        let ids = vec![UpstreamKeyId(1)];
        let test = jobs.start(JobWork::Test(ids.clone()), Actor::cli(), NOW);
        let change = jobs.start(JobWork::Change(ids, KeyChange::Enable), Actor::cli(), NOW);

        assert_eq!(jobs.next_change().await.0.id, change.id);
        assert_eq!(jobs.next_test().await.0.id, test.id);
        assert_eq!(jobs.running().len(), 2);
        assert!(!test.wait_until_ended(Duration::from_millis(1)).await.ended);
        test.update_progress(|progress| {
            progress.done = 1;
            progress.ended = true;
        });

        assert_eq!(test.wait_until_ended(Duration::from_mins(1)).await.done, 1);
        assert_eq!(jobs.running().len(), 1);
        assert_eq!(jobs.find(test.id).unwrap().total, 1);
        assert!(jobs.find(test.id.wrapping_add(1)).is_none());
    }

    #[test]
    fn the_oldest_ended_job_is_removed_and_no_running_one() {
        let jobs = Jobs::default();
        let start = || jobs.start(JobWork::Test(Vec::new()), Actor::cli(), NOW);
        let first = start();
        let ended = start();
        ended.update_progress(|progress| progress.ended = true);
        for _ in 0..MAX_JOBS {
            start();
        }

        assert!(jobs.find(first.id).is_some());
        assert!(jobs.find(ended.id).is_none());
        assert_eq!(jobs.running().len(), MAX_JOBS + 1);
    }

    #[test]
    fn unconfirmed_changes_are_removed() {
        let jobs = Jobs::default();
        let matched = jobs.matched.insert(Vec::new(), NOW);

        jobs.remove_expired(NOW);
        assert!(jobs.matched.get(matched, NOW).is_some());
        jobs.remove_expired(NOW + PENDING_LIFETIME);

        assert!(jobs.matched.get(matched, NOW).is_none());
    }

    #[test]
    fn pending_confirmations_are_few_and_expire() {
        let pending = PendingConfirmations::default();
        let first = pending.insert(1, NOW);
        assert_eq!(pending.get(first, NOW).as_deref(), Some(&1));
        for number in 0..MAX_PENDING {
            pending.insert(number, NOW);
        }
        assert!(pending.get(first, NOW).is_none());

        let last = pending.insert(2, NOW);
        assert!(pending.get(last, NOW + PENDING_LIFETIME).is_none());
        let last = pending.insert(3, NOW);
        pending.remove(last);
        assert!(pending.get(last, NOW).is_none());
    }
}
