//! Looks at the keys that an admin wants to be looked at.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::app::App;
use crate::gemini::check::Checked;
use crate::gemini::redact::Redactor;
use crate::jobs::{Job, MOST_RESULTS, Outcome, Tested, Work};
use crate::pool::checks::{DueCheck, Found};
use crate::pool::upstream_key::UpstreamKey;
use crate::tasks::recheck_keys::{AT_ONCE, Checker};

/// Does one job after the other for ever.
pub async fn run(app: Arc<App>) {
    loop {
        let job = app.jobs.next_test().await;
        work(&app, &job).await;
    }
}

/// Looks at all keys of a job that are still there.
pub async fn work(app: &App, job: &Job) {
    if let Work::Test(ids) = &job.work {
        let redactor = app.redactor();
        let checker = Checker {
            gemini: &app.gemini,
            settings: app.settings(),
            redactor: redactor.clone(),
            ids: &app.ids,
            keys: &app.keys,
            recorder: &app.recorder,
        };
        let (checker, redactor) = (&checker, &redactor);
        let mut checks = stream::iter(ids.clone())
            .map(|id| async move {
                let due = app.keys.lock().get(id).map(DueCheck::of)?;
                let checked = checker.check(&due).await;
                let row = app.keys.lock().get(id).cloned()?;
                Some(tested(&row, &checked, redactor))
            })
            .buffer_unordered(AT_ONCE);
        while let Some(tested) = checks.next().await {
            // The key may be back.
            app.waiting.ring();
            add(job, tested);
        }
    }
    job.report(|progress| progress.ended = true);
}

fn add(job: &Job, tested: Option<Tested>) {
    job.report(|progress| {
        progress.done += 1;
        let Some(tested) = tested else { return };
        match tested.found {
            Outcome::Alive => progress.alive += 1,
            Outcome::Refused => progress.refused += 1,
            Outcome::Unclear => progress.unclear += 1,
        }
        let place = progress
            .results
            .partition_point(|other| (other.found, other.id) < (tested.found, tested.id));
        progress.results.insert(place, tested);
        progress.results.truncate(MOST_RESULTS);
    });
}

fn tested(row: &UpstreamKey, checked: &Checked, redactor: &Redactor) -> Tested {
    let verdict = checked.verdict();
    Tested {
        id: row.id,
        label: row.label.clone(),
        last4: row.secret.last4(),
        found: match Found::of(verdict) {
            Found::Alive => Outcome::Alive,
            Found::Dead(_) => Outcome::Refused,
            Found::Unclear => Outcome::Unclear,
        },
        state: row.condition.state,
        status: verdict.status,
        rule: verdict.rule.name(),
        message: redactor.for_row(&verdict.message),
        duration_ms: checked.steps.iter().map(|step| step.duration_ms).sum(),
    }
}
