//! Removal of what deleted and changed rows have left in the file and in the write-ahead log.

use std::time::Duration;

use crate::clock;
use crate::storage::db::Db;
use crate::storage::encryption;
use crate::storage::error::Result;

/// The size of a file that is rewritten while a server uses it: commits wait for less than a second.
pub const MAX_SHARED_BYTES: u64 = 64 * 1024 * 1024;
/// For how long a truncation of the log is tried: a statement that reads for a moment prevents it.
const TRUNCATION_TIMEOUT: Duration = Duration::from_secs(30);
const TRUNCATION_PAUSE: Duration = Duration::from_millis(20);

impl Db {
    /// Rewrites the file, so that no page holds what was deleted before, and truncates the log. Other writers wait meanwhile.
    /// Returns whether the log was truncated.
    pub async fn rewrite(&self) -> Result<bool> {
        self.check_file()?;
        // The statement would not be the same in a transaction, as the macros prepare it.
        sqlx::query("VACUUM").execute(&self.writer).await?;
        let is_clean = self.truncate_wal().await?;
        if is_clean {
            encryption::record_clean_file(&self.writer).await?;
        }
        Ok(is_clean)
    }

    /// Copies the write-ahead log into the file and truncates it to nothing. Returns whether that succeeded: a transaction that
    /// reads for long prevents it.
    pub async fn truncate_wal(&self) -> Result<bool> {
        let deadline = clock::instant() + TRUNCATION_TIMEOUT;
        loop {
            self.check_file()?;
            if self.copy_wal().await? {
                let writer = self.writer.acquire().await?;
                let is_truncated = self.try_to_truncate_wal().await?;
                drop(writer);
                if is_truncated {
                    return Ok(true);
                }
            }
            if clock::instant() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(TRUNCATION_PAUSE).await;
        }
    }
}
