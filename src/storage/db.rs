//! `Db`: how the SQLite file is opened, migrated and shared.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::migrate::Migration;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, Transaction};
use tokio::time::timeout;

use crate::storage::connections::{self, Fault};
use crate::storage::data_keys::DataKeyStore;
use crate::storage::database_file::DatabaseFile;
use crate::storage::error::{Error, Result};
use crate::storage::migrations::MIGRATOR;
use crate::storage::ownership::{Ownership, foreign, ownership, refuse_foreign_file};
use crate::storage::strings::StringDeletions;
use crate::storage::{file_mode, migrations, request_logs, revision};

/// The size to which a checkpoint truncates the write-ahead log's file.
pub const MAX_WAL_BYTES: u64 = 64 * 1024 * 1024;

/// A checkpoint that runs for longer does not hold up a probe.
const LONG_CHECKPOINT: Duration = Duration::from_secs(5);

/// How far a connection reads ahead of the rows that were taken.
const ROWS_AHEAD: usize = 2_000;
/// Number of connections that read.
const READERS: u32 = 4;

/// The database: one connection that writes, a few that read, one that makes checkpoints.
#[derive(Debug, Clone)]
pub struct Db {
    pub writer: SqlitePool,
    pub readers: SqlitePool,
    /// Its one connection never waits for a lock: see [`Db::checkpoint`].
    pub checkpoints: SqlitePool,
    /// Of the connection that writes.
    fault: Fault,
    file: DatabaseFile,
    /// Deletions of strings by this process.
    pub string_deletions: StringDeletions,
    /// Opens the secrets of this database.
    pub data_keys: DataKeyStore,
    /// The options of the three pools, while the file is not at its path.
    usual_options: Arc<Mutex<Option<[Arc<SqliteConnectOptions>; 3]>>>,
}

