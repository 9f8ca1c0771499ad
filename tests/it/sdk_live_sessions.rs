//! Google's SDKs run live sessions through the pool.

use std::path::Path;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::sdk_scripts::{
    JAVASCRIPT, PYTHON, installed, node_command, python_command, run,
};
use crate::support::{CLIENT_KEY, TestPool, tls};

/// Minimum number of checks that a complete script makes.
const MIN_CHECKS: usize = 10;
/// Prefix of every upstream key.
const UPSTREAM_KEY: &str = "AIza-upstream-key-of-the-clients-";

#[tokio::test]
async fn the_newest_sdk_for_python_runs_sessions() {
    hold_with_python("python/newest").await;
}

#[tokio::test]
async fn an_older_sdk_for_python_runs_sessions() {
    hold_with_python("python/older").await;
}

#[tokio::test]
async fn the_newest_sdk_for_javascript_runs_sessions() {
    hold_with_javascript("javascript/newest").await;
}

#[tokio::test]
async fn an_older_sdk_for_javascript_runs_sessions() {
    hold_with_javascript("javascript/older").await;
}

/// The SDK connects only by TLS.
async fn hold_with_python(set: &str) {
    let Some(folder) = installed(set, PYTHON) else {
        return;
    };
    let pool = pool().await;
    let url = put_tls_before(&pool).await;
    let mut script = python_command(&folder, "live_with_google_genai.py");
    script
        .env("SSL_CERT_FILE", certificate(&pool))
        .env("POOL_URL", url);
    hold(script, &pool).await;
}

async fn hold_with_javascript(set: &str) {
    let Some(folder) = installed(set, JAVASCRIPT) else {
        return;
    };
    let pool = pool().await;
    let mut script = node_command(&folder, "live_with_google_genai.mjs");
    script.env("POOL_URL", &pool.url);
    hold(script, &pool).await;
}

/// A pool of several projects, of which only one has a live session.
async fn pool() -> TestPool {
    let keys = (1..=4)
        .map(|number| FakeKey::healthy(format!("{UPSTREAM_KEY}000{number}"), number.to_string()));
    TestPool::with_keys(keys).await
}

/// Runs a script that opens three sessions and is refused two.
async fn hold(mut script: Command, pool: &TestPool) {
    script
        .env("CLIENT_KEY", CLIENT_KEY)
        .env("NO_PROXY", "127.0.0.1,localhost");

    let ran = run(script).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    let passed = ran.stdout.lines().filter(|line| line.starts_with("ok "));
    assert!(passed.count() >= MIN_CHECKS, "{}", ran.stdout);
    for request in pool.google.received() {
        assert!(request.key.unwrap().starts_with(UPSTREAM_KEY));
    }
    let rows = pool.finished_rows(5).await;
    let outcomes: Vec<_> = rows.iter().map(|row| row.outcome.unwrap().name()).collect();
    let expected = ["success", "success", "success", "client_error", "refused"];
    assert_eq!(outcomes, expected, "{rows:#?}");
    let turns: Vec<_> = rows.iter().filter_map(|row| row.turns).collect();
    assert_eq!(turns, [1, 1, 1, 0]);
    assert_eq!(rows[1].project_id, rows[0].project_id, "it was resumed");
    pool.assert_sums_agree().await;
}

fn certificate(pool: &TestPool) -> std::path::PathBuf {
    pool.folder.path().join("certificate.pem")
}

/// Accepts TLS connections for a pool, with a certificate of its own. Returns the URL.
async fn put_tls_before(pool: &TestPool) -> String {
    let acceptor = tls::acceptor(tls::server_config(Path::new(&certificate(pool))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = pool.url.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(stream).await else {
                    return;
                };
                let mut pool = TcpStream::connect(address).await.unwrap();
                // A client may disconnect at any time.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pool).await;
            });
        }
    });
    format!("https://localhost:{port}")
}
