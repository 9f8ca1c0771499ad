//! `App`: the state that handlers and tasks share, how it is loaded from the database, and how a server reloads what
//! admins and commands change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;
use tokio::task::{spawn_blocking, yield_now};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body_log::BodyLog;
use crate::body_memory::BodyMemory;
use crate::clock::{self, Timestamp};
use crate::config::Config;
use crate::gemini::redact::Redactor;
use crate::gemini::transport::GeminiClient;
use crate::jobs::Jobs;
use crate::key_queue::KeyQueue;
use crate::pool::backup_schedule::BackupSchedule;
use crate::pool::clients::admission::SharedAdmission;
use crate::pool::clients::auth_failures::AuthFailures;
use crate::pool::clients::client_key::{ClientKey, ClientKeyId, ClientKeys, HashKey};
use crate::pool::clients::login_throttle::LoginThrottle;
use crate::pool::clients::one_time_secrets::OneTimeSecrets;
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::pool::hedging::Hedging;
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::overview::{PoolOverview, ServiceProblem};
use crate::pool::keys::registry::{KEYS_PER_LOCK, KeyPolicy, KeyRegistry, lease_order_at};
use crate::pool::keys::upstream_key::UpstreamKey;
use crate::pool::model_lists::ModelListPace;
use crate::pool::quota::google_clock::begin_of_google_day;
use crate::pool::request_id::{MAX_BEHIND, RequestId, RequestIdGenerator};
use crate::pool::resources::affinity::ProjectAffinity;
use crate::pool::resources::recent_resources::RecentResources;
use crate::pool::retention::{BodyRetentionLimits, LowDisk, RetentionLimits};
use crate::pool::settings::Settings;
use crate::storage::backups::BackupJob;
use crate::storage::client_keys::rotation;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::probe_requests::ProbeRequests;
use crate::storage::quotas::ProjectLimit;
use crate::storage::recorder::Recorder;
use crate::storage::request_logs::{self, NewRequestLog};
use crate::storage::upstream_keys::Evidence;
use crate::storage::{
    client_keys, client_usage, cooldowns, egress_proxies, encryption, installation, model_lists,
    projects, quotas, revision, settings, upstream_keys,
};
use crate::traces::Traces;

/// Requests older than this count in no minute window.
const MINUTE_WINDOW: Duration = Duration::from_secs(61);

