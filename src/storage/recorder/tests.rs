//! Tests of the recorder, and how other tests write rows.

mod journal;
mod rebuild;
mod rollup_models;

use std::time::Duration;

use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock::Timestamp;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{
    KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKeyId,
};
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::secret::Secret;
use crate::storage::audit::tests::act;
use crate::storage::client_keys::NewClientKey;
use crate::storage::consistency::find_inconsistencies;
use crate::storage::data_keys::DataKeyStore;
use crate::storage::db::tests::open_migrated;
use crate::storage::duration_sketch::DurationSketch;
use crate::storage::recorder::interrupted::interrupt_running;
use crate::storage::recorder::statistics::{BatchStatistics, KeyStatistics};
use crate::storage::recorder::stored_sketches::AppendedSketches;
use crate::storage::recorder::tables::{LogBatch, LogStatements};
use crate::storage::request_logs::tests::{row, running};
use crate::storage::request_logs::{self, LogKind};
use crate::storage::rollups::Rollup;
use crate::storage::upstream_keys;
use crate::storage::upstream_keys::listed::{self, ListedUpstreamKey};
use crate::storage::{client_keys, installation};

/// Writes rows as a running server does, and waits until they are committed.
pub async fn write(db: &Db, rows: Vec<NewRequestLog>) {
    let (recorder, writer) = Recorder::new(db.clone());
    for row in rows {
        if row.outcome.is_some() {
            drop(recorder.record_finished(Box::new(row)));
        } else {
            recorder.record_running(Box::new(row));
        }
    }
    drop(recorder);
    writer.run().await;
}

/// Two upstream keys and a client key, with the ids 1 and 2, and 1.
pub async fn add_keys(db: &Db) {
    let now = Timestamp::from_millis(0);
    let mut tx = db.begin().await.unwrap();
    let keys = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap();
    let act = act(&mut tx, now).await;
    for text in ["first-secret", "second-secret"] {
        let secret = Secret::new(text);
        let nothing = KeyAttributes::default();
        upstream_keys::insert(&mut tx, &keys, &secret, &nothing, true, &act)
            .await
            .unwrap();
    }
    let key = NewClientKey {
        name: "client",
        note: "",
        secret: &Secret::new("client-secret"),
        expires_at: None,
    };
    client_keys::insert(&mut tx, &keys.hash_key, &key, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// A row whose first attempt failed with the other key.
fn retried(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    let mut failed = row.attempts[0].clone();
    failed.upstream_key_id = UpstreamKeyId(2);
    (failed.outcome, failed.status) = (Some(Outcome::Quota), Some(429));
    failed.error = Some("too many requests".to_owned());
    row.attempts.insert(0, failed);
    row
}

fn anonymous(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    (row.client_key_id, row.model) = (None, None);
    (row.outcome, row.status) = (Some(Outcome::Refused), Some(401));
    row.attempts.clear();
    row.usage = TokenUsage::default();
    row
}

#[sqlx::test]
async fn rows_statistics_and_sums_agree(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut check = row(3);
    (check.kind, check.client_key_id) = (LogKind::Check, None);

    write(
        &db,
        vec![row(0), retried(1), anonymous(2), check, running(4)],
    )
    .await;
    // The same request as before, now finished; and an hour and a day later.
    write(&db, vec![row(4), row(3_600), retried(90_000)]).await;

    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    let keys = listed_keys(&pool).await;
    let counts = |index: usize| {
        let key = &keys[index];
        (key.requests, key.successes, key.failures, key.total_tokens)
    };
    assert_eq!(counts(0), (5, 5, 0, 35));
    assert_eq!(counts(1), (2, 0, 2, 0));
    assert_eq!(keys[1].last_error.as_deref(), Some("too many requests"));
    let clients = client_keys::list(&pool).await.unwrap();
    assert_eq!((clients[0].requests, clients[0].total_tokens), (5, 35));
}

#[sqlx::test]
async fn a_statistic_that_is_off_is_found(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    write(&db, vec![row(0)]).await;
    sqlx::query("UPDATE upstream_keys SET successes = 5 WHERE id = 1")
        .execute(&pool)
        .await
        .unwrap();

    let found = find_inconsistencies(&pool).await.unwrap();

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].counter, "successes of upstream key 1");
    assert_eq!((found[0].from_rows, found[0].from_statistics), (1, 5));
}

