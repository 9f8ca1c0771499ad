//! `WriteHealth`: whether the database can be written, for requests, the status page and the log.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::storage::error::{Error, Result};

/// Why the database cannot be written, as far as it matters for what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteProblem {
    /// The file was moved, deleted or replaced.
    Moved,
    /// The content of the file is damaged.
    Damaged,
    /// The disk is full, or does not read or write.
    Disk,
    /// Another program locks the file.
    Locked,
    Other,
}

impl WriteProblem {
    pub fn of(error: &Error) -> Self {
        // BUSY 5, LOCKED 6, IOERR 10, CORRUPT 11, FULL 13, NOTADB 26.
        match (error, error.primary_code()) {
            (Error::FileMoved(_), _) => Self::Moved,
            (Error::Damaged(_), _) | (_, Some(11 | 26)) => Self::Damaged,
            (_, Some(10 | 13)) => Self::Disk,
            (_, Some(5 | 6)) | (Error::Sqlx(sqlx::Error::PoolTimedOut), _) => Self::Locked,
            _ => Self::Other,
        }
    }

    /// The name in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Damaged => "damaged",
            Self::Disk => "disk",
            Self::Locked => "locked",
            Self::Other => "other",
        }
    }

    /// What is wrong, and what an operator can do.
    fn text_and_remedy(self) -> (&'static str, &'static str) {
        match self {
            Self::Moved => (
                "it was moved, deleted or replaced",
                "move it back, or stop the server and restore a backup with `gemini-pool restore`",
            ),
            Self::Damaged => (
                "it is damaged",
                "stop the server and restore a backup with `gemini-pool restore`",
            ),
            Self::Disk => (
                "its disk is full or fails",
                "free space on the disk, or check it",
            ),
            Self::Locked => ("it is locked", "end the program that locks it"),
            Self::Other => ("it refuses every write", "see the error"),
        }
    }

    /// Whether the file itself is not the right one, so that no write may be tried.
    fn concerns_file(self) -> bool {
        matches!(self, Self::Moved | Self::Damaged)
    }
}

/// The state of the writer, shared with all recorders.
#[derive(Debug, Default)]
pub struct WriteHealth {
    /// Writes that were submitted and are not yet committed.
    pending: AtomicUsize,
    /// How many were pending and are committed.
    committed: AtomicU64,
    problems: Mutex<Problems>,
}

#[derive(Debug, Default)]
struct Problems {
    /// Of the last write.
    write: Option<WriteProblem>,
    /// Of the last probe, which runs even while no row waits.
    probe: Option<WriteProblem>,
    /// The last one in the log, until a row is written.
    logged: Option<WriteProblem>,
}

impl WriteHealth {
    pub fn add_pending(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    pub fn remove_pending(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::Relaxed);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.committed.fetch_add(count, Ordering::Relaxed);
    }

    /// How many writes were committed since the start.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Why the last write or probe failed; `None`: it succeeded.
    pub fn problem(&self) -> Option<WriteProblem> {
        let problems = self.problems.lock();
        problems.probe.or(problems.write)
    }

    /// Whether a probe found that the file is damaged.
    pub fn is_damaged(&self) -> bool {
        self.problems.lock().probe == Some(WriteProblem::Damaged)
    }

    /// Records a failed write of the database at `path`. Each problem is logged once.
    pub fn record_failure(&self, error: &Error, path: &Path) {
        let problem = WriteProblem::of(error);
        let mut problems = self.problems.lock();
        problems.write = Some(problem);
        self.log(&mut problems, problem, error, path);
    }

    /// Records that a write succeeded, or was refused for its content; `wrote_rows` if it changed the file for sure.
    pub fn record_success(&self, wrote_rows: bool) {
        let mut problems = self.problems.lock();
        problems.write = None;
        if wrote_rows && problems.logged.take().is_some() {
            tracing::warn!("the database can be written again");
        }
    }

    /// Records the result of a probe. Only a problem of the file itself is logged: a lock may be short, and a full disk shows
    /// in a write.
    pub fn record_probe(&self, result: &Result<()>, path: &Path) {
        let problem = result.as_ref().err().map(WriteProblem::of);
        let mut problems = self.problems.lock();
        problems.probe = problem;
        if let (Some(problem), Err(error)) = (problem, result)
            && problem.concerns_file()
        {
            self.log(&mut problems, problem, error, path);
        }
    }

    fn log(&self, problems: &mut Problems, problem: WriteProblem, error: &Error, path: &Path) {
        if problems.logged == Some(problem) {
            return;
        }
        problems.logged = Some(problem);
        let (pending, path) = (self.pending(), path.display());
        let (text, remedy) = problem.text_and_remedy();
        tracing::error!(
            pending,
            "the database {path} cannot be written, log rows wait in memory: {text}; {remedy} ({error})"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_and_the_writer_fail_and_recover_independently() {
        let (health, path) = (WriteHealth::default(), Path::new("pool.db"));
        let moved = Error::FileMoved(path.to_owned());
        assert_eq!(health.problem(), None);

        health.record_failure(&Error::Sqlx(sqlx::Error::PoolTimedOut), path);
        assert_eq!(health.problem(), Some(WriteProblem::Locked));
        health.record_probe(&Err(moved), path);
        assert_eq!(health.problem(), Some(WriteProblem::Moved));
        health.record_success(true);
        assert_eq!(health.problem(), Some(WriteProblem::Moved));
        assert!(!health.is_damaged());
        health.record_probe(&Ok(()), path);
        assert_eq!(health.problem(), None);
    }

    #[test]
    fn a_problem_stays_logged_until_a_row_is_written() {
        let (health, path) = (WriteHealth::default(), Path::new("pool.db"));
        let logged = || health.problems.lock().logged;
        health.record_failure(&Error::Damaged(path.to_owned()), path);

        health.record_success(false);
        assert_eq!(
            (health.problem(), logged()),
            (None, Some(WriteProblem::Damaged))
        );
        health.record_success(true);
        assert_eq!(logged(), None);
    }
}