/// A running server's state. Data that the admin may change is read from the database and replaced as a whole.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub db: Db,
    pub recorder: Recorder,
    pub keys: SharedKeyRegistry,
    /// Requests that wait for an upstream key.
    pub key_queue: Arc<KeyQueue>,
    pub admission: SharedAdmission,
    pub gemini: GeminiClient,
    pub request_ids: RequestIdGenerator,
    pub auth_failures: Mutex<AuthFailures>,
    /// When old secrets of client keys were last used, as far as it is not stored.
    pub old_secret_uses: Mutex<HashMap<ClientKeyId, Timestamp>>,
    /// Wrong tokens at the admin API.
    pub api_token_failures: Mutex<AuthFailures>,
    /// Requests below wrong base URLs, of which few get a row.
    pub wrong_bases: Mutex<AuthFailures>,
    /// The project in which each client creates its resources.
    pub project_affinity: Mutex<ProjectAffinity>,
    /// The times of models, for second attempts at the same time.
    pub hedging: Mutex<Hedging>,
    /// Recently created resources.
    pub recent_resources: Mutex<RecentResources>,
    /// Failed sign-ins to the dashboard.
    pub login_throttle: Mutex<LoginThrottle>,
    /// Of `/my-usage`: a valid client key must not reset the count of sign-ins.
    pub my_usage_throttle: Mutex<LoginThrottle>,
    /// When the lists of models of projects are read.
    pub model_lists: Mutex<ModelListPace>,
    /// Background jobs that admins have started.
    pub jobs: Jobs,
    /// The memory that request bodies take.
    pub body_memory: Arc<BodyMemory>,
    /// Bodies that wait to be stored.
    pub body_log: BodyLog,
    pub traces: Traces,
    /// Requests refused while the row queue was full, not yet recorded in a row.
    pub unrecorded_refusals: AtomicU64,
    /// The last string that was checked for being in use.
    pub checked_strings: AtomicI64,
    /// Cancelled when the server is stopped: ends all endless loops.
    pub stopping: CancellationToken,
    /// Live sessions, which outlive their HTTP connections.
    pub live_sessions: TaskTracker,
    /// Cancelled when the server cuts off the remaining requests: streams end with an error event.
    pub cutting_off: CancellationToken,
    /// The random hash key of this installation.
    pub hash_key: HashKey,
    revision: AtomicI64,
    settings: RwLock<Arc<Settings>>,
    client_keys: RwLock<Arc<ClientKeys>>,
    redactor: RwLock<Arc<Redactor>>,
    /// The running backup, if any.
    pub backups: BackupJob,
    /// Secrets of new client keys and API tokens that were not shown yet.
    pub one_time_secrets: Mutex<OneTimeSecrets>,
    unrecorded_requests: Mutex<VecDeque<(Timestamp, Weak<Mutex<NewRequestLog>>)>>,
    /// Notified when there is a first one.
    unrecorded_notify: Notify,
    /// Requests for a probe of the database.
    pub probe_requests: ProbeRequests,
    /// The state of the disk when the log was last checked; `None`: it has room.
    pub low_disk: Mutex<Option<LowDisk>>,
    /// Notified when limits of the log change.
    retention_notify: Notify,
    /// Held during a reload.
    reload_lock: tokio::sync::Mutex<()>,
}

impl App {
    /// Loads the state from a migrated database.
    pub async fn load(
        config: Config,
        gemini: GeminiClient,
        db: Db,
        recorder: Recorder,
        now: Timestamp,
    ) -> Result<Arc<Self>> {
        let mut tx = db.begin().await?;
        let hash_key = installation::keys(&mut tx, &db.data_keys).await?.hash_key;
        let ids_in_use = request_logs::find_ids_in_use(&mut tx, now).await?;
        let listed = model_lists::list_times(&mut *tx).await?;
        tx.commit().await?;
        let defaults = Settings::default();
        let app = Arc::new(Self {
            recorder,
            keys: SharedKeyRegistry::default(),
            key_queue: Arc::default(),
            admission: SharedAdmission::default(),
            gemini,
            request_ids: RequestIdGenerator::after(&ids_in_use),
            auth_failures: Mutex::default(),
            old_secret_uses: Mutex::default(),
            api_token_failures: Mutex::default(),
            wrong_bases: Mutex::default(),
            project_affinity: Mutex::default(),
            hedging: Mutex::default(),
            recent_resources: Mutex::default(),
            login_throttle: Mutex::default(),
            my_usage_throttle: Mutex::default(),
            reload_lock: tokio::sync::Mutex::default(),
            model_lists: Mutex::new(ModelListPace::new(listed, now)),
            jobs: Jobs::default(),
            stopping: CancellationToken::new(),
            body_memory: Arc::default(),
            body_log: BodyLog::default(),
            traces: Traces::default(),
            unrecorded_refusals: AtomicU64::new(0),
            checked_strings: AtomicI64::new(0),
            live_sessions: TaskTracker::new(),
            cutting_off: CancellationToken::new(),
            client_keys: RwLock::new(Arc::new(ClientKeys::new(hash_key.clone(), []))),
            hash_key,
            revision: AtomicI64::new(-1),
            settings: RwLock::new(Arc::new(defaults)),
            redactor: RwLock::default(),
            backups: BackupJob::default(),
            one_time_secrets: Mutex::default(),
            unrecorded_requests: Mutex::default(),
            unrecorded_notify: Notify::new(),
            probe_requests: ProbeRequests::default(),
            low_disk: Mutex::default(),
            retention_notify: Notify::new(),
            config,
            db,
        });
        app.reload(now).await?;
        app.load_quotas(now).await?;
        let queue = app.key_queue.clone();
        app.keys.on_release(move || queue.notify());
        Ok(app)
    }