impl Db {
    /// Opens the file that `url` (`sqlite://…`) names, making it where there is none.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(options(url)?).await
    }

    /// The same for a file named by its path.
    pub async fn open_file(path: &Path) -> Result<Self> {
        Self::open_with(with_pragmas(SqliteConnectOptions::new().filename(path))).await
    }

    async fn open_with(options: SqliteConnectOptions) -> Result<Self> {
        let path = options.get_filename().to_path_buf();
        let has_file = is_file(&options);
        if has_file {
            refuse_foreign_file(&path).await?;
            file_mode::create(&path)?;
        }
        // The file is made only here: where it was deleted later, no connection shall make an empty one.
        let options = options.create_if_missing(!has_file);
        // Only before the first table: on every other connection it would be a write.
        let is_new = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
        let first = if is_new {
            options.clone().auto_vacuum(SqliteAutoVacuum::Incremental)
        } else {
            options.clone()
        };
        let (fault, file) = (Fault::default(), DatabaseFile::new(&path));
        let writer = connections::writing_pool(&fault, &file)
            .connect_with(first)
            .await?;
        if has_file {
            file.set_opened();
        }
        writer.set_connect_options(options.clone());
        // Its log may hold what the file alone did not show.
        if ownership(&mut *writer.acquire().await?).await? == Ownership::Foreign {
            writer.close().await;
            return Err(foreign(&path));
        }
        // Of a command, readers open when first needed; each takes a thread and a few hundred kilobytes.
        let readers = connections::pool(READERS, &file).connect_lazy_with(options.clone());
        let checkpoints =
            connections::pool(1, &file).connect_lazy_with(options.busy_timeout(Duration::ZERO));
        Ok(Self {
            writer,
            readers,
            checkpoints,
            fault,
            file,
            string_deletions: StringDeletions::default(),
            data_keys: DataKeyStore::default(),
            usual_options: Arc::default(),
        })
    }

    /// Shares the database that `#[sqlx::test]` made.
    #[cfg(test)]
    pub fn from_pool(pool: SqlitePool) -> Self {
        Self {
            file: DatabaseFile::new(pool.connect_options().get_filename()),
            writer: pool.clone(),
            readers: pool.clone(),
            checkpoints: pool,
            fault: Fault::default(),
            string_deletions: StringDeletions::default(),
            data_keys: DataKeyStore::default(),
            usual_options: Arc::default(),
        }
    }

    /// The database file.
    pub fn path(&self) -> &PathBuf {
        self.file.path()
    }

    /// Fails while the opened file is not at its path. Meanwhile no connection is opened: to the file that is at the path now,
    /// SQLite would apply the log of the opened one.
    pub fn check_file(&self) -> Result<()> {
        let checked = self.file.check();
        let pools = [&self.writer, &self.readers, &self.checkpoints];
        let mut usual_options = self.usual_options.lock();
        match (&checked, usual_options.take()) {
            (Ok(()), Some(options)) => {
                for (pool, options) in pools.into_iter().zip(options) {
                    pool.set_connect_options((*options).clone());
                }
            }
            (Err(_), None) => {
                let options = pools.map(SqlitePool::connect_options);
                for (pool, options) in pools.into_iter().zip(&options) {
                    // No file can be below a file.
                    let nowhere = self.path().join("moved");
                    pool.set_connect_options((**options).clone().filename(nowhere));
                }
                *usual_options = Some(options);
            }
            (Ok(()), None) => {}
            (Err(_), options @ Some(_)) => *usual_options = options,
        }
        checked
    }

    /// Whether the database could be written, and the file read, just now. Commits nothing, which writes nothing: a rollback
    /// would cost the connection.
    pub async fn probe(&self) -> Result<()> {
        self.begin().await?.commit().await?;
        let Ok(connection) = timeout(LONG_CHECKPOINT, self.checkpoints.acquire()).await else {
            return Ok(());
        };
        let mut connection = connection?;
        // Read from the file, not from the memory of the connection.
        sqlx::query("PRAGMA shrink_memory")
            .execute(&mut *connection)
            .await?;
        revision::current(&mut *connection).await?;
        request_logs::last_id(&mut *connection).await?;
        Ok(())
    }

    /// Opens all connections, so that a server can read while the file is not at its path, when none may be opened.
    pub async fn open_all(&self) -> Result<()> {
        let mut opened = vec![self.checkpoints.acquire().await?];
        for _ in 0..READERS {
            opened.push(self.readers.acquire().await?);
        }
        Ok(())
    }

    /// Begins a transaction that writes; it waits for other writers first. Fails while the file is not at its path.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.check_file()?;
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        Ok(begun.inspect_err(|_| self.fault.set())?)
    }

    /// Has the connection that writes replaced before it is used again. A transaction that is rolled back or fails to begin
    /// does so by itself.
    pub fn replace_writer(&self) {
        self.fault.set();
    }

    /// Opens the data keys, so that no transaction waits for the stretching of a passphrase. Fails without the right master key.
    pub async fn unlock(&self) -> Result<()> {
        self.data_keys
            .load(&mut *self.readers.acquire().await?)
            .await?;
        Ok(())
    }

    /// Brings the schema to this program's version.
    pub async fn migrate(&self) -> Result<()> {
        self.check_not_newer().await?;
        MIGRATOR.run(&self.writer).await?;
        Ok(())
    }

    /// Fails when the file was written by a newer program.
    pub async fn check_not_newer(&self) -> Result<()> {
        match self
            .applied()
            .await?
            .into_iter()
            .find(|version| !MIGRATOR.version_exists(*version))
        {
            Some(version) => Err(Error::NewerDatabase(version)),
            None => Ok(()),
        }
    }

    /// The versions of the migrations the file has.
    pub async fn applied(&self) -> Result<Vec<i64>> {
        migrations::applied(&mut *self.writer.acquire().await?).await
    }

    /// The migrations the file does not have yet, in order.
    pub async fn pending(&self) -> Result<Vec<&'static Migration>> {
        let applied = self.applied().await?;
        let pending = MIGRATOR.iter();
        Ok(pending
            .filter(|migration| !applied.contains(&migration.version))
            .collect())
    }

    /// Whether the file holds anything that could be lost.
    pub async fn has_tables(&self) -> Result<bool> {
        let table: Option<i64> = sqlx::query_scalar(
            "
            SELECT 1
            FROM sqlite_schema
            WHERE type = 'table' AND name <> '_sqlx_migrations' AND name NOT GLOB 'sqlite_*'
            LIMIT 1
            ",
        )
        .fetch_optional(&self.writer)
        .await?;
        Ok(table.is_some())
    }

    /// Waits up to ten seconds for other writers from now on: for commands, which delay no request.
    pub async fn set_command_timeout(&self) -> Result<()> {
        self.set_up_writer("busy_timeout", "10000").await
    }

    /// Keeps so many mebibytes of the file in memory from now on, so that a large transaction writes each page once.
    pub async fn set_cache_size(&self, mebibytes: u32) -> Result<()> {
        let kibibytes = mebibytes * 1024;
        self.set_up_writer("cache_size", &format!("-{kibibytes}"))
            .await
    }

    /// Lets no statement change the file from now on. Before the connections that read are opened.
    pub async fn forbid_changes(&self) -> Result<()> {
        let options = self.readers.connect_options();
        let options = (*options).clone().pragma("query_only", "on");
        self.readers.set_connect_options(options);
        self.set_up_writer("query_only", "on").await
    }

    /// Lets new reading connections sort in temporary files, for statements over the whole log: of millions of rows, sorting takes
    /// most of a gigabyte.
    pub fn sort_on_disk(&self) {
        let options = self.readers.connect_options();
        let options = (*options).clone().pragma("temp_store", "file");
        self.readers.set_connect_options(options);
    }

    /// Sets a pragma of the connection that writes, and of those that replace it.
    pub async fn set_up_writer(&self, pragma: &'static str, value: &str) -> Result<()> {
        let options = self.writer.connect_options();
        let options = (*options).clone().pragma(pragma, value.to_owned());
        self.writer.set_connect_options(options);
        // A pragma takes no parameters.
        sqlx::query(&format!("PRAGMA {pragma} = {value}"))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Waits until every connection is closed and the write-ahead log is back in the file.
    pub async fn close(&self) {
        for pool in [&self.checkpoints, &self.readers, &self.writer] {
            pool.close().await;
            // A connection that was just being given back slips past the first call.
            if pool.size() > 0 {
                pool.close().await;
            }
        }
    }
}

