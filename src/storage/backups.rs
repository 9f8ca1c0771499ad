//! The folder of backups beside the database: listing, creating and deleting them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::backup::{self, BackupProgress, BackupStep, ExistingFile};
use crate::storage::database_path::folder_of;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::file_mode;

/// The format of [`backup::file_time`].
const TIME: &str = "%Y%m%d-%H%M%S";

/// A complete backup, which was checked before it got its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub name: String,
    pub made_at: Timestamp,
    pub bytes: u64,
}

/// The folder of this database's backups.
pub fn folder(database: &Path) -> PathBuf {
    folder_of(database).join("backups")
}

/// The backups of this database, newest first.
pub fn list(database: &Path) -> Result<Vec<Backup>> {
    let folder = folder(database);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|source| Error::file(&folder, source))?,
    };
    let found = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let made_at = time_in_name(database, &name)?;
        let file = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Backup {
            name,
            made_at,
            bytes: file.len(),
        })
    });
    let mut found: Vec<_> = found.collect();
    found
        .sort_unstable_by(|one, other| (other.made_at, &other.name).cmp(&(one.made_at, &one.name)));
    Ok(found)
}

/// The newest backup of this database.
pub fn last(database: &Path) -> Result<Option<Backup>> {
    Ok(list(database)?.into_iter().next())
}

/// The backup of this name and its path. No name leads to another file.
pub fn find(database: &Path, name: &str) -> Result<(Backup, PathBuf)> {
    let found = list(database)?
        .into_iter()
        .find(|backup| backup.name == name);
    let backup = found.ok_or_else(|| Error::NotFound(Thing::Backup, name.to_owned()))?;
    let path = folder(database).join(&backup.name);
    Ok((backup, path))
}

/// Inserts the download of a backup into the audit log.
pub async fn record_download(
    db: &Db,
    backup: &Backup,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    record(db, Action::Download, backup, actor, now).await
}

/// Deletes a backup.
pub async fn delete(db: &Db, name: &str, actor: &Actor, now: Timestamp) -> Result<Backup> {
    let (backup, path) = find(db.path(), name)?;
    // Deleting a large file takes time.
    let removed = tokio::fs::remove_file(&path).await;
    removed.map_err(|source| Error::file(&path, source))?;
    record(db, Action::Delete, &backup, actor, now).await?;
    Ok(backup)
}

/// Creates and checks a backup.
pub async fn create(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
    progress: &BackupProgress,
) -> Result<Backup> {
    let folder = folder(db.path());
    create_folder(&folder, db.path())?;
    let name = format!("{}-{}.db", stem(db.path()), backup::file_time(now));
    let bytes =
        backup::copy_with_progress(db, &folder.join(&name), ExistingFile::Keep, progress).await?;
    let made_at = Timestamp::from_millis(now.as_millis() / 1_000 * 1_000);
    let backup = Backup {
        name,
        made_at,
        bytes,
    };
    record(db, Action::Create, &backup, actor, now).await?;
    Ok(backup)
}

async fn record(
    db: &Db,
    action: Action,
    backup: &Backup,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let act = Act::begin(&mut tx, actor, now).await?;
    let size = serde_json::json!({"bytes": backup.bytes});
    let values = match action {
        Action::Create => (None, Some(size)),
        _ => (Some(size), None),
    };
    audit::insert(
        &mut tx,
        &act,
        action,
        (Subject::Backup, None),
        &backup.name,
        values,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Backups contain upstream keys, so only the owner may access the folder.
fn create_folder(folder: &Path, database: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::file(folder, source)),
        Ok(()) => {
            file_mode::folder_takes_owner(folder, database);
            Ok(())
        }
    }
}

fn stem(database: &Path) -> String {
    let stem = database.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The time in the name of a backup of this database; `None` for other files.
fn time_in_name(database: &Path, name: &str) -> Option<Timestamp> {
    let time = name.strip_prefix(&stem(database))?.strip_prefix('-')?;
    let time = DateTime::strptime(TIME, time.strip_suffix(".db")?).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

/// The running backup, one at a time, and the error of the last one.
#[derive(Debug, Default)]
pub struct BackupJob(Mutex<BackupState>);

#[derive(Debug, Default)]
struct BackupState {
    now: Option<Arc<BackupProgress>>,
    failed: Option<String>,
}

impl BackupJob {
    /// Starts a backup; `None` if one is running.
    pub fn begin(&self) -> Option<Arc<BackupProgress>> {
        let mut state = self.0.lock();
        if state.now.is_some() {
            return None;
        }
        let progress = Arc::<BackupProgress>::default();
        *state = BackupState {
            now: Some(progress.clone()),
            failed: None,
        };
        Some(progress)
    }

    /// Ends the backup, with its error if it failed.
    pub fn end(&self, failed: Option<String>) {
        *self.0.lock() = BackupState { now: None, failed };
    }

    /// The progress; `None` if no backup is running.
    pub fn step(&self) -> Option<BackupStep> {
        self.0.lock().now.as_ref().map(|progress| progress.step())
    }

    /// The error of the last backup, if it failed.
    pub fn failed(&self) -> Option<String> {
        self.0.lock().failed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::tests::open_migrated;

    const NOW: Timestamp = Timestamp::from_millis(1_795_334_400_123);

    #[tokio::test]
    async fn a_backup_is_created_listed_and_deleted_and_other_files_are_not_changed() {
        let (_folder, db) = open_migrated().await;
        let actor = Actor::admin("admin", "192.0.2.7".to_owned());
        assert_eq!(list(db.path()).unwrap(), []);

        let job = BackupJob::default();
        let progress = job.begin().unwrap();
        assert!(job.begin().is_none());
        let made = create(&db, &actor, NOW, &progress).await;
        job.end(made.as_ref().err().map(ToString::to_string));
        let made = made.unwrap();

        assert_eq!(progress.step(), BackupStep::Checking);
        assert_eq!((job.step(), job.failed()), (None, None));
        assert_eq!(made.name, "pool-20261122-080000.db");
        let other = super::folder(db.path()).join("other.db");
        fs::write(&other, "of another user").unwrap();
        assert_eq!(list(db.path()).unwrap(), std::slice::from_ref(&made));
        assert_eq!(last(db.path()).unwrap(), Some(made.clone()));
        for name in ["other.db", "../pool.db", "", "pool-20261122-080000.db/"] {
            assert!(find(db.path(), name).is_err(), "{name}");
        }
        let again = create(&db, &actor, NOW, &BackupProgress::default()).await;
        assert!(matches!(again, Err(Error::Refused(_))));

        delete(&db, &made.name, &actor, NOW).await.unwrap();
        assert_eq!(list(db.path()).unwrap(), []);
        assert!(other.exists());
        let all = audit::AuditFilter::default();
        let changes = audit::list(&db.readers, &all, None, 10).await;
        let changes = changes.unwrap().items;
        let actions: Vec<_> = changes.iter().map(|change| change.action).collect();
        assert_eq!(actions, [Action::Delete, Action::Create]);
    }
}
