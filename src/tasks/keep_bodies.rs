//! Stores the bodies of requests that have ended, in transactions of their own, for which no request waits.

use std::sync::Arc;

use crate::app::App;
use crate::body_log::capture::CapturedBodies;
use crate::body_log::redaction::redacted;
use crate::storage::error::Result;
use crate::storage::request_bodies::{self, RequestBodies};

/// How many requests share a transaction at most, so that it holds the write lock for some milliseconds.
const MAX_BATCH: usize = 16;

/// Runs for ever. Bodies that cannot be written are lost: waiting for the database, they would take too much memory.
pub async fn run(app: Arc<App>) {
    let mut is_failing = false;
    loop {
        let bodies = app.body_log.take(MAX_BATCH).await;
        let count = bodies.len();
        // The rest of a nearly full disk is for log rows.
        let is_disk_low = app.low_disk.lock().is_some();
        if !is_disk_low {
            let was_failing = is_failing;
            is_failing = false;
            if let Err(error) = pass(&app, bodies).await {
                is_failing = true;
                if !was_failing {
                    tracing::warn!("the bodies of {count} requests could not be kept: {error}");
                }
            }
        }
        app.body_log.finish(count);
    }
}

/// Redacts, compresses and inserts bodies.
async fn pass(app: &App, bodies: Vec<CapturedBodies>) -> Result<()> {
    let redactor = app.redactor();
    let redact = move || {
        let kept = bodies.iter().map(|bodies| redacted(bodies, &redactor));
        kept.collect::<std::io::Result<Vec<RequestBodies>>>()
    };
    let kept = match tokio::task::spawn_blocking(redact).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => {
            tracing::error!("bodies could not be compressed: {error}");
            return Ok(());
        }
        Err(error) => {
            tracing::error!("bodies could not be redacted: {error}");
            return Ok(());
        }
    };
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    for bodies in &kept {
        request_bodies::insert(&mut tx, &data_keys, bodies).await?;
    }
    tx.commit().await?;
    Ok(())
}
