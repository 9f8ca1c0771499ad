//! `FakeState`: the state that all connections of the fake share.

use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::HeaderValue;
use http::request::Parts;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::Behaviour;
use super::errors::GoogleError;
use super::journal::{Journal, RecordingLevel};
use super::keys::FakeKeyState;
use super::live::LiveSessions;
use super::quota::{ProjectQuota, QuotaCharge, QuotaCounters};
use super::replay::ReplayedResponse;
use super::resources::resource_store::ResourceStore;
use super::response_shape::ResponseShape;
use super::{FakeClock, FakeConfig};

/// The state that the connections share.
pub struct FakeState {
    pub recording: RecordingLevel,
    pub gzip: bool,
    pub clock: FakeClock,
    pub journal: Journal,
    pub tasks: TaskTracker,
    pub keys: RwLock<HashMap<String, Arc<FakeKeyState>>>,
    pub project_quotas: RwLock<HashMap<String, ProjectQuota>>,
    pub quotas: QuotaCounters,
    pub resources: ResourceStore,
    pub polls_until_done: u32,
    pub polls_until_answered: u32,
    pub response_shape: RwLock<ResponseShape>,
    pub egress: RwLock<Option<CountedBehaviour>>,
    /// By model.
    pub overloads: RwLock<HashMap<String, CountedBehaviour>>,
    pub replays: Mutex<VecDeque<ReplayedResponse>>,
    /// The response to every request whose query contains the text.
    pub marked: Mutex<Option<(String, ReplayedResponse)>>,
    pub live: LiveSessions,
    pub serial: AtomicU64,
    /// Set by [`FakeGemini::set_lenient_json`](super::FakeGemini::set_lenient_json).
    pub reads_lenient_json: AtomicBool,
    /// Cancelled to cut off all connections that are open now, then replaced.
    pub cut_off: Mutex<CancellationToken>,
    pub date: Mutex<(i64, HeaderValue)>,
}

/// A behaviour of many keys, and how many requests it has seen.
pub struct CountedBehaviour {
    behaviour: Behaviour,
    requests: AtomicU64,
}

impl FakeState {
    pub fn new(config: FakeConfig, base_url: String) -> Self {
        let keys = config.keys.into_iter();
        Self {
            recording: config.recording,
            gzip: config.gzip,
            clock: config.clock,
            journal: Journal::default(),
            tasks: TaskTracker::new(),
            keys: RwLock::new(
                keys.map(|key| (key.secret.clone(), Arc::new(FakeKeyState::new(key))))
                    .collect(),
            ),
            project_quotas: RwLock::new(config.quotas),
            quotas: QuotaCounters::default(),
            resources: ResourceStore::new(base_url),
            polls_until_done: config.polls_until_done,
            polls_until_answered: config.polls_until_answered,
            response_shape: RwLock::new(config.response_shape),
            egress: RwLock::default(),
            overloads: RwLock::default(),
            replays: Mutex::default(),
            marked: Mutex::default(),
            live: LiveSessions::default(),
            serial: AtomicU64::new(1),
            reads_lenient_json: AtomicBool::new(false),
            cut_off: Mutex::default(),
            date: Mutex::new((i64::MIN, HeaderValue::from_static(""))),
        }
    }

    pub fn key(&self, secret: &str) -> Option<Arc<FakeKeyState>> {
        let keys = self.keys.read();
        keys.get(secret).cloned()
    }

    /// A key of the project that made this ephemeral token.
    pub fn secret_for_token(&self, token: &str) -> Option<String> {
        let resources = self.resources.list((self.clock)());
        let project = resources
            .into_iter()
            .find(|resource| resource.name == token)?
            .project;
        let keys = self.keys.read();
        let mut keys = keys.values();
        Some(keys.find(|key| key.project == project)?.secret.clone())
    }

    /// The behaviour of one request: the common one if it applies now, else the one of the key.
    pub fn behaviour_for(&self, key: Option<&FakeKeyState>, uses_quota: bool) -> Behaviour {
        let key_behaviour = key.map_or(Behaviour::Healthy, |key| key.next_behaviour(uses_quota));
        let egress = self.egress.read();
        match egress.as_ref().map(CountedBehaviour::next) {
            None | Some(Behaviour::Healthy) => key_behaviour,
            Some(egress_behaviour) => egress_behaviour,
        }
    }

    pub fn is_overloaded(&self, model: &str) -> bool {
        let overloads = self.overloads.read();
        let turn = overloads.get(model).map(CountedBehaviour::next);
        turn.is_some_and(|behaviour| behaviour != Behaviour::Healthy)
    }

    pub fn charge(
        &self,
        key: &FakeKeyState,
        model: &str,
        charge: QuotaCharge,
        now_ms: i64,
    ) -> Result<(), GoogleError> {
        let config = self.project_quotas.read();
        let Some(quota) = config.get(&key.project) else {
            return Ok(());
        };
        let charged = self
            .quotas
            .charge(quota, &key.project, model, charge, now_ms);
        charged.map_err(|exhausted| GoogleError::quota(exhausted.body()))
    }

    /// The shape of this request's answer: the configured one, or the one of its header.
    pub fn response_shape(&self, head: &Parts) -> ResponseShape {
        let response_shape = self.response_shape.read().clone();
        let overrides = head
            .headers
            .get("x-fake-gemini")
            .and_then(|value| value.to_str().ok());
        match overrides {
            Some(overrides) => response_shape.with_overrides(overrides),
            None => response_shape,
        }
    }

    pub fn next_replay(&self, query: &str) -> Option<ReplayedResponse> {
        let next = locked(&self.replays).pop_front();
        next.or_else(|| {
            let marked = locked(&self.marked);
            let (mark, response) = marked.as_ref()?;
            query.contains(mark).then(|| response.clone())
        })
    }

    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub fn reads_lenient_json(&self) -> bool {
        self.reads_lenient_json.load(Ordering::Relaxed)
    }

    pub fn cut_off(&self) -> CancellationToken {
        locked(&self.cut_off).clone()
    }

    /// The date header, made once a second.
    pub fn date(&self, now_ms: i64) -> HeaderValue {
        let second = now_ms.div_euclid(1000);
        let mut date = locked(&self.date);
        if date.0 != second {
            let now = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            *date = (
                second,
                HeaderValue::from_str(&text).expect("a date is ASCII"),
            );
        }
        date.1.clone()
    }
}

impl CountedBehaviour {
    pub fn of(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            requests: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Behaviour {
        self.behaviour
            .for_request(self.requests.fetch_add(1, Ordering::Relaxed))
            .clone()
    }
}

/// A panic elsewhere leaves nothing half done here.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
