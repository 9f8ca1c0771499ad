//! `TestPool`: the real server with a fresh database and a fake Gemini; one method per action of a client or admin.

pub mod admin;
pub mod api;
pub mod browser;
pub mod encoding;
pub mod live;
pub mod process;
pub mod proxies;
pub mod raw_http;
pub mod recording;
pub mod requests;
pub mod sdk_scripts;
pub mod test_tools;
pub mod tls;
pub mod uploads;
pub mod webdriver;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gemini_pool::app::App;
use gemini_pool::cli::serve::prepare;
use gemini_pool::clock;
use gemini_pool::config::{Config, FirstAdmin};
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::clients::client_key::ClientKeyId;
use gemini_pool::pool::keys::imported_keys::ImportedKey;
use gemini_pool::pool::keys::upstream_key::{KeyAttributes, ProjectId, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::pool::secret::Secret;
use gemini_pool::server::{self, Server};
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::client_keys::{ClientKeyTerms, NewClientKey};
use gemini_pool::storage::db::Db;
use gemini_pool::storage::recorder::journal;
use gemini_pool::storage::request_logs::filter::LogFilter;
use gemini_pool::storage::request_logs::id_range::LogPosition;
pub use gemini_pool::storage::request_logs::listed::RequestLog;
use gemini_pool::storage::request_logs::search::search;
use gemini_pool::storage::request_logs::{NewAttempt, NewRequestLog, listed};
use gemini_pool::storage::upstream_keys::listed::ListedUpstreamKey;
use gemini_pool::storage::{client_keys, consistency, installation, settings, upstream_keys};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use requests::{ClientResponse, GENERATE_BODY, TestRequest};

/// The client key of every test pool.
pub const CLIENT_KEY: &str = "CLIENT_KEY_1";
/// Its id.
pub const CLIENT_ID: ClientKeyId = ClientKeyId(1);
/// Time limit of every wait.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// A running server with its upstream.
pub struct TestPool {
    pub google: FakeGemini,
    pub app: Arc<App>,
    pub url: String,
    pub client: reqwest::Client,
    pub folder: tempfile::TempDir,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

impl TestPool {
    /// A pool with the upstream keys of the configuration.
    pub async fn start(fake_config: FakeConfig) -> Self {
        Self::start_with(fake_config, &[]).await
    }

    /// A pool with one key for each behaviour.
    pub async fn with_keys(keys: impl IntoIterator<Item = FakeKey>) -> Self {
        Self::start(FakeConfig::with_keys(keys)).await
    }

    /// A pool with changed settings.
    pub async fn start_with(fake_config: FakeConfig, changed: &[(&str, &str)]) -> Self {
        let secrets = fake_config
            .keys
            .iter()
            .map(|key| key.secret.clone())
            .collect();
        let google = FakeGemini::start(fake_config).await.unwrap();
        Self::with_upstream(google, secrets, changed).await
    }

    /// A pool with an existing upstream.
    pub async fn with_upstream(
        google: FakeGemini,
        secrets: Vec<String>,
        changed: &[(&str, &str)],
    ) -> Self {
        let url = google.url();
        Self::start_at(google, url, secrets, &[], changed).await
    }

    /// A pool with another upstream, which sends worse HTTP than the fake can.
    pub async fn with_upstream_url(url: String, secret: &str) -> Self {
        let google = FakeGemini::start(FakeConfig::default()).await.unwrap();
        Self::start_at(google, url, vec![secret.to_owned()], &[], &[]).await
    }

    /// A pool that trusts these proxies' reports of client addresses.
    pub async fn behind_proxies(proxies: &[&str], fake_config: FakeConfig) -> Self {
        let secrets = fake_config
            .keys
            .iter()
            .map(|key| key.secret.clone())
            .collect();
        let google = FakeGemini::start(fake_config).await.unwrap();
        let url = google.url();
        Self::start_at(google, url, secrets, proxies, &[]).await
    }

    async fn start_at(
        google: FakeGemini,
        upstream_url: String,
        secrets: Vec<String>,
        proxies: &[&str],
        changed: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            client_keys: vec![Secret::new(CLIENT_KEY)],
            upstream_keys: secrets
                .iter()
                .map(|secret| ImportedKey::new(Secret::new(secret), 1))
                .collect(),
            trusted_proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
            ..config(&process::database_url(folder.path()), &upstream_url)
        };
        let db = Db::open(&config.database_url).await.unwrap();
        db.migrate().await.unwrap();
        // Responses wait for their rows, so that tests can read them.
        change_settings(&db, &[("commit_wait_ms", "60000")]).await;
        // Upstreams that count or replay would receive requests that no client sent.
        change_settings(&db, &[("check_new_keys", "off")]).await;
        change_settings(&db, changed).await;
        Self::serve(google, config, db, folder).await
    }

    /// Starts a server with a migrated database.
    async fn serve(google: FakeGemini, config: Config, db: Db, folder: tempfile::TempDir) -> Self {
        let (app, writer) = prepare(config, db).await.unwrap();
        let listener = server::bind(app.config.listen).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::new(app.clone(), listener, writer);
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.run(stop.clone()));
        let client = http_client().build().unwrap();
        Self {
            google,
            app,
            url,
            client,
            folder,
            stop,
            server,
        }
    }

    /// A POST to the pool with the client key in Google's header.
    pub fn post(&self, path: &str, body: &str) -> reqwest::RequestBuilder {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header("x-goog-api-key", CLIENT_KEY);
        request
            .header("content-type", "application/json")
            .body(body.to_owned())
    }

    /// Sends the usual request without a stream.
    pub async fn generate(&self) -> reqwest::Response {
        self.post(
            "/v1beta/models/gemini-2.5-flash:generateContent",
            GENERATE_BODY,
        )
        .send()
        .await
        .unwrap()
    }

    /// Sends a request and reads the whole response.
    pub async fn fetch(&self, test_request: TestRequest) -> ClientResponse {
        ClientResponse::whole(self.send(test_request).await).await
    }

    /// Sends a request and reads the head of the response.
    pub async fn send(&self, test_request: TestRequest) -> reqwest::Response {
        self.post(test_request.path(), test_request.body())
            .send()
            .await
            .unwrap()
    }

    /// The database, with everything that was submitted so far in its tables.
    pub async fn settled(&self) -> &SqlitePool {
        self.app.recorder.settle().await;
        &self.app.db.readers
    }

    /// All rows, oldest first.
    pub async fn rows(&self) -> Vec<RequestLog> {
        self.app.recorder.settle().await;
        let mut rows = newest_rows(&self.app.db).await;
        rows.reverse();
        rows
    }

    /// All rows once `count` of them are finished.
    pub async fn finished_rows(&self, count: usize) -> Vec<RequestLog> {
        eventually("the rows are finished", async || {
            let rows = self.rows().await;
            let finished = rows.iter().filter(|row| row.outcome.is_some()).count();
            (finished >= count).then_some(rows)
        })
        .await
    }

    /// The current row of a response.
    pub async fn row_of(&self, response: &ClientResponse) -> RequestLog {
        let id = response.id().parse().unwrap();
        listed::find(self.settled().await, id).await.unwrap()
    }

    /// The only row.
    pub async fn row(&self) -> RequestLog {
        let mut rows = self.finished_rows(1).await;
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    pub async fn keys(&self) -> Vec<ListedUpstreamKey> {
        upstream_keys::listed::list(self.settled().await, clock::now())
            .await
            .unwrap()
    }

    /// The path of the database.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("pool.db")
    }

    /// Asserts that statistics, sums and rows agree.
    pub async fn assert_sums_agree(&self) {
        assert_eq!(
            consistency::find_inconsistencies(self.settled().await)
                .await
                .unwrap(),
            []
        );
    }

    /// Changes settings and reloads.
    pub async fn set(&self, changed: &[(&str, &str)]) {
        change_settings(&self.app.db, changed).await;
        self.app.reload(clock::now()).await.unwrap();
    }

    /// Changes the terms of the client key and reloads.
    pub async fn allow(&self, change: impl FnOnce(&mut ClientKeyTerms)) {
        let mut tx = self.app.db.begin().await.unwrap();
        let act = act(&mut tx).await;
        let mut terms = client_keys::find_terms(&mut tx, CLIENT_ID).await.unwrap();
        change(&mut terms);
        client_keys::update(&mut tx, CLIENT_ID, &terms, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.app.reload(clock::now()).await.unwrap();
    }

    /// Records an earlier request of the client.
    pub async fn record_past_request(&self, ago: Duration) {
        let then = clock::now() - ago;
        let path = "/v1beta/models/gemini-2.5-flash:generateContent".to_owned();
        let attempt = NewAttempt {
            upstream_key_id: UpstreamKeyId(1),
            project_id: ProjectId(1),
            status: Some(200),
            outcome: Some(Outcome::Success),
            rule: None,
            error: None,
            started_at: then,
            first_byte_ms: Some(0),
            duration_ms: Some(0),
            egress_id: None,
        };
        let row = NewRequestLog {
            client_key_id: Some(CLIENT_ID),
            status: Some(200),
            outcome: Some(Outcome::Success),
            duration_ms: Some(0),
            attempts: vec![attempt],
            ..NewRequestLog::started(RequestId::first_at(then), then, "POST".to_owned(), path)
        };
        self.app
            .recorder
            .record_finished(Box::new(row))
            .await
            .unwrap();
    }

    /// Blocks all other writers until the returned connection is closed.
    pub async fn lock_database(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.database());
        let mut other = options.busy_timeout(TIMEOUT).connect().await.unwrap();
        sqlx::query("BEGIN EXCLUSIVE")
            .execute(&mut other)
            .await
            .unwrap();
        other
    }

    /// Lets the server's database have so many pages, or as many as it has if they are more.
    pub async fn allow_pages(&self, count: u32) {
        let count = count.to_string();
        let allowed = self.app.db.set_up_writer("max_page_count", &count).await;
        allowed.unwrap();
    }

    /// Number of requests that hold a lease.
    pub fn leases(&self) -> u32 {
        self.app.keys.lock().in_flight()
    }

    /// Adds another client key.
    pub async fn add_client_key(&self, secret: &str) {
        let (secret, now) = (Secret::new(secret), clock::now());
        let key = NewClientKey {
            name: "another",
            note: "",
            secret: &secret,
            expires_at: None,
        };
        let mut tx = self.app.db.begin().await.unwrap();
        let keys = installation::keys(&mut tx, &self.app.db.data_keys)
            .await
            .unwrap();
        let act = act(&mut tx).await;
        let added = client_keys::insert(&mut tx, &keys.hash_key, &key, &act).await;
        added.unwrap().expect("the key is new");
        tx.commit().await.unwrap();
        self.app.reload(now).await.unwrap();
    }

    /// Adds another upstream key, in a project of its own.
    pub async fn add_upstream_key(&self, secret: &str) {
        let (secret, now) = (Secret::new(secret), clock::now());
        let mut tx = self.app.db.begin().await.unwrap();
        let keys = installation::keys(&mut tx, &self.app.db.data_keys)
            .await
            .unwrap();
        let act = act(&mut tx).await;
        let nothing = KeyAttributes::default();
        upstream_keys::insert(&mut tx, &keys, &secret, &nothing, true, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.app.reload(now).await.unwrap();
    }

    /// Stops the server, as SIGTERM does, without waiting for its end.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server and starts another with the same database and upstream.
    pub async fn restart(self) -> Self {
        let (google, config) = (self.google.clone(), self.app.config.clone());
        let folder = self.stop().await;
        let db = Db::open(&config.database_url).await.unwrap();
        Self::serve(google, config, db, folder).await
    }

    /// Stops the server, as SIGTERM does, and waits for its end.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        tokio::time::timeout(TIMEOUT, self.server)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        self.folder
    }
}

