//! Each migration, step by step, over a database with rows of every kind.

use std::collections::{BTreeMap, BTreeSet};

use gemini_pool::storage::consistency::find_inconsistencies;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::migrations::MIGRATOR;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::cli::versions::{OLDER, make_database};

/// Names of tables before and after a renaming.
const RENAMED: [(&str, &str); 2] = [("texts", "strings"), ("pruned_logs", "log_pruning")];
/// Tables that a migration deletes, and the one that takes their rows.
const MERGED: [(i64, &str, &str); 1] = [(20_261_125_000_200, "setting_changes", "audit_log")];
/// Tables in which a migration changes values of existing columns.
const CHANGED: [(i64, &str); 1] = [(20_261_201_000_400, "client_key_hours")];

/// The rows of a table that [`OLDER`] does not have; `None`: its migration fills it from the rows of others.
fn rows_of_new_table(table: &str) -> Option<&'static str> {
    match table {
        "setting_changes" => Some("(1000, 'max_attempts', NULL, '5', 'cli', 1796000000000)"),
        // In no format that a version can read, as of a program that was interrupted.
        "request_journal" => Some("(1, 0, x'00')"),
        "pruned_hours" => Some("(3600000)"),
        "request_bodies" => {
            Some("(1, 'whole', 'application/json', 2, x'00', 'binary', 'image/png', 3, NULL, 1)")
        }
        "api_answers" => Some("(1, 'key', zeroblob(32), 201, '/api/v1/x', '{}', 1796000000000)"),
        "api_tokens" => Some(
            "(1, 'deploy', zeroblob(32), 'abcd', 'write', '[\"logs\"]', NULL, NULL, 'cli', 1796000000000)",
        ),
        "alert_targets" => Some(
            "(1, 'webhook', 'ops', 'https://example.com/hook', 'whsec_', NULL, NULL, 1, '[]', NULL, NULL, 'UTC', 'en', 'cli', 1796000000000)",
        ),
        "alert_events" => {
            Some("(1, 'no_key', 'gemini-2.5-flash', 'critical', '', 1796000000000, NULL)")
        }
        "alert_deliveries" => Some(
            "(1, 1, 1, 'begin', 'msg_1', 'pending', 0, 1796000000000, 1796000000000, NULL, NULL, 1796000000000)",
        ),
        "listed_models" => Some("(1, 'gemini-2.5-flash', 'Gemini 2.5 Flash', 1048576, NULL, '[]')"),
        "client_key_days" => Some("(86400000, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)"),
        "model_lists" => Some("(1, zeroblob(32))"),
        "model_list_entries" => Some("(1, 1)"),
        "project_models" => Some("(1, 1, 1796000000000)"),
        "log_views" => Some("(1, 1, 'failures', 'outcome=failed', 1796000000000)"),
        "egress_proxies" => Some(
            "(1, 'one', 'http://proxy:3128', 'user:word', 1, '[]', '[]', 'broken', 'connect_failed', 'refused', 1796000000000, 1796000002000, 1, 1, 1796000000000, NULL)",
        ),
        "egress_proxy_days" => Some("(1795996800000, 1, 0, 0)"),
        "master_keys" => Some("('01234567-89abcdef', x'00', 'current', 1796000000000)"),
        "data_keys" => Some("(1, 'active', NULL, 1, 0, 1796000000000)"),
        "wrapped_data_keys" => Some("(1, '01234567-89abcdef', x'00')"),
        "old_client_key_secrets" => Some("(zeroblob(32), 1, 'abcd', 1796000000000, NULL)"),
        _ => None,
    }
}

/// The rows of each table, their values by column.
type Rows = BTreeMap<String, Vec<BTreeMap<String, String>>>;

async fn columns(
    connection: &mut SqliteConnection,
    schema: &str,
    table: &str,
) -> Vec<(String, bool)> {
    let sql = format!("SELECT name, pk > 0 FROM pragma_table_info('{table}', '{schema}')");
    sqlx::query_as(&sql).fetch_all(connection).await.unwrap()
}

async fn tables(connection: &mut SqliteConnection) -> BTreeSet<String> {
    let sql =
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'";
    let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(connection).await.unwrap();
    names.into_iter().collect()
}

