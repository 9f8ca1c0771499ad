//! The room of the database file: what its disk has left, and the return of free pages to it.

use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::pool::retention::DiskSpace;
use crate::storage::db::Db;
use crate::storage::error::Result;

/// What a transaction has returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReturnedPages {
    pub pages: u32,
    pub bytes: u64,
    /// How long the transaction kept other writers waiting.
    pub took: Duration,
}

impl Db {
    /// The disk of the database file; `None` where the system does not say.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        disk_of(self.path())
    }

    /// Returns up to so many free pages in one transaction. The file shrinks with the next checkpoint. Returns none where there are no free
    /// pages, or where the file was made without `auto_vacuum`: its free pages are only used again.
    pub async fn return_free_pages(&self, limit: u32) -> Result<ReturnedPages> {
        // The macros do not know what a pragma returns, and a pragma takes no parameters.
        let page_count =
            "SELECT page_count, page_size FROM pragma_page_count CROSS JOIN pragma_page_size";
        let mut tx = self.begin().await?;
        let begun = clock::instant();
        let (before, page_bytes): (u64, u64) =
            sqlx::query_as(page_count).fetch_one(&mut *tx).await?;
        // Each row is a page.
        sqlx::query(&format!("PRAGMA incremental_vacuum({limit})"))
            .fetch_all(&mut *tx)
            .await?;
        let (after, _): (u64, u64) = sqlx::query_as(page_count).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        let pages = before.saturating_sub(after);
        Ok(ReturnedPages {
            pages: u32::try_from(pages).unwrap_or(u32::MAX),
            bytes: pages * page_bytes,
            took: begun.elapsed(),
        })
    }

    /// Whether free pages of the file can be returned. Only a complete copy (`VACUUM`) can change that.
    pub async fn can_shrink(&self) -> Result<bool> {
        let auto_vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum")
            .fetch_one(&self.readers)
            .await?;
        Ok(auto_vacuum == 2)
    }
}

/// The disk of a file or folder; `None` where the system does not say.
pub fn disk_of(path: &Path) -> Option<DiskSpace> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(DiskSpace {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::backup::{self, ExistingFile};
    use crate::storage::db::tests::open_migrated;
    use crate::storage::log_size;

    /// Leaves free pages in the middle of the file.
    async fn leave_free_pages(db: &Db) {
        let statements = [
            "CREATE TABLE blobs (number INTEGER PRIMARY KEY, blob BLOB NOT NULL)",
            "INSERT INTO blobs WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             SELECT i, zeroblob(4000) FROM n",
            "DELETE FROM blobs WHERE number % 5 <> 0",
        ];
        for statement in statements {
            sqlx::query(statement).execute(&db.writer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn free_pages_are_returned_in_slices_and_the_file_shrinks() {
        let (_folder, db) = open_migrated().await;
        leave_free_pages(&db).await;
        db.checkpoint().await.unwrap();
        let file = || std::fs::metadata(db.path()).unwrap().len();
        let (before, size) = (file(), log_size::find(&db.readers).await.unwrap());
        assert!(size.free_bytes > 1_500_000);

        let first = db.return_free_pages(10).await.unwrap();
        assert_eq!((first.pages, first.bytes), (10, 10 * 4096));
        let rest = db.return_free_pages(10_000).await.unwrap();
        assert_eq!(first.bytes + rest.bytes, size.free_bytes);
        assert_eq!(db.return_free_pages(10).await.unwrap().pages, 0);
        db.checkpoint().await.unwrap();

        assert_eq!(file(), before - size.free_bytes);
        let blobs: i64 = sqlx::query_scalar("SELECT sum(length(blob)) FROM blobs")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        assert_eq!(blobs, 100 * 4_000);
        assert!(db.can_shrink().await.unwrap());
    }

    #[tokio::test]
    async fn a_copy_of_a_file_that_cannot_shrink_can() {
        let (folder, db) = open_migrated().await;
        sqlx::raw_sql("PRAGMA auto_vacuum = NONE; VACUUM")
            .execute(&db.writer)
            .await
            .unwrap();
        leave_free_pages(&db).await;
        assert!(!db.can_shrink().await.unwrap());
        assert_eq!(db.return_free_pages(10).await.unwrap().pages, 0);

        let copy = folder.path().join("copy.db");
        backup::copy(&db, &copy, ExistingFile::Keep).await.unwrap();

        assert!(!db.can_shrink().await.unwrap());
        let copy = Db::open_file(&copy).await.unwrap();
        assert!(copy.can_shrink().await.unwrap());
        assert_eq!(log_size::find(&copy.readers).await.unwrap().free_bytes, 0);
    }

    #[tokio::test]
    async fn a_disk_has_more_in_all_than_is_free() {
        let (_folder, db) = open_migrated().await;

        let disk = db.disk_space().unwrap();

        assert!(disk.total_bytes >= disk.free_bytes && disk.total_bytes > 0);
    }
}
