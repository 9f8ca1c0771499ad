//! `Google`: the state behind the fake, which all its connections share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::HeaderValue;
use http::request::Parts;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::belongings::owned::Belongings;
use super::errors::GoogleError;
use super::fate::Fate;
use super::journal::{Journal, Recording};
use super::keys::KeyState;
use super::live::Sessions;
use super::manner::Manner;
use super::quota::{Charge, ProjectQuota, Quotas};
use super::replay::RawAnswer;
use super::{FakeClock, Rules};

/// What the connections share.
pub struct Google {
    pub recording: Recording,
    pub gzip: bool,
    pub clock: FakeClock,
    pub journal: Journal,
    pub tasks: TaskTracker,
    pub keys: RwLock<HashMap<String, Arc<KeyState>>>,
    pub quota_rules: RwLock<HashMap<String, ProjectQuota>>,
    pub quotas: Quotas,
    pub belongings: Belongings,
    pub looks_until_done: u32,
    pub looks_until_answered: u32,
    pub manner: RwLock<Manner>,
    pub egress: RwLock<Option<Turns>>,
    /// By model.
    pub overloads: RwLock<HashMap<String, Turns>>,
    pub replays: Mutex<VecDeque<RawAnswer>>,
    pub live: Sessions,
    pub serial: AtomicU64,
    /// Cancelled to cut off all connections that are open now, then replaced.
    pub cut_off: Mutex<CancellationToken>,
    pub date: Mutex<(i64, HeaderValue)>,
}

/// A fate that strikes many keys, and how often it was asked.
pub struct Turns {
    fate: Fate,
    asked: AtomicU64,
}

impl Google {
    pub fn new(rules: Rules, base_url: String) -> Self {
        let keys = rules.keys.into_iter();
        Self {
            recording: rules.recording,
            gzip: rules.gzip,
            clock: rules.clock,
            journal: Journal::default(),
            tasks: TaskTracker::new(),
            keys: RwLock::new(
                keys.map(|key| (key.secret.clone(), Arc::new(KeyState::new(key))))
                    .collect(),
            ),
            quota_rules: RwLock::new(rules.quotas),
            quotas: Quotas::default(),
            belongings: Belongings::new(base_url),
            looks_until_done: rules.looks_until_done,
            looks_until_answered: rules.looks_until_answered,
            manner: RwLock::new(rules.manner),
            egress: RwLock::default(),
            overloads: RwLock::default(),
            replays: Mutex::default(),
            live: Sessions::default(),
            serial: AtomicU64::new(1),
            cut_off: Mutex::default(),
            date: Mutex::new((i64::MIN, HeaderValue::from_static(""))),
        }
    }

    pub fn key(&self, secret: &str) -> Option<Arc<KeyState>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(secret).cloned()
    }

    /// A key of the project that made this ephemeral token.
    pub fn secret_behind(&self, token: &str) -> Option<String> {
        let things = self.belongings.all((self.clock)());
        let project = things
            .into_iter()
            .find(|thing| thing.name == token)?
            .project;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys = keys.values();
        Some(keys.find(|key| key.project == project)?.secret.clone())
    }

    /// The fate of one request: everybody's, if there is one and it strikes now, else the key's.
    pub fn fate(&self, key: Option<&KeyState>, spends: bool) -> Fate {
        let key_fate = key.map_or(Fate::Healthy, |key| key.meet(spends));
        let egress = self.egress.read().unwrap_or_else(PoisonError::into_inner);
        match egress.as_ref().map(Turns::next) {
            None | Some(Fate::Healthy) => key_fate,
            Some(struck) => struck,
        }
    }

    pub fn is_overloaded(&self, model: &str) -> bool {
        let overloads = self
            .overloads
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let turn = overloads.get(model).map(Turns::next);
        turn.is_some_and(|fate| fate != Fate::Healthy)
    }

    pub fn charge(
        &self,
        key: &KeyState,
        model: &str,
        charge: Charge,
        now_ms: i64,
    ) -> Result<(), GoogleError> {
        let rules = self
            .quota_rules
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(quota) = rules.get(&key.project) else {
            return Ok(());
        };
        let charged = self
            .quotas
            .charge(quota, &key.project, model, charge, now_ms);
        charged.map_err(|exhausted| GoogleError::quota(exhausted.body()))
    }

    /// How this request is answered: as the rules say, or as it asks itself.
    pub fn manner(&self, head: &Parts) -> Manner {
        let manner = self
            .manner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let asked = head
            .headers
            .get("x-fake-gemini")
            .and_then(|value| value.to_str().ok());
        match asked {
            Some(asked) => manner.changed_by(asked),
            None => manner,
        }
    }

    pub fn next_replay(&self) -> Option<RawAnswer> {
        locked(&self.replays).pop_front()
    }

    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
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

impl Turns {
    pub fn of(fate: Fate) -> Self {
        Self {
            fate,
            asked: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Fate {
        self.fate
            .at(self.asked.fetch_add(1, Ordering::Relaxed))
            .clone()
    }
}

/// A panic elsewhere leaves nothing half done here.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