/// The file that `url` names.
pub fn path_of(url: &str) -> Result<PathBuf> {
    Ok(options(url)?.get_filename().to_path_buf())
}

fn options(url: &str) -> Result<SqliteConnectOptions> {
    if !url.starts_with("sqlite:") {
        // The value is not shown: it may hold the password of some other database.
        return Err(Error::Refused(
            "the database URL must begin with sqlite:, as in sqlite://gemini-pool.db".to_owned(),
        ));
    }
    Ok(with_pragmas(SqliteConnectOptions::from_str(url)?))
}

/// Whether the database is on the disk and may be written.
fn is_file(options: &SqliteConnectOptions) -> bool {
    let url = options.to_url_lossy();
    url.query_pairs()
        .all(|(name, value)| name != "mode" || !["memory", "ro"].contains(&value.as_ref()))
}

/// How every connection is set up.
fn with_pragmas(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_millis(500))
        // The thread of a connection hands over this many rows before it waits for their reader.
        .row_buffer_size(ROWS_AHEAD)
        .foreign_keys(true)
        // A checkpoint within a commit would stall the answers that wait for it; a task does it beside them.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", MAX_WAL_BYTES.to_string())
        // A statement that writes many rows keeps a journal of its own, which would be a file each time.
        .pragma("temp_store", "memory")
}

#[cfg(test)]
pub mod tests {
    use tempfile::TempDir;

    use super::*;

    /// An empty database in a folder of its own, whose connections are a server's.
    pub async fn open_empty() -> (TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_file(&folder.path().join("pool.db")).await.unwrap();
        (folder, db)
    }

    /// The same with this program's schema.
    pub async fn open_migrated() -> (TempDir, Db) {
        let (folder, db) = open_empty().await;
        db.migrate().await.unwrap();
        (folder, db)
    }

    #[tokio::test]
    async fn a_new_file_can_shrink_later_and_opening_it_again_writes_nothing() {
        let (_folder, db) = open_migrated().await;
        let log = db.checkpoint().await.unwrap();
        let again = Db::open_file(db.path()).await.unwrap();

        let auto_vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum")
            .fetch_one(&again.readers)
            .await
            .unwrap();
        assert_eq!(auto_vacuum, 2);
        assert_eq!(again.checkpoint().await.unwrap(), log);
        assert_eq!(again.pending().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_file_of_a_newer_program_is_refused() {
        let (_folder, db) = open_migrated().await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations SELECT 99999999999999, 'later', installed_on, 1, checksum, 0 FROM _sqlx_migrations LIMIT 1",
        )
        .execute(&db.writer)
        .await
        .unwrap();

        assert!(matches!(
            db.migrate().await,
            Err(Error::NewerDatabase(99_999_999_999_999))
        ));
    }

    #[test]
    fn a_url_of_another_kind_of_database_is_refused() {
        assert!(path_of("postgres://user:secret@host/name").is_err());
        assert_eq!(path_of("sqlite://a/b.db").unwrap(), Path::new("a/b.db"));
        assert_eq!(path_of("sqlite:///a/b.db").unwrap(), Path::new("/a/b.db"));
    }
}
