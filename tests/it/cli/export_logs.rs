//! `logs export` and the same download of the dashboard.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::storage::audit::{self, Action, AuditFilter};
use gemini_pool::storage::request_logs::NewRequestLog;
use http_body_util::BodyExt;
use reqwest::Method;
use reqwest::header::{CONTENT_DISPOSITION, TE};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::admin::AdminClient;
use crate::support::process::command;
use crate::support::requests::TestRequest;
use crate::support::{CLIENT_ID, TestPool, eventually};

const FORMATS: [&str; 2] = ["csv", "jsonl"];
/// More than two pages of an export.
const ROWS: u64 = 1_300;

/// A pool with more requests than a page of the export, of which every second one has the method GET.
async fn pool_with_rows() -> TestPool {
    let key = FakeKey::healthy("AIza-key-of-an-export-0001", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    add_rows(&pool, None).await;
    pool
}

async fn add_rows(pool: &TestPool, error: Option<String>) {
    let earliest = clock::now() - Duration::from_hours(1);
    for number in 0..ROWS {
        let began = earliest + Duration::from_millis(number);
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let row = NewRequestLog {
            client_key_id: Some(CLIENT_ID),
            user_agent: Some("=cmd|' /C calc'!A0".to_owned()),
            status: Some(401),
            outcome: Some(Outcome::Refused),
            error: error.clone(),
            ..NewRequestLog::started(
                RequestId::first_at(began),
                began,
                method.to_owned(),
                "*".to_owned(),
            )
        };
        drop(pool.app.recorder.record_finished(Box::new(row)));
    }
    pool.app.recorder.settle().await;
}

async fn export(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder);
    command.args(["logs", "export"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn command_and_page_export_the_same_bytes_of_all_pages() {
    let pool = pool_with_rows().await;
    let admin = AdminClient::sign_in(&pool).await;

    for format in FORMATS {
        for (options, query, count) in [
            (&[][..], "", 1_300),
            (&["--method", "GET"], "?method=get&older=1k9z4v0qm3e0a", 650),
            (&["--model", "none"], "?model=none", 0),
        ] {
            let case = format!("{format} {query}");
            let arguments = [&["--format", format][..], options].concat();
            let printed = export(pool.folder.path(), &arguments).await;
            let path = format!("/logs/export.{format}{query}");
            let answer = admin.request(Method::GET, &path).header(TE, "trailers");
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{case}");
            let disposition = answer.headers()[CONTENT_DISPOSITION].to_str().unwrap();
            assert!(disposition.starts_with("attachment; filename=\"gemini-pool-logs-"));
            assert!(
                disposition.ends_with(&format!(".{format}\"")),
                "{disposition}"
            );
            let answer = http::Response::<reqwest::Body>::from(answer).into_body();
            let answer = answer.collect().await.unwrap();
            let trailers = answer.trailers().cloned().unwrap();
            let downloaded = answer.to_bytes();

            assert!(printed.status.success(), "{case}");
            assert!(printed.stdout == downloaded, "{case}");
            let lines = std::str::from_utf8(&printed.stdout)
                .unwrap()
                .lines()
                .count();
            assert_eq!(lines, count + usize::from(format == "csv"), "{case}");
            let hash = format!("{:x}", Sha256::digest(&downloaded));
            let bytes = downloaded.len();
            assert_eq!(
                String::from_utf8(printed.stderr).unwrap(),
                format!("exported {count} rows, {bytes} bytes, SHA-256 {hash}\n")
            );
            assert_eq!(trailers["x-export-rows"], count.to_string());
            assert_eq!(trailers["x-export-sha256"], hash);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_objects_of_the_list_and_no_body() {
    let pool = pool_with_rows().await;
    let folder = pool.folder.path();

    let exported = export(folder, &["--format", "jsonl"]).await;
    let mut list = command(folder);
    list.args(["logs", "list", "--json", "--limit", "2000"]);
    let listed = list.stdout(Stdio::piped()).output().unwrap();

    let lines = String::from_utf8(exported.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["items"], Value::Array(lines.collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_exported_only_with_their_option() {
    let key = FakeKey::healthy("AIza-key-of-an-export-0002", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    let folder = pool.folder.path();
    pool.fetch(TestRequest::Generate).await;
    pool.set(&[("body_log_mode", "all")]).await;
    let kept = pool.fetch(TestRequest::Generate).await;
    pool.app.body_log.settle().await;

    let exported = export(folder, &["--format", "jsonl", "--bodies"]).await;

    let lines = String::from_utf8(exported.stdout).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], kept.id());
    assert_eq!(lines[0]["request_body"], TestRequest::Generate.body());
    assert_eq!(lines[0]["response_body"], kept.text());
    assert_eq!(
        (&lines[1]["request_body"], &lines[1]["response_body"]),
        (&Value::Null, &Value::Null)
    );
    let without = export(folder, &["--format", "jsonl"]).await;
    assert!(
        !String::from_utf8(without.stdout)
            .unwrap()
            .contains("_body\"")
    );
    let csv = export(folder, &["--format", "csv", "--bodies"]).await;
    assert_eq!(csv.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_private_and_replaced_only_by_a_complete_export() {
    let pool = pool_with_rows().await;
    let folder = pool.folder.path();
    let path = folder.join("logs.csv");
    fs::write(&path, "of yesterday").unwrap();
    let to = |path: &Path| path.to_str().unwrap().to_owned();

    let files = fs::read_dir(folder).unwrap().count();
    for (output, status) in [(to(folder), 2), (to(&folder.join("missing/logs.csv")), 1)] {
        let failed = export(folder, &["--format", "csv", "--output", &output]).await;
        assert_eq!(failed.status.code(), Some(status), "{output}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "of yesterday");

    let done = export(folder, &["--format", "csv", "--output", &to(&path)]).await;
    let printed = export(folder, &["--format", "csv"]).await;
    assert!(done.status.success() && done.stdout.is_empty());
    assert!(fs::read(&path).unwrap() == printed.stdout);
    assert_eq!(done.stderr, printed.stderr);
    assert_eq!(fs::read_dir(folder).unwrap().count(), files);
    for wrong in [&["--format", "xml"][..], &[]] {
        assert_eq!(export(folder, wrong).await.status.code(), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_export_is_visibly_incomplete() {
    let pool = pool_with_rows().await;
    let admin = AdminClient::sign_in(&pool).await;
    // More than the buffers of a connection, so that most of it is read after the fault.
    add_rows(&pool, Some("e".repeat(20_000))).await;
    let download = admin.request(Method::GET, "/logs/export.csv").send();
    let mut download = download.await.unwrap();
    assert_eq!(download.status(), 200);
    download.chunk().await.unwrap().unwrap();

    let fault = "ALTER TABLE attempts RENAME TO elsewhere";
    sqlx::raw_sql(fault)
        .execute(&pool.app.db.writer)
        .await
        .unwrap();

    let rest = async {
        while download.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    rest.await.unwrap_err();
    let folder = pool.folder.path();
    let files = fs::read_dir(folder).unwrap().count();
    let output = folder.join("logs.csv");
    let arguments = ["--format", "csv", "--output", output.to_str().unwrap()];
    let failed = export(folder, &arguments).await;
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(fs::read_dir(folder).unwrap().count(), files);
    assert!(
        !String::from_utf8(failed.stderr)
            .unwrap()
            .contains("exported")
    );
}

#[tokio::test]
async fn the_page_links_to_its_filter_and_refuses_invalid_ones() {
    let pool = pool_with_rows().await;
    let mut admin = AdminClient::sign_in(&pool).await;

    let page = admin.get_page("/logs?method=GET").await;
    for format in FORMATS {
        let link = format!("href=\"/logs/export.{format}?method=GET\"");
        assert!(page.contains(&link), "{link}");
    }
    let invalid = admin.request(Method::GET, "/logs/export.csv?since=yesterday");
    assert_eq!(invalid.send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn complete_and_incomplete_downloads_are_in_the_audit_log() {
    let pool = pool_with_rows().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let exports = async || {
        let filter = AuditFilter {
            action: Some(Action::Export),
            ..AuditFilter::default()
        };
        let page = audit::list(&pool.app.db.readers, &filter, None, 10).await;
        page.unwrap().items
    };

    let path = "/logs/export.csv?method=GET";
    let whole = admin.request(Method::GET, path).send().await.unwrap();
    whole.bytes().await.unwrap();
    // The rows are read only as far as the client reads them, and are more than the buffers of a connection.
    add_rows(&pool, Some("e".repeat(20_000))).await;
    let partial = admin.request(Method::GET, "/logs/export.jsonl").send();
    let mut partial = partial.await.unwrap();
    partial.chunk().await.unwrap().unwrap();
    drop(partial);

    let entries = eventually("both are recorded", async || {
        let entries = exports().await;
        (entries.len() == 2).then_some(entries)
    })
    .await;
    let content = entries[1].after.as_ref().unwrap();
    assert_eq!(entries[1].actor, "admin:admin");
    assert_eq!(content["rows"], 650);
    assert_eq!(content["filter"], "method=GET");
    assert_eq!(content["complete"], true);
    assert_eq!(entries[0].after.as_ref().unwrap()["complete"], false);
    let page = admin.get_page("/audit").await;
    assert!(page.contains("exported"));
}