    /// Loads the limits and usage that earlier runs have stored.
    async fn load_quotas(&self, now: Timestamp) -> Result<()> {
        let db = &self.db.readers;
        let limits = quotas::list_limits(db).await?;
        let mut used = quotas::list_usage_of_day(db, begin_of_google_day(now)).await?;
        used.extend(quotas::list_usage_since(db, now - MINUTE_WINDOW, now + MAX_BEHIND).await?);
        let mut keys = self.keys.lock();
        for ProjectLimit {
            project_id,
            model,
            measure,
            observed,
            observed_at,
        } in limits
        {
            keys.restore_limit(project_id, &model, measure, observed, observed_at);
        }
        for used in used {
            keys.restore_usage(used.id, &used.model, used.amount, used.at, now);
        }
        Ok(())
    }

    /// Waits until no reload runs. While the guard is held, none begins: long work and reloads take turns, so that they
    /// leave one processor to requests.
    pub async fn hold_reloads(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reload_lock.lock().await
    }

    /// Loads the rows that changed since the last reload. Returns whether there were any.
    pub async fn reload(&self, now: Timestamp) -> Result<bool> {
        // One reload at a time: an older read must not overwrite a newer one.
        let _guard = self.reload_lock.lock().await;
        let loaded = self.revision.load(Ordering::Relaxed);
        let current = revision::current(&self.db.readers).await?;
        if current == loaded {
            return Ok(false);
        }
        // Before the first load nothing writes.
        if loaded >= 0 {
            // What verdicts changed must not be undone by what the tables say.
            self.recorder.settle().await;
        }
        let rows = settings::list(&self.db.readers).await?;
        let clients = client_keys::list_for_proxy(&self.db.readers).await?;
        let old_secrets = rotation::list_for_proxy(&self.db.readers, now).await?;
        let (keys, removed) = upstream_keys::list_changed(&self.db, loaded).await?;
        // At the start there are no cooldowns in memory to clear.
        let cleared = if loaded < 0 {
            Vec::new()
        } else {
            projects::list_cleared(&self.db.readers, loaded).await?
        };
        let cooldowns = cooldowns::list_changed(&self.db.readers, loaded, now).await?;
        let egress = egress_proxies::list(&self.db).await?;
        // The active data key was loaded with the keys. A rotation waits for it.
        if let Err(error) = encryption::record_loaded(&self.db).await {
            tracing::warn!("the loaded data key could not be recorded: {error}");
        }
        self.apply_settings(&rows);
        self.gemini.add_egress(&egress, &self.settings());
        let limited = clients.iter().map(|(_, client)| client);
        self.load_limit_usage(limited, now).await?;
        let old_secrets = old_secrets
            .into_iter()
            .map(|old| (old.hash, old.client_key_id, old.valid_until));
        let clients = ClientKeys::new(self.hash_key.clone(), clients).with_old_secrets(old_secrets);
        swap(&self.client_keys, clients);
        let is_redacted = loaded >= 0
            && keys.is_empty()
            && removed.is_empty()
            && self.keys.lock().egress().rows() == egress;
        if !is_redacted {
            // Before any request can use the new keys and proxies.
            self.replace_redactor(&keys, &egress).await;
        }
        {
            let mut shared = self.keys.lock();
            shared.set_policy(KeyPolicy::of(&self.settings()));
            shared.set_egress(egress.clone(), now);
        }
        // From now on no request is sent through another one.
        self.gemini.retain_egress(&egress);
        self.change_keys(keys, |shared, key| {
            // Keys that were never used come first, in random order: lists often have their dead keys side by side.
            let turn = key
                .last_used_at
                .map_or_else(|| -rand::random_range(1..i64::MAX), lease_order_at);
            shared.put(key, turn, now);
        })
        .await;
        self.change_keys(removed, KeyRegistry::remove).await;
        self.change_keys(cleared, |shared, project_id| {
            shared.clear_cooldowns(project_id, now);
        })
        .await;
        self.change_keys(cooldowns, |shared, (project_id, model, cooldown)| {
            shared.extend_cooldown(project_id, &model, cooldown.rebased_at(now));
        })
        .await;
        self.key_queue.notify();
        self.revision.store(current, Ordering::Relaxed);
        Ok(true)
    }

