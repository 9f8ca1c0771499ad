//! `doctor`: a good database gives no finding, and each fault gives its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::storage::lock::ServerLock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::TestPool;
use crate::support::process::{command, database};

const KEY: &str = "AIza-key-of-a-checked-pool-0001";

/// A pool with a request in its log.
async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await;
    assert_eq!(pool.generate().await.status(), 200);
    pool.finished_rows(1).await;
    pool
}

/// The folder of the same after the end of its server.
async fn stopped_pool() -> TempDir {
    pool().await.stop().await
}

fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    let mut doctor = command(folder);
    doctor.arg("doctor").args(arguments);
    let doctor = doctor.stdout(Stdio::piped()).stderr(Stdio::piped());
    doctor.output().unwrap()
}

/// The findings as `check severity`, with the whole report.
fn diagnose(folder: &Path, arguments: &[&str]) -> (Vec<String>, Value) {
    let ended = doctor(folder, &[&["--json"], arguments].concat());
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    for finding in findings {
        assert!(!text(finding, "message").is_empty() && !text(finding, "remedy").is_empty());
    }
    let found = findings
        .iter()
        .map(|finding| format!("{} {}", text(finding, "check"), text(finding, "severity")));
    let found: Vec<_> = found.collect();
    let has_errors = found.iter().any(|finding| finding.ends_with(" error"));
    assert_eq!(ended.status.code(), Some(i32::from(has_errors)), "{report}");
    (found, report)
}

