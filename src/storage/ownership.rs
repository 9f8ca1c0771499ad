//! `Ownership`: which program a SQLite file belongs to. A file of another program is refused before it is changed.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::storage::database_path::companion_file;
use crate::storage::error::{Error, Result};
use crate::storage::migrations::MIGRATOR;

/// The `application_id` of our files, `GPol` in ASCII; a migration sets it.
const APPLICATION_ID: i64 = 0x4750_6F6C;

/// Which program a database belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Of this program, in any version.
    Ours,
    /// Without any table.
    Empty,
    Foreign,
}

/// The owner of an open database. A file without an `application_id` is ours if its first migration is: older versions set none.
pub async fn ownership(connection: &mut SqliteConnection) -> Result<Ownership> {
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await?;
    if application_id != 0 {
        return Ok(if application_id == APPLICATION_ID {
            Ownership::Ours
        } else {
            Ownership::Foreign
        });
    }
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' LIMIT 2",
    )
    .fetch_all(&mut *connection)
    .await?;
    if names.is_empty() {
        return Ok(Ownership::Empty);
    }
    let first = "SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1";
    let first: Option<Vec<u8>> = match sqlx::query_scalar(first)
        .fetch_optional(&mut *connection)
        .await
    {
        // Without this table, or with another one of its name.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("1") => {
            return Ok(Ownership::Foreign);
        }
        read => read?,
    };
    let ours = MIGRATOR.iter().next().map(|migration| &*migration.checksum);
    let is_ours = first.as_deref().is_some_and(|first| Some(first) == ours);
    // A first migration that was interrupted leaves its table empty.
    let is_interrupted = first.is_none() && names == ["_sqlx_migrations"];
    Ok(match (is_ours, is_interrupted) {
        (true, _) => Ownership::Ours,
        (false, true) => Ownership::Empty,
        (false, false) => Ownership::Foreign,
    })
}

/// Refuses an existing file of another program without changing it or anything beside it. What cannot be read this way is left
/// to whatever opens the file.
pub async fn refuse_foreign_file(path: &Path) -> Result<()> {
    if !std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Ok(());
    }
    let Ok(mut connection) = open_unchanged(path).connect().await else {
        return Ok(());
    };
    let found = ownership(&mut connection).await;
    let _ = connection.close().await;
    match found {
        Ok(Ownership::Foreign) => Err(foreign(path)),
        Ok(Ownership::Ours | Ownership::Empty) | Err(_) => Ok(()),
    }
}

/// The error for a file of another program.
pub fn foreign(path: &Path) -> Error {
    Error::Refused(format!(
        "{} is the database of another program, and was not changed: name another file",
        path.display()
    ))
}

/// Reads the file alone: without its log SQLite makes no files beside it, and waits for no lock.
fn open_unchanged(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
}

/// Whether a write-ahead log or journal beside a file holds changes of it.
pub fn has_log(path: &Path) -> bool {
    ["-wal", "-journal"].into_iter().any(|end| {
        std::fs::metadata(companion_file(path, end)).is_ok_and(|companion| companion.len() > 0)
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::storage::db::Db;

    /// A file made by these statements, and its content.
    async fn file_of(statements: &str) -> (TempDir, PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let options = SqliteConnectOptions::new().filename(&path);
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql(statements)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let content = std::fs::read(&path).unwrap();
        (folder, path, content)
    }

    const MIGRATIONS: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL,
        execution_time BIGINT NOT NULL);";

    #[tokio::test]
    async fn a_file_of_another_program_is_refused_and_not_changed() {
        let of_another_with_migrations = format!(
            "{MIGRATIONS} INSERT INTO _sqlx_migrations VALUES (1, 'theirs', '', 1, x'00', 0); CREATE TABLE notes (id);"
        );
        for statements in [
            "CREATE TABLE notes (id)",
            "PRAGMA journal_mode = WAL; CREATE TABLE notes (id)",
            "PRAGMA application_id = 7",
            "CREATE TABLE _sqlx_migrations (id)",
            &of_another_with_migrations,
        ] {
            let (folder, path, content) = file_of(statements).await;

            let opened = Db::open_file(&path).await;

            let error = opened.expect_err(statements).to_string();
            assert!(error.contains("another program"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), content, "{statements}");
            let files = std::fs::read_dir(folder.path()).unwrap();
            assert_eq!(files.count(), 1, "{statements}");
        }
    }

    #[tokio::test]
    async fn an_empty_file_and_one_of_any_version_of_ours_are_opened() {
        let first = MIGRATOR.iter().next().unwrap();
        let mut checksum = String::new();
        for byte in &*first.checksum {
            write!(checksum, "{byte:02x}").unwrap();
        }
        let first_version = format!(
            "{MIGRATIONS} {} INSERT INTO _sqlx_migrations VALUES ({}, 'first', '', 1, x'{checksum}', 0);",
            first.sql, first.version
        );
        for statements in ["", "VACUUM", MIGRATIONS, &first_version] {
            let (_folder, path, _) = file_of(statements).await;

            let db = Db::open_file(&path).await.unwrap();
            db.migrate().await.unwrap();
            let mut connection = db.writer.acquire().await.unwrap();

            assert_eq!(ownership(&mut connection).await.unwrap(), Ownership::Ours);
            let id: i64 = sqlx::query_scalar("PRAGMA application_id")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!(id, APPLICATION_ID);
        }
    }
}
