//! Deletes kept bodies that exceed their own limits. Their log rows stay.

use crate::app::App;
use crate::clock::Timestamp;
use crate::pool::request_id::RequestId;
use crate::pool::retention::BodyRetentionLimits;
use crate::storage::error::Result;
use crate::storage::request_bodies;
use crate::tasks::log_pruner::LogPruner;

/// Deletes the oldest bodies until no limit is exceeded. Without a trusted clock none is deleted by its age. Returns how many were deleted.
pub async fn prune(
    app: &App,
    pruner: &mut LogPruner<'_>,
    now: Timestamp,
    is_clock_trusted: bool,
) -> Result<u64> {
    let (db, limits) = (&app.db.readers, BodyRetentionLimits::of(&app.settings()));
    let mut deleted = 0;
    let before = RequestId::first_at(now - limits.age);
    while is_clock_trusted && BodyRetentionLimits::of(&app.settings()) == limits {
        let old = request_bodies::list_oldest(db, before, pruner.body_batch_size()).await?;
        if old.is_empty() {
            break;
        }
        let ids: Vec<_> = old.iter().map(|(id, _)| *id).collect();
        deleted += pruner.delete_bodies(&ids).await?;
    }
    let mut excess = limits.excess_bytes(request_bodies::total_bytes(db).await?);
    while excess > 0 && BodyRetentionLimits::of(&app.settings()) == limits {
        let any = RequestId(i64::MAX);
        let oldest = request_bodies::list_oldest(db, any, pruner.body_batch_size()).await?;
        let mut ids = Vec::new();
        for (id, bytes) in oldest {
            if excess > 0 {
                excess = excess.saturating_sub(bytes);
                ids.push(id);
            }
        }
        if ids.is_empty() {
            break;
        }
        deleted += pruner.delete_bodies(&ids).await?;
    }
    Ok(deleted)
}
