//! `LogPruner`: deletes log rows and returns free pages in small transactions, between which requests are recorded.

use std::time::Duration;

use crate::pool::batch_pace::BatchPace;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::log_pruning::{self, PruneScope};
use crate::storage::request_bodies;

/// Bounds of a transaction. Its time is what usually bounds it; more rows or pages would make it no cheaper.
const MAX_ROWS: u32 = 1_000;
const MAX_PAGES: u32 = 1_000;
/// After so many rows or pages, of some kilobytes of log each, the write-ahead log is copied completely.
const UNITS_PER_COPY: u32 = 2_000;

/// The server's, or a command's own.
#[derive(Debug)]
pub struct LogPruner<'a> {
    db: &'a Db,
    scope: PruneScope,
    rows: BatchPace,
    bodies: BatchPace,
    pages: BatchPace,
    /// Rows and pages since the write-ahead log was copied.
    uncopied: u32,
}

impl<'a> LogPruner<'a> {
    pub fn new(db: &'a Db, scope: PruneScope) -> Self {
        let pace = match scope {
            PruneScope::Oldest => BatchPace::of_server,
            PruneScope::Selected => BatchPace::of_command,
        };
        Self {
            db,
            scope,
            rows: pace(MAX_ROWS),
            bodies: pace(MAX_ROWS),
            pages: pace(MAX_PAGES),
            uncopied: 0,
        }
    }

    /// How many rows the next transaction should delete.
    pub fn batch_size(&self) -> u32 {
        self.rows.size()
    }

    /// Deletes these requests in one transaction, and pauses in proportion to its time. Returns how many were deleted.
    pub async fn delete(&mut self, ids: &[RequestId]) -> Result<u64> {
        let batch = log_pruning::delete(self.db, ids, self.scope).await?;
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let pause = self.rows.after(count, batch.took);
        self.rest(count, pause).await?;
        Ok(batch.requests)
    }

    /// How many bodies the next transaction should delete.
    pub fn body_batch_size(&self) -> u32 {
        self.bodies.size()
    }

    /// Deletes the bodies of these requests in one transaction, and pauses in proportion to its time. Returns how many were deleted.
    pub async fn delete_bodies(&mut self, ids: &[RequestId]) -> Result<u64> {
        let batch = request_bodies::delete(self.db, ids).await?;
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let pause = self.bodies.after(count, batch.took);
        self.rest(count, pause).await?;
        Ok(batch.count)
    }

    /// Pauses after so many rows or pages. The write-ahead log is copied within a pause, when this work writes nothing.
    async fn rest(&mut self, count: u32, pause: Duration) -> Result<()> {
        self.uncopied += count;
        if self.uncopied >= UNITS_PER_COPY {
            self.uncopied = 0;
            self.db.restart_wal().await?;
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Returns so many bytes of free pages to the disk, as far as there are any. Returns how many were returned.
    pub async fn return_bytes(&mut self, bytes: u64) -> Result<u64> {
        let mut returned = 0;
        while returned < bytes {
            let slice = self.db.return_free_pages(self.pages.size()).await?;
            if slice.pages == 0 {
                break;
            }
            returned += slice.bytes;
            let pause = self.pages.after(slice.pages, slice.took);
            self.rest(slice.pages, pause).await?;
        }
        Ok(returned)
    }
}
