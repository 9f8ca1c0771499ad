//! The folder of backups beside the database: listing, creating and deleting them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::backup_schedule::BackupSchedule;
use crate::pool::master_key::MasterKeyId;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::backup::{self, BackupProgress, BackupStep, ExistingFile};
use crate::storage::database_path::folder_of;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::file_mode;

/// The format of [`backup::file_time`].
const TIME: &str = "%Y%m%d-%H%M%S";
/// The end of the name of a scheduled backup, before `.db`.
const SCHEDULED: &str = "-scheduled";
/// An unfinished copy that was not written for so long is left over from a process that was killed.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// Why a backup was made. The name of its file says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// An admin asked for it.
    Manual,
    Scheduled,
}

/// A complete backup, which was checked before it got its name; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    pub name: String,
    pub kind: BackupKind,
    pub made_at: Timestamp,
    pub bytes: u64,
    /// The master key that its secrets need; null: they are not encrypted.
    #[serde(default)]
    pub master_key_id: Option<MasterKeyId>,
}

/// The state of the backups, for pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupStatus {
    pub last: Option<Backup>,
    /// When the next scheduled one is due, which may be in the past; `None`: none is scheduled.
    pub next_at: Option<Timestamp>,
    /// Whether it should have been made a while ago.
    pub is_overdue: bool,
    /// The error of the last attempt, if it failed.
    pub failed: Option<FailedBackup>,
    /// Whether the result of the last attempt is known: none is running, and one has ended since the start.
    pub is_result_known: bool,
}