#[sqlx::test]
async fn a_row_opened_and_finished_in_one_batch_counts_once(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;

    write(&db, vec![running(0), row(0)]).await;

    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    let running = request_logs::list_running_ids(&pool).await;
    assert_eq!(running.unwrap(), []);
}

#[sqlx::test]
async fn what_a_dead_run_left_is_interrupted_and_counted_once(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut settled = running(1);
    settled.attempts[0].outcome = Some(Outcome::Quota);
    let mut check = running(2);
    (check.kind, check.client_key_id) = (LogKind::Check, None);
    let id = settled.id;
    write(&db, vec![running(0), settled, check, row(3)]).await;

    assert_eq!(interrupt_running(&db).await.unwrap(), 3);
    assert_eq!(interrupt_running(&db).await.unwrap(), 0);

    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    let row = request_logs::listed::find(&pool, id).await.unwrap();
    assert_eq!(row.outcome, Some(Outcome::Interrupted));
    assert_eq!(row.attempt_list.unwrap()[0].outcome, Some(Outcome::Quota));
    let keys = listed_keys(&pool).await;
    assert_eq!((keys[0].requests, keys[0].failures), (3, 2));
}

#[sqlx::test]
async fn a_finished_row_is_acknowledged_when_it_is_committed(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let (recorder, writer) = Recorder::new(db);
    let committed = recorder.record_finished(Box::new(row(0)));
    assert_eq!(recorder.pending(), 1);

    let writing = tokio::spawn(writer.run());
    committed.await.unwrap();

    assert_eq!((recorder.pending(), recorder.is_failing()), (0, false));
    assert!(request_logs::listed::find(&pool, row(0).id).await.is_ok());
    drop(recorder);
    writing.await.unwrap();
}

#[sqlx::test]
async fn a_row_the_database_refuses_is_lost_alone_and_not_acknowledged(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let (recorder, writer) = Recorder::new(db);
    let mut wrong = row(1);
    // No attempt ends so.
    wrong.attempts[0].outcome = Some(Outcome::Refused);

    let heard = [row(0), wrong, row(2)].map(|row| recorder.record_finished(Box::new(row)));
    drop(recorder);
    writer.run().await;

    let heard = heard.map(|mut committed| committed.try_recv());
    assert_eq!(heard, [Ok(()), Err(TryRecvError::Closed), Ok(())]);
    assert_eq!(count(&pool).await, 2);
}

/// A database whose connections are a server's, with keys.
async fn database() -> (TempDir, Db) {
    let (folder, db) = open_migrated().await;
    add_keys(&db).await;
    (folder, db)
}

/// Waits until a write has failed.
async fn fails(recorder: &Recorder) {
    let failing = async {
        while !recorder.is_failing() {
            tokio::task::yield_now().await;
        }
    };
    let failed = tokio::time::timeout(Duration::from_mins(1), failing).await;
    failed.expect("a write fails");
}

async fn listed_keys(db: &SqlitePool) -> Vec<ListedUpstreamKey> {
    let keys = listed::list(db, Timestamp::from_millis(0)).await;
    keys.unwrap()
}

async fn count(db: &SqlitePool) -> i64 {
    let counted = sqlx::query_scalar("SELECT count(*) FROM request_logs");
    counted.fetch_one(db).await.unwrap()
}

/// Rows from this second on, with texts that are new to the database.
fn many_rows(since: i64) -> Vec<NewRequestLog> {
    let rows = (since..since + 300).map(|seconds| {
        let mut row = row(seconds);
        row.user_agent = Some(format!("agent {seconds} {}", "x".repeat(300)));
        row
    });
    rows.collect()
}

