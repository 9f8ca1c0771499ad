//! `App`: what every handler is given.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::clock::{self, Timestamp};
use crate::config::Config;
use crate::gemini::redact::Redactor;
use crate::gemini::transport::Gemini;
use crate::pool::client_key::{ClientKeys, HashKey};
use crate::pool::guessing::Guesses;
use crate::pool::keys::turn_at;
use crate::pool::lease::SharedKeys;
use crate::pool::request_id::RequestIds;
use crate::pool::settings::Settings;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::recorder::Recorder;
use crate::storage::request_logs::{self, NewRequestLog};
use crate::storage::{
    client_keys, cooldowns, installation, projects, revision, settings, upstream_keys,
};

/// A running server's state. What the admin may change is read from the database and swapped whole.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub db: Db,
    pub recorder: Recorder,
    pub keys: SharedKeys,
    pub gemini: Gemini,
    pub ids: RequestIds,
    pub guesses: Mutex<Guesses>,
    /// How many bytes of request bodies are in memory.
    pub held_bytes: AtomicU64,
    /// Requests refused while no more rows fit into memory, not yet told by a row.
    pub turned_away: AtomicU64,
    /// Set when what still runs is being cut off.
    pub cutting_off: AtomicBool,
    hash_key: HashKey,
    revision: AtomicI64,
    settings: RwLock<Arc<Settings>>,
    client_keys: RwLock<Arc<ClientKeys>>,
    redactor: RwLock<Arc<Redactor>>,
    young: Mutex<VecDeque<(Timestamp, Weak<Mutex<NewRequestLog>>)>>,
}

impl App {
    /// Reads everything from a migrated database.
    pub async fn load(config: Config, db: Db, recorder: Recorder) -> Result<Arc<Self>> {
        let mut tx = db.begin().await?;
        let hash_key = installation::hash_key(&mut tx).await?;
        let last_id = request_logs::last_id(&mut *tx).await?;
        tx.commit().await?;
        let defaults = Settings::default();
        let app = Arc::new(Self {
            recorder,
            keys: SharedKeys::default(),
            gemini: Gemini::new(&config.upstream_url, &defaults),
            ids: RequestIds::after(last_id),
            guesses: Mutex::default(),
            held_bytes: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            cutting_off: AtomicBool::new(false),
            client_keys: RwLock::new(Arc::new(ClientKeys::new(hash_key.clone(), []))),
            hash_key,
            revision: AtomicI64::new(-1),
            settings: RwLock::new(Arc::new(defaults)),
            redactor: RwLock::default(),
            young: Mutex::default(),
            config,
            db,
        });
        app.reload(clock::now()).await?;
        let cooldowns = cooldowns::list_running(&app.db.readers, clock::now()).await?;
        let mut keys = app.keys.lock();
        for (project_id, model, cooldown) in cooldowns {
            keys.put_cooldown(project_id, &model, cooldown, clock::now());
        }
        drop(keys);
        Ok(app)
    }

    /// Takes over what was changed in the database since the last time. Returns whether anything was.
    pub async fn reload(&self, now: Timestamp) -> Result<bool> {
        let known = self.revision.load(Ordering::Relaxed);
        let current = revision::current(&self.db.readers).await?;
        if current == known {
            return Ok(false);
        }
        let rows = settings::list(&self.db.readers).await?;
        let clients = client_keys::list_for_proxy(&self.db.readers).await?;
        let (keys, removed) = upstream_keys::list_changed(&self.db.readers, known).await?;
        let cleared = projects::list_cleared(&self.db.readers, known).await?;
        let cooldowns = cooldowns::list_changed(&self.db.readers, known, now).await?;
        self.apply_settings(&rows);
        swap(
            &self.client_keys,
            ClientKeys::new(self.hash_key.clone(), clients),
        );
        let mut shared = self.keys.lock();
        shared.limit_per_key(self.settings().per_key_concurrency);
        for key in keys {
            // Keys that were never used stand before all others, in an order by chance: a list often has its dead
            // keys side by side.
            let turn = key
                .last_used_at
                .map_or_else(|| -rand::random_range(1..i64::MAX), turn_at);
            shared.put(key, turn);
        }
        for id in removed {
            shared.remove(id);
        }
        for project_id in cleared {
            shared.clear_cooldowns(project_id, now);
        }
        for (project_id, model, cooldown) in cooldowns {
            shared.extend_cooldown(project_id, &model, cooldown, now);
        }
        shared.wake(now);
        let values = shared.values_to_redact();
        drop(shared);
        let secrets = values.iter().map(|(secret, _)| secret.expose());
        let projects: HashSet<_> = values.iter().flat_map(|(_, ids)| ids).collect();
        let projects = projects.into_iter().map(String::as_str);
        let redactor = Redactor::new(secrets, projects);
        swap(&self.redactor, redactor);
        self.revision.store(current, Ordering::Relaxed);
        Ok(true)
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn client_keys(&self) -> Arc<ClientKeys> {
        self.client_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers a request that has begun, so that it gets a row while it runs.
    pub fn begin(&self, row: &Arc<Mutex<NewRequestLog>>, now: Timestamp) {
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        young.push_back((now, Arc::downgrade(row)));
    }

    /// Hands in the rows of requests that have run since before `time`, as they are now, each once.
    pub fn record_running(&self, time: Timestamp) {
        for row in self.grown_up(time) {
            let row = row.lock().unwrap_or_else(PoisonError::into_inner);
            if row.outcome.is_none() {
                // Under the lock: the final row comes after this one.
                self.recorder.open(Box::new(row.clone()));
            }
        }
    }

    fn grown_up(&self, time: Timestamp) -> Vec<Arc<Mutex<NewRequestLog>>> {
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the clock went back the front may wait, but never longer than the clock was off.
        let old = young.iter().take_while(|(began, _)| *began <= time).count();
        young
            .drain(..old)
            .filter_map(|(_, row)| row.upgrade())
            .collect()
    }

    fn apply_settings(&self, rows: &[(String, String)]) {
        let mut settings = Settings::default();
        for (name, value) in rows {
            if let Err(error) = settings.set(name, value) {
                tracing::warn!(setting = name, "a setting is ignored: {error}");
            }
        }
        self.gemini.apply(&settings);
        swap(&self.settings, settings);
    }
}

fn swap<T>(place: &RwLock<Arc<T>>, value: T) {
    *place.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
}
