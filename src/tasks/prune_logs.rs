//! Deletes log rows that are older than the setting allows, and counts of days whose quota is long over.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::storage::error::Result;
use crate::storage::{pruned_logs, quotas};

const PERIOD: Duration = Duration::from_hours(1);
/// How many requests go in one transaction: among millions of rows it holds up the writer for some 7 ms.
const STEP: u32 = 200;
/// How long the writer has for others between two transactions.
const PAUSE: Duration = Duration::from_millis(30);
/// How long it is kept what keys have used in a day: only the running one is read, the others are for whoever wonders.
const QUOTA_DAYS_KEPT: Duration = Duration::from_hours(8 * 24);

/// Prunes for ever.
pub async fn run(app: Arc<App>) {
    loop {
        match pass(&app, clock::now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "log rows were deleted by age"),
            Err(error) => tracing::warn!("old log rows could not be deleted: {error}"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Deletes what is too old at `now`, little by little. Returns how many requests.
pub async fn pass(app: &App, now: Timestamp) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    quotas::delete_days_before(&mut *tx, now - QUOTA_DAYS_KEPT).await?;
    tx.commit().await?;
    let days = app.settings().log_retention_days;
    if days == 0 {
        return Ok(0);
    }
    let time = now - Duration::from_hours(24 * days);
    let mut deleted = 0;
    loop {
        let mut tx = app.db.begin().await?;
        let step = pruned_logs::prune(&mut tx, time, STEP).await?;
        tx.commit().await?;
        deleted += step;
        if step < u64::from(STEP) {
            return Ok(deleted);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
