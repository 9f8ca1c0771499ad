//! Checkpoints: copies the write-ahead log into the database file and truncates it, without blocking writers.

use std::time::Duration;

use crate::storage::db::{Db, MAX_WAL_BYTES};
use crate::storage::error::Result;

/// How often one checkpoint tries to truncate a log that is too long: a statement that reads for a moment prevents it.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
/// How often a log is copied beside the writer before it is copied while the writer waits.
const RESTART_ATTEMPTS: u32 = 3;
/// About how much log a write takes: four pages.
const LOG_BYTES_PER_WRITE: u64 = 16 * 1024;
/// The number of writes after which the disk is asked for its room again, however much there was.
const MAX_UNCHECKED: u64 = 1_024;

/// What a `wal_checkpoint` reports.
struct CheckpointResult {
    /// A reader or another writer prevented it.
    is_busy: bool,
    /// Pages of the log at its beginning, and how many of them are in the database file now.
    log_pages: i64,
    copied_pages: i64,
}

impl Db {
    /// Copies the write-ahead log into the database file, and truncates it where it is longer than [`MAX_WAL_BYTES`]. Returns
    /// the size of the log's file afterwards.
    ///
    /// The connection waits for no lock: a truncation that waited for readers would block every writer meanwhile. A
    /// transaction that reads for long (a backup, a `sqlite3` shell) prevents the truncation: the log grows by all that is
    /// written, until a checkpoint runs in a moment without a reader.
    pub async fn checkpoint(&self) -> Result<u64> {
        self.check_file()?;
        let is_copied = self.copy_wal().await?;
        let mut bytes = self.wal_bytes().await;
        if !is_copied {
            return Ok(bytes);
        }
        for _ in 0..ATTEMPTS {
            // Copied again, so that the truncation, which blocks writers, has little left to copy.
            if bytes <= MAX_WAL_BYTES || !self.copy_wal().await? {
                break;
            }
            let writer = self.writer.acquire().await?;
            let truncated = self.wal_checkpoint("TRUNCATE").await?;
            drop(writer);
            bytes = self.wal_bytes().await;
            if truncated.is_busy {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(bytes)
    }

    /// Copies the whole log, so that the next commit begins it anew. Between the transactions of long work: while something is written all
    /// the time, the checkpoints beside the writer never reach the log's end, and the log grows until a truncation, which blocks writers
    /// much longer.
    pub async fn restart_wal(&self) -> Result<()> {
        self.check_file()?;
        let mut copied_pages = 0;
        for _ in 0..RESTART_ATTEMPTS {
            let result = self.wal_checkpoint("PASSIVE").await?;
            // It reports the log as it was when it began: only the next one finds what was committed meanwhile.
            if result.log_pages <= copied_pages {
                return Ok(());
            }
            copied_pages = result.copied_pages;
        }
        // What requests have committed during the last attempt is little.
        let _writer = self.writer.acquire().await?;
        self.copy_wal().await?;
        Ok(())
    }

    /// Copies the log as far as no reader prevents it. Returns whether everything was copied.
    pub(in crate::storage) async fn copy_wal(&self) -> Result<bool> {
        let result = self.wal_checkpoint("PASSIVE").await?;
        Ok(!result.is_busy && result.copied_pages >= result.log_pages)
    }

    /// Truncates the log if no other connection uses it at this moment.
    pub(in crate::storage) async fn try_to_truncate_wal(&self) -> Result<bool> {
        let result = self.wal_checkpoint("TRUNCATE").await?;
        Ok(!result.is_busy)
    }

    async fn wal_checkpoint(&self, mode: &str) -> Result<CheckpointResult> {
        // The macros do not know what a pragma returns, and a pragma takes no parameters.
        let (is_busy, log_pages, copied_pages) =
            sqlx::query_as(&format!("PRAGMA wal_checkpoint({mode})"))
                .fetch_one(&self.checkpoints)
                .await?;
        Ok(CheckpointResult {
            is_busy,
            log_pages,
            copied_pages,
        })
    }

    /// The room that is left on the disk of the database; much where that is not known.
    fn free_bytes(&self) -> u64 {
        self.disk_space().map_or(u64::MAX, |disk| disk.free_bytes)
    }

    /// How large the log's file is, whatever part of it is in use.
    async fn wal_bytes(&self) -> u64 {
        let mut path = self.path().as_os_str().to_owned();
        path.push("-wal");
        let file = tokio::fs::metadata(path).await;
        file.map_or(0, |file| file.len())
    }
}

/// Copies the log between two batches where the disk has little room. A log that fills the disk could not be copied any more,
/// because the database file needs room to take it.
///
/// Under load the checkpoints beside the writer never reach the log's end, so that it only grows; between two batches they do.
#[derive(Debug, Default)]
pub struct WalLimit {
    writes_since_copy: u64,
    /// How many of them the disk had room for when it was asked last.
    checked_until: u64,
}

impl WalLimit {
    /// Counts writes that were committed just now, and copies the log if it may take too much of the room that is left.
    pub async fn count(&mut self, db: &Db, writes: usize) {
        self.writes_since_copy += u64::try_from(writes).unwrap_or(u64::MAX);
        if self.writes_since_copy < self.checked_until {
            return;
        }
        let free_bytes = db.free_bytes();
        if is_too_long(self.writes_since_copy, free_bytes) && db.copy_wal().await.is_ok() {
            self.writes_since_copy = 0;
        }
        // Asked again before the log can have taken a part of that room that matters.
        self.checked_until =
            self.writes_since_copy + (free_bytes / (64 * LOG_BYTES_PER_WRITE)).min(MAX_UNCHECKED);
    }
}

/// Whether the log of so many writes may take more than a quarter of the room. Where that is more than [`MAX_WAL_BYTES`],
/// the checkpoints beside the writer are enough.
fn is_too_long(writes: u64, free_bytes: u64) -> bool {
    let most = free_bytes / 4;
    most < MAX_WAL_BYTES && writes.saturating_mul(LOG_BYTES_PER_WRITE) > most
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection, SqliteConnection};
    use tempfile::TempDir;

    use super::*;
    use crate::storage::db::tests::open_empty;

    async fn database() -> (TempDir, Db) {
        let (folder, db) = open_empty().await;
        sqlx::query("CREATE TABLE blobs (blob BLOB NOT NULL)")
            .execute(&db.writer)
            .await
            .unwrap();
        (folder, db)
    }

    async fn insert(db: &Db, mebibytes: i64) {
        sqlx::query("INSERT INTO blobs VALUES (zeroblob(?1))")
            .bind(mebibytes * 1024 * 1024)
            .execute(&db.writer)
            .await
            .unwrap();
    }

    /// A connection of another program, without a busy timeout.
    async fn other(db: &Db) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(db.path());
        let options = options.busy_timeout(Duration::ZERO);
        options.connect().await.unwrap()
    }

