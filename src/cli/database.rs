//! Opens the database for commands, with errors that name the file and its owner.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::migrate::Migration;
use sqlx::{Sqlite, Transaction};

use crate::cli::migration_progress::{CurrentStep, ProgressOutput};
use crate::cli::output;
use crate::clock;
use crate::config::DatabaseArgs;
use crate::storage::audit::{Act, Actor};
use crate::storage::backup;
use crate::storage::data_keys::DataKeyStore;
use crate::storage::database_path::folder_of;
use crate::storage::db::{self, Db};
use crate::storage::lock::ServerLock;
use crate::storage::recorder::journal;
use crate::storage::recorder::table_writer::TableWriter;
use crate::storage::write_health::WriteProblem;
use crate::storage::{self, file_mode};

/// How long a command waits for the server to fold its journal.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
const SETTLE_PERIOD: Duration = Duration::from_millis(20);

/// Opens the database for changes, and applies pending migrations unless a server uses it. Creates the database if it does not
/// exist, and names it: the command may have been run in another folder than the server.
pub async fn open(args: &DatabaseArgs) -> Result<Db> {
    let is_new = !path(args)?.exists();
    let db = open_as_it_is(args).await?;
    let ready = async {
        migrate_without_server(&db).await?;
        settle_journal(&db).await
    };
    if let Err(error) = ready.await {
        db.close().await;
        return Err(error);
    }
    if is_new {
        let path = std::path::absolute(db.path())?;
        eprintln!("created the database {}", path.display());
    }
    if db.data_keys.has_passphrase() {
        // Before a transaction. What needs the keys reports that they cannot be opened.
        let _ = db.unlock().await;
    }
    Ok(db)
}

/// Opens the existing database of this version for a command that only reads.
pub async fn open_to_read(args: &DatabaseArgs) -> Result<Db> {
    refuse_missing(&path(args)?)?;
    let db = open_as_it_is(args).await?;
    let ready = async {
        refuse_other_version(&db).await?;
        settle_journal(&db).await
    };
    if let Err(error) = ready.await {
        // Otherwise a log would stay beside the file.
        db.close().await;
        return Err(error);
    }
    Ok(db)
}

/// Waits until what is in the journal now is in its tables: the server folds it, or without a server this command. A database of an
/// older version is left alone.
pub async fn settle_journal(db: &Db) -> Result<()> {
    if !db.pending().await?.is_empty() {
        return Ok(());
    }
    let last = journal::last_id(&db.writer).await?;
    let deadline = clock::instant() + SETTLE_TIMEOUT;
    while journal::has_entries_to(&db.writer, last).await? {
        if let Ok(_lock) = ServerLock::acquire(db.path()) {
            TableWriter::default().fold_journal(db).await?;
            return Ok(());
        }
        if clock::instant() >= deadline {
            eprintln!(
                "the server has not written its latest requests to their tables yet: they are missing here"
            );
            return Ok(());
        }
        tokio::time::sleep(SETTLE_PERIOD).await;
    }
    Ok(())
}

/// Fails if the database is not of this program's version.
pub async fn refuse_other_version(db: &Db) -> Result<()> {
    db.check_not_newer().await?;
    if !db.pending().await?.is_empty() {
        bail!(
            "the database {} is of an older version: run `gemini-pool migrate` first, or start the server of this version",
            db.path().display()
        );
    }
    Ok(())
}

/// Like [`open`], but fails if the database does not exist.
pub async fn open_existing(args: &DatabaseArgs) -> Result<Db> {
    refuse_missing(&path(args)?)?;
    open(args).await
}

