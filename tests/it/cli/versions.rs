//! Database files of other programs and of older versions.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use gemini_pool::storage::db::Db;
use gemini_pool::storage::lock::ServerLock;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::support::process::command;

/// A database of an older version.
pub const OLDER: &str = include_str!("../../data/before_20261129000000.sql");

/// Commands that read.
const READING: [&[&str]; 5] = [
    &["upstream-keys", "list"],
    &["client-keys", "list"],
    &["settings", "list"],
    &["settings", "history"],
    &["logs", "list"],
];
/// Commands that write.
const WRITING: [&[&str]; 5] = [
    &["upstream-keys", "add", "AIza-secret-1"],
    &["client-keys", "create", "name"],
    &["settings", "set", "max_attempts", "3"],
    &["upstream-keys", "disable", "1"],
    &["migrate"],
];

/// Makes `some.db` in the folder.
pub async fn make_database(path: &Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = command(folder);
    program.args(arguments).stderr(Stdio::piped());
    program.output().unwrap()
}

/// Asserts that a command fails with a text and leaves the folder as it is but for a lock file.
fn assert_refused(folder: &Path, arguments: &[&str], text: &str) {
    let content = || {
        let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let files = files.filter(|file| !file.file_name().to_string_lossy().ends_with(".lock"));
        let files = files.map(|file| (file.file_name(), fs::read(file.path()).unwrap()));
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    };
    let before = content();

    let ended = run(folder, arguments);

    let reported = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {reported}");
    assert!(reported.contains(text), "{arguments:?}: {reported}");
    assert!(content() == before, "{arguments:?} changed something");
}

#[tokio::test]
async fn every_command_refuses_the_database_of_another_program_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.db");
    let db = Db::open_file(&ours).await.unwrap();
    db.migrate().await.unwrap();
    db.close().await;
    let theirs = "CREATE TABLE notes (text); INSERT INTO notes VALUES ('precious')";
    make_database(&folder.path().join("pool.db"), theirs).await;
    let with_migrations =
        "CREATE TABLE _sqlx_migrations (version INTEGER PRIMARY KEY, checksum BLOB);
        INSERT INTO _sqlx_migrations VALUES (1, x'00'); CREATE TABLE notes (text)";
    make_database(&folder.path().join("theirs.db"), with_migrations).await;

    let others: [&[&str]; 6] = [
        &["serve"],
        &["demo", "--keep", "pool.db", "--listen", "127.0.0.1:0"],
        &["backup", "copy.db"],
        &["migrate", "--status"],
        &["migrate", "--dry-run"],
        &["restore", "ours.db"],
    ];
    for arguments in READING.into_iter().chain(WRITING).chain(others) {
        assert_refused(folder.path(), arguments, "another program");
        assert!(
            !folder.path().join("pool.db.lock").exists(),
            "{arguments:?}"
        );
    }
    let restored = ["--database-url", "sqlite://new.db", "restore", "theirs.db"];
    assert_refused(folder.path(), &restored, "is not a database of gemini-pool");
}

#[tokio::test]
async fn a_command_that_reads_does_not_migrate_and_one_that_writes_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool.db");
    make_database(&path, OLDER).await;
    // As every older version has opened it.
    make_database(&path, "PRAGMA journal_mode = WAL").await;

    for arguments in READING {
        assert_refused(folder.path(), arguments, "`gemini-pool migrate`");
    }
    let unfinished = folder.path().join(".pool.db.Ab12xY.part");
    let others = [".other.db.Ab12xY.part", ".pool.db.part", ".pool.db.x.part"];
    for name in others.into_iter().chain([".pool.db.Ab12xY.part"]) {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let written = run(folder.path(), &["settings", "set", "max_attempts", "3"]);
    assert!(written.status.success());

    assert!(!unfinished.exists(), "what a killed migration has left");
    for name in others {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    for arguments in READING {
        assert!(
            run(folder.path(), arguments).status.success(),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn no_command_migrates_a_database_that_a_server_of_an_older_version_uses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool.db");
    make_database(&path, OLDER).await;
    make_database(&path, "PRAGMA journal_mode = WAL").await;
    let server = ServerLock::acquire(&path).unwrap();

    for arguments in WRITING {
        assert_refused(folder.path(), arguments, "stop it first");
    }

    drop(server);
    assert!(run(folder.path(), &["migrate"]).status.success());
}
