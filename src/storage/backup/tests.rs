//! Tests of copies and restored databases.

use sqlx::Row;

use super::*;
use crate::storage::db::tests::{open_empty, open_migrated};

const NOW: Timestamp = Timestamp::from_millis(1_795_334_400_000);

async fn insert_setting(db: &Db, name: &str) {
    let mut tx = db.begin().await.unwrap();
    let act = crate::storage::audit::tests::act(&mut tx, NOW).await;
    crate::storage::settings::change(&mut tx, name, Some("1"), &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn setting_names(path: &Path) -> Vec<String> {
    let db = Db::open_file(path).await.unwrap();
    let settings = crate::storage::settings::list(&db.readers).await.unwrap();
    db.close().await;
    settings.into_iter().map(|(name, _)| name).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_copy_contains_committed_rows_and_no_sessions() {
    let (folder, db) = open_migrated().await;
    insert_setting(&db, "committed").await;
    for statement in [
        "INSERT INTO tower_sessions VALUES ('session-of-the-admin', x'00', 0)",
        "INSERT INTO admins (id, username, password_hash, created_at_ms, password_changed_at_ms)
         VALUES (1, 'admin', '', 0, 0)",
        "INSERT INTO sign_ins (admin_id, address, user_agent, created_at_ms, last_seen_at_ms)
         VALUES (1, '192.0.2.1', 'browser-of-the-admin', 0, 0)",
    ] {
        sqlx::query(statement).execute(&db.writer).await.unwrap();
    }
    let mut open = db.begin().await.unwrap();
    sqlx::query("DELETE FROM settings")
        .execute(&mut *open)
        .await
        .unwrap();
    let to = folder.path().join("copy.db");

    let bytes = copy(&db, &to, ExistingFile::Keep).await.unwrap();

    assert_eq!(fs::metadata(&to).unwrap().len(), bytes);
    let content = fs::read(&to).unwrap();
    for forgotten in ["session-of-the-admin", "browser-of-the-admin"] {
        let found = memchr::memmem::find(&content, forgotten.as_bytes());
        assert_eq!(found, None, "{forgotten}");
    }
    assert_eq!(setting_names(&to).await, ["committed"]);
    assert!(
        files(folder.path())
            .iter()
            .all(|name| !name.starts_with('.'))
    );
}

#[tokio::test]
async fn a_copy_replaces_a_file_only_if_requested_and_never_the_database() {
    let (folder, db) = open_migrated().await;
    let to = folder.path().join("copy.db");
    fs::write(&to, "something else").unwrap();

    let refused = copy(&db, &to, ExistingFile::Keep).await;
    assert!(matches!(refused, Err(Error::Refused(_))));
    assert_eq!(fs::read(&to).unwrap(), b"something else");
    copy(&db, &to, ExistingFile::Replace).await.unwrap();
    assert!(setting_names(&to).await.is_empty());
    let refused = copy(&db, db.path(), ExistingFile::Replace).await;
    assert!(matches!(refused, Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_restored_copy_replaces_the_database_and_the_old_file_is_kept() {
    let (folder, db) = open_migrated().await;
    let (path, backup) = (folder.path().join("pool.db"), folder.path().join("copy.db"));
    insert_setting(&db, "before").await;
    copy(&db, &backup, ExistingFile::Keep).await.unwrap();
    insert_setting(&db, "later").await;
    db.close().await;

    let restored = restore(&backup, &path, NOW).await.unwrap();

    assert_eq!(setting_names(&path).await, ["before"]);
    let kept = restored.kept.unwrap();
    assert_eq!(
        kept.file_name().unwrap(),
        "pool.before-restore-20261122-080000.db"
    );
    assert_eq!(setting_names(&kept).await, ["before", "later"]);
}

#[tokio::test]
async fn nothing_is_restored_while_the_database_is_in_use() {
    let (folder, db) = open_migrated().await;
    let (path, backup) = (folder.path().join("pool.db"), folder.path().join("copy.db"));
    copy(&db, &backup, ExistingFile::Keep).await.unwrap();

    let refused = restore(&backup, &path, NOW).await;
    assert!(refused.unwrap_err().to_string().contains("another program"));
    db.close().await;
    let lock = ServerLock::acquire(&path).unwrap();
    let refused = restore(&backup, &path, NOW).await;
    assert!(refused.unwrap_err().to_string().contains("stop it first"));
    drop(lock);

    restore(&backup, &path, NOW).await.unwrap();
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_not_restored() {
    let (folder, db) = open_migrated().await;
    let (path, source) = (
        folder.path().join("pool.db"),
        folder.path().join("source.db"),
    );
    for number in 0..200 {
        insert_setting(&db, &format!("setting-{number}-{}", "x".repeat(200))).await;
    }
    copy(&db, &source, ExistingFile::Keep).await.unwrap();
    db.close().await;
    let whole = fs::read(&source).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() - 20_000..].fill(0x55);
    let foreign = folder.path().join("foreign.db");
    let options = SqliteConnectOptions::new().filename(&foreign);
    let mut other = options.create_if_missing(true).connect().await.unwrap();
    sqlx::query("CREATE TABLE other (id)")
        .execute(&mut other)
        .await
        .unwrap();

    let cases = [
        ("text", b"only a text".to_vec(), "is not a SQLite database"),
        ("cut", whole[..whole.len() / 2].to_vec(), "is damaged"),
        ("damaged", damaged, "is damaged"),
        (
            "foreign",
            fs::read(&foreign).unwrap(),
            "not a database of gemini-pool",
        ),
    ];
    for (name, content, expected) in cases {
        fs::write(&source, content).unwrap();
        let error = restore(&source, &path, NOW).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(setting_names(&path).await.len(), 200);
}

#[tokio::test]
async fn the_log_of_a_source_is_restored_with_it_and_a_stray_log_is_not() {
    let (folder, db) = open_migrated().await;
    insert_setting(&db, "only-in-the-log").await;
    let (copied, path) = (
        folder.path().join("copied.db"),
        folder.path().join("new.db"),
    );
    for end in ["", "-wal"] {
        fs::copy(companion_file(db.path(), end), companion_file(&copied, end)).unwrap();
    }
    insert_setting(&db, "later").await;
    fs::copy(
        companion_file(db.path(), "-wal"),
        companion_file(&path, "-wal"),
    )
    .unwrap();

    let restored = restore(&copied, &path, NOW).await.unwrap();

    assert_eq!(restored.kept, None);
    assert_eq!(setting_names(&path).await, ["only-in-the-log"]);
}

#[tokio::test]
async fn a_damaged_database_can_be_replaced() {
    let (folder, db) = open_migrated().await;
    let (path, backup) = (folder.path().join("pool.db"), folder.path().join("copy.db"));
    copy(&db, &backup, ExistingFile::Keep).await.unwrap();
    db.close().await;
    fs::write(&path, "no longer a database, but long enough to have a header of its own, as it were, which is 100")
        .unwrap();
    fs::write(companion_file(&path, "-wal"), "a log of nothing").unwrap();

    let kept = restore(&backup, &path, NOW).await.unwrap().kept.unwrap();

    assert!(setting_names(&path).await.is_empty());
    assert!(fs::read_to_string(&kept).unwrap().starts_with("no longer"));
}

#[tokio::test]
async fn a_database_with_rows_is_copied_before_it_is_migrated() {
    let (folder, db) = open_empty().await;
    // A file of ours, in which nothing else is yet.
    sqlx::raw_sql("PRAGMA application_id = 1196453740; CREATE TABLE precious (id)")
        .execute(&db.writer)
        .await
        .unwrap();

    let applied = dry_run_migrations(Some(&db), folder.path()).await.unwrap();
    assert_eq!(db.applied().await.unwrap(), [0_i64; 0]);
    let upgrade = migrate_with_snapshot(&db, |_| ()).await.unwrap();

    assert_eq!(upgrade.applied.len(), applied.len());
    let snapshot = upgrade.snapshot.unwrap();
    let mut kept = open_source(&snapshot).await.unwrap();
    let row = sqlx::query(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('precious', 'upstream_keys')",
    )
    .fetch_one(&mut kept)
    .await
    .unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
    assert!(
        migrate_with_snapshot(&db, |_| ())
            .await
            .unwrap()
            .snapshot
            .is_none()
    );
}

#[tokio::test]
async fn a_new_file_is_migrated_without_a_snapshot() {
    let (_folder, db) = open_empty().await;

    let upgrade = migrate_with_snapshot(&db, |_| ()).await.unwrap();

    assert_eq!(
        (upgrade.snapshot, upgrade.applied.is_empty()),
        (None, false)
    );
}

#[tokio::test]
async fn what_the_journal_holds_is_in_the_tables_of_a_copy_and_of_what_is_restored() {
    let (folder, db) = open_migrated().await;
    crate::storage::recorder::tests::add_keys(&db).await;
    let row = crate::storage::request_logs::tests::row(0);
    let writes = [journal::Write::Row(Box::new(row))];
    journal::append(&db, 1, &writes).await.unwrap();
    let (copied, restored) = (
        folder.path().join("copy.db"),
        folder.path().join("restored.db"),
    );
    let raw = folder.path().join("raw.db");
    vacuum_into(&mut db.readers.acquire().await.unwrap(), &raw)
        .await
        .unwrap();
    db.close().await;

    let db = Db::open_file(&folder.path().join("pool.db")).await.unwrap();
    copy(&db, &copied, ExistingFile::Keep).await.unwrap();
    restore(&raw, &restored, NOW).await.unwrap();

    for path in [copied, restored] {
        let copy = Db::open_file(&path).await.unwrap();
        let counts: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM request_logs), (SELECT count(*) FROM request_journal)",
        )
        .fetch_one(&copy.readers)
        .await
        .unwrap();
        assert_eq!(counts, (1, 0), "{}", path.display());
        copy.close().await;
    }
    assert!(journal::has_entries_to(&db.readers, 1).await.unwrap());
}