/// Makes a change in one transaction on an existing database.
pub async fn change<T>(
    args: &DatabaseArgs,
    change: impl AsyncFnOnce(&mut Transaction<'static, Sqlite>, &Act) -> Result<T>,
) -> Result<T> {
    change_with_keys(args, async |tx, act, _| change(tx, act).await).await
}

/// The same for a change that needs the keys of the installation.
pub async fn change_with_keys<T>(
    args: &DatabaseArgs,
    change: impl AsyncFnOnce(&mut Transaction<'static, Sqlite>, &Act, &DataKeyStore) -> Result<T>,
) -> Result<T> {
    let db = open_existing(args).await?;
    let mut tx = db.begin().await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    let changed = change(&mut tx, &act, &db.data_keys).await?;
    tx.commit().await?;
    db.close().await;
    Ok(changed)
}

/// Opens the database without migrating it.
pub async fn open_as_it_is(args: &DatabaseArgs) -> Result<Db> {
    let path = path(args)?;
    refuse_missing_folder(&path)?;
    let opened = Db::open(&args.database_url).await;
    let db = opened.with_context(|| cannot_open(&path))?;
    output::warn(&file_mode::restrict(&path));
    db.data_keys.set_master_key(args.master_key.clone());
    db.set_command_timeout().await?;
    Ok(db)
}

/// Applies pending migrations, reports the progress of long ones, and prints where the snapshot of the old database is kept.
pub async fn migrate_database(
    db: &Db,
    progress: ProgressOutput,
) -> Result<Vec<&'static Migration>> {
    let step = CurrentStep::default();
    let migration = backup::migrate_with_snapshot(db, |next| step.begin(next));
    let upgrade = progress.report(&step, migration).await?;
    if let Some(snapshot) = upgrade.snapshot {
        eprintln!(
            "a snapshot of the database before the migration is kept in {}",
            snapshot.display()
        );
    }
    Ok(upgrade.applied)
}

/// The same for a command: fails if a server uses the database, whose program would not know the new version.
pub async fn migrate_without_server(db: &Db) -> Result<Vec<&'static Migration>> {
    db.check_not_newer().await?;
    if db.pending().await?.is_empty() {
        return Ok(Vec::new());
    }
    let lock = ServerLock::acquire(db.path());
    let _lock = lock.with_context(|| {
        let path = db.path().display();
        format!("the database {path} is of an older version than this command")
    })?;
    migrate_database(db, ProgressOutput::StandardError).await
}

/// Adds what to do to an error of a full or failing disk.
pub fn with_remedy(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let is_of_disk = error.chain().any(|cause| {
        let of_file = cause.downcast_ref::<std::io::Error>();
        let of_database = cause.downcast_ref::<storage::error::Error>();
        of_file.is_some_and(|error| error.kind() == ErrorKind::StorageFull)
            || of_database.is_some_and(|error| WriteProblem::of(error) == WriteProblem::Disk)
    });
    if is_of_disk {
        let path = path.display();
        return error.context(format!(
            "the disk of {path} is full or cannot be written: free space on it, then start again"
        ));
    }
    error
}

/// The database file, whether or not it exists.
pub fn path(args: &DatabaseArgs) -> Result<PathBuf> {
    Ok(db::path_of(&args.database_url)?)
}

/// The error for a file that cannot be opened. The usual reason is that it belongs to another user.
pub fn cannot_open(path: &Path) -> String {
    let user = rustix::process::geteuid();
    let owner = fs::metadata(path).ok().map(|file| file.uid());
    match owner.filter(|owner| *owner != user.as_raw() && !user.is_root()) {
        Some(owner) => format!(
            "cannot open {}, which belongs to the user {owner}: run this as that user or as root",
            path.display()
        ),
        None => format!("cannot open {}", path.display()),
    }
}

/// Adds to an error the file, the user and the remedy, if the file of the database is its cause.
pub fn explain(error: anyhow::Error, path: &Path) -> anyhow::Error {
    match storage::error::remedy(error.chain(), path) {
        Some(remedy) => error.context(remedy),
        None => error,
    }
}

/// Fails if the folder of a database does not exist.
pub fn refuse_missing_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        bail!(
            "the folder {} does not exist: create it first",
            folder.display()
        );
    }
    Ok(())
}

pub fn refuse_missing(path: &Path) -> Result<()> {
    if !path.exists() {
        bail!(
            "the database {} does not exist: `gemini-pool serve` creates it, or name another with --database-url",
            path.display()
        );
    }
    Ok(())
}
