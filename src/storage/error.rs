//! Why the database could not do what was asked.

use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

/// A storage failure, as callers tell them apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} not found")]
    NotFound(String),
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
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    #[error("{path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
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
            Self::NotFound(_)
            | Self::NewerDatabase(_)
            | Self::Migration(_)
            | Self::Refused(_)
            | Self::Damaged(_)
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
            Self::NotFound(_)
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
