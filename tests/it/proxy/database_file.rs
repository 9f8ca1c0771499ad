//! The database file is moved, deleted, replaced or damaged while the server runs: it says so, and no row is acknowledged and lost.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::storage::consistency;

use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, database};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, change_settings, eventually, http_client, newest_rows};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

const PAGE_BYTES: usize = 4_096;
/// What the row of a request puts into the file.
const PATH: &[u8] = b"gemini-2.5-flash:generateContent";

/// A server whose database is taken away and put back.
struct ServerWithFile {
    folder: tempfile::TempDir,
    pool: PoolProcess,
    client: reqwest::Client,
    admin: AdminClient,
    answered: Vec<String>,
    _google: FakeGemini,
}

impl ServerWithFile {
    async fn start() -> Self {
        let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
        let google = FakeGemini::start(fake_config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path()).await;
        db.migrate().await.unwrap();
        // Longer than a client waits: an answer that waited for its commit would fail the test.
        change_settings(&db, &[("commit_wait_ms", "60000")]).await;
        db.close().await;
        let pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
        let client = http_client().build().unwrap();
        let mut admin = AdminClient::arrive_at(client.clone(), &pool.url).await;
        assert_eq!(admin.submit_login().await.status(), 303);
        let mut server = Self {
            folder,
            pool,
            client,
            admin,
            answered: Vec::new(),
            _google: google,
        };
        server.send().await;
        server
    }

    async fn send(&mut self) {
        let test_request = TestRequest::Generate;
        let url = format!("{}{}", self.pool.url, test_request.path());
        let request = self.client.post(url).header("x-goog-api-key", CLIENT_KEY);
        let request = request.header("content-type", "application/json");
        let answer = request.body(test_request.body().to_owned()).send().await;
        let response = ClientResponse::whole(answer.unwrap()).await;
        assert_eq!(response.status, 200, "{response:?}");
        self.answered.push(response.id().to_owned());
    }

    async fn readiness(&self) -> u16 {
        let answer = self.client.get(format!("{}/readyz", self.pool.url)).send();
        answer.await.unwrap().status().as_u16()
    }

    async fn becomes(&self, status: u16) {
        eventually(&format!("/readyz is {status}"), async || {
            (self.readiness().await == status).then_some(())
        })
        .await;
    }

    /// While the file is wrong: requests are answered at once, and the page and the log name the file and what to do.
    async fn fails_with(&mut self, word: &str) {
        self.becomes(503).await;
        for _ in 0..5 {
            self.send().await;
        }
        let path = self.folder.path().join("pool.db");
        let path = path.to_str().unwrap();
        let page = self.admin.get_page("/status").await;
        let log = self.pool.log();
        for text in [&page, &log] {
            for part in [path, word, "restore"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        assert_eq!(log.matches("cannot be written").count(), 1, "{log}");
        assert_eq!(self.readiness().await, 503);
    }

    /// Once the file is back: all rows are written.
    async fn recovers(&mut self) {
        self.becomes(200).await;
        self.send().await;
        let db = database(self.folder.path()).await;
        let ids = eventually("all rows are written", async || {
            let rows = newest_rows(&db).await;
            let ids: Vec<_> = rows.iter().rev().map(|row| row.id.to_string()).collect();
            (ids.len() == self.answered.len()).then_some(ids)
        })
        .await;
        assert_eq!(ids, self.answered);
        let inconsistencies = consistency::find_inconsistencies(&db.readers).await;
        assert_eq!(inconsistencies.unwrap(), []);
        db.close().await;
        let log = self.pool.log();
        assert_eq!(log.matches("can be written again").count(), 1, "{log}");
    }
}

fn rename_files(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        fs::rename(name(from), name(to)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_moved_away_takes_every_row_once_it_is_back() {
    let mut server = ServerWithFile::start().await;
    let path = server.folder.path().join("pool.db");
    let elsewhere = server.folder.path().join("elsewhere.db");

    rename_files(&path, &elsewhere);
    server.fails_with("moved").await;
    assert!(!path.exists());
    rename_files(&elsewhere, &path);

    server.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_deleted_is_not_made_anew() {
    let mut server = ServerWithFile::start().await;
    let path = server.folder.path().join("pool.db");
    let second_name = server.folder.path().join("second-name.db");
    fs::hard_link(&path, &second_name).unwrap();

    fs::remove_file(&path).unwrap();
    server.fails_with("deleted").await;
    assert!(!path.exists());
    fs::rename(&second_name, &path).unwrap();

    server.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_replaced_is_not_written() {
    let mut server = ServerWithFile::start().await;
    let path = server.folder.path().join("pool.db");
    let kept = server.folder.path().join("kept.db");
    fs::rename(&path, &kept).unwrap();

    fs::copy(&kept, &path).unwrap();
    let content = fs::read(&path).unwrap();
    server.fails_with("replaced").await;
    assert!(fs::read(&path).unwrap() == content);
    fs::rename(&kept, &path).unwrap();

    server.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_reported_and_takes_every_row_once_it_is_repaired() {
    let mut server = ServerWithFile::start().await;
    let path = server.folder.path().join("pool.db");
    eventually("the log is in the file", async || {
        let content = fs::read(&path).unwrap();
        memchr::memmem::find(&content, PATH).map(|_| ())
    })
    .await;
    let db = database(server.folder.path()).await;
    let root: u64 = sqlx::query_scalar::<_, i64>(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'request_logs'",
    )
    .fetch_one(&db.readers)
    .await
    .unwrap()
    .unsigned_abs();
    db.close().await;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let content = fs::read(&path).unwrap();

    let place = (root - 1) * u64::try_from(PAGE_BYTES).unwrap();
    file.write_all_at(&[0xA5; PAGE_BYTES], place).unwrap();
    server.fails_with("damaged").await;
    file.write_all_at(&content, 0).unwrap();
    server.recovers().await;

    // Where nothing at all can be read, the server still answers, and the log says why.
    let content = fs::read(&path).unwrap();
    file.write_all_at(&vec![0xA5; content.len()], 0).unwrap();
    server.becomes(503).await;
    server.send().await;
    file.write_all_at(&content, 0).unwrap();
    server.becomes(200).await;
}
