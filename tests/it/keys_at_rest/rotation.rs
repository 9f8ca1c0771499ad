//! A database is encrypted and moved to other master keys under steady requests, and the command is killed on the way.
//!
//! `AT_REST_KEYS=50000 cargo test --release --test it encrypted_and_rotated -- --nocapture` prints times for so many upstream keys.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::config::MasterKeyArgs;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::alerts::AlertKind;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::alert_targets::{self, AlertLanguage, AlertTargetKind, AlertTargetTerms};
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::data_keys::DataKeys;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::encryption::{self, EncryptionState};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinSet;

use super::{KEYS, add_keys, done, readable, refused, run, run_with, secrets};
use crate::support::process::{PoolProcess, command, database};
use crate::support::requests::GENERATE_BODY;
use crate::support::{CLIENT_KEY, change_settings, eventually, http_client};

/// Upstream keys; another number in this variable.
const COUNT: usize = 200;
const COUNT_VARIABLE: &str = "AT_REST_KEYS";

/// An upstream that takes the keys.
async fn upstream(secrets: &[String]) -> FakeGemini {
    let fakes = secrets.iter().map(|secret| FakeKey::healthy(secret, "1"));
    FakeGemini::start(FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(fakes)
    })
    .await
    .unwrap()
}

async fn server(folder: &Path, google: &FakeGemini, master_key: &str) -> PoolProcess {
    let variables = [("MASTER_KEY", master_key)];
    PoolProcess::start_with(folder, &google.url(), &[], &variables).await
}

/// Clients that send one request after the other.
struct SteadyRequests {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: JoinSet<Vec<String>>,
}