async fn execute(folder: &Path, sql: &str) {
    let db = database(folder).await;
    // As another program would, which checks no references.
    let sql = format!("PRAGMA foreign_keys = OFF; {sql}");
    sqlx::raw_sql(&sql).execute(&db.writer).await.unwrap();
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_database_gives_no_finding_beside_a_server_and_without_one() {
    let pool = pool().await;
    let google = pool.google.url();
    let online = ["--upstream-url", google.as_str()];

    let (found, report) = diagnose(pool.folder.path(), &online);
    assert!(found.is_empty(), "{report}");
    assert_eq!(report["skipped"], Value::Array(Vec::new()));
    let folder = pool.stop().await;
    let before = fs::read(folder.path().join("pool.db")).unwrap();
    let (found, report) = diagnose(folder.path(), &["--offline"]);
    assert!(found.is_empty(), "{report}");
    assert_eq!(report["skipped"], serde_json::json!(["google"]));
    assert!(fs::read(folder.path().join("pool.db")).unwrap() == before);

    let printed = doctor(folder.path(), &["--offline"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.ends_with("not checked: google\nnothing wrong was found\n"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_database_is_found() {
    for (sql, expected) in [
        ("UPDATE upstream_keys SET requests = requests + 1", "statistics error"),
        ("UPDATE model_hours SET total_tokens = total_tokens + 1", "statistics error"),
        ("DELETE FROM request_logs; DELETE FROM attempts; DELETE FROM strings WHERE is_kept = 0", "statistics error"),
        ("INSERT INTO strings (value) VALUES ('named by no row')", "strings warning"),
        ("DELETE FROM strings WHERE id IN (SELECT path_id FROM request_logs)", "strings error"),
        ("INSERT INTO settings VALUES ('max_attempts', '0', 0, 0)", "settings error"),
        ("INSERT INTO settings VALUES ('unheard_of', '0', 0, 0)", "settings warning"),
        (
            "INSERT INTO resources VALUES ('files/a', 'files', 1, 1, 0, 1, 0)",
            "resources warning",
        ),
        (
            "INSERT INTO resources VALUES ('files/a', 'files', 1, 1, 0, NULL, 0); UPDATE upstream_keys SET removed_at_ms = 1",
            "resources warning",
        ),
        (
            "INSERT INTO upload_sessions VALUES (x'00', '/upload', 1, 1, 0, 1)",
            "resources warning",
        ),
        (
            "INSERT INTO upload_sessions VALUES (x'00', '/upload', 1, 1, 0, 9000000000000);
             UPDATE upstream_keys SET removed_at_ms = 1",
            "resources warning",
        ),
        ("UPDATE upstream_keys SET project_id = 77", "foreign_keys error"),
        ("INSERT INTO request_journal VALUES (-7, 99, x'00')", "journal warning"),
        (
            "INSERT INTO request_logs (id, started_at_ms, kind, method, path_id, streamed, attempts, wait_ms, request_bytes,
                response_bytes)
             SELECT 9000000000000000000, 9000000000000, 'check', 'GET', max(id), 0, 0, 0, 0, 0 FROM strings",
            "clock warning",
        ),
        ("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)", "database warning"),
        ("UPDATE _sqlx_migrations SET version = 99999999999999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)", "database error"),
    ] {
        let folder = stopped_pool().await;
        execute(folder.path(), sql).await;

        let (found, report) = diagnose(folder.path(), &["--offline"]);

        assert!(found.contains(&expected.to_owned()), "{sql}: {report}");
        assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>().len(), 1, "{sql}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_and_one_that_is_no_database_are_found() {
    let folder = stopped_pool().await;
    let path = folder.path().join("pool.db");
    let good = fs::read(&path).unwrap();

    let mut damaged = good.clone();
    let end = damaged.len() - 4_096 * 3;
    damaged[4_096 * 4..end].fill(0x5a);
    fs::write(&path, damaged).unwrap();
    let (found, report) = diagnose(folder.path(), &["--offline"]);
    assert!(
        found
            .iter()
            .any(|finding| ["integrity error", "database error"].contains(&finding.as_str())),
        "{report}"
    );
    fs::write(&path, vec![0x5a; 10_000]).unwrap();
    let (found, _) = diagnose(folder.path(), &["--offline"]);
    assert_eq!(found, ["database error"]);
    fs::remove_file(&path).unwrap();
    let missing = doctor(folder.path(), &["--offline"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_of_files_are_reported_and_kept() {
    let folder = stopped_pool().await;
    let path = folder.path().join("pool.db");
    let set_mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();

    for (mode, expected) in [(0o644, "file_modes error"), (0o660, "file_modes warning")] {
        set_mode(mode);
        let (found, _) = diagnose(folder.path(), &["--offline"]);

        assert!(found.contains(&expected.to_owned()), "{mode:o}: {found:?}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_google_and_an_invalid_proxy_are_found() {
    let folder = stopped_pool().await;

    let (found, report) = diagnose(folder.path(), &["--upstream-url", "http://127.0.0.1:9"]);
    assert_eq!(found, ["google error"], "{report}");
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("127.0.0.1 cannot be reached without a proxy: "),
        "{message}"
    );

    let mut with_proxy = command(folder.path());
    with_proxy
        .args(["doctor", "--json"])
        .env("HTTPS_PROXY", "ftp://user:password@proxy");
    let ended = with_proxy.stdout(Stdio::piped()).output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert!(
        printed.contains(r#""check":"proxy","severity":"error""#),
        "{printed}"
    );
    assert!(!printed.contains("password"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_certificates_and_an_answer_that_is_not_of_gemini_are_found() {
    let folder = stopped_pool().await;
    let mut without_roots = command(folder.path());
    without_roots
        .args(["doctor", "--offline", "--json"])
        .env("SSL_CERT_FILE", folder.path().join("missing.pem"));
    let ended = without_roots.stdout(Stdio::piped()).output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert!(
        printed.contains(r#""check":"tls_roots","severity":"error""#),
        "{printed}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let portal = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 7\r\n\
                date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nsign in";
            let mut request = [0; 1_024];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(page.as_bytes()).await;
        }
    });
    let (found, report) = diagnose(folder.path(), &["--upstream-url", &portal]);
    // Its clock is months behind.
    assert_eq!(found, ["clock error", "google warning"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_are_rebuilt_only_without_a_server() {
    let pool = pool().await;
    let spoil = "DELETE FROM model_hours; UPDATE client_keys SET total_tokens = 0";
    sqlx::raw_sql(spoil)
        .execute(&pool.app.db.writer)
        .await
        .unwrap();

    // As `serve` holds it.
    let lock = ServerLock::acquire(&pool.database()).unwrap();
    let rebuild = ["--offline", "--rebuild-rollups"];
    let refused = doctor(pool.folder.path(), &rebuild);
    let refused_with = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused_with.contains("stop it first"), "{refused_with}");
    drop(lock);
    let folder = pool.stop().await;
    assert_eq!(
        diagnose(folder.path(), &["--offline"]).0,
        ["statistics error"]
    );

    let (found, report) = diagnose(folder.path(), &rebuild);

    assert!(found.is_empty(), "{report}");
    assert_eq!(report["rebuilt_requests"], 1);
}
