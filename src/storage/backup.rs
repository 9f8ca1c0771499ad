//! Copies of the database file: made and checked while it is in use, restored, and kept before a migration.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::Migration;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use tempfile::{NamedTempFile, TempDir};

use crate::clock::Timestamp;
use crate::storage::database_path::{companion_file, folder_of, real_path};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::lock::ServerLock;
use crate::storage::migrations::{MIGRATOR, MigrationStep};
use crate::storage::ownership::{Ownership, has_log, ownership, refuse_foreign_file};
use crate::storage::recorder::journal;
use crate::storage::recorder::table_writer::TableWriter;
use crate::storage::row_counts::RowCounts;
use crate::storage::{file_mode, migrations};

/// What to do with a file that already has the copy's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingFile {
    Keep,
    Replace,
}

/// The progress of a copy.
#[derive(Debug, Default)]
pub struct BackupProgress {
    /// The file being written, and the size of the database.
    copied: OnceLock<(PathBuf, u64)>,
    is_checking: AtomicBool,
}

/// The step that a copy is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStep {
    /// Bytes written, of an estimated total.
    Copying(u64, u64),
    Checking,
}

impl BackupProgress {
    pub fn step(&self) -> BackupStep {
        if self.is_checking.load(Ordering::Relaxed) {
            return BackupStep::Checking;
        }
        let Some((path, whole)) = self.copied.get() else {
            return BackupStep::Copying(0, 1);
        };
        let done = fs::metadata(path).map_or(0, |file| file.len());
        // A copy omits empty pages, so it may be complete before it has the database's size.
        BackupStep::Copying(done.min(*whole), *whole)
    }
}

/// The result of [`migrate_with_snapshot`].
#[derive(Debug, Default)]
pub struct MigrationResult {
    /// A copy from before the migration; `None` if nothing was applied or the database was empty.
    pub snapshot: Option<PathBuf>,
    pub applied: Vec<&'static Migration>,
}

/// The result of [`restore`].
#[derive(Debug)]
pub struct RestoredDatabase {
    /// The file that was replaced; `None` when there was none.
    pub kept: Option<PathBuf>,
    pub bytes: u64,
    /// The result of [`file_mode::restrict`] for the replaced file.
    pub warnings: Vec<String>,
}

/// Migrates the schema to this program's version, after copying the file unless the database is empty. The caller holds the
/// [`ServerLock`]. Each step is reported before it begins.
pub async fn migrate_with_snapshot(
    db: &Db,
    on_step: impl Fn(MigrationStep),
) -> Result<MigrationResult> {
    db.check_not_newer().await?;
    remove_unfinished_copies(&real_path(db.path())?);
    let pending = db.pending().await?;
    let Some(newest) = pending.last() else {
        return Ok(MigrationResult::default());
    };
    let mut snapshot = None;
    if db.has_tables().await? {
        on_step(MigrationStep::Copying);
        let path = free_path_beside(db.path(), &format!("before-{}", newest.version));
        let (stage_of, progress) = (real_path(db.path())?, BackupProgress::default());
        copy_staged(db, &path, ExistingFile::Keep, &progress, &stage_of).await?;
        snapshot = Some(path);
    }
    if let Err(error) = migrations::apply_each(&db.writer, on_step).await {
        // Another process may have applied the same migrations at the same time.
        if !db.pending().await?.is_empty() {
            return Err(match snapshot {
                Some(path) => Error::Refused(format!(
                    "{error}; the database as it was is kept in {}",
                    path.display()
                )),
                None => error,
            });
        }
    }
    Ok(MigrationResult {
        snapshot,
        applied: pending,
    })
}

/// Applies the pending migrations to a copy of `db`, or to an empty file, and deletes it.
///
/// The copy is in `folder`, beside the database, where the disk has room for it.
pub async fn dry_run_migrations(db: Option<&Db>, folder: &Path) -> Result<Vec<&'static Migration>> {
    let stage = TempDir::with_prefix_in(".rehearsal-", folder);
    let stage = stage.map_err(|source| Error::file(folder, source))?;
    let path = stage.path().join("copy.db");
    if let Some(db) = db {
        db.check_not_newer().await?;
        copy(db, &path, ExistingFile::Keep).await?;
    }
    let migrated_copy = Db::open_file(&path).await?;
    let pending = migrated_copy.pending().await?;
    migrated_copy.migrate().await?;
    check(&mut *migrated_copy.writer.acquire().await?, &path).await?;
    migrated_copy.close().await;
    Ok(pending)
}

