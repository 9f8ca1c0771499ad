//! Rollups that are computed again from the rows.

use crate::storage::log_pruning::tests::prune;
use crate::storage::log_pruning::{self, PruneScope};
use crate::storage::recorder::rebuild::rebuild_rollups;

use super::*;

const ROLLUPS: [&str; 5] = [
    "model_hours",
    "model_days",
    "client_key_hours",
    "client_key_days",
    "upstream_key_days",
];
const KEYS: [&str; 2] = ["upstream_keys", "client_keys"];

/// The rollups and the statistics of keys.
async fn values(db: &Db) -> Vec<String> {
    let statistics =
        "id, requests, successes, failures, prompt_tokens, output_tokens, total_tokens";
    let mut rows = Vec::new();
    for table in ROLLUPS.into_iter().chain(KEYS) {
        let columns = if KEYS.contains(&table) {
            statistics.to_owned()
        } else {
            let names = format!("SELECT group_concat(name) FROM pragma_table_info('{table}')");
            let names = sqlx::query_scalar(&names).fetch_one(&db.writer).await;
            names.unwrap()
        };
        let sql = format!("SELECT '{table} ' || json_array({columns}) FROM {table} ORDER BY 1");
        let values: Vec<String> = sqlx::query_scalar(&sql)
            .fetch_all(&db.writer)
            .await
            .unwrap();
        rows.extend(values.iter().map(|row| with_merged_sketches(row)));
    }
    rows
}

/// A row with one sketch in place of several that stand one after the other.
fn with_merged_sketches(row: &str) -> String {
    let (table, cells) = row.split_once(' ').unwrap();
    let mut cells: Vec<serde_json::Value> = serde_json::from_str(cells).unwrap();
    for cell in &mut cells {
        if let Some(text) = cell.as_str().filter(|text| text.starts_with('{')) {
            let mut sketch = DurationSketch::default();
            sketch.merge_json(text);
            *cell = sketch.to_json().into();
        }
    }
    format!("{table} {}", serde_json::to_string(&cells).unwrap())
}

async fn execute(db: &Db, sql: &str) {
    sqlx::raw_sql(sql).execute(&db.writer).await.unwrap();
}

/// A database with rows of all kinds over several days.
async fn written() -> (TempDir, Db) {
    let (folder, db) = open_migrated().await;
    add_keys(&db).await;
    let mut check = row(3);
    (check.kind, check.client_key_id) = (LogKind::Check, None);
    let mut over_midnight = retried(86_399);
    over_midnight.attempts[1].started_at = row(86_401).started_at;
    let first = vec![
        row(0),
        retried(1),
        anonymous(2),
        check,
        running(4),
        over_midnight,
    ];
    write(&db, first).await;
    // More than a page of the rebuild.
    let more = (0..2_100).map(|number| {
        if number % 3 == 0 {
            retried(100_000 + number * 60)
        } else {
            row(100_000 + number * 60)
        }
    });
    write(&db, more.collect()).await;
    (folder, db)
}

#[tokio::test]
async fn rebuilt_rollups_equal_those_that_were_recorded() {
    let (_folder, db) = written().await;
    let before = values(&db).await;

    for spoil in [
        "DELETE FROM model_hours; DELETE FROM model_days; DELETE FROM client_key_hours",
        "UPDATE upstream_key_days SET requests = requests + 1, duration_sketch = '{}'",
        "UPDATE upstream_keys SET total_tokens = 0, successes = 7; UPDATE client_keys SET requests = 0",
        "UPDATE indexed_requests SET until_id = (SELECT max(request_id) FROM attempts) - 1",
        "UPDATE client_key_hours SET retried_successes = 0",
        "UPDATE model_hours SET retried_successes = retried_successes + 1 WHERE outcome = 'success'",
        "UPDATE model_days SET retried_successes = 0",
        "UPDATE client_key_days SET cached_tokens = cached_tokens + 1",
        "DELETE FROM client_key_days",
        "UPDATE client_key_hours SET sent_requests = 0; UPDATE log_counter SET finished_rows = 7",
        "INSERT INTO model_days SELECT day_ms + 864000000, model_id, outcome, 1, 2, 3, 4, 5, 6, 7, 8, '{}', '{}', 0
         FROM model_days LIMIT 1",
    ] {
        execute(&db, spoil).await;
        assert_ne!(find_inconsistencies(&db.readers).await.unwrap(), [], "{spoil}");

        assert_eq!(rebuild_rollups(&db).await.unwrap(), 2_104);

        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
        assert_eq!(values(&db).await, before, "{spoil}");
    }
}

#[tokio::test]
async fn rollups_of_pruned_hours_are_kept() {
    let (_folder, db) = written().await;
    prune(&db, row(110_000).started_at, 1_000).await.unwrap();
    let before = values(&db).await;
    execute(&db, "UPDATE model_hours SET requests = requests + 1 WHERE hour_ms = (SELECT max(hour_ms) FROM model_hours)").await;

    rebuild_rollups(&db).await.unwrap();

    assert_eq!(values(&db).await, before);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn rollups_of_hours_with_selected_deletions_are_kept() {
    let (_folder, db) = written().await;
    let ids = [row(1).id, row(100_000).id, row(150_040).id];
    let deleted = log_pruning::delete(&db, &ids, PruneScope::Selected).await;
    assert_eq!(deleted.unwrap().requests, 3);
    let before = values(&db).await;
    execute(&db, "UPDATE model_hours SET requests = requests + 1 WHERE hour_ms = (SELECT max(hour_ms) FROM model_hours)").await;

    rebuild_rollups(&db).await.unwrap();

    assert_eq!(values(&db).await, before);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

/// A rebuild that does not know of deleted rows would lose their sums.
#[tokio::test]
async fn every_table_about_deleted_rows_is_known_to_the_rebuild() {
    let (_folder, db) = open_migrated().await;

    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '*prun*' ORDER BY 1";
    let tables: Vec<String> = sqlx::query_scalar(tables)
        .fetch_all(&db.writer)
        .await
        .unwrap();

    assert_eq!(tables, ["log_pruning", "pruned_hours"]);
}
