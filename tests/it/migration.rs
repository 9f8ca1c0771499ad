//! A database of the version before the renaming of tables and columns keeps every row.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::path::Path;

use gemini_pool::clock::Timestamp;
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::quota::limits::ObservedLimit;
use gemini_pool::storage::audit::{self, Act, Action, Actor, AuditFilter};
use gemini_pool::storage::consistency::find_inconsistencies;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::duration_sketch::DurationSketch;
use gemini_pool::storage::migrations::MIGRATOR;
use gemini_pool::storage::paging::PagePosition;
use gemini_pool::storage::request_logs::filter::LogFilter;
use gemini_pool::storage::request_logs::id_range::LogPosition;
use gemini_pool::storage::request_logs::search::search;
use gemini_pool::storage::{projects, quotas, resources, settings};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqliteExecutor};

/// Rows in every table; its head says which the version before wrote itself.
const DATABASE: &str = include_str!("../data/before_20261129000000.sql");
const VERSION: i64 = 20_261_129_000_000;

async fn database_of_the_version_before(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(DATABASE)
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

/// An empty database with the migrations before `version`.
async fn empty_database_before(path: &Path, version: i64) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    migrate(&mut connection, ..version).await;
    connection
}

async fn migrate(connection: &mut SqliteConnection, versions: impl RangeBounds<i64>) {
    for migration in MIGRATOR.iter() {
        if versions.contains(&migration.version) {
            let sql = sqlx::raw_sql(&migration.sql);
            sql.execute(&mut *connection).await.unwrap();
        }
    }
}

/// The counts of all rollups but the histograms.
const SUMS: &str = "requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd";

/// The names of the old histograms' columns.
fn bucket_columns() -> String {
    let histograms = ["first_byte", "duration"].into_iter();
    let columns = histograms.flat_map(|name| (0..12).map(move |bucket| format!("{name}_{bucket}")));
    columns.collect::<Vec<_>>().join(", ")
}

/// Inserts a rollup with histograms: its sums are 31 to 38, its buckets have these counts.
async fn insert_rollup(
    connection: &mut SqliteConnection,
    table: &str,
    (key, values): (&str, &str),
    counts: impl Iterator<Item = u32>,
) {
    let buckets = bucket_columns();
    let counts: Vec<_> = counts.map(|count| count.to_string()).collect();
    let counts = counts.join(", ");
    let sql = format!(
        "INSERT INTO {table} ({key}, {SUMS}, {buckets}) VALUES ({values}, 31, 32, 33, 34, 35, 36, 37, 38, {counts})"
    );
    sqlx::query(&sql).execute(connection).await.unwrap();
}

/// Every row of every table, its values in the order of the columns.
async fn rows(connection: &mut SqliteConnection) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "
        SELECT m.name, group_concat('quote(\"' || c.name || '\")', ' || ''|'' || ')
        FROM sqlite_schema AS m
        JOIN pragma_table_info(m.name) AS c
        WHERE m.type = 'table'
        GROUP BY m.name
        ",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let mut rows = BTreeMap::new();
    for (table, columns) in tables {
        let sql = format!("SELECT {columns} FROM \"{table}\" ORDER BY 1");
        let found = sqlx::query_scalar(&sql).fetch_all(&mut *connection).await;
        rows.insert(table, found.unwrap());
    }
    rows
}

/// The definitions of tables, indexes and triggers.
async fn schema(db: impl SqliteExecutor<'_>) -> Vec<(String, Option<String>)> {
    let sql = "SELECT name, sql FROM sqlite_schema ORDER BY name";
    sqlx::query_as(sql).fetch_all(db).await.unwrap()
}

async fn list_count(db: &Db, filter: &LogFilter) -> usize {
    let found = search(&db.readers, filter, LogPosition::Newest, 100, None).await;
    found.unwrap().rows.len()
}

#[tokio::test]
async fn the_renaming_changes_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = database_of_the_version_before(&folder.path().join("pool.db")).await;
    let mut before = rows(&mut connection).await;
    let migration = MIGRATOR
        .iter()
        .find(|migration| migration.version == VERSION);

    sqlx::raw_sql(&migration.unwrap().sql)
        .execute(&mut connection)
        .await
        .unwrap();

    for (old, new) in [("texts", "strings"), ("pruned_logs", "log_pruning")] {
        let rows = before.remove(old).unwrap();
        before.insert(new.to_owned(), rows);
    }
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "{table}");
    }
    assert_eq!(rows(&mut connection).await, before);
}