/// Writes a consistent, checked copy without sign-in sessions to `to`, while the database is in use. Returns its size.
///
/// The copy gets its name only when it is complete and on the disk.
pub async fn copy(db: &Db, to: &Path, existing: ExistingFile) -> Result<u64> {
    copy_with_progress(db, to, existing, &BackupProgress::default()).await
}

/// The same, with a callback for its progress.
pub async fn copy_with_progress(
    db: &Db,
    to: &Path,
    existing: ExistingFile,
    progress: &BackupProgress,
) -> Result<u64> {
    copy_staged(db, to, existing, progress, &real_path(to)?).await
}

/// The same through an unfinished file named after `stage_of`.
async fn copy_staged(
    db: &Db,
    to: &Path,
    existing: ExistingFile,
    progress: &BackupProgress,
    stage_of: &Path,
) -> Result<u64> {
    let to = real_path(to)?;
    let database = real_path(db.path())?;
    if database == to {
        return Err(Error::Refused(format!(
            "{} is the database itself",
            to.display()
        )));
    }
    if existing == ExistingFile::Keep && to.exists() {
        return Err(exists_already(&to));
    }
    let staged = stage_in(folder_of(&to), stage_of)?;
    if to.starts_with(folder_of(&database)) {
        file_mode::take_owner(staged.as_file(), &database);
    }
    let whole = fs::metadata(db.path()).map_or(0, |file| file.len()).max(1);
    let copied = (staged.path().to_owned(), whole);
    progress.copied.set(copied).expect("each copy has its own");
    let counts = RowCounts::of(db).await?;
    vacuum_into(&mut *db.readers.acquire().await?, staged.path()).await?;
    fold_journal(staged.path()).await?;
    let mut connection = open_stage(staged.path()).await?;
    delete_sessions(&mut connection).await?;
    progress.is_checking.store(true, Ordering::Relaxed);
    check(&mut connection, &to).await?;
    let copied = RowCounts::read(&mut connection).await?;
    if let Some(missing) = counts.missing_in(&copied) {
        return Err(Error::Refused(format!(
            "the copy is not complete: {missing}"
        )));
    }
    connection.close().await?;
    let put = tokio::task::spawn_blocking(move || publish(staged, &to, existing));
    put.await.expect("naming a file does not panic")
}

/// Renames a copy to its name when all of it is on the disk, which takes seconds for a large one. Returns its size.
fn publish(staged: NamedTempFile, to: &Path, existing: ExistingFile) -> Result<u64> {
    let bytes = sync(&staged)?;
    match existing {
        ExistingFile::Keep => staged.persist_noclobber(to),
        ExistingFile::Replace => staged.persist(to),
    }
    .map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists_already(to),
        _ => Error::file(to, error.error),
    })?;
    sync_folder(to)?;
    Ok(bytes)
}

/// Checks the copy `from` and replaces `database` by it; the old file is kept under another name.
///
/// Refused while a server or another program uses `database`.
pub async fn restore(from: &Path, database: &Path, now: Timestamp) -> Result<RestoredDatabase> {
    if !from.is_file() {
        let missing = format!("there is no file {}", from.display());
        return Err(Error::Refused(missing));
    }
    let database = real_path(database)?;
    if real_path(from)? == database {
        return Err(Error::Refused(format!(
            "{} is the database itself",
            from.display()
        )));
    }
    refuse_foreign_file(&database).await?;
    let _lock = ServerLock::acquire(&database)?;
    remove_unfinished_copies(&database);
    let staged = stage_in(folder_of(&database), &database)?;
    let mut source = open_source(from).await?;
    check(&mut source, from).await?;
    if ownership(&mut source).await? != Ownership::Ours {
        return Err(Error::Refused(format!(
            "{} is not a database of gemini-pool",
            from.display()
        )));
    }
    vacuum_into(&mut source, staged.path()).await?;
    source.close().await?;
    fold_journal(staged.path()).await?;
    let bytes = sync(&staged)?;

    if !database.exists() {
        // SQLite would apply a leftover log to the new file.
        move_companions(&database, &kept_name(&database, now))?;
        put_in_place(staged, &database)?;
        return Ok(RestoredDatabase {
            kept: None,
            bytes,
            warnings: Vec::new(),
        });
    }
    let kept = kept_name(&database, now);
    let held = lock_exclusively(&database).await?;
    if held.is_none() {
        move_companions(&database, &kept)?;
    }
    file_mode::take_owner_and_mode(staged.as_file(), &database);
    // A hard link first, so that a database exists at every moment.
    if fs::hard_link(&database, &kept).is_err() {
        fs::rename(&database, &kept).map_err(|source| Error::file(&kept, source))?;
    }
    put_in_place(staged, &database)?;
    if let Some(held) = held {
        held.close().await?;
    }
    Ok(RestoredDatabase {
        warnings: file_mode::restrict(&kept),
        kept: Some(kept),
        bytes,
    })
}