    /// Redacts the keys of the pool, those that are about to be put into it, and the credentials of egress proxies.
    async fn replace_redactor(&self, new: &[UpstreamKey], egress: &[EgressProxy]) {
        let new: Vec<_> = new
            .iter()
            .map(|key| (key.secret.clone(), key.project_ids()))
            .collect();
        let proxies: Vec<_> = egress
            .iter()
            .flat_map(|row| row.address.secrets())
            .collect();
        let keys = self.keys.clone();
        // With 50,000 keys this takes a hundred milliseconds, in which the thread could serve requests.
        let built = spawn_blocking(move || {
            let mut values = keys.values_to_redact();
            values.extend(new);
            let secrets = values.iter().map(|(secret, _)| secret.expose());
            let projects: HashSet<_> = values.iter().flat_map(|(_, ids)| ids).collect();
            let others = projects.into_iter().chain(&proxies).map(String::as_str);
            Redactor::new(secrets, others)
        });
        let redactor = built.await.expect("building a redactor does not panic");
        swap(&self.redactor, redactor);
    }

    /// Changes the registry for each item, a few at a time: requests wait neither long for the lock nor for the thread.
    async fn change_keys<T>(&self, items: Vec<T>, mut change: impl FnMut(&mut KeyRegistry, T)) {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            {
                let mut keys = self.keys.lock();
                for item in items.by_ref().take(KEYS_PER_LOCK) {
                    change(&mut keys, item);
                }
                // A request that waits gets the lock first.
                MutexGuard::unlock_fair(keys);
            }
            yield_now().await;
        }
    }

    /// Loads the usage of keys whose limits are new.
    async fn load_limit_usage(
        &self,
        clients: impl Iterator<Item = &ClientKey>,
        now: Timestamp,
    ) -> Result<()> {
        let zone = self.settings().day_zone.clone();
        let limited = clients.map(|client| (client.id, &client.limits));
        let unknown = self.admission.lock().set_limits(&zone, limited);
        let db = &self.db.readers;
        for (id, limits) in unknown {
            let past = client_usage::find_logged_usage(db, id, &limits, &zone, now).await?;
            self.admission.lock().restore(id, limits, past, now);
        }
        Ok(())
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// How long an answer waits for its row: not at all while the database is known to fail.
    pub fn commit_wait(&self) -> Duration {
        if self.recorder.is_failing() {
            Duration::ZERO
        } else {
            self.settings().commit_wait()
        }
    }

    pub fn client_keys(&self) -> Arc<ClientKeys> {
        self.client_keys.read().clone()
    }

    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor.read().clone()
    }

    /// Has an egress proxy count as working, after a test through which an answer came.
    pub fn end_egress_probe(&self, id: EgressProxyId) {
        let mut keys = self.keys.lock();
        let change = keys.end_egress_probe(id, true, clock::now());
        if let Some(change) = change {
            let evidence = Evidence {
                status: None,
                message: String::new(),
                // No request of a client.
                request_id: RequestId(0),
            };
            self.recorder.record_change(change, evidence);
        }
        drop(keys);
        self.key_queue.notify();
    }

    /// Counts all keys. What the upstream answered, and why it could not be reached, is redacted for pages.
    pub async fn overview(&self, now: Timestamp) -> PoolOverview {
        let keys = self.keys.clone();
        // With many keys this takes some ten milliseconds, in which the thread could serve requests.
        let counted = spawn_blocking(move || keys.overview(now)).await;
        let mut overview = counted.expect("counting keys does not panic");
        let redactor = self.redactor();
        let texts = [&mut overview.connection_error, &mut overview.wrong_answer];
        for text in texts.into_iter().flatten() {
            *text = redactor.redact_for_row(text);
        }
        overview
    }

    /// Whether so many rows wait to be written that every request is refused.
    pub fn has_too_many_pending_rows(&self) -> bool {
        let most = self.settings().max_pending_rows;
        self.recorder.pending() >= usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Why no request can be served now. What the upstream answered is redacted for pages.
    pub fn service_problem(&self, now: Timestamp) -> Option<ServiceProblem> {
        let redact = |text: String| self.redactor().redact_for_row(&text);
        Some(match self.keys.service_problem(now)? {
            ServiceProblem::Unreachable(error) => ServiceProblem::Unreachable(redact(error)),
            ServiceProblem::WrongAnswer(answer) => ServiceProblem::WrongAnswer(redact(answer)),
            problem @ (ServiceProblem::AddressThrottled(_) | ServiceProblem::NoUsableKey) => {
                problem
            }
        })
    }

    /// Registers a started request, so that it gets a row while it runs.
    pub fn track_request(&self, row: &Arc<Mutex<NewRequestLog>>, now: Timestamp) {
        let mut unrecorded_requests = self.unrecorded_requests.lock();
        if unrecorded_requests.is_empty() {
            self.unrecorded_notify.notify_one();
        }
        unrecorded_requests.push_back((now, Arc::downgrade(row)));
    }

    /// Waits until there is a request for [`Self::record_running`].
    pub async fn wait_for_unrecorded(&self) {
        while self.unrecorded_requests.lock().is_empty() {
            self.unrecorded_notify.notified().await;
        }
    }

    /// Waits until limits of the log have changed since the last wait.
    pub async fn wait_for_retention_change(&self) {
        self.retention_notify.notified().await;
    }

    /// Records the rows of requests that have run since before `time`, in their current state, each once.
    pub fn record_running(&self, time: Timestamp) {
        for row in self.take_running_since(time) {
            let row = row.lock();
            if row.outcome.is_none() {
                // Under the lock, so that the final row is recorded after this one.
                self.recorder.record_running(Box::new(row.clone()));
            }
        }
    }

    fn take_running_since(&self, time: Timestamp) -> Vec<Arc<Mutex<NewRequestLog>>> {
        let mut unrecorded_requests = self.unrecorded_requests.lock();
        // If the clock was set back, the first entry may be late, by no more than that difference.
        let began = unrecorded_requests.iter().map(|(began, _)| *began);
        let count = began.take_while(|began| *began <= time).count();
        let taken = unrecorded_requests.drain(..count);
        taken.filter_map(|(_, row)| row.upgrade()).collect()
    }

    fn apply_settings(&self, rows: &[(String, String)]) {
        let mut settings = Settings::default();
        for (name, value) in rows {
            if let Err(error) = settings.set(name, value) {
                tracing::warn!(setting = name, "setting ignored: {error}");
            }
        }
        self.gemini.apply_settings(&settings);
        self.body_memory.set_limits(&settings);
        let limits = |settings| {
            (
                RetentionLimits::of(settings),
                BodyRetentionLimits::of(settings),
            )
        };
        let is_retention_changed = limits(&settings) != limits(&self.settings());
        let is_schedule_changed =
            BackupSchedule::of(&settings) != BackupSchedule::of(&self.settings());
        swap(&self.settings, settings);
        if is_retention_changed {
            self.retention_notify.notify_one();
        }
        if is_schedule_changed {
            self.backups.notify_schedule_change();
        }
    }
}

fn swap<T>(current: &RwLock<Arc<T>>, value: T) {
    *current.write() = Arc::new(value);
}
