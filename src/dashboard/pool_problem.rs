//! `PoolProblem`: why requests cannot be served or recorded now.

use crate::app::App;
use crate::clock;
use crate::pool::keys::overview::ServiceProblem;
use crate::storage::write_health::WriteProblem;

/// A problem of the whole pool. The status page has its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolProblem {
    Service(ServiceProblem),
    /// So many rows wait to be written that every request is refused.
    TooManyPendingRows,
    Write(WriteProblem),
    LowDisk,
}

impl PoolProblem {
    /// Whether no request can be served while it lasts.
    pub fn stops_service(&self) -> bool {
        match self {
            Self::Service(_) | Self::TooManyPendingRows => true,
            Self::Write(_) | Self::LowDisk => false,
        }
    }
}

/// All problems that are known now.
pub fn find(app: &App) -> Vec<PoolProblem> {
    let service = app.service_problem(clock::now());
    let service = service.map(PoolProblem::Service);
    let has_too_many = app.has_too_many_pending_rows();
    let pending = has_too_many.then_some(PoolProblem::TooManyPendingRows);
    let write = app.recorder.problem().map(PoolProblem::Write);
    let low_disk = app.low_disk.lock().map(|_| PoolProblem::LowDisk);
    [service, pending, write, low_disk]
        .into_iter()
        .flatten()
        .collect()
}
