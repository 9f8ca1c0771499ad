//! Why the database could not do what was asked.

use std::path::Path;

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
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("{0}")]
    Refused(String),
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

    /// Whether the same statement may well succeed later: the file is locked, or the disk is full.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => {
                // The primary code is the low byte: BUSY 5, LOCKED 6, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14.
                let code = error
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .map(|code| code & 0xff);
                matches!(code, Some(5 | 6 | 8 | 10 | 13 | 14))
            }
            Self::Sqlx(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            Self::NotFound(_)
            | Self::NewerDatabase(_)
            | Self::Migration(_)
            | Self::Refused(_)
            | Self::Sqlx(_)
            | Self::File { .. } => false,
        }
    }
}
