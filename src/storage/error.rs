//! `Error`: the failures of the database, as callers distinguish them, with remedies.

use std::error::Error as StdError;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

use crate::pool::master_key::MasterKeyId;

/// A storage failure, as callers tell them apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} {1} not found")]
    NotFound(Thing, String),
    #[error(
        "the database is newer than this program (it has migration {0}): use the newer program"
    )]
    NewerDatabase(i64),
    #[error("migration failed: {0}")]
    Migration(#[from] MigrateError),
    #[error("{0}")]
    Refused(String),
    #[error("{} was moved, deleted or replaced while it is in use", .0.display())]
    FileMoved(PathBuf),
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    #[error("{}", locked(.wanted, .given))]
    Locked {
        /// The ids of the master keys that open the database.
        wanted: String,
        given: GivenMasterKey,
    },
    #[error(
        "the database holds no readable data key for the master key {0}, which is the right one: the row is damaged. Restore a \
         backup; to give up what it encrypted, run `gemini-pool master-key forget` without MASTER_KEY and MASTER_KEY_FILE"
    )]
    DamagedDataKey(MasterKeyId),
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    #[error("{path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
}

/// Names the key that is needed, the one that is given, and the remedy.
fn locked(wanted: &str, given: &GivenMasterKey) -> String {
    let given = match given {
        GivenMasterKey::Missing => "no master key is given".to_owned(),
        GivenMasterKey::OtherPassphrase => {
            "the one given is a passphrase that was never its key".to_owned()
        }
        GivenMasterKey::Other(id) => "the one given is ".to_owned() + &id.to_string(),
    };
    format!(
        "the secrets in the database are encrypted with the master key {wanted}, but {given}: set MASTER_KEY or MASTER_KEY_FILE to \
         the key {wanted}; if it is lost, `gemini-pool master-key forget` removes what it encrypted"
    )
}

/// The master key of this process, where it does not open the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenMasterKey {
    Missing,
    /// The right one is no passphrase, so this one has no id.
    OtherPassphrase,
    Other(MasterKeyId),
}

/// What a URL or a command names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Thing {
    Admin,
    #[strum(serialize = "alert target")]
    AlertTarget,
    #[strum(serialize = "API token")]
    ApiToken,
    Backup,
    Change,
    #[strum(serialize = "client key")]
    ClientKey,
    #[strum(serialize = "egress proxy")]
    EgressProxy,
    Import,
    Job,
    Model,
    Page,
    Project,
    Request,
    #[strum(serialize = "kept bodies of request")]
    RequestBodies,
    Session,
    Setting,
    #[strum(serialize = "act that can be undone")]
    UndoableAct,
    #[strum(serialize = "upstream key")]
    UpstreamKey,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    /// Whether the same statement may well succeed later: the file is locked, the disk is full, or the connection was lost,
    /// which is replaced before it is used again.
    pub fn is_transient(&self) -> bool {
        match self {
            // NOMEM 7, READONLY 8, INTERRUPT 9, IOERR 10, FULL 13, CANTOPEN 14, PROTOCOL 15; BUSY 5, LOCKED 6.
            Self::Sqlx(sqlx::Error::Database(_)) => {
                matches!(self.primary_code(), Some(5..=10 | 13..=15))
            }
            Self::Sqlx(
                sqlx::Error::PoolTimedOut
                | sqlx::Error::Io(_)
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
                | sqlx::Error::InvalidSavePointStatement,
            )
            | Self::FileMoved(_) => true,
            Self::NotFound(..)
            | Self::NewerDatabase(_)
            | Self::Migration(_)
            | Self::Refused(_)
            | Self::Damaged(_)
            | Self::Locked { .. }
            | Self::DamagedDataKey(_)
            | Self::Sqlx(_)
            | Self::File { .. } => false,
        }
    }

    /// Whether the database was reachable and refused the values, as it would again: a constraint forbids them, or a row that
    /// they refer to is missing or unreadable.
    pub fn is_refusal(&self) -> bool {
        match self {
            // TOOBIG 18, CONSTRAINT 19, MISMATCH 20.
            Self::Sqlx(sqlx::Error::Database(_)) => matches!(self.primary_code(), Some(18..=20)),
            Self::NotFound(..)
            | Self::Refused(_)
            | Self::Sqlx(
                sqlx::Error::RowNotFound
                | sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. },
            ) => true,
            Self::NewerDatabase(_)
            | Self::Migration(_)
            | Self::FileMoved(_)
            | Self::Damaged(_)
            | Self::Locked { .. }
            | Self::DamagedDataKey(_)
            | Self::Sqlx(_)
            | Self::File { .. } => false,
        }
    }

    /// SQLite's result code without its details, which is the low byte of the extended one.
    pub fn primary_code(&self) -> Option<u32> {
        let (Self::Sqlx(sqlx::Error::Database(error))
        | Self::Migration(
            MigrateError::Execute(sqlx::Error::Database(error))
            | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _),
        )) = self
        else {
            return None;
        };
        Some(error.code()?.parse::<u32>().ok()? & 0xff)
    }
}

