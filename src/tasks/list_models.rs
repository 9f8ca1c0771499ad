//! Reads the models of projects once a day, through a key that works, so that the pages show what the pool offers.
//!
//! New keys need no pass: their check reads the list too.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::{self, Timestamp, ticks};
use crate::pool::health::check_schedule::DueCheck;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::KeyState;
use crate::pool::model_lists::REFRESH_AFTER;
use crate::storage::error::Result;
use crate::storage::model_lists;
use crate::tasks::recheck_keys::KeyChecker;

/// A pass reads all keys of the database, which takes some ten milliseconds with 50,000 of them.
const PERIOD: Duration = Duration::from_mins(10);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    loop {
        ticks.tick().await;
        if let Err(error) = pass(&app, clock::now()).await {
            tracing::warn!("the lists of models could not be refreshed: {error}");
        }
    }
}

/// Reads the lists that are due at `now`, one after the other. Returns how many.
pub async fn pass(app: &App, now: Timestamp) -> Result<usize> {
    // Without checks of its own, the server asks Google nothing of its own.
    if app.recorder.is_failing() || !app.settings().check_new_keys {
        return Ok(0);
    }
    let mut tx = app.db.begin().await?;
    model_lists::prune_projects(&mut tx).await?;
    tx.commit().await?;
    let before = now - REFRESH_AFTER;
    let due = model_lists::list_due(&app.db.readers, before).await?;
    let due = app.model_lists.lock().in_order(due, now);
    let checker = KeyChecker::of(app);
    let mut count = 0;
    for (_, id) in due {
        let key = {
            let keys = app.keys.lock();
            let key = keys.get(id).filter(|key| key.enabled);
            let key = key.filter(|key| key.condition.state == KeyState::Ready);
            key.map(DueCheck::of)
        };
        let Some(key) = key else { continue };
        if app.model_lists.lock().take(key.project_id, now) {
            let Some(listed) = checker.list_models(&key).await else {
                continue;
            };
            count += 1;
            if listed.verdict().rule == Rule::QuotaWithoutDetail {
                // The address may be throttled: the rest waits for the next pass.
                break;
            }
        }
    }
    Ok(count)
}
