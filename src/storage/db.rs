//! `Db`: how the SQLite file is opened, migrated and shared.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Acquire, Sqlite, Transaction};

use crate::storage::error::{Error, Result};

/// All migrations this program knows.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The database: one connection that writes, a few that read.
#[derive(Debug, Clone)]
pub struct Db {
    pub writer: SqlitePool,
    pub readers: SqlitePool,
    path: PathBuf,
}

impl Db {
    /// Opens the file that `url` (`sqlite://…`) names, making it where there is none.
    pub async fn open(url: &str) -> Result<Self> {
        let options = options(url)?.create_if_missing(true);
        let path = options.get_filename().to_path_buf();
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .test_before_acquire(false)
                .idle_timeout(None)
        };
        let writer = pool(1)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        // Readers open when first needed; each takes a thread and a few hundred kilobytes.
        let readers = pool(4)
            .idle_timeout(Duration::from_mins(1))
            .connect_lazy_with(options);
        Ok(Self {
            writer,
            readers,
            path,
        })
    }

    /// The database file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Begins a transaction that writes; it waits for other writers first.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Brings the schema to this program's version.
    pub async fn migrate(&self) -> Result<()> {
        self.refuse_newer().await?;
        MIGRATOR.run(&self.writer).await?;
        Ok(())
    }

    /// Fails when the file was written by a newer program.
    pub async fn refuse_newer(&self) -> Result<()> {
        let known = |version| {
            MIGRATOR
                .iter()
                .any(|migration| migration.version == version)
        };
        match self
            .applied()
            .await?
            .into_iter()
            .find(|version| !known(*version))
        {
            Some(version) => Err(Error::NewerDatabase(version)),
            None => Ok(()),
        }
    }

    /// The versions of the migrations the file has.
    pub async fn applied(&self) -> Result<Vec<i64>> {
        let mut connection = self.writer.acquire().await?;
        let connection = connection.acquire().await?;
        connection.ensure_migrations_table().await?;
        let applied = connection.list_applied_migrations().await?;
        Ok(applied
            .into_iter()
            .map(|migration| migration.version)
            .collect())
    }

    /// Copies the write-ahead log into the file as far as nobody is in the way. Returns its size in pages.
    pub async fn checkpoint(&self, restart: bool) -> Result<i64> {
        // The macros do not know what a pragma returns.
        let statement = if restart {
            "PRAGMA wal_checkpoint(RESTART)"
        } else {
            "PRAGMA wal_checkpoint(PASSIVE)"
        };
        let (_busy, pages, _done): (i64, i64, i64) =
            sqlx::query_as(statement).fetch_one(&self.readers).await?;
        Ok(pages)
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// How every connection is set up.
pub fn options(url: &str) -> Result<SqliteConnectOptions> {
    let options = SqliteConnectOptions::from_str(url)?
        // Must come before the first table is made.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_millis(500))
        .foreign_keys(true)
        // A checkpoint within a commit would stall the answers that wait for it; a task does it beside them.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "67108864");
    Ok(options)
}
