//! The machine loses its power: the program ends, and the end of the write-ahead log is not on the disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::storage::consistency::find_inconsistencies;

use crate::support::process::{PoolProcess, command, database};
use crate::support::requests::GENERATE_BODY;
use crate::support::{CLIENT_KEY, http_client};

/// Cuts of the log; another number in this variable.
const CUTS: usize = 6;
const CUTS_VARIABLE: &str = "WAL_CUTS";
/// Cuts of the same log at different places.
const CUTS_PER_KILL: usize = 3;
const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_leaves_a_consistent_database() {
    let keys: Vec<_> = (0..5)
        .map(|n| format!("AIzaSyTheSecretOfKey-{n:04}"))
        .collect();
    let fakes = keys.iter().map(|secret| FakeKey::healthy(secret, "1"));
    let google = FakeGemini::start(FakeConfig::with_keys(fakes))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cuts = std::env::var(CUTS_VARIABLE).map_or(CUTS, |cuts| cuts.parse().unwrap());
    let (mut lost, mut rows) = (0, 0);

    for cut in 0..cuts {
        if cut % CUTS_PER_KILL == 0 {
            send_requests_until_killed(folder.path(), &google, &keys).await;
        }
        let copy = tempfile::tempdir().unwrap();
        lost += copy_with_cut_log(folder.path(), copy.path());

        // The next start folds the journal; this command does the same.
        let migrated = command(copy.path()).arg("migrate").status().unwrap();
        assert!(migrated.success());
        let db = database(copy.path()).await;
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
        let damage: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        assert_eq!(damage, "ok");
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM request_logs")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        rows += count;
        db.close().await;
    }
    println!("{cuts} cuts lost {lost} bytes of the log; {rows} rows were left");
    assert!(rows > 0);
}

/// Runs the program with some load, and kills it at a random moment.
async fn send_requests_until_killed(folder: &Path, google: &FakeGemini, keys: &[String]) {
    let pool = PoolProcess::start(folder, &google.url(), keys).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..CLIENTS).map(|_| {
        let (url, stop) = (pool.url.clone(), stop.clone());
        tokio::spawn(async move {
            let client = http_client().build().unwrap();
            while !stop.load(Ordering::Relaxed) {
                let path = "/v1beta/models/gemini-2.5-flash:generateContent";
                let request = client.post(format!("{url}{path}"));
                let request = request.header("x-goog-api-key", CLIENT_KEY);
                let request = request.header("content-type", "application/json");
                // It fails when the program is killed.
                let _ = request.body(GENERATE_BODY).send().await;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    tokio::time::sleep(Duration::from_millis(rand::random_range(500..3_000))).await;
    pool.kill();
    stop.store(true, Ordering::Relaxed);
    join_all(clients).await;
}

/// Copies the database and a part of its log. Returns how much of it is missing.
fn copy_with_cut_log(from: &Path, to: &Path) -> u64 {
    fs::copy(from.join("pool.db"), to.join("pool.db")).unwrap();
    let mut log = fs::read(from.join("pool.db-wal")).unwrap();
    let begin = first_unsynced_byte(&log, &fs::read(from.join("pool.db-shm")).unwrap());
    let end = rand::random_range(begin..=log.len());
    let missing = log.len() - end;
    log.truncate(end);
    fs::write(to.join("pool.db-wal"), log).unwrap();
    u64::try_from(missing).unwrap()
}

/// The end of what a checkpoint has begun to copy into the database file: it waits until that is on the disk. The formats are those of
/// <https://sqlite.org/walformat.html>.
fn first_unsynced_byte(log: &[u8], index: &[u8]) -> usize {
    let Some(page_size) = log.get(8..12) else {
        return log.len();
    };
    let page_size = u32::from_be_bytes(page_size.try_into().unwrap());
    let number = |at: usize| u32::from_ne_bytes(index[at..at + 4].try_into().unwrap());
    let (copied, attempted) = (number(96), number(128));
    let pages = usize::try_from(copied.max(attempted)).unwrap();
    let begin = 32 + pages * (24 + usize::try_from(page_size).unwrap());
    begin.min(log.len())
}