/// What to do about a database that cannot be read or written, with the file and the user; `None`: the causes of the
/// error are others.
pub fn remedy<'e>(
    causes: impl Iterator<Item = &'e (dyn StdError + 'static)>,
    database: &Path,
) -> Option<String> {
    let file = database.display();
    let folder = database
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let user = rustix::process::geteuid().as_raw();
    let give = |path: &Path| {
        let owner = fs::metadata(path).ok().map(|file| file.uid());
        let other = owner.filter(|owner| *owner != user);
        let other = other.map(|owner| format!(", or run this as its owner, user {owner}"));
        let path = path.display();
        format!(
            "give it to this user (chown {user} {path}){}",
            other.unwrap_or_default()
        )
    };
    let folder_remedy = || {
        let give = give(folder);
        let folder = folder.display();
        format!(
            "the folder {folder} cannot be written by user {user}, and {file} needs files beside it: {give}; on a \
             read-only file system, mount the folder writable, and in a container do this on the folder of the host that is \
             mounted there"
        )
    };
    for cause in causes {
        if let Some(Error::File { path, source }) = cause.downcast_ref()
            && matches!(
                source.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            )
        {
            let path = Path::new(path);
            let is_file = path.exists();
            return Some(if is_file {
                format!(
                    "{} cannot be written by user {user}: {}",
                    path.display(),
                    give(path)
                )
            } else {
                folder_remedy()
            });
        }
        let Some(sqlx::Error::Database(error)) = cause.downcast_ref() else {
            continue;
        };
        let code: u32 = error.code()?.parse().ok()?;
        return match (code, code & 0xff) {
            // READONLY_DIRECTORY.
            (1544, _) => Some(folder_remedy()),
            // READONLY_DBMOVED.
            (1032, _) => Some(format!(
                "{file} was moved or replaced while it was open: start again"
            )),
            (_, 8) => Some(format!(
                "{file} cannot be written by user {user}: {}",
                give(database)
            )),
            (_, 14) if database.exists() => Some(format!(
                "{file} cannot be opened by user {user}: {}",
                give(database)
            )),
            (_, 14) => Some(folder_remedy()),
            (_, 26) => Some(format!(
                "{file} is not a SQLite database (read by user {user}): name another file with DATABASE_URL or \
                 --database-url, or put a backup in its place with `gemini-pool restore`"
            )),
            _ => None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// An error of SQLite with this extended code.
    #[derive(Debug)]
    struct Code(u32);

    impl fmt::Display for Code {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl StdError for Code {}

    impl DatabaseError for Code {
        fn message(&self) -> &'static str {
            "made up"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn each_code_names_the_file_the_user_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().join("pool.db");
        fs::write(&existing, "").unwrap();
        let missing = folder.path().join("missing.db");
        let user = rustix::process::geteuid().as_raw();
        let (folder, file) = (folder.path().display(), existing.display());
        let cases = [
            (
                1544,
                &existing,
                format!("the folder {folder} cannot be written by user {user}"),
            ),
            (1032, &existing, format!("{file} was moved or replaced")),
            (
                8,
                &existing,
                format!("{file} cannot be written by user {user}"),
            ),
            (
                776,
                &existing,
                format!("{file} cannot be written by user {user}"),
            ),
            (
                14,
                &existing,
                format!("{file} cannot be opened by user {user}"),
            ),
            (
                14,
                &missing,
                format!("the folder {folder} cannot be written by user {user}"),
            ),
            (
                26,
                &existing,
                format!("{file} is not a SQLite database (read by user {user})"),
            ),
        ];
        for (code, path, expected) in cases {
            let error = Error::Sqlx(sqlx::Error::Database(Box::new(Code(code))));
            let error = anyhow::Error::from(error).context("cannot open it");

            let remedy = remedy(error.chain(), path).unwrap();

            assert!(remedy.starts_with(&expected), "{code}: {remedy}");
        }
        let busy = sqlx::Error::Database(Box::new(Code(5)));
        assert_eq!(remedy(anyhow::Error::from(busy).chain(), &existing), None);
    }
}
