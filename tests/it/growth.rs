//! A hundred days of clients that invent all they send: after the retention nothing grows but rollups and the audit.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gemini_pool::app::App;
use gemini_pool::clock::Timestamp;
use gemini_pool::gemini::transport::GeminiClient;
use gemini_pool::gemini::url::loggable_path;
use gemini_pool::pool::clients::client_key::ClientKeyId;
use gemini_pool::pool::clients::login_throttle::LoginSource;
use gemini_pool::pool::health::settle::AttemptTiming;
use gemini_pool::pool::health::verdict::{Rule, Verdict};
use gemini_pool::pool::keys::selection::{LeaseRequest, TriedKeys};
use gemini_pool::pool::keys::upstream_key::{KeyAttributes, ProjectId, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::quota::windows::QuotaAmount;
use gemini_pool::pool::request_id::{IdsInUse, RequestIdGenerator};
use gemini_pool::pool::resources::recent_resources::RecentResource;
use gemini_pool::pool::secret::Secret;
use gemini_pool::pool::settings::Settings;
use gemini_pool::storage::client_keys::NewClientKey;
use gemini_pool::storage::consistency::find_inconsistencies;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::recorder::{LogWriter, Recorder};
use gemini_pool::storage::request_logs::{NewAttempt, NewRequestLog};
use gemini_pool::storage::{client_keys, installation, upstream_keys};
use gemini_pool::tasks::{prune_logs, sweep};

use tokio::task::JoinHandle;

use crate::support::{act, change_settings, config};

const DAY: Duration = Duration::from_hours(24);
const RETENTION_DAYS: u32 = 30;
const REQUESTS_A_DAY: u32 = 400;
/// Invented addresses, user agents, models and page tokens, each.
const NAMES: u32 = 10_000;
const MODELS: [&str; 3] = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"];
/// What grows with the time: rollups by hour or day, model, outcome and key.
const ROLLUPS: [&str; 5] = [
    "model_hours",
    "model_days",
    "client_key_hours",
    "client_key_days",
    "upstream_key_days",
];

struct Clients {
    app: Arc<App>,
    db: Db,
    writer: LogWriter,
    ids: RequestIdGenerator,
    sent: u32,
}

/// Bytes of each table and index of the file, and of what is in memory, as text.
#[derive(Debug)]
struct Sizes {
    tables: BTreeMap<String, i64>,
    app: usize,
    writer: usize,
}

impl Clients {
    /// A pool that starts at `begin`, and the task that writes its own rows.
    async fn begin(folder: &Path, begin: Timestamp) -> (Self, JoinHandle<()>) {
        let url = format!("sqlite://{}", folder.join("pool.db").display());
        let db = Db::open(&url).await.unwrap();
        db.migrate().await.unwrap();
        change_settings(&db, &[("log_retention_days", &RETENTION_DAYS.to_string())]).await;
        let mut tx = db.begin().await.unwrap();
        let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
        let (secret, nothing) = (Secret::new("AIza-secret-1"), KeyAttributes::default());
        let act = act(&mut tx).await;
        upstream_keys::insert(&mut tx, &keys, &secret, &nothing, true, &act)
            .await
            .unwrap();
        let client = NewClientKey {
            name: "client",
            note: "",
            secret: &Secret::new("client-secret"),
            expires_at: None,
        };
        client_keys::insert(&mut tx, &keys.hash_key, &client, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let config = config(&url, "http://127.0.0.1:9");
        let (recorder, own_writer) = Recorder::new(db.clone());
        let own_writer = tokio::spawn(own_writer.run());
        let gemini = GeminiClient::new(&config.upstream_url, &Settings::default()).unwrap();
        let app = App::load(config, gemini, db.clone(), recorder, begin)
            .await
            .unwrap();
        let (_recorder, writer) = Recorder::new(db.clone());
        let ids = RequestIdGenerator::after(&IdsInUse::default());
        let clients = Self {
            app,
            db: db.clone(),
            writer,
            ids,
            sent: 0,
        };
        (clients, own_writer)
    }

    /// A request as the proxy records it, with what it leaves in memory.
    fn request(&mut self, now: Timestamp) -> NewRequestLog {
        self.sent += 1;
        // Every name comes up, in no order.
        let number = self.sent.wrapping_mul(7_919) % NAMES;
        let invented = format!("invented-{number}");
        let address = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + number));
        let real = MODELS[self.sent as usize % MODELS.len()];
        let (model, rule) = match self.sent % 8 {
            0..3 => (real, Rule::Success),
            3 => (real, Rule::Overloaded),
            4 => (invented.as_str(), Rule::Overloaded),
            5 | 6 => (invented.as_str(), Rule::ModelNotFound),
            _ => {
                self.app.auth_failures.lock().record(address, now);
                return refused(self.ids.next(now), now, &invented, address);
            }
        };
        self.sign_in_and_name_resources(&invented, address, now);
        let query = format!("pageToken=token-{number}&alt=json");
        let path = format!("/v1beta/models/{model}:generateContent");
        let attempt = self.attempt(model, rule, now);
        NewRequestLog {
            client_key_id: Some(ClientKeyId(1)),
            client_ip: Some(address.to_string()),
            user_agent: Some(format!("agent/{invented}")),
            model: Some(model.to_owned()),
            operation: Some("generateContent".to_owned()),
            status: attempt.status,
            outcome: attempt.outcome,
            error: (rule != Rule::Success).then(|| format!("models/{model} is not found")),
            attempts: vec![attempt],
            first_byte_ms: Some(90),
            duration_ms: Some(100),
            quota_requests: 1,
            ..NewRequestLog::started(
                self.ids.next(now),
                now,
                "POST".to_owned(),
                loggable_path(&path, Some(&query)),
            )
        }
    }

    fn sign_in_and_name_resources(&self, name: &str, address: IpAddr, now: Timestamp) {
        let source = LoginSource::from_address(address);
        let _ = self.app.login_throttle.lock().begin(&source, name, now);
        let resource = RecentResource {
            upstream_key_id: UpstreamKeyId(1),
            maker: Some(ClientKeyId(1)),
        };
        let mut resources = self.app.recent_resources.lock();
        resources.record_created(&format!("files/{name}"), resource);
        resources.mark_counted(&format!("batches/{name}"));
    }

    /// Leases a key, and settles the verdict on the attempt.
    fn attempt(&self, model: &str, rule: Rule, now: Timestamp) -> NewAttempt {
        let request = LeaseRequest {
            model,
            amount: QuotaAmount {
                requests: 1,
                tokens: 10,
            },
            tags: &[],
            project: None,
        };
        let status = match rule {
            Rule::Success => 200,
            Rule::Overloaded => 503,
            _ => 404,
        };
        let verdict = Verdict {
            status: Some(status),
            ..Verdict::without_answer(rule, String::new())
        };
        let mut keys = self.app.keys.lock();
        if let Ok(leased) = keys.lease(&request, &TriedKeys::default(), now) {
            let timing = AttemptTiming {
                began: now,
                now,
                chance: 0.5,
                answer_had_begun: false,
                client: Some(ClientKeyId(1)),
            };
            keys.settle(&leased, model, &verdict, timing);
            keys.release(&leased);
        }
        NewAttempt {
            upstream_key_id: UpstreamKeyId(1),
            project_id: ProjectId(1),
            status: Some(status),
            outcome: Some(rule.outcome()),
            rule: Some(rule.name().into()),
            error: None,
            started_at: now,
            first_byte_ms: Some(90),
            duration_ms: Some(100),
            egress_id: None,
        }
    }

    async fn live_until(&mut self, begin: Timestamp, days: std::ops::Range<u32>) {
        for day in days {
            let morning = begin + day * DAY;
            let times = (0..REQUESTS_A_DAY).map(|number| morning + number * (DAY / REQUESTS_A_DAY));
            let rows: Vec<_> = times.map(|time| self.request(time)).collect();
            self.writer.write_rows(rows).await.unwrap();
            let evening = morning + DAY;
            sweep::pass(&self.app, evening).await;
            prune_logs::pass(&self.app, evening).await.unwrap();
        }
    }

    async fn sizes(&self) -> Sizes {
        let tables = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name";
        let tables: Vec<(String, i64)> = sqlx::query_as(tables)
            .fetch_all(&self.db.readers)
            .await
            .unwrap();
        Sizes {
            tables: tables.into_iter().collect(),
            app: format!("{:?}", self.app).len(),
            writer: format!("{:?}", self.writer).len(),
        }
    }
}