#[tokio::test]
async fn rows_that_a_full_disk_did_not_take_are_written_when_it_has_room() {
    let (_folder, db) = database().await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&db.readers)
        .await
        .unwrap();
    // In turns, there is no room for the strings, for the rows, or for the sums.
    for (turn, room) in (1..).zip([0, 3, 30, 60]) {
        let most = (pages + room).to_string();
        db.set_up_writer("max_page_count", &most).await.unwrap();
        let (recorder, writer) = Recorder::new(db.clone());
        let writing = tokio::spawn(writer.run());
        let commits: Vec<_> = many_rows(turn * 1_000)
            .into_iter()
            .map(|row| recorder.record_finished(Box::new(row)))
            .collect();
        fails(&recorder).await;

        db.set_up_writer("max_page_count", "1073741823")
            .await
            .unwrap();

        for committed in commits {
            committed.await.unwrap();
        }
        recorder.flush().await.unwrap();
        assert_eq!((recorder.pending(), recorder.is_failing()), (0, false));
        drop(recorder);
        writing.await.unwrap();
    }
    assert_eq!(count(&db.readers).await, 4 * 300);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn what_a_full_disk_undid_within_a_transaction_is_written_when_it_has_room() {
    let (_folder, db) = database().await;
    db.set_up_writer("max_page_count", "1").await.unwrap();
    let (recorder, writer) = Recorder::new(db.clone());
    let writing = tokio::spawn(writer.run());
    let condition = KeyCondition {
        state: KeyState::Invalid,
        ..KeyCondition::ready(Timestamp::from_millis(1_000))
    };
    let evidence = Evidence {
        status: Some(400),
        message: "x".repeat(100_000),
        request_id: row(0).id,
    };
    let id = UpstreamKeyId(1);
    recorder.record_change(StateChange::Key { id, condition }, evidence);
    fails(&recorder).await;
    let committed = recorder.record_finished(Box::new(row(0)));

    db.set_up_writer("max_page_count", "1073741823")
        .await
        .unwrap();

    committed.await.unwrap();
    drop(recorder);
    writing.await.unwrap();
    let keys = listed_keys(&db.readers).await;
    assert_eq!(keys[0].state.as_str(), "invalid");
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn rows_whose_commit_sqlite_undid_are_written_again() {
    let (_folder, db) = database().await;
    let (recorder, mut writer) = Recorder::new(db.clone());
    // From now on the writer has the numbers of all strings, so that the rows are what it commits next.
    writer.write_rows(vec![anonymous(9)]).await.unwrap();
    {
        let mut connection = db.writer.acquire().await.unwrap();
        let mut handle = connection.lock_handle().await.unwrap();
        handle.set_commit_hook(|| false);
    }
    let commits = [0, 1, 2].map(|seconds| recorder.record_finished(Box::new(anonymous(seconds))));

    drop(recorder);
    writer.run().await;

    for committed in commits {
        committed.await.unwrap();
    }
    assert_eq!(count(&db.readers).await, 4);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn rows_wait_after_any_error_that_is_not_theirs() {
    let (_folder, db) = database().await;
    let rename = async |from: &str, to: &str| {
        sqlx::query(&format!("ALTER TABLE {from} RENAME TO {to}"))
            .execute(&db.writer)
            .await
            .unwrap();
    };
    rename("attempts", "elsewhere").await;
    let (recorder, writer) = Recorder::new(db.clone());
    let writing = tokio::spawn(writer.run());
    let commits = [0, 1, 2].map(|seconds| recorder.record_finished(Box::new(row(seconds))));
    fails(&recorder).await;

    rename("elsewhere", "attempts").await;

    for committed in commits {
        committed.await.unwrap();
    }
    drop(recorder);
    writing.await.unwrap();
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[sqlx::test]
async fn what_verdicts_change_is_written(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let (since, until) = (Timestamp::from_millis(1_000), Timestamp::from_millis(9_000));
    let (recorder, writer) = Recorder::new(db);
    let evidence = Evidence {
        status: Some(400),
        message: "API key not valid".to_owned(),
        request_id: row(0).id,
    };
    let condition = KeyCondition {
        state: KeyState::Invalid,
        rule: Some(Rule::QuotaWithoutDetail),
        next_check: Some(until),
        ..KeyCondition::ready(since)
    };
    let id = UpstreamKeyId(1);
    recorder.record_change(StateChange::Key { id, condition }, evidence.clone());
    let cooldown = Cooldown {
        rule: Rule::QuotaWithoutDetail,
        step: 2,
        since,
        until,
    };
    let change = StateChange::Cooldown {
        project_id: ProjectId(2),
        model: "gemini-flash-latest".to_owned(),
        cooldown,
    };
    recorder.record_change(change, evidence);
    drop(recorder);
    writer.run().await;

    let keys = listed::list(&pool, since).await.unwrap();
    assert_eq!(
        (keys[0].state.as_str(), keys[1].state.as_str()),
        ("invalid", "cooling_down")
    );
    assert_eq!(keys[1].state_until, Some(until));
    let cooldowns = crate::storage::cooldowns::list_changed(&pool, -1, since)
        .await
        .unwrap();
    assert_eq!(
        cooldowns,
        [(ProjectId(2), "gemini-flash-latest".to_owned(), cooldown)]
    );
}

/// The values of these columns in the first row of a table.
async fn values(pool: &SqlitePool, columns: &str, table: &str) -> String {
    let sql = format!("SELECT concat_ws(' ', {columns}) FROM {table}");
    sqlx::query_scalar(&sql).fetch_one(pool).await.unwrap()
}

#[sqlx::test]
async fn every_value_of_a_row_is_written_to_the_column_with_its_name(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut row = retried(0);
    let text = |text: &str| Some(text.to_owned());
    (row.client_ip, row.user_agent, row.model) = (text("ip"), text("agent"), text("model"));
    (row.model_version, row.operation) = (text("version"), text("operation"));
    (row.finish_reason, row.service_tier) = (text("reason"), text("tier"));
    (row.error, row.bound_by, row.path) = (text("error"), text("files/a"), "path".to_owned());
    (row.streamed, row.status, row.wait_ms) = (true, Some(201), 11);
    (row.first_byte_ms, row.duration_ms) = (Some(12), Some(13));
    (row.request_bytes, row.response_bytes) = (14, 15);
    row.usage_estimated = true;
    (row.turns, row.close_code, row.cost_nano_usd) = (Some(16), Some(17), Some(18));
    (row.usage.thoughts, row.usage.cached, row.usage.tool) = (Some(5), Some(6), Some(8));
    (row.attempts[0].rule, row.attempts[0].duration_ms) = (Some("rule".into()), Some(19));
    // Written twice, as a row is at its start and at its end.
    let mut running = row.clone();
    (running.outcome, running.attempts[0].outcome) = (None, None);
    write(&db, vec![running, row]).await;

    let strings = [
        "client_ip",
        "user_agent",
        "path",
        "model",
        "model_version",
        "operation",
        "finish_reason",
        "service_tier",
    ];
    let strings = strings.map(|name| format!("(SELECT value FROM strings WHERE id = {name}_id)"));
    for (columns, table, expected) in [
        (
            strings.join(", ").as_str(),
            "request_logs",
            "ip agent path model version operation reason tier",
        ),
        (
            "started_at_ms, kind, client_key_id, method, streamed, status, outcome, error, attempts, upstream_key_id",
            "request_logs",
            "1795334400000 request 1 POST 1 201 success error 2 1",
        ),
        (
            "project_id, wait_ms, first_byte_ms, duration_ms, request_bytes, response_bytes, prompt_tokens, output_tokens, usage_estimated",
            "request_logs",
            "1 11 12 13 14 15 3 4 1",
        ),
        (
            "thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, turns, close_code, bound_by",
            "request_logs",
            "5 6 8 7 18 16 17 files/a",
        ),
        (
            "number, upstream_key_id, project_id, status, outcome, rule, error, started_at_ms, duration_ms",
            "attempts",
            "1 2 1 429 quota rule too many requests 1795334400000 19",
        ),
    ] {
        assert_eq!(values(&pool, columns, table).await, expected, "{columns}");
    }
}

#[sqlx::test]
async fn every_sum_is_added_to_the_column_with_its_name(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut rollup = Rollup {
        requests: 1,
        successes: 2,
        failures: 3,
        sent_requests: 12,
        retried_successes: 13,
        prompt_tokens: 4,
        output_tokens: 5,
        thought_tokens: 6,
        cached_tokens: 7,
        tool_tokens: 8,
        total_tokens: 9,
        cost_nano_usd: 10,
        first_byte: DurationSketch::default(),
        duration: DurationSketch::default(),
    };
    rollup.first_byte.add(11);
    rollup.duration.add(0);
    rollup.duration.add(600);
    let key = || KeyStatistics {
        rollup: rollup.clone(),
        last_used_at_ms: 35,
        last_error: Some("error".to_owned()),
    };
    for _ in 0..2 {
        let mut sums = BatchStatistics::default();
        let model = (36, 37, Outcome::Quota);
        sums.model_hours.insert(model, rollup.clone());
        sums.model_days.insert(model, rollup.clone());
        sums.client_key_hours.insert((36, 1), rollup.clone());
        sums.client_key_days.insert((36, 1), rollup.clone());
        sums.upstream_key_days.insert((36, 1), rollup.clone());
        sums.upstream_keys.insert(1, key());
        sums.client_keys.insert(1, key());
        sums.quota_days.insert((36, 1, 37), (38, 39));
        sums.finished_rows = 40;
        let mut batch = LogBatch::default();
        let mut tx = db.begin().await.unwrap();
        let mut sketches = AppendedSketches::default();
        let added = batch.add_statistics(sums, &mut tx, &mut sketches);
        added.await.unwrap();
        batch
            .write(&mut tx, &mut LogStatements::default())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    let sums = "requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, \
        first_byte_sketch, duration_sketch";
    let doubled = r#"2 8 10 12 14 16 18 20 {"11":2} {"0":2,"550":2}"#;
    let key = "requests, successes, failures, prompt_tokens, output_tokens, total_tokens, last_used_at_ms";
    for (columns, table, expected) in [
        (sums, "model_hours", doubled),
        (sums, "model_days", doubled),
        (sums, "client_key_hours", doubled),
        (sums, "upstream_key_days", doubled),
        (
            "hour_ms, model_id, outcome, retried_successes",
            "model_hours",
            "36 37 quota 26",
        ),
        (
            "day_ms, model_id, outcome, retried_successes",
            "model_days",
            "36 37 quota 26",
        ),
        (
            "hour_ms, client_key_id, successes, failures, sent_requests, retried_successes",
            "client_key_hours",
            "36 1 4 6 24 26",
        ),
        (
            "day_ms, client_key_id, requests, successes, failures, sent_requests, retried_successes, prompt_tokens, \
            output_tokens, thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd",
            "client_key_days",
            "36 1 2 4 6 24 26 8 10 12 14 16 18 20",
        ),
        (
            "day_ms, upstream_key_id, successes, failures",
            "upstream_key_days",
            "36 1 4 6",
        ),
        (
            "day_ms, upstream_key_id, model_id, requests, input_tokens",
            "quota_days",
            "36 1 37 76 78",
        ),
        ("id, finished_rows", "log_counter", "1 80"),
        (key, "client_keys", "2 4 6 8 10 18 35"),
        (key, "upstream_keys", "2 4 6 8 10 18 35"),
        ("last_error", "upstream_keys", "error"),
    ] {
        assert_eq!(
            values(&pool, columns, table).await,
            expected,
            "{table}: {columns}"
        );
    }
}
