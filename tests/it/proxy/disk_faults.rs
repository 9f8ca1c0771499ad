//! Writes, syncs and truncations of the database fail at any moment: no row of an answered request is lost.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::storage::consistency;
use sqlx::Row;

use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, command, database};
use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};
use crate::support::{CLIENT_KEY, eventually, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const NO_SPACE: i32 = 28;
const IO_ERROR: i32 = 5;

/// Which calls fail, with which error, and how often in percent.
const FAULTS: [(&str, i32, u32); 10] = [
    ("all", NO_SPACE, 100),
    ("write", NO_SPACE, 30),
    ("sync", IO_ERROR, 100),
    ("write", IO_ERROR, 100),
    ("truncate", IO_ERROR, 100),
    ("sync", IO_ERROR, 30),
    ("write", NO_SPACE, 5),
    ("write", IO_ERROR, 5),
    ("all", IO_ERROR, 50),
    ("all", NO_SPACE, 100),
];

/// The library whose calls fail.
fn library(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/disk_faults.c");
    let library = folder.join("disk_faults.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(
        built
            .expect("a C compiler, which SQLite needs too")
            .success()
    );
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_every_answered_request_becomes_a_row() {
    let google = FakeGemini::start(FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]));
    let google = google.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("faults");
    let mut program = command(folder.path());
    program
        .env("LD_PRELOAD", library(folder.path()))
        .env("DISK_FAULTS", &control);
    let pool = PoolProcess::launch(program, folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let client = http_client().build().unwrap();
    let mut admin = AdminClient::arrive_at(client.clone(), &pool.url).await;
    let visitor = admin.clone();
    assert_eq!(admin.submit_login().await.status(), 303);
    admin.get_page("/account").await;
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all((0..8).map(async |_| {
        let mut ids = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let request = client
                .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
                .header("x-goog-api-key", CLIENT_KEY)
                .body(GENERATE_BODY);
            let response = ClientResponse::whole(request.send().await.unwrap()).await;
            assert_eq!(response.status, 200, "{}", response.text());
            assert!(!response.is_truncated);
            ids.push(response.id().to_owned());
            count.fetch_add(1, Ordering::Relaxed);
        }
        ids
    }));
    let faults = async {
        for (number, (calls, error, percent)) in FAULTS.into_iter().enumerate() {
            let before = count.load(Ordering::Relaxed);
            std::fs::write(&control, format!("{calls} {error} {percent}")).unwrap();
            // In the middle of batches, checkpoints, a setting's change, a sign-in and a backup.
            let value = (number + 5).to_string();
            let _ = admin.submit("/settings", &[("max_attempts", &value)]).await;
            let _ = visitor.clone().submit_login().await;
            let _ = admin.submit("/backups", &[]).await;
            if percent == 100 && calls != "sync" && calls != "truncate" {
                eventually("it says that it is not ready", async || {
                    let answer = client.get(format!("{}/readyz", pool.url)).send().await;
                    (answer.unwrap().status() == 503).then_some(())
                })
                .await;
            }
            eventually("clients are answered nevertheless", async || {
                (count.load(Ordering::Relaxed) > before + 100).then_some(())
            })
            .await;
            std::fs::remove_file(&control).unwrap();
            eventually("it is ready again", async || {
                let answer = client.get(format!("{}/readyz", pool.url)).send().await;
                (answer.unwrap().status() == 200).then_some(())
            })
            .await;
            eventually("a setting is changed", async || {
                let answer = admin.submit("/settings", &[("max_attempts", &value)]).await;
                (answer.status() == 303).then_some(())
            })
            .await;
            eventually("an admin signs in", async || {
                (visitor.clone().submit_login().await.status() == 303).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = tokio::join!(clients, faults);

    let answered: HashSet<String> = answered.into_iter().flatten().collect();
    let db = database(folder.path()).await;
    eventually("every answered request is a row", async || {
        let rows = sqlx::query("SELECT id FROM request_logs WHERE outcome = 'success'");
        let rows = rows.fetch_all(&db.readers).await.unwrap();
        let ids: HashSet<String> = rows
            .iter()
            .map(|row| gemini_pool::pool::request_id::RequestId(row.get(0)).to_string())
            .collect();
        let missing = answered.difference(&ids).count();
        (missing == 0).then_some(())
    })
    .await;
    let check = sqlx::query("PRAGMA integrity_check").fetch_one(&db.readers);
    assert_eq!(check.await.unwrap().get::<String, _>(0), "ok");
    let differences = consistency::find_inconsistencies(&db.readers)
        .await
        .unwrap();
    assert_eq!(differences, []);
    println!("{} answers, all of them rows", answered.len());
}
