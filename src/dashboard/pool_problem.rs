//! `PoolProblem`: why requests cannot be served or recorded now.

use crate::app::App;
use crate::clock;
use crate::pool::keys::overview::ServiceProblem;
use crate::storage::write_health::WriteProblem;

/// A problem of the whole pool. The status page has its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolProblem {
    Service(ServiceProblem),
    Write(WriteProblem),
    LowDisk,
}

/// All problems that are known now.
pub fn find(app: &App) -> Vec<PoolProblem> {
    let service = app.service_problem(clock::now());
    let service = service.map(PoolProblem::Service);
    let write = app.recorder.problem().map(PoolProblem::Write);
    let low_disk = app.low_disk.lock().map(|_| PoolProblem::LowDisk);
    [service, write, low_disk].into_iter().flatten().collect()
}