/// A request without a valid client key.
fn refused(
    id: gemini_pool::pool::request_id::RequestId,
    now: Timestamp,
    name: &str,
    address: IpAddr,
) -> NewRequestLog {
    NewRequestLog {
        client_ip: Some(address.to_string()),
        user_agent: Some(format!("refused/{name}")),
        model: Some(format!("refused-{name}")),
        status: Some(401),
        outcome: Some(Outcome::Refused),
        duration_ms: Some(0),
        ..NewRequestLog::started(
            id,
            now,
            "POST".to_owned(),
            format!("/v1beta/models/refused-{name}"),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hundred_days_nothing_is_larger_than_after_forty_but_rollups() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Timestamp::from_millis(1_796_000_000_000);
    let (mut clients, own_writer) = Clients::begin(folder.path(), begin).await;
    let db = clients.db.clone();

    clients.live_until(begin, 0..40).await;
    let after_40 = clients.sizes().await;
    clients.live_until(begin, 40..100).await;
    let after_100 = clients.sizes().await;

    println!("after  40 days: {}", after_40.report());
    println!("after 100 days: {}", after_100.report());
    assert_no_growth(&after_40, &after_100);
    // Of the models in the rollups, only those that Google has answered for have a name.
    let models: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT value FROM model_days JOIN strings ON id = model_id ORDER BY value",
    )
    .fetch_all(&db.readers)
    .await
    .unwrap();
    assert_eq!(
        models,
        [
            "gemini-2.5-flash",
            "gemini-2.5-pro",
            "gemini-embedding-001",
            "other"
        ]
    );
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    own_writer.abort();
}

fn assert_no_growth(after_40: &Sizes, after_100: &Sizes) {
    assert!(after_100.without_rollups() <= after_40.without_rollups() * 21 / 20);
    for (name, bytes) in &after_100.tables {
        let before = after_40.tables.get(name).copied().unwrap_or(0);
        // The pages of an index in no order are at first fuller than later.
        let is_as_large = *bytes <= before + before / 3 + 8 * 1024;
        assert!(
            is_as_large || ROLLUPS.contains(&name.as_str()),
            "{name}: {before} → {bytes}"
        );
    }
    assert!(
        after_100.app <= after_40.app + after_40.app / 100,
        "{after_40:?} {after_100:?}"
    );
    assert!(
        after_100.writer <= after_40.writer + after_40.writer / 20,
        "{after_40:?} {after_100:?}"
    );
}

impl Sizes {
    fn rollups(&self) -> i64 {
        let rollups = ROLLUPS.iter().filter_map(|name| self.tables.get(*name));
        rollups.sum()
    }

    fn without_rollups(&self) -> i64 {
        self.tables.values().sum::<i64>() - self.rollups()
    }

    fn report(&self) -> String {
        format!(
            "file {} KiB without rollups, rollups {} KiB, app {} bytes, writer {} bytes",
            self.without_rollups() / 1024,
            self.rollups() / 1024,
            self.app,
            self.writer
        )
    }
}