#[tokio::test]
async fn a_database_of_the_version_before_the_renaming_is_migrated_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool.db");
    let connection = database_of_the_version_before(&path).await;
    connection.close().await.unwrap();
    let fresh = Db::open_file(&folder.path().join("fresh.db"))
        .await
        .unwrap();
    fresh.migrate().await.unwrap();

    let db = Db::open_file(&path).await.unwrap();
    assert_eq!(db.pending().await.unwrap()[0].version, VERSION);
    db.migrate().await.unwrap();

    assert_eq!(schema(&db.readers).await, schema(&fresh.readers).await);
    let damage: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&db.readers)
        .await
        .unwrap();
    assert_eq!(damage, "ok");
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);

    // The strings that rows refer to.
    assert_eq!(list_count(&db, &LogFilter::default()).await, 14);
    let of_model = LogFilter {
        model: Some("gemini-2.5-pro".to_owned()),
        ..LogFilter::default()
    };
    assert_eq!(list_count(&db, &of_model).await, 1);
    let with_text = LogFilter {
        text: Some("cachedcontents".to_owned()),
        ..LogFilter::default()
    };
    assert_eq!(list_count(&db, &with_text).await, 1);

    // What was observed of quotas, which cooldowns were cleared, and what was created.
    let limits = quotas::list_limits(&db.readers).await.unwrap();
    let limits: Vec<_> = limits.iter().map(|limit| limit.observed).collect();
    let expected = [ObservedLimit::Contradicted, ObservedLimit::Limit(50)];
    assert_eq!(limits, expected);
    let cleared = projects::list_cleared(&db.readers, 0).await.unwrap();
    assert_eq!(cleared, [1, 5].map(ProjectId));
    let known = resources::list_named(&db.readers, &["cachedContents/example"]).await;
    assert_eq!(known.unwrap().len(), 1);

    // The audit, and the trigger that keeps its acts.
    let all = AuditFilter::default();
    let changes = audit::list(&db.readers, &all, None, 100).await.unwrap();
    assert_eq!(changes.items.len(), 36);
    let now = Timestamp::from_millis(1_796_000_000_000);
    let mut tx = db.begin().await.unwrap();
    let act = Act::begin(&mut tx, &Actor::cli(), now).await.unwrap();
    for (name, value) in [("max_attempts", "5"), ("day_zone", "UTC")] {
        settings::change(&mut tx, name, Some(value), &act)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let acts = audit::list_acts(&db.readers, &all, PagePosition::Newest, 1).await;
    let newest = acts.unwrap().items.remove(0);
    assert_eq!((newest.first.action, newest.changes), (Action::Update, 2));
}

#[tokio::test]
async fn strings_that_no_row_names_any_more_are_deleted_and_all_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool.db");
    let mut connection = database_of_the_version_before(&path).await;
    sqlx::raw_sql("INSERT INTO texts (text) VALUES ('of-a-deleted-row')")
        .execute(&mut connection)
        .await
        .unwrap();
    let before = "SELECT text FROM texts WHERE text <> 'of-a-deleted-row' ORDER BY id";
    let before: Vec<String> = sqlx::query_scalar(before)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    let db = Db::open_file(&path).await.unwrap();
    db.migrate().await.unwrap();

    let after = "SELECT value FROM strings WHERE value <> 'other' ORDER BY id";
    let after: Vec<String> = sqlx::query_scalar(after)
        .fetch_all(&db.readers)
        .await
        .unwrap();
    assert_eq!(after, before);
    for column in [
        "model_version_id",
        "operation_id",
        "finish_reason_id",
        "service_tier_id",
    ] {
        let not_kept = format!(
            "SELECT count(*) FROM request_logs WHERE {column} IN (SELECT id FROM strings WHERE is_kept = 0)"
        );
        let not_kept: i64 = sqlx::query_scalar(&not_kept)
            .fetch_one(&db.readers)
            .await
            .unwrap();
        assert_eq!(not_kept, 0, "{column}");
    }
}

