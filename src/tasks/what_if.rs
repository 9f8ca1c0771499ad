//! Runs the jobs that replay the log with another setting, one after the other and beside the requests.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::app::App;
use crate::clock;
use crate::jobs::{Job, JobWork, PER_CENT, WhatIfQuestion};
use crate::pool::keys::upstream_key::{KeyState, UpstreamKey};
use crate::pool::secret::Secret;
use crate::pool::what_if::WhatIfResult;
use crate::pool::what_if::replay::what_if;
use crate::storage::error::Result;
use crate::storage::what_if::load;

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    loop {
        let (job, work) = app.jobs.next_replay().await;
        if let JobWork::WhatIf(question) = work {
            run_job(&app, &job, question).await;
        }
    }
}

/// Runs a job to its end.
pub async fn run_job(app: &Arc<App>, job: &Arc<Job>, question: WhatIfQuestion) {
    let result = answer(app, job, question).await;
    if let Err(error) = &result {
        tracing::error!("the log could not be replayed: {error}");
    }
    job.update_progress(|progress| {
        progress.ended = true;
        match result {
            Ok(result) => progress.what_if = Some(result),
            Err(error) => progress.failed = Some(error.to_string()),
        }
    });
}

async fn answer(app: &Arc<App>, job: &Arc<Job>, question: WhatIfQuestion) -> Result<WhatIfResult> {
    // Requests of the last seconds must be rows.
    let _ = app.recorder.flush().await;
    let mut span = load(&app.db.readers, clock::now() - question.span).await?;
    span.input.settings = (*app.settings()).clone();
    let (app, job) = (app.clone(), job.clone());
    let replayed = spawn_blocking(move || {
        span.input.keys = usable_keys(&app);
        let both = 2 * span.input.requests.len();
        let (mut done, mut shown) = (0, 0);
        what_if(span.input, span.left_out, question.change, |_| {
            done += 1;
            let per_cent = done * PER_CENT / both.max(1);
            if per_cent > shown {
                shown = per_cent;
                job.update_progress(|progress| progress.done = per_cent);
            }
        })
    });
    Ok(replayed.await.expect("a replay does not panic"))
}

/// The keys that can be used now, without their secrets.
fn usable_keys(app: &App) -> Vec<UpstreamKey> {
    let mut usable = Vec::new();
    app.keys.for_each_key(|keys, id| {
        let key = keys.get(id).filter(|key| key.enabled);
        let key =
            key.filter(|key| matches!(key.condition.state, KeyState::Ready | KeyState::Trial));
        usable.extend(key.map(|key| UpstreamKey {
            secret: Secret::new(""),
            ..key.clone()
        }));
    });
    usable
}