/// `gemini-pool.db` → `gemini-pool.{what}.db`, with a number if that exists.
fn free_path_beside(database: &Path, what: &str) -> PathBuf {
    let name = database.file_stem().unwrap_or_default().to_string_lossy();
    let free = |number: u32| {
        let number = if number > 1 {
            format!("-{number}")
        } else {
            String::new()
        };
        database.with_file_name(format!("{name}.{what}{number}.db"))
    };
    (1..=u32::MAX)
        .map(free)
        .find(|path| !path.exists())
        .expect("some number is free")
}

fn kept_name(database: &Path, now: Timestamp) -> PathBuf {
    free_path_beside(database, &format!("before-restore-{}", file_time(now)))
}

/// A time in the format of file names: `20261122-080000`, in UTC.
pub fn file_time(time: Timestamp) -> String {
    time.to_jiff().strftime("%Y%m%d-%H%M%S").to_string()
}

/// An unfinished copy, named after the file that it is a copy of or becomes.
fn stage_in(folder: &Path, stage_of: &Path) -> Result<NamedTempFile> {
    let staged = tempfile::Builder::new()
        .prefix(&stage_prefix(stage_of))
        .rand_bytes(STAGE_RANDOM)
        .suffix(STAGE_END)
        .tempfile_in(folder);
    staged.map_err(|source| Error::file(folder, source))
}

const STAGE_RANDOM: usize = 6;
/// The end of the name of an unfinished copy.
pub const STAGE_END: &str = ".part";