#[tokio::test]
async fn model_days_are_the_sums_of_model_hours() {
    let folder = tempfile::tempdir().unwrap();
    let version = 20_261_125_000_430;
    let mut connection = empty_database_before(&folder.path().join("pool.db"), version).await;
    let key = "hour_ms, model_id, outcome";
    for values in [
        "3600000, 1, 'success'",
        "7200000, 1, 'success'",
        "90000000, 1, 'success'",
        "7200000, 2, 'quota'",
    ] {
        insert_rollup(&mut connection, "model_hours", (key, values), 1..=24).await;
    }

    migrate(&mut connection, version..=version).await;

    let row = |key: &str, hours: u32| {
        let counts = (31..=38).chain(1..=24).map(|count| hours * count);
        let counts = counts.map(|count| count.to_string()).collect::<Vec<_>>();
        format!("{key} {}", counts.join(" "))
    };
    let found: Vec<String> = sqlx::query_scalar(&format!(
        "SELECT concat_ws(' ', day_ms, model_id, outcome, {SUMS}, {}) FROM model_days ORDER BY day_ms, model_id",
        bucket_columns()
    ))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let expected = [
        row("0 1 success", 2),
        row("0 2 quota", 1),
        row("86400000 1 success", 1),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn client_key_days_are_the_sums_of_client_key_hours() {
    const COUNTS: &str = "requests, successes, failures, sent_requests, retried_successes, prompt_tokens, output_tokens, \
        thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd";
    let folder = tempfile::tempdir().unwrap();
    let version = 20_261_218_000_100;
    let mut connection = empty_database_before(&folder.path().join("pool.db"), version).await;
    for key in ["3600000, 1", "7200000, 1", "90000000, 1", "7200000, 0"] {
        let sql = format!(
            "INSERT INTO client_key_hours (hour_ms, client_key_id, {COUNTS}, first_byte_sketch, duration_sketch)
             VALUES ({key}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, '{{}}', '{{}}')"
        );
        sqlx::query(&sql).execute(&mut connection).await.unwrap();
    }

    migrate(&mut connection, version..=version).await;

    let found: Vec<String> = sqlx::query_scalar(&format!(
        "SELECT concat_ws(' ', day_ms, client_key_id, {COUNTS}) FROM client_key_days ORDER BY day_ms, client_key_id"
    ))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let expected = [
        "0 0 1 2 3 4 5 6 7 8 9 10 11 12",
        "0 1 2 4 6 8 10 12 14 16 18 20 22 24",
        "86400000 1 1 2 3 4 5 6 7 8 9 10 11 12",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn every_bucket_of_a_histogram_becomes_a_bin_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let version = 20_261_201_000_200;
    let mut connection = empty_database_before(&folder.path().join("pool.db"), version).await;
    let tables = [
        ("model_hours", "hour_ms, model_id, outcome", "'quota'"),
        ("model_days", "day_ms, model_id, outcome", "'quota'"),
        (
            "client_key_hours",
            "hour_ms, client_key_id, successes, failures",
            "5, 6",
        ),
        (
            "upstream_key_days",
            "day_ms, upstream_key_id, successes, failures",
            "5, 6",
        ),
    ];
    for (table, key, values) in tables {
        let empty = std::iter::repeat_n(0, 24);
        let (full, empty_key) = (format!("1, 2, {values}"), format!("3, 4, {values}"));
        insert_rollup(&mut connection, table, (key, &full), 1..=24).await;
        insert_rollup(&mut connection, table, (key, &empty_key), empty).await;
    }

    migrate(&mut connection, version..=version).await;

    for (table, key, values) in tables {
        let sql = format!(
            "SELECT concat_ws(', ', {key}, {SUMS}), first_byte_sketch, duration_sketch FROM {table} ORDER BY 1"
        );
        let rows: Vec<(String, String, String)> = sqlx::query_as(&sql)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let [(full, first_byte, duration), empty] = rows.try_into().unwrap();
        let rest = format!(
            "{}, 31, 32, 33, 34, 35, 36, 37, 38",
            values.replace('\'', "")
        );
        assert_eq!(full, format!("1, 2, {rest}"), "{table}");
        assert_eq!(
            empty,
            (format!("3, 4, {rest}"), "{}".into(), "{}".into()),
            "{table}"
        );
        for (sketch, counts) in [(first_byte, 1..=12), (duration, 13..=24)] {
            let bins: BTreeMap<u64, u64> = serde_json::from_str(&sketch).unwrap();
            assert_eq!(
                bins.values().copied().collect::<Vec<_>>(),
                counts.collect::<Vec<_>>()
            );
            for (bucket, bin) in bins.into_keys().enumerate() {
                let end = |bucket: usize| 50_u64 << bucket;
                let begin = bucket.checked_sub(1).map_or(0, end);
                assert!((begin..end(bucket)).contains(&bin), "{table}: {sketch}");
                // Durations of this very bin stay there.
                let mut expected = DurationSketch::default();
                expected.add(bin);
                assert_eq!(expected.to_json(), format!("{{\"{bin}\":1}}"));
            }
        }
    }
}