/// An attempt at a backup that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBackup {
    pub reason: String,
    pub at: Timestamp,
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
        let (made_at, kind) = read_name(database, &name)?;
        let file = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Backup {
            name,
            kind,
            made_at,
            bytes: file.len(),
            master_key_id: None,
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

/// The state of this database's backups.
pub fn status(
    database: &Path,
    job: &BackupJob,
    schedule: BackupSchedule,
    now: Timestamp,
) -> Result<BackupStatus> {
    let (backups, failed) = (list(database)?, job.failed());
    let made = || backups.iter().map(|backup| backup.made_at);
    let is_result_known = job.is_result_known();
    let failed_at = failed.as_ref().map(|failed| failed.at);
    Ok(BackupStatus {
        next_at: schedule.next_at(made(), failed_at, now),
        is_overdue: schedule.is_overdue(made(), now),
        last: backups.into_iter().next(),
        failed,
        is_result_known,
    })
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
    kind: BackupKind,
    actor: &Actor,
    now: Timestamp,
    progress: &BackupProgress,
) -> Result<Backup> {
    let folder = folder(db.path());
    create_folder(&folder, db.path())?;
    let (stem, time) = (stem(db.path()), backup::file_time(now));
    let name = match kind {
        BackupKind::Manual => format!("{stem}-{time}.db"),
        BackupKind::Scheduled => format!("{stem}-{time}{SCHEDULED}.db"),
    };
    let bytes =
        backup::copy_with_progress(db, &folder.join(&name), ExistingFile::Keep, progress).await?;
    let made_at = Timestamp::from_millis(now.as_millis() / 1_000 * 1_000);
    let backup = Backup {
        name,
        kind,
        made_at,
        bytes,
        master_key_id: None,
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

/// Time and kind in the name of a backup of this database; `None` for other files.
fn read_name(database: &Path, name: &str) -> Option<(Timestamp, BackupKind)> {
    let time = name.strip_prefix(&stem(database))?.strip_prefix('-')?;
    let time = time.strip_suffix(".db")?;
    let (time, kind) = match time.strip_suffix(SCHEDULED) {
        Some(time) => (time, BackupKind::Scheduled),
        None => (time, BackupKind::Manual),
    };
    let time = DateTime::strptime(TIME, time).ok()?;
    Some((time.to_zoned(TimeZone::UTC).ok()?.timestamp().into(), kind))
}

/// Deletes the unfinished copies that killed processes have left in the folder of backups.
pub fn remove_abandoned_copies(database: &Path, now: Timestamp) {
    let prefix = format!(".{}-", stem(database));
    let Ok(entries) = fs::read_dir(folder(database)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = backup::without_companion_end(name.as_encoded_bytes());
        let is_copy =
            name.starts_with(prefix.as_bytes()) && name.ends_with(backup::STAGE_END.as_bytes());
        let written = entry.metadata().and_then(|file| file.modified()).ok();
        let written = written.and_then(|time| jiff::Timestamp::try_from(time).ok());
        if is_copy && written.is_some_and(|time| now - Timestamp::from(time) >= ABANDONED_AFTER) {
            // It only takes space.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The running backup, one at a time, and the error of the last one.
#[derive(Debug, Default, Clone)]
pub struct BackupJob(Arc<BackupShared>);

#[derive(Debug, Default)]
struct BackupShared {
    state: Mutex<BackupState>,
    /// Notified when the next scheduled backup may be due at another time.
    schedule_changed: Notify,
}

#[derive(Debug, Default)]
struct BackupState {
    now: Option<Arc<BackupProgress>>,
    failed: Option<FailedBackup>,
    has_ended: bool,
}

impl BackupJob {
    /// Starts a backup; `None` if one is running.
    pub fn begin(&self, now: Timestamp) -> Option<BackupRun> {
        let mut state = self.0.state.lock();
        if state.now.is_some() {
            return None;
        }
        let progress = Arc::<BackupProgress>::default();
        state.now = Some(progress.clone());
        Some(BackupRun {
            job: self.clone(),
            progress,
            now,
            failed: Some("the backup was interrupted".to_owned()),
        })
    }

    /// The progress; `None` if no backup is running.
    pub fn step(&self) -> Option<BackupStep> {
        let state = self.0.state.lock();
        state.now.as_ref().map(|progress| progress.step())
    }

    /// The last backup, if it failed; `None` while one is running.
    pub fn failed(&self) -> Option<FailedBackup> {
        let state = self.0.state.lock();
        state.failed.clone().filter(|_| state.now.is_none())
    }

    fn is_result_known(&self) -> bool {
        let state = self.0.state.lock();
        state.has_ended && state.now.is_none()
    }

    /// Has the time of the next scheduled backup computed again.
    pub fn notify_schedule_change(&self) {
        self.0.schedule_changed.notify_one();
    }

    /// Waits until the next scheduled backup may be due at another time than at the last wait.
    pub async fn wait_for_schedule_change(&self) {
        self.0.schedule_changed.notified().await;
    }
}

/// A running backup. Reports its end when dropped, so that a panic does not block later backups.
#[derive(Debug)]
pub struct BackupRun {
    job: BackupJob,
    progress: Arc<BackupProgress>,
    now: Timestamp,
    failed: Option<String>,
}

impl BackupRun {
    /// Creates and checks the backup.
    pub async fn create(mut self, db: &Db, kind: BackupKind, actor: &Actor) -> Result<Backup> {
        let result = create(db, kind, actor, self.now, &self.progress).await;
        self.failed = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// Ends without a backup, for this reason.
    pub fn fail(mut self, reason: String) {
        self.failed = Some(reason);
    }
}

impl Drop for BackupRun {
    fn drop(&mut self) {
        let at = self.now;
        let failed = self.failed.take();
        *self.job.0.state.lock() = BackupState {
            now: None,
            failed: failed.map(|reason| FailedBackup { reason, at }),
            has_ended: true,
        };
        self.job.notify_schedule_change();
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
        let run = job.begin(NOW).unwrap();
        assert!(job.begin(NOW).is_none());
        let progress = run.progress.clone();
        let made = run.create(&db, BackupKind::Manual, &actor).await.unwrap();

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
        let run = job.begin(NOW).unwrap();
        let again = run.create(&db, BackupKind::Manual, &actor).await;
        assert!(matches!(again, Err(Error::Refused(_))));
        assert!(job.failed().unwrap().reason.contains("exists already"));
        let run = job.begin(NOW).unwrap();
        let schedule = Actor::schedule();
        let scheduled = run.create(&db, BackupKind::Scheduled, &schedule);
        let scheduled = scheduled.await.unwrap();
        assert_eq!(scheduled.name, "pool-20261122-080000-scheduled.db");
        assert_eq!(job.failed(), None);
        let listed = list(db.path()).unwrap();
        assert_eq!(listed, [made.clone(), scheduled.clone()]);
        delete(&db, &scheduled.name, &actor, NOW).await.unwrap();

        delete(&db, &made.name, &actor, NOW).await.unwrap();
        assert_eq!(list(db.path()).unwrap(), []);
        assert!(other.exists());
        let all = audit::AuditFilter::default();
        let changes = audit::list(&db.readers, &all, None, 10).await;
        let changes = changes.unwrap().items;
        let actions: Vec<_> = changes.iter().map(|change| change.action).collect();
        assert_eq!(
            actions,
            [
                Action::Delete,
                Action::Delete,
                Action::Create,
                Action::Create
            ]
        );
    }

    #[test]
    fn abandoned_copies_are_deleted_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("pool.db");
        fs::create_dir(super::folder(&database)).unwrap();
        let names = [
            ".pool-20261122-080000.db.aB3xYz.part",
            ".pool-20261122-080000.db.aB3xYz.part-journal",
            ".other-20261122-080000.db.aB3xYz.part",
            "pool-20261122-080000.db",
        ];
        let file = |name| super::folder(&database).join(name);
        for name in names {
            fs::write(file(name), "content").unwrap();
        }

        remove_abandoned_copies(&database, crate::clock::now());
        assert!(
            names.iter().all(|name| file(name).exists()),
            "still written"
        );
        remove_abandoned_copies(&database, crate::clock::now() + ABANDONED_AFTER);

        let left = names.map(|name| file(name).exists());
        assert_eq!(left, [false, false, true, true]);
    }
}