fn stage_prefix(stage_of: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(stage_of.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Deletes the unfinished copies that a killed migration or restore of this database has left. The caller holds the
/// [`ServerLock`], so that none is being made.
fn remove_unfinished_copies(database: &Path) {
    let prefix = stage_prefix(database);
    let is_copy = |name: &OsStr| {
        let rest = without_companion_end(name.as_encoded_bytes());
        let rest = rest.strip_prefix(prefix.as_encoded_bytes());
        let random = rest.and_then(|rest| rest.strip_suffix(STAGE_END.as_bytes()));
        random.is_some_and(|random| {
            random.len() == STAGE_RANDOM && random.iter().all(u8::is_ascii_alphanumeric)
        })
    };
    let Ok(entries) = fs::read_dir(folder_of(database)) else {
        return;
    };
    for entry in entries.flatten() {
        if is_copy(&entry.file_name()) {
            // It is only in the way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The name of the file to which a log or journal of SQLite belongs, or the name itself.
pub fn without_companion_end(name: &[u8]) -> &[u8] {
    let ends = [&b"-journal"[..], b"-wal", b"-shm"];
    let mut without = ends.iter().filter_map(|end| name.strip_suffix(*end));
    without.next().unwrap_or(name)
}

/// Statements on whole files are not checked at build time: the macros cannot determine their columns.
async fn vacuum_into(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let Some(name) = path.to_str() else {
        return Err(Error::Refused(format!(
            "{} is not a name in UTF-8",
            path.display()
        )));
    };
    let auto_vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum")
        .fetch_one(&mut *connection)
        .await?;
    if auto_vacuum == 0 {
        // Only the copy gets it, and can shrink from then on: of a file that has tables, SQLite changes nothing.
        sqlx::query("PRAGMA auto_vacuum = INCREMENTAL")
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("VACUUM INTO ?1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

async fn open_stage(path: &Path) -> Result<SqliteConnection> {
    // A failed copy is deleted, so it needs no journal, which would also keep deleted sessions.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Off);
    Ok(options.connect().await?)
}

/// Opens a file for reading, including its write-ahead log.
pub(in crate::storage) async fn open_source(path: &Path) -> Result<SqliteConnection> {
    let has_log = has_log(path);
    // Without a log SQLite writes nothing, so the file may be on a read-only disk.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(!has_log)
        .immutable(!has_log);
    Ok(options.connect().await?)
}

/// Moves what the journal of a copy holds to its tables, if the copy has this program's version: else the migration that follows
/// does so.
async fn fold_journal(copy: &Path) -> Result<()> {
    let mut connection = open_stage(copy).await?;
    let has_journal: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'request_journal')",
    )
    .fetch_one(&mut connection)
    .await?;
    let is_folded = !has_journal || !journal::has_entries_to(&mut connection, i64::MAX).await?;
    connection.close().await?;
    if is_folded {
        return Ok(());
    }
    let db = Db::open_file(copy).await?;
    if db.pending().await?.is_empty() {
        TableWriter::default().fold_journal(&db).await?;
    }
    db.close().await;
    Ok(())
}

/// Deletes sessions and sign-ins, so that a backup cannot be used to sign in.
async fn delete_sessions(connection: &mut SqliteConnection) -> Result<()> {
    let tables: Vec<String> = sqlx::query_scalar(
        "
        SELECT name
        FROM sqlite_schema
        WHERE type = 'table' AND (name GLOB 'tower_sessions*' OR name = 'sign_ins')
        ",
    )
    .fetch_all(&mut *connection)
    .await?;
    // Overwrites deleted content, which is cheaper than rewriting the file.
    sqlx::query("PRAGMA secure_delete = ON")
        .execute(&mut *connection)
        .await?;
    for table in tables {
        let statement = format!(r#"DELETE FROM "{}""#, table.replace('"', r#""""#));
        sqlx::query(&statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Fails if a file is damaged or was written by a newer program; `path` is its name in errors.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let damaged = |what: &str| Error::Refused(format!("{} is damaged: {what}", path.display()));
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| match &error {
            sqlx::Error::Database(error) if error.code().as_deref() == Some("26") => {
                Error::Refused(format!("{} is not a SQLite database", path.display()))
            }
            sqlx::Error::Database(error) if error.code().as_deref() == Some("11") => {
                damaged(error.message())
            }
            _ => Error::Sqlx(error),
        })?;
    if found != "ok" {
        return Err(damaged(&found));
    }
    let broken: Option<(String,)> =
        sqlx::query_as(r#"SELECT "table" FROM pragma_foreign_key_check"#)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some((table,)) = broken {
        return Err(damaged(&format!("{table} refers to rows that are missing")));
    }
    if ownership(connection).await? == Ownership::Ours {
        for version in migrations::applied(connection).await? {
            if !MIGRATOR.version_exists(version) {
                return Err(Error::NewerDatabase(version));
            }
        }
    }
    Ok(())
}

/// Locks `database` exclusively and writes its log into it. `None` if it is too damaged for that.
async fn lock_exclusively(database: &Path) -> Result<Option<SqliteConnection>> {
    let in_use = || {
        Error::Refused(format!(
            "another program has {} open: end it first",
            database.display()
        ))
    };
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .connect()
        .await?;
    let mut attempts = 1;
    let code = loop {
        // SQLite turns the write-ahead log off only if no other process has the file open.
        let mode: sqlx::Result<String> = sqlx::query_scalar("PRAGMA journal_mode = DELETE")
            .fetch_one(&mut connection)
            .await;
        let code = match mode {
            Ok(mode) if mode == "delete" => {
                sqlx::query("BEGIN EXCLUSIVE")
                    .execute(&mut connection)
                    .await
                    .map_err(|_| in_use())?;
                return Ok(Some(connection));
            }
            Ok(_) => return Err(in_use()),
            Err(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
            Err(error) => return Err(error.into()),
        };
        // BUSY: a process that is ending releases the file soon.
        if code != "5" || attempts == 10 {
            break code;
        }
        attempts += 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
    };
    // CORRUPT, NOTADB: no other process can use it either.
    if matches!(code.as_str(), "11" | "26") {
        Ok(None)
    } else {
        Err(in_use())
    }
}

/// Renames the logs of a damaged database, so that SQLite does not apply them to the new file.
fn move_companions(database: &Path, kept: &Path) -> Result<()> {
    for end in ["-wal", "-shm", "-journal"] {
        let (from, to) = (companion_file(database, end), companion_file(kept, end));
        match fs::rename(&from, &to) {
            // SQLite deletes them when the last connection closes, which may happen at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.map_err(|source| Error::file(&from, source))?,
        }
    }
    Ok(())
}

fn put_in_place(staged: NamedTempFile, database: &Path) -> Result<()> {
    staged
        .persist(database)
        .map_err(|error| Error::file(database, error.error))?;
    sync_folder(database)
}

/// Waits until the file is on the disk. Returns its size.
fn sync(staged: &NamedTempFile) -> Result<u64> {
    let wrong = |source| Error::file(staged.path(), source);
    staged.as_file().sync_all().map_err(wrong)?;
    Ok(staged.as_file().metadata().map_err(wrong)?.len())
}

/// Waits until the folder of `path` is on the disk, if the system supports that.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::file(folder, source))?;
    }
    Ok(())
}

fn exists_already(path: &Path) -> Error {
    Error::Refused(format!(
        "{} exists already: choose another name, or add --force to replace it",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
