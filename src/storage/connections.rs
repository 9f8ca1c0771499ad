//! Pools whose connections are replaced after an error, so that no statement meets one whose state is in doubt.
//!
//! After some errors (a full disk, a failed read or write of the file) SQLite rolls the transaction back by itself. sqlx then
//! fails to roll it back again, counts it as open, and every later `BEGIN` on that connection fails. The pool detects such a
//! connection before its next use and opens another in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Connection;
use sqlx::sqlite::SqlitePoolOptions;

use crate::storage::database_file::DatabaseFile;

/// Whether the connection of a pool is to be replaced before it is used again.
#[derive(Debug, Clone, Default)]
pub struct Fault(Arc<AtomicBool>);

impl Fault {
    /// Has the connection replaced, also where SQLite itself saw nothing wrong with it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A pool that replaces a connection whose transaction is still counted as open.
///
/// When a connection is taken from the pool, the rollback of a dropped transaction has been tried. While the file is not at its
/// path, none is replaced: SQLite would apply the log to the file that is there now.
pub fn pool(max_connections: u32, file: &DatabaseFile) -> SqlitePoolOptions {
    let file = file.clone();
    SqlitePoolOptions::new()
        .max_connections(max_connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(move |connection, _| {
            let is_kept = !connection.is_in_transaction() || file.check().is_err();
            Box::pin(async move { Ok(is_kept) })
        })
}

/// A pool of the one connection that writes. It is replaced after every transaction that was rolled back (by an error, by
/// SQLite itself, or because the future that ran it was dropped) and after every [`Fault`].
pub fn writing_pool(fault: &Fault, file: &DatabaseFile) -> SqlitePoolOptions {
    let (connected, rolled_back, opened) = (fault.clone(), fault.clone(), file.clone());
    pool(1, file)
        .after_connect(move |connection, _| {
            let fault = connected.clone();
            Box::pin(async move {
                fault.0.store(false, Ordering::Relaxed);
                let mut handle = connection.lock_handle().await?;
                handle.set_rollback_hook(move || fault.set());
                Ok(())
            })
        })
        .before_acquire(move |connection, _| {
            let is_sound = !connection.is_in_transaction() && !rolled_back.is_set();
            let is_kept = is_sound || opened.check().is_err();
            Box::pin(async move { Ok(is_kept) })
        })
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Sqlite, Transaction};
    use tempfile::TempDir;

    use crate::storage::db::Db;
    use crate::storage::db::tests::open_empty;
    use crate::storage::error::Result;

    /// More pages than any file has.
    const UNLIMITED: &str = "1073741823";

    async fn database() -> (TempDir, Db) {
        let (folder, db) = open_empty().await;
        sqlx::query("CREATE TABLE blobs (blob BLOB NOT NULL)")
            .execute(&db.writer)
            .await
            .unwrap();
        (folder, db)
    }

    async fn insert(db: &Db, bytes: i64) -> Result<()> {
        let mut tx = db.begin().await?;
        add(&mut tx, bytes).await?;
        Ok(tx.commit().await?)
    }

    async fn add(tx: &mut Transaction<'_, Sqlite>, bytes: i64) -> Result<()> {
        sqlx::query("INSERT INTO blobs VALUES (zeroblob(?1))")
            .bind(bytes)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn count(db: &Db) -> i64 {
        let counted = sqlx::query_scalar("SELECT count(*) FROM blobs");
        counted.fetch_one(&db.readers).await.unwrap()
    }

    /// Marks the connection in use, to see later whether it is still the same.
    async fn mark(db: &Db) {
        sqlx::query("CREATE TEMP TABLE mark (id INTEGER)")
            .execute(&db.writer)
            .await
            .unwrap();
    }

    async fn is_marked(db: &Db) -> bool {
        let marks: i64 = sqlx::query_scalar("SELECT count(*) FROM temp.sqlite_schema")
            .fetch_one(&db.writer)
            .await
            .unwrap();
        marks == 1
    }

    #[tokio::test]
    async fn a_full_database_can_be_written_again_once_it_has_room() {
        let (_folder, db) = database().await;
        db.set_up_writer("max_page_count", "10").await.unwrap();

        for _ in 0..3 {
            let error = insert(&db, 100_000).await.unwrap_err();
            assert!(error.is_transient(), "{error}");
        }
        db.set_up_writer("max_page_count", UNLIMITED).await.unwrap();

        insert(&db, 100_000).await.unwrap();
        assert_eq!(count(&db).await, 1);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_has_rolled_back_can_be_ended_in_any_way() {
        let (_folder, db) = database().await;

        for end in ["commit", "rollback", "drop"] {
            mark(&db).await;
            let mut tx = db.begin().await.unwrap();
            add(&mut tx, 1).await.unwrap();
            // As SQLite does by itself when a page cannot be written.
            sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
            match end {
                "commit" => tx.commit().await.unwrap_err(),
                "rollback" => tx.rollback().await.unwrap_err(),
                _ => {
                    drop(tx);
                    sqlx::Error::RowNotFound
                }
            };

            insert(&db, 1).await.unwrap();
            assert!(!is_marked(&db).await, "{end}");
        }
        assert_eq!(count(&db).await, 3);
    }

    #[tokio::test]
    async fn a_transaction_whose_future_is_dropped_leaves_no_trace() {
        let (_folder, db) = database().await;
        mark(&db).await;
        let (has_written, written) = tokio::sync::oneshot::channel();
        let writing = tokio::spawn({
            let db = db.clone();
            async move {
                let mut tx = db.begin().await.unwrap();
                add(&mut tx, 1).await.unwrap();
                has_written.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(tx);
            }
        });
        written.await.unwrap();

        writing.abort();

        insert(&db, 1).await.unwrap();
        assert_eq!(count(&db).await, 1);
        assert!(!is_marked(&db).await);
    }

    #[tokio::test]
    async fn a_connection_is_kept_after_a_commit_and_replaced_after_an_error() {
        let (_folder, db) = database().await;
        mark(&db).await;
        insert(&db, 1).await.unwrap();
        assert!(is_marked(&db).await);

        let mut other = db.writer.connect_options().connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .unwrap();
        assert!(db.begin().await.unwrap_err().is_transient());
        // What replaces it opens though another program writes.
        assert!(!is_marked(&db).await);
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        mark(&db).await;
        db.replace_writer();
        assert!(!is_marked(&db).await);

        insert(&db, 1).await.unwrap();
        assert_eq!(count(&db).await, 2);
    }

    #[tokio::test]
    async fn a_connection_is_set_up_as_the_one_it_replaces() {
        let (_folder, db) = database().await;
        db.set_command_timeout().await.unwrap();
        db.set_cache_size(7).await.unwrap();

        db.replace_writer();

        for (pragma, expected) in [("busy_timeout", 10_000), ("cache_size", -7 * 1024)] {
            let value: i64 = sqlx::query_scalar(&format!("PRAGMA {pragma}"))
                .fetch_one(&db.writer)
                .await
                .unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
    }
}
