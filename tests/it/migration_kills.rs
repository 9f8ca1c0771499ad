//! The program is killed in the middle of a migration of a large log.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::storage::consistency::find_inconsistencies;
use gemini_pool::storage::migrations::MIGRATOR;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::cli::versions::{OLDER, make_database};
use crate::support::eventually;
use crate::support::process::{command, database};

/// The version of [`OLDER`], and the first one that rewrites much of the log.
const VERSION: i64 = 20_261_129_000_000;
const SLOW_VERSION: i64 = 20_261_201_000_300;
/// So many copies of the log's thirteen finished rows are added.
const COPIES: u32 = 15_400;
/// Kills of the program; another number in this variable.
const KILLS: u32 = 6;
const KILLS_VARIABLE: &str = "MIGRATION_KILLS";

/// Makes a database with some 200,000 requests in a version before the slow migrations.
async fn make_large_database(path: &Path) {
    make_database(path, OLDER).await;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap();
    let mut tx = connection.begin().await.unwrap();
    for migration in MIGRATOR.iter() {
        if (VERSION..SLOW_VERSION).contains(&migration.version) {
            sqlx::raw_sql(&migration.sql)
                .execute(&mut *tx)
                .await
                .unwrap();
            sqlx::query(
                "INSERT INTO _sqlx_migrations VALUES (?1, ?2, '2026-12-01 00:00:00', 1, ?3, 1)",
            )
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
    }
    // The copies are in hours whose rows are not compared with rollups.
    sqlx::query("UPDATE log_pruning SET until_ms = 1000000000")
        .execute(&mut *tx)
        .await
        .unwrap();
    for (table, id) in [("request_logs", "id"), ("attempts", "request_id")] {
        copy_rows(&mut tx, table, id).await;
    }
    tx.commit().await.unwrap();
    connection.close().await.unwrap();
}

async fn copy_rows(connection: &mut SqliteConnection, table: &str, id: &str) {
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
        .bind(table)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let values = columns.iter().map(|column| match column.as_str() {
        "started_at_ms" => "3600000 * (1 + n % 100)".to_owned(),
        column if column == id => "n * 100 + r.position".to_owned(),
        column => format!("t.{column}"),
    });
    let (values, columns) = (values.collect::<Vec<_>>().join(", "), columns.join(", "));
    let sql = format!(
        "
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {COPIES}),
        r AS (
            SELECT id, row_number() OVER (ORDER BY id) AS position
            FROM request_logs
            WHERE outcome IS NOT NULL AND id > 100 * ({COPIES} + 1)
        )
        INSERT INTO {table} ({columns})
        SELECT {values}
        FROM numbers
        CROSS JOIN r
        JOIN {table} AS t ON t.{id} = r.id
        "
    );
    sqlx::query(&sql).execute(connection).await.unwrap();
}

/// The numbers of requests and attempts, and the number of applied migrations.
async fn counts(path: &Path) -> (i64, i64, i64) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM request_logs), (SELECT count(*) FROM attempts), (SELECT count(*) FROM _sqlx_migrations)";
    let counts = sqlx::query_as(sql).fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    counts.unwrap()
}

/// Files beside the database whose name contains this.
fn files_with(folder: &Path, part: &str) -> usize {
    let files = fs::read_dir(folder).unwrap().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).count()
}

/// How long the migrations take on this machine, after the copy.
async fn time_to_migrate(large: &Path) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(large, folder.path().join("pool.db")).unwrap();
    let mut program = command(folder.path());
    program.arg("migrate").stderr(Stdio::null());
    let mut child = program.spawn().unwrap();
    eventually("the database is copied", async || {
        (files_with(folder.path(), ".before-") > 0).then_some(())
    })
    .await;
    let begun = clock::instant();
    assert!(child.wait().unwrap().success());
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_is_completed_by_the_next_one() {
    let folder_of_large = tempfile::tempdir().unwrap();
    let large = folder_of_large.path().join("pool.db");
    make_large_database(&large).await;
    let (requests, attempts, applied) = counts(&large).await;
    assert!(requests > 200_000, "{requests}");
    let all = i64::try_from(MIGRATOR.iter().count()).unwrap();
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let longest = time_to_migrate(&large).await;
    let (mut killed_before, mut killed_between, mut ended) = (0, 0, 0);

    for kill in 0..kills {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.db");
        fs::copy(&large, &path).unwrap();
        let migrate = || {
            let mut program = command(folder.path());
            program
                .arg("migrate")
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        // Some databases are killed several times.
        for again in 0..=kill % 3 {
            let snapshots = files_with(folder.path(), ".before-");
            let (_, _, applied_before) = counts(&path).await;
            let mut child = migrate();
            // Within the copy, the first migration or a later one.
            let phase = (kill + again) % 3;
            eventually("the phase begins", async || {
                let has_begun = match phase {
                    0 => true,
                    1 => files_with(folder.path(), ".before-") > snapshots,
                    _ => counts(&path).await.2 > applied_before,
                };
                (has_begun || child.try_wait().unwrap().is_some()).then_some(())
            })
            .await;
            tokio::time::sleep(longest.mul_f64(rand::random_range(0.0..0.5))).await;
            child.kill().unwrap();
            let is_ended = child.wait().unwrap().success();
            let (requests_now, attempts_now, applied_now) = counts(&path).await;
            assert_eq!((requests_now, attempts_now), (requests, attempts));
            match applied_now {
                _ if is_ended => ended += 1,
                now if now == applied => killed_before += 1,
                _ => killed_between += 1,
            }
        }

        assert!(migrate().wait().unwrap().success());

        assert_eq!(counts(&path).await, (requests, attempts, all));
        assert_eq!(files_with(folder.path(), ".part"), 0);
        let db = database(folder.path()).await;
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
        let damage: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        assert_eq!(damage, "ok");
        db.close().await;
    }
    println!(
        "killed before {killed_before}, between {killed_between} migrations, too late {ended}"
    );
}
