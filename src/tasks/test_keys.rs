//! Runs the jobs that test upstream keys.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::app::App;
use crate::jobs::{Job, JobWork, MAX_RESULTS, TestResult, TestedKey};
use crate::pool::health::check_schedule::{CheckFinding, DueCheck};
use crate::pool::health::upstream_watch::is_foreign;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::tasks::recheck_keys::{CONCURRENT_CHECKS, KeyChecker};

/// Runs one job after the other.
pub async fn run(app: Arc<App>) {
    loop {
        let (job, work) = app.jobs.next_test().await;
        run_job(&app, &job, work).await;
    }
}

/// Tests all keys of a job that still exist.
pub async fn run_job(app: &App, job: &Job, work: JobWork) {
    if let JobWork::Test(ids) = &work {
        let checker = KeyChecker::of(app);
        let on_result = |tested| {
            // The key may be available again.
            app.key_queue.notify();
            add_result(job, tested);
        };
        test_all(&checker, ids, on_result).await;
        // Pages of the keys must show the rows of the tests when the job has ended.
        let _ = app.recorder.flush().await;
    }
    job.update_progress(|progress| progress.ended = true);
}

/// Tests keys, a few at a time, and passes each result on as soon as it is known; `None`: the key was removed.
pub async fn test_all(
    checker: &KeyChecker<'_>,
    ids: &[UpstreamKeyId],
    mut on_result: impl FnMut(Option<TestedKey>),
) {
    // Created only when needed: ten thousand waiting futures would need much memory.
    let mut tests = ids.iter().map(|id| test(checker, *id));
    let mut running: FuturesUnordered<_> = tests.by_ref().take(CONCURRENT_CHECKS).collect();
    while let Some(tested) = running.next().await {
        on_result(tested);
        running.extend(tests.next());
    }
}

async fn test(checker: &KeyChecker<'_>, id: UpstreamKeyId) -> Option<TestedKey> {
    let due = checker.keys.lock().get(id).map(DueCheck::of)?;
    let check = checker.check(&due).await?;
    let row = checker.keys.lock().get(id).cloned()?;
    let verdict = check.verdict();
    let fails = verdict.rule != Rule::Success;
    Some(TestedKey {
        id,
        last4: row.secret.last4(),
        label: row.label,
        result: match CheckFinding::of(verdict) {
            CheckFinding::Accepted => TestResult::Alive,
            CheckFinding::Refused(_) => TestResult::Refused,
            CheckFinding::Inconclusive => TestResult::Unclear,
        },
        state: row.condition.state,
        status: verdict.status,
        rule: fails.then(|| verdict.rule.name().into()),
        error: fails.then(|| checker.redactor.redact_for_row(&verdict.message)),
        foreign_answer: is_foreign(verdict),
        duration_ms: check.steps.iter().map(|step| step.duration_ms).sum(),
    })
}

fn add_result(job: &Job, tested: Option<TestedKey>) {
    job.update_progress(|progress| {
        progress.done += 1;
        let Some(tested) = tested else { return };
        match tested.result {
            TestResult::Alive => progress.alive += 1,
            TestResult::Refused => progress.refused += 1,
            TestResult::Unclear => progress.unclear += 1,
        }
        let index = progress
            .results
            .partition_point(|other| (other.result, other.id) < (tested.result, tested.id));
        progress.results.insert(index, tested);
        progress.results.truncate(MAX_RESULTS);
    });
}