impl SteadyRequests {
    /// Begins when a first request was answered: the keys may not be loaded yet.
    async fn begin(url: &str) -> Self {
        let url = format!("{url}/v1beta/models/gemini-2.5-flash:generateContent");
        let client = http_client().build().unwrap();
        eventually("a request is answered", async || {
            let request = client.post(&url).header("x-goog-api-key", CLIENT_KEY);
            let answer = request.body(GENERATE_BODY).send().await.unwrap();
            (answer.status() == 200).then_some(())
        })
        .await;
        let mut requests = Self {
            stop: Arc::default(),
            sent: Arc::default(),
            clients: JoinSet::new(),
        };
        for _ in 0..4 {
            let (stop, sent) = (requests.stop.clone(), requests.sent.clone());
            let (url, client) = (url.clone(), client.clone());
            requests.clients.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = client.post(&url).header("x-goog-api-key", CLIENT_KEY);
                    let request = request.header("content-type", "application/json");
                    match request.body(GENERATE_BODY).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            // The whole answer.
                            if let Err(error) = answer.bytes().await {
                                failed.push(error.to_string());
                            }
                        }
                        Ok(answer) => failed.push(answer.status().to_string()),
                        Err(error) => failed.push(error.to_string()),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                failed
            });
        }
        requests
    }

    /// Ends them once so many more were sent. Returns their number, and how those failed that did.
    async fn end(mut self) -> (u64, Vec<String>) {
        let before = self.sent.load(Ordering::Relaxed);
        eventually("requests go on", async || {
            (self.sent.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failed.extend(client.unwrap());
        }
        (self.sent.load(Ordering::Relaxed), failed)
    }
}

async fn state(db: &Db) -> EncryptionState {
    encryption::state(&mut db.readers.acquire().await.unwrap())
        .await
        .unwrap()
}

/// What a file must not hold: the upstream keys, the installation's hash key, kept bodies and an alert target's secrets.
async fn unencrypted_secrets(db: &Db, secrets: &[String]) -> Vec<Vec<u8>> {
    let mut found: Vec<_> = secrets
        .iter()
        .map(|secret| secret.as_bytes().to_vec())
        .collect();
    let more: Vec<Vec<u8>> = sqlx::query_scalar(
        "
        SELECT value FROM installation_secrets
        UNION ALL SELECT request_content FROM request_bodies
        UNION ALL SELECT answer_content FROM request_bodies
        UNION ALL SELECT CAST(address AS BLOB) FROM alert_targets
        UNION ALL SELECT CAST(secret AS BLOB) FROM alert_targets
        ",
    )
    .fetch_all(&db.readers)
    .await
    .unwrap();
    assert!(more.len() >= 5, "{}", more.len());
    found.extend(more);
    found
}

/// A database with keys, a kept body and an alert target, all unencrypted.
async fn make_plain_database(
    folder: &Path,
    google: &FakeGemini,
    secrets: &[String],
) -> Vec<Vec<u8>> {
    let pool = PoolProcess::start(folder, &google.url(), &[]).await;
    let db = database(folder).await;
    change_settings(&db, &[("body_log_mode", "all")]).await;
    add_keys(&db, secrets).await;
    add_alert_target(&db).await;
    eventually("bodies are kept", async || {
        // Those of requests that begin before the setting is loaded are not.
        SteadyRequests::begin(&pool.url).await.end().await;
        let bodies: i64 = sqlx::query_scalar("SELECT count(*) FROM request_bodies")
            .fetch_one(&db.readers)
            .await
            .unwrap();
        (bodies > 0).then_some(())
    })
    .await;
    change_settings(&db, &[("body_log_mode", "off")]).await;
    let found = unencrypted_secrets(&db, secrets).await;
    db.close().await;
    pool.terminate();
    drop(pool);
    found
}

/// Nothing listens there: no test leaves the machine.
async fn add_alert_target(db: &Db) {
    let terms = AlertTargetTerms {
        kind: AlertTargetKind::Webhook,
        name: "ops".to_owned(),
        address: Secret::new("http://127.0.0.1:9/a-secret-path-at-rest"),
        secret: Secret::new("whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBhdCByZXN0"),
        server: None,
        sender: None,
        events: vec![AlertKind::KeyLeaked],
        quiet: None,
        zone: "UTC".to_owned(),
        language: AlertLanguage::English,
    };
    let mut tx = db.begin().await.unwrap();
    let act = Act::without_revision(Actor::cli(), clock::now());
    alert_targets::insert(&mut tx, &DataKeys::default(), &terms, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_encrypted_and_rotated_twice_while_every_request_is_answered() {
    let count = std::env::var(COUNT_VARIABLE);
    let count = count.map_or(COUNT, |count| count.parse().unwrap());
    let secrets = secrets(count);
    let google = upstream(&secrets).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let unencrypted = make_plain_database(folder, &google, &secrets).await;
    assert!(!readable(folder, &unencrypted[..1]).is_empty());

    // The server encrypts by itself.
    let begun = clock::instant();
    let pool = server(folder, &google, KEYS[0]).await;
    let listening = begun.elapsed();
    let requests = SteadyRequests::begin(&pool.url).await;
    let db = database(folder).await;
    eventually("everything is encrypted", async || {
        let state = state(&db).await;
        (state.unencrypted() == 0 && state.is_file_clean).then_some(())
    })
    .await;
    println!(
        "{count} keys: listening after {listening:?}, encrypted after {:?}",
        begun.elapsed()
    );
    assert_eq!(readable(folder, &unencrypted), Vec::<String>::new());

    for keys in KEYS.windows(2) {
        let begun = clock::instant();
        let variables = [("MASTER_KEY", keys[0]), ("NEW_MASTER_KEY", keys[1])];
        let folder = folder.to_owned();
        let rotate = move || done(run_with(&folder, &variables, &["master-key", "rotate"]));
        let output = tokio::task::spawn_blocking(rotate).await.unwrap();
        assert!(
            output.contains("before the server's next start"),
            "{output}"
        );
        println!("rotated in {:?}", begun.elapsed());
        let state = state(&db).await;
        assert_eq!((state.stale(), state.is_unfinished), (0, false));
    }
    let (sent, failed) = requests.end().await;
    println!("{sent} requests, {} failed", failed.len());
    assert_eq!(failed, Vec::<String>::new());
    assert!(sent > 20, "{sent}");
    // The running server can still add keys.
    let added = done(run_with(
        folder,
        &[("MASTER_KEY", KEYS[2])],
        &[
            "upstream-keys",
            "add",
            "AIzaSyMadeUpAddedAfterTheRotation-000000",
        ],
    ));
    assert!(added.contains('1'), "{added}");
    assert_eq!(readable(folder, &unencrypted), Vec::<String>::new());
    pool.terminate();
    drop(pool);

    for old in &KEYS[..2] {
        let message = refused(run(folder, old, &["serve"]));
        assert!(
            message.contains("are encrypted with the master key"),
            "{message}"
        );
    }
    let begun = clock::instant();
    let pool = server(folder, &google, KEYS[2]).await;
    println!("started with encrypted keys in {:?}", begun.elapsed());
    let (sent, failed) = SteadyRequests::begin(&pool.url).await.end().await;
    assert_eq!((sent > 20, failed), (true, Vec::new()));
    let exported = done(run(
        folder,
        KEYS[2],
        &["upstream-keys", "export", "--secrets", "--format", "json"],
    ));
    assert_eq!(exported.matches("MadeUpAtRest").count(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rotation_leaves_a_database_that_serves_and_continues() {
    let secrets = secrets(1_500);
    let google = upstream(&secrets).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pool = server(folder, &google, KEYS[0]).await;
    let db = database(folder).await;
    db.data_keys.set_master_key(MasterKeyArgs {
        master_key: Some(Secret::new(KEYS[0])),
        master_key_file: None,
    });
    add_keys(&db, &secrets).await;
    let requests = SteadyRequests::begin(&pool.url).await;

    let mut rotation = start_rotation(folder);
    eventually("some keys are moved", async || {
        let state = state(&db).await;
        let keys = state
            .tables
            .iter()
            .find(|table| table.table == "upstream_keys");
        let keys = keys.unwrap();
        (keys.retiring > 0 && keys.encrypted > 0).then_some(())
    })
    .await;
    rotation.kill().unwrap();
    rotation.wait().unwrap();

    let halfway = state(&db).await;
    assert!(halfway.stale() > 0 && halfway.is_unfinished);
    let status = done(run(folder, KEYS[0], &["master-key", "status"]));
    assert!(status.contains("not finished"), "{status}");
    // Either key starts a server on it, and the one that runs goes on.
    let (_, failed) = requests.end().await;
    assert_eq!(failed, Vec::<String>::new());
    pool.terminate();
    drop(pool);
    for key in &KEYS[..2] {
        let pool = server(folder, &google, key).await;
        let (sent, failed) = SteadyRequests::begin(&pool.url).await.end().await;
        assert_eq!((sent > 20, failed), (true, Vec::new()));
        pool.terminate();
    }

    let variables = [("MASTER_KEY", KEYS[0]), ("NEW_MASTER_KEY", KEYS[1])];
    let output = done(run_with(folder, &variables, &["master-key", "rotate"]));
    assert!(output.contains("continues"), "{output}");
    let state = state(&db).await;
    assert_eq!((state.stale(), state.is_unfinished), (0, false));
    let exported = run(
        folder,
        KEYS[1],
        &["upstream-keys", "export", "--secrets", "--format", "json"],
    );
    assert_eq!(
        done(exported).matches("MadeUpAtRest").count(),
        secrets.len()
    );
}

fn start_rotation(folder: &Path) -> std::process::Child {
    let mut command: Command = command(folder);
    command
        .args(["master-key", "rotate"])
        .env("MASTER_KEY", KEYS[0])
        .env("NEW_MASTER_KEY", KEYS[1])
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Stops a decryption between two of its transactions, when it has done a part of the upstream keys.
async fn stop_halfway(decryption: &PoolProcess, db: &Db) {
    // Within a transaction it would keep the server from starting.
    let impatient = SqliteConnectOptions::new()
        .filename(db.path())
        .busy_timeout(Duration::ZERO);
    eventually("the command is stopped halfway", async || {
        decryption.signal("STOP");
        let state = state(db).await;
        let mut tables = state.tables.iter();
        let keys = tables.find(|table| table.table == "upstream_keys").unwrap();
        assert!(
            keys.encrypted + keys.retiring > 0,
            "it has ended already: {}",
            decryption.log()
        );
        let mut other = impatient.connect().await.unwrap();
        let is_between = sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await;
        other.close().await.unwrap();
        if keys.unencrypted > 0 && is_between.is_ok() {
            return Some(());
        }
        decryption.signal("CONT");
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_during_a_decryption_loses_nothing_and_is_named() {
    let secrets = secrets(1_500);
    let google = upstream(&secrets).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut pool = server(folder, &google, KEYS[0]).await;
    let db = database(folder).await;
    db.data_keys.set_master_key(MasterKeyArgs {
        master_key: Some(Secret::new(KEYS[0])),
        master_key_file: None,
    });
    add_keys(&db, &secrets).await;
    pool.terminate();
    pool.ended().await;
    let mut decrypt = command(folder);
    decrypt
        .args(["master-key", "decrypt"])
        .env("MASTER_KEY", KEYS[0]);
    let mut decryption = PoolProcess::spawn(decrypt);
    stop_halfway(&decryption, &db).await;

    let mut pool = server(folder, &google, KEYS[0]).await;
    decryption.signal("CONT");
    let ended = decryption.ended().await;

    let message = decryption.log();
    assert!(
        !ended.success() && message.contains("meanwhile"),
        "{message}"
    );
    assert!(message.contains("run"), "{message}");
    let (sent, failed) = SteadyRequests::begin(&pool.url).await.end().await;
    assert_eq!((sent > 20, failed), (true, Vec::new()));
    eventually("everything is encrypted again", async || {
        let state = state(&db).await;
        (state.is_active && state.stale() == 0).then_some(())
    })
    .await;
    pool.terminate();
    pool.ended().await;
    let output = done(run(folder, KEYS[0], &["master-key", "decrypt"]));
    assert!(output.contains("rows decrypted"), "{output}");
    let exported = run(
        folder,
        "",
        &["upstream-keys", "export", "--secrets", "--format", "json"],
    );
    assert_eq!(
        done(exported).matches("MadeUpAtRest").count(),
        secrets.len()
    );
}