    /// Another program that has begun to read.
    async fn reader(db: &Db) -> SqliteConnection {
        let mut reader = other(db).await;
        for statement in ["BEGIN", "SELECT count(*) FROM blobs"] {
            sqlx::query(statement).execute(&mut reader).await.unwrap();
        }
        reader
    }

    #[test]
    fn the_log_takes_at_most_a_quarter_of_the_room() {
        const MIB: u64 = 1024 * 1024;
        let longest = |free| {
            (0..10_000)
                .take_while(|writes| !is_too_long(*writes, free))
                .count()
        };

        assert_eq!(longest(u64::MAX), 10_000, "any length");
        assert_eq!(longest(16 * MIB), 257, "4 MiB");
        assert_eq!(longest(0), 1, "copied after each batch");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn checkpoints_block_no_writer_while_a_reader_is_open() {
        let (_folder, db) = database().await;
        let reader = reader(&db).await;
        insert(&db, 65).await;
        let mut other = other(&db).await;
        let is_over = AtomicBool::new(false);

        let checkpoints = async {
            for _ in 0..3 {
                assert!(db.checkpoint().await.unwrap() > MAX_WAL_BYTES);
            }
            is_over.store(true, Ordering::Relaxed);
        };
        let begins = async {
            let mut refused = 0;
            while !is_over.load(Ordering::Relaxed) {
                let begun = sqlx::query("BEGIN IMMEDIATE; COMMIT")
                    .execute(&mut other)
                    .await;
                refused += u32::from(begun.is_err());
            }
            refused
        };
        let ((), refused) = tokio::join!(checkpoints, begins);

        assert_eq!(refused, 0);
        reader.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_restarted_log_is_written_from_its_beginning() {
        let (_folder, db) = database().await;
        insert(&db, 4).await;
        let before = db.wal_bytes().await;

        for _ in 0..10 {
            db.restart_wal().await.unwrap();
            insert(&db, 1).await;
        }

        assert_eq!(db.wal_bytes().await, before);
    }

    #[tokio::test]
    async fn a_log_that_readers_in_turn_kept_from_being_cut_is_cut_when_the_last_ends() {
        let (_folder, db) = database().await;
        let mut reading = reader(&db).await;
        for _ in 0..4 {
            insert(&db, 20).await;
            let next = reader(&db).await;
            reading.close().await.unwrap();
            reading = next;
            db.checkpoint().await.unwrap();
        }
        assert!(db.checkpoint().await.unwrap() > MAX_WAL_BYTES);

        reading.close().await.unwrap();

        assert!(db.checkpoint().await.unwrap() <= MAX_WAL_BYTES);
        let blobs: i64 = sqlx::query_scalar("SELECT sum(length(blob)) FROM blobs")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        assert_eq!(blobs, 80 * 1024 * 1024);
    }
}
