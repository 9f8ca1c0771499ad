//! Looks at the keys that an admin wants to be looked at.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::app::App;
use crate::jobs::{Job, JobWork, MAX_RESULTS, TestResult, TestedKey};
use crate::pool::health::check_schedule::{CheckFinding, DueCheck};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::tasks::recheck_keys::{CONCURRENT_CHECKS, KeyChecker};

/// Does one job after the other for ever.
pub async fn run(app: Arc<App>) {
    loop {
        let (job, work) = app.jobs.next_test().await;
        run_job(&app, &job, work).await;
    }
}

/// Looks at all keys of a job that are still there.
pub async fn run_job(app: &App, job: &Job, work: JobWork) {
    if let JobWork::Test(ids) = &work {
        let checker = KeyChecker {
            gemini: &app.gemini,
            settings: app.settings(),
            redactor: app.redactor(),
            ids: &app.request_ids,
            keys: &app.keys,
            recorder: &app.recorder,
        };
        let on_result = |tested| {
            // The key may be back.
            app.key_queue.notify();
            add_result(job, tested);
        };
        test_all(&checker, ids, on_result).await;
        // Whoever reads the keys' pages then finds there what showed it.
        let _ = app.recorder.flush().await;
    }
    job.update_progress(|progress| progress.ended = true);
}

/// Looks at keys, a few at a time, and tells of each as soon as it has answered; `None`: it is gone.
pub async fn test_all(
    checker: &KeyChecker<'_>,
    ids: &[UpstreamKeyId],
    mut on_result: impl FnMut(Option<TestedKey>),
) {
    // Each is begun only when its turn comes: ten thousand that wait would take much room.
    let mut tests = ids.iter().map(|id| test(checker, *id));
    let mut running: FuturesUnordered<_> = tests.by_ref().take(CONCURRENT_CHECKS).collect();
    while let Some(tested) = running.next().await {
        on_result(tested);
        running.extend(tests.next());
    }
}

async fn test(checker: &KeyChecker<'_>, id: UpstreamKeyId) -> Option<TestedKey> {
    let due = checker.keys.lock().get(id).map(DueCheck::of)?;
    let check = checker.check(&due).await;
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
        rule: fails.then(|| verdict.rule.name()),
        error: fails.then(|| checker.redactor.redact_for_row(&verdict.message)),
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
        let place = progress
            .results
            .partition_point(|other| (other.result, other.id) < (tested.result, tested.id));
        progress.results.insert(place, tested);
        progress.results.truncate(MAX_RESULTS);
    });
}