/// A configuration without keys, that listens on a free port.
pub fn config(database_url: &str, upstream_url: &str) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: database_url.to_owned(),
        upstream_url: upstream_url.parse().unwrap(),
        client_keys: Vec::new(),
        upstream_keys: Vec::new(),
        trusted_proxies: Vec::new(),
        public_url: None,
        first_admin: FirstAdmin::default(),
    }
}

/// An HTTP client without proxies, redirects or retries.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error means that it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(TIMEOUT)
}

/// An act of the admin, as of a command.
pub async fn act(tx: &mut Transaction<'_, Sqlite>) -> Act {
    Act::begin(tx, &Actor::cli(), clock::now()).await.unwrap()
}

pub async fn change_settings(db: &Db, changed: &[(&str, &str)]) {
    let mut tx = db.begin().await.unwrap();
    let act = act(&mut tx).await;
    for (name, value) in changed {
        settings::change(&mut tx, name, Some(value), &act)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// All rows of a database whose server runs, newest first, with those that are in the journal now.
pub async fn newest_rows(db: &Db) -> Vec<RequestLog> {
    let last = journal::last_id(&db.readers).await.unwrap();
    eventually("the journal is folded", async || {
        let entries = journal::has_entries_to(&db.readers, last).await;
        (!entries.unwrap()).then_some(())
    })
    .await;
    let any = LogFilter::default();
    let found = search(&db.readers, &any, LogPosition::Newest, 1_000_000, None).await;
    found.unwrap().rows
}

/// Waits for a condition, with a generous time limit.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(TIMEOUT, async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}
