//! `logs prune`, with a running server and without one.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::storage::consistency::find_inconsistencies;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::recorder::Recorder;
use gemini_pool::storage::request_logs::NewRequestLog;
use serde_json::Value;

use crate::support::process::{command, database};
use crate::support::requests::TestRequest;
use crate::support::{TestPool, eventually, newest_rows};

const HOUR: Duration = Duration::from_hours(1);

/// A migrated database with 40 requests of the last 40 hours, each fourth of which was refused.
async fn filled_database(folder: &Path) -> Db {
    let db = database(folder).await;
    db.migrate().await.unwrap();
    let now = clock::now();
    let rows = (1..=40).map(|hours| {
        let began = now - HOUR * hours;
        let id = RequestId::first_at(began);
        let is_refused = hours % 4 == 0;
        NewRequestLog {
            status: Some(if is_refused { 401 } else { 200 }),
            outcome: Some(if is_refused {
                Outcome::Refused
            } else {
                Outcome::Success
            }),
            duration_ms: Some(10),
            ..NewRequestLog::started(id, began, "POST".to_owned(), "*".to_owned())
        }
    });
    let (_recorder, mut writer) = Recorder::without_journal(db.clone());
    writer.write_rows(rows.collect()).await.unwrap();
    db
}

fn prune(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = command(folder);
    program.args(["logs", "prune"]).args(arguments);
    program
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn count(db: &Db) -> usize {
    newest_rows(db).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_shows_is_deleted_after_confirmation_only() {
    let folder = tempfile::tempdir().unwrap();
    let db = filled_database(folder.path()).await;
    let filter = ["--outcome", "refused", "--since", "30h30m"];
    // An offset has one unit.
    assert_eq!(prune(folder.path(), &filter).status.code(), Some(2));
    let filter = ["--outcome", "refused", "--since", "30h"];

    let shown = report(&prune(
        folder.path(),
        &[&filter[..], &["--dry-run", "--json"]].concat(),
    ));
    assert_eq!(shown["requests"], 7);
    assert_eq!(
        (&shown["dry_run"], &shown["deleted"]),
        (&Value::Bool(true), &Value::from(0))
    );
    assert!(shown["oldest"].as_str().unwrap() < shown["newest"].as_str().unwrap());
    assert!(shown["estimated_bytes"].as_u64().unwrap() > 0);
    let refused = prune(folder.path(), &filter);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("7 requests from ") && error.contains("confirm with --yes"),
        "{error}"
    );
    assert_eq!(count(&db).await, 40);

    let deleted = report(&prune(
        folder.path(),
        &[&filter[..], &["--yes", "--json"]].concat(),
    ));
    assert_eq!(
        (&deleted["requests"], &deleted["deleted"]),
        (&Value::from(7), &Value::from(7))
    );
    assert_eq!(count(&db).await, 33);
    let audited: (String, String, String) =
        sqlx::query_as("SELECT actor, action, before FROM audit_log ORDER BY id DESC LIMIT 1")
            .fetch_one(&db.readers)
            .await
            .unwrap();
    assert_eq!((audited.0.as_str(), audited.1.as_str()), ("cli", "delete"));
    let before: Value = serde_json::from_str(&audited.2).unwrap();
    assert_eq!(
        (&before["rows"], &before["filter"]["outcome"]),
        (&7.into(), &"refused".into())
    );
    let again = prune(folder.path(), &[&filter[..], &["--yes"]].concat());
    assert_eq!(
        String::from_utf8(again.stdout).unwrap(),
        "no requests match\n"
    );
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);

    // Without a filter everything goes; the totals of what is gone stay.
    report(&prune(folder.path(), &["--yes", "--json"]));
    assert_eq!(count(&db).await, 0);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    let summed: i64 = sqlx::query_scalar("SELECT sum(requests) FROM model_hours")
        .fetch_one(&db.readers)
        .await
        .unwrap();
    assert_eq!(summed, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_server_no_running_request_is_deleted() {
    let pool = TestPool::with_keys([FakeKey::healthy("AIza-healthy-key-0001", "1")]).await;
    for minutes in 10..30 {
        pool.record_past_request(Duration::from_mins(minutes)).await;
    }
    pool.google.set_response_shape(ResponseShape {
        chunks: 2_000,
        chunk_delay_ms: 100,
        ..ResponseShape::default()
    });
    let mut running = pool.send(TestRequest::StreamSse).await;
    running.chunk().await.unwrap();
    eventually("the running request has a row", async || {
        let rows = pool.rows().await;
        (rows.len() == 21).then_some(())
    })
    .await;

    let deleted = report(&prune(pool.folder.path(), &["--yes", "--json"]));

    assert_eq!(deleted["deleted"], 20);
    let rows = pool.rows().await;
    assert_eq!((rows.len(), rows[0].outcome), (1, None));
    assert!(running.chunk().await.unwrap().is_some());
    drop(running);
    let row = pool.row().await;
    assert_eq!(row.outcome, Some(Outcome::ClientGone));
    pool.google.set_response_shape(ResponseShape::default());
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    pool.assert_sums_agree().await;
}
