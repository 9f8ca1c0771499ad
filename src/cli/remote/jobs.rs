//! Waits until a job on a remote server has ended.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::cli::progress::bar;
use crate::cli::remote::RemoteServer;
use crate::jobs::TestedKey;

/// How often the progress is read.
const PERIOD: Duration = Duration::from_millis(200);

/// A job as the API shows it.
#[derive(Debug, Deserialize)]
pub struct RemoteJob {
    id: String,
    total: usize,
    done: usize,
    ended: bool,
    failed: Option<String>,
    pub changed: usize,
    pub new: usize,
    pub restored: usize,
    pub known: usize,
    pub differing: usize,
    pub cleared_states: usize,
    pub cleared_cooldowns: usize,
    pub results: Vec<TestedKey>,
}

/// The job once it has ended; an error if it failed.
pub async fn ended(server: &RemoteServer, mut job: RemoteJob) -> Result<RemoteJob> {
    let bar = bar(job.total, "keys");
    while !job.ended {
        tokio::time::sleep(PERIOD).await;
        job = server.get(&["jobs", &job.id], &[]).await?;
        bar.set_position(u64::try_from(job.done).unwrap_or(u64::MAX));
    }
    bar.finish_and_clear();
    match &job.failed {
        Some(why) => bail!(
            "the server stopped after {} of {} keys: {why}",
            job.done,
            job.total
        ),
        None => Ok(job),
    }
}