async fn rows(connection: &mut SqliteConnection) -> Rows {
    let mut rows = Rows::new();
    for table in tables(connection).await {
        let columns = columns(connection, "main", &table).await;
        let pairs = columns
            .iter()
            .map(|(name, _)| format!("'{name}', quote(\"{name}\")"));
        let pairs = pairs.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT json_object({pairs}) FROM main.\"{table}\"");
        let found: Vec<String> = sqlx::query_scalar(&sql)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let found = found.iter().map(|row| serde_json::from_str(row).unwrap());
        rows.insert(table, found.collect());
    }
    rows
}

/// Puts rows into the tables that were created just now.
async fn fill(connection: &mut SqliteConnection, before: &Rows, version: i64) {
    for table in tables(connection).await {
        if before.contains_key(&table) || RENAMED.iter().any(|(_, new)| *new == table) {
            continue;
        }
        let known = columns(connection, "source", &table).await;
        let own = columns(connection, "main", &table).await;
        let shared = own
            .iter()
            .filter(|column| known.iter().any(|(name, _)| *name == column.0));
        let shared: Vec<_> = shared.map(|(name, _)| format!("\"{name}\"")).collect();
        let shared = shared.join(", ");
        let sql = if let Some(values) = rows_of_new_table(&table) {
            format!("INSERT INTO main.\"{table}\" VALUES {values}")
        } else if known.is_empty() {
            String::new()
        } else {
            // In place of what the migration itself inserts.
            format!(
                "INSERT OR REPLACE INTO main.\"{table}\" ({shared}) SELECT {shared} FROM source.\"{table}\""
            )
        };
        sqlx::raw_sql(&sql).execute(&mut *connection).await.unwrap();
        let sql = format!("SELECT count(*) FROM main.\"{table}\"");
        let count: i64 = sqlx::query_scalar(&sql)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        assert!(count > 0, "{version}: add rows of {table} to this test");
    }
}

/// Asserts that no row of a table was lost, and that no value was changed unless the migration is known for it.
fn compare(version: i64, table: &str, keys: &[String], before: &Rows, after: &Rows) {
    if let Some((.., into)) = MERGED
        .iter()
        .find(|merged| (merged.0, merged.1) == (version, table))
    {
        assert!(!after.contains_key(table));
        let expected = before.get(*into).map_or(0, Vec::len) + before[table].len();
        assert_eq!(after[*into].len(), expected, "{version}: {table}");
        return;
    }
    let renamed = RENAMED
        .iter()
        .find(|(old, _)| *old == table && !after.contains_key(table));
    let now = renamed.map_or(table, |(_, new)| new);
    let found = after.get(now);
    let found = found.unwrap_or_else(|| panic!("{version}: {table} is gone"));
    let may_change = CHANGED.contains(&(version, table));
    for row in &before[table] {
        let is_same = |other: &&BTreeMap<String, String>| {
            row.iter().all(|(column, value)| {
                let must_be_same = !may_change || keys.contains(column);
                !must_be_same || other.get(column).is_none_or(|now| now == value)
            })
        };
        assert!(
            found.iter().any(|other| is_same(&other)),
            "{version}: {table} has lost or changed {row:?}"
        );
    }
}

#[tokio::test]
async fn no_migration_loses_a_row_of_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let (path, source) = (
        folder.path().join("pool.db"),
        folder.path().join("source.db"),
    );
    make_database(&source, OLDER).await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    let attach = format!("ATTACH '{}' AS source", source.display());
    sqlx::query(&attach).execute(&mut connection).await.unwrap();

    for migration in MIGRATOR.iter() {
        let version = migration.version;
        let before = rows(&mut connection).await;
        let mut keys = BTreeMap::new();
        for table in before.keys() {
            let columns = columns(&mut connection, "main", table).await;
            let key = columns.into_iter().filter(|(_, is_key)| *is_key);
            keys.insert(table.clone(), key.map(|(name, _)| name).collect::<Vec<_>>());
        }
        let sql = sqlx::raw_sql(&migration.sql);
        sql.execute(&mut connection).await.unwrap();

        let after = rows(&mut connection).await;
        for (table, keys) in &keys {
            compare(version, table, keys, &before, &after);
        }
        // Rows may refer to tables that are filled later.
        for statement in ["PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"] {
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .unwrap();
            if statement.ends_with("OFF") {
                fill(&mut connection, &before, version).await;
            }
        }
    }

    let damage: Vec<String> = sqlx::query_scalar(
        "SELECT \"table\" FROM pragma_foreign_key_check UNION ALL SELECT integrity_check FROM pragma_integrity_check",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(damage, ["ok"]);
    connection.close().await.unwrap();
    let db = Db::open_file(&path).await.unwrap();
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}
