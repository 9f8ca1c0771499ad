//! A machine without CA certificates.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use gemini_pool::storage::request_logs::last_id;

use crate::support::eventually;
use crate::support::process::{PoolProcess, command, database};

const GOOGLE: &str = "https://generativelanguage.googleapis.com";

#[test]
fn without_ca_certificates_an_https_upstream_gets_an_error_that_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.pem");
    let text = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n!\n";
    fs::write(&garbage, text).unwrap();
    let missing = folder.path().join("missing.pem");
    run(
        folder.path(),
        &["upstream-keys", "add", "AIza-secret-1"],
        &[],
    );

    for store in [missing, garbage].map(|path| path.display().to_string()) {
        for arguments in [&["serve"][..], &["upstream-keys", "test", "--all"]] {
            let variables = [("UPSTREAM_URL", GOOGLE), ("SSL_CERT_FILE", &store)];
            let ended = run(folder.path(), arguments, &variables);

            let reported = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {reported}");
            let (_, error) = reported.split_once("error: ").unwrap();
            for part in [GOOGLE, "ca-certificates", "SSL_CERT_FILE", &store] {
                assert!(error.contains(part), "{arguments:?}: {reported}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ca_certificates_an_http_upstream_and_the_demo_work() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");

    let mut serve = command(folder.path());
    serve
        .env("SSL_CERT_DIR", &missing)
        .env("UPSTREAM_URL", "http://192.0.2.1");
    PoolProcess::spawn(serve).listening().await.kill();

    let folder = tempfile::tempdir().unwrap();
    let mut demo = command(folder.path());
    demo.args(["demo", "--listen", "127.0.0.1:0", "--keep", "pool.db"])
        .env("SSL_CERT_DIR", &missing);
    let demo = PoolProcess::spawn(demo);
    eventually("the demo's clients send requests", async || {
        if !folder.path().join("pool.db").exists() {
            return None;
        }
        let db = database(folder.path()).await;
        let newest = last_id(&db.readers).await;
        db.close().await;
        newest.ok().filter(|id| id.0 > 0)
    })
    .await;
    demo.kill();
}

fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(folder);
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped());
    command.output().unwrap()
}
