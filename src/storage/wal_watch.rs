//! `WalWatch`: detects writes to the database, by any process, without asking SQLite.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file of the write-ahead log, whose time of change moves with every commit.
#[derive(Debug)]
pub struct WalWatch {
    path: PathBuf,
    seen: Option<WalState>,
    /// Whether the last two looks saw the same state.
    is_settled: bool,
}

/// Inode, size, and time of the last write in nanoseconds, of a file that exists.
type WalState = Option<(u64, u64, i128)>;

impl WalWatch {
    /// Watches the log of the database file at `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            path: wal_path(path),
            seen: None,
            is_settled: false,
        }
    }

    /// Whether the log may have changed since the last call. The first two calls return `true`, and so does the first one
    /// after a change was seen: a second write within the resolution of the file system's clock leaves the same time.
    pub fn has_changed(&mut self) -> bool {
        // A call that does not block: the path's entries are in the cache of the system.
        let state = std::fs::metadata(&self.path).ok().map(|file| {
            let nanoseconds =
                i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
            (file.ino(), file.len(), nanoseconds)
        });
        let was_settled = self.is_settled;
        self.is_settled = self.seen == Some(state);
        self.seen = Some(state);
        !(was_settled && self.is_settled)
    }
}

/// The write-ahead log of the database file at `path`.
pub fn wal_path(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::tests::open_migrated;

    #[tokio::test]
    async fn each_commit_is_seen_and_a_database_at_rest_is_settled() {
        let (_folder, db) = open_migrated().await;
        let mut watch = WalWatch::new(db.path());
        assert_eq!([watch.has_changed(), watch.has_changed()], [true, true]);
        assert!(!watch.has_changed());

        for statement in [
            "CREATE TABLE numbers (number INTEGER NOT NULL)",
            "INSERT INTO numbers VALUES (1)",
            "UPDATE numbers SET number = 2",
        ] {
            sqlx::query(statement).execute(&db.writer).await.unwrap();

            let seen = [
                watch.has_changed(),
                watch.has_changed(),
                watch.has_changed(),
            ];
            assert_eq!(seen, [true, true, false], "{statement}");
        }

        sqlx::query("DELETE FROM numbers WHERE number = 3")
            .execute(&db.writer)
            .await
            .unwrap();
        db.probe().await.unwrap();
        db.checkpoint().await.unwrap();
        assert!(!watch.has_changed(), "none of these writes to the log");
    }
}
