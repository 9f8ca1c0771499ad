//! The fake Gemini: a Google with rules. It answers as recordings show, refuses word for word, counts quotas, and
//! breaks when told to; the upstream of `gemini-pool demo` and of every test.

mod answer;
mod answers;
mod asked;
mod base64;
pub mod belongings;
mod body;
mod call;
mod errors;
mod exhausted;
pub mod fate;
mod google;
pub mod journal;
mod json;
pub mod keys;
pub mod live;
pub mod manner;
mod models;
pub mod quota;
pub mod replay;
mod respond;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use belongings::owned::{Belonging, Upload};
use fate::{FakeKey, Fate};
use google::{Google, Turns, locked};
use journal::{HangUp, Received, Recording};
use keys::{KeyCounts, KeyState};
use live::{Held, Step};
use manner::Manner;
use quota::ProjectQuota;
use replay::RawAnswer;

/// Unix milliseconds, as the fake shall see them.
pub type FakeClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// By what rules this Google plays.
#[derive(Clone)]
pub struct Rules {
    pub keys: Vec<FakeKey>,
    /// By project number; a project that is not here has no limits.
    pub quotas: HashMap<String, ProjectQuota>,
    pub manner: Manner,
    /// Compress for clients that accept it.
    pub gzip: bool,
    pub recording: Recording,
    pub clock: FakeClock,
    /// At which look, counted from one, batches and other long work are done.
    pub looks_until_done: u32,
    /// The same for interactions in the background.
    pub looks_until_answered: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            quotas: HashMap::new(),
            manner: Manner::default(),
            gzip: false,
            recording: Recording::Bodies,
            clock: Arc::new(system_clock),
            looks_until_done: 2,
            looks_until_answered: 1,
        }
    }
}

impl Rules {
    /// These keys, without any quotas.
    pub fn with_keys(keys: impl IntoIterator<Item = FakeKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same, with limits for one project.
    #[must_use]
    pub fn quota(mut self, project: &str, quota: ProjectQuota) -> Self {
        self.quotas.insert(project.to_owned(), quota);
        self
    }
}

/// A running fake, and the strings to pull. Clones are handles of the same.
#[derive(Clone)]
pub struct FakeGemini {
    google: Arc<Google>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl FakeGemini {
    /// Listens on a free port of the loopback, for HTTP/1.1 and HTTP/2 without TLS.
    pub async fn start(rules: Rules) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let google = Arc::new(Google::new(rules, format!("http://{address}")));
        let stop = CancellationToken::new();
        let accepting = wire::accept(listener, google.clone(), stop.clone());
        google.tasks.spawn(accepting);
        Ok(Self {
            google,
            address,
            stop,
        })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and cuts off what is open. Its port refuses connections afterwards.
    pub async fn shutdown(&self) {
        self.cut_off_connections();
        self.stop.cancel();
        self.google.tasks.close();
        self.google.tasks.wait().await;
    }

    /// Closes all connections, idle ones and those in the middle of an answer.
    pub fn cut_off_connections(&self) {
        let cut_off = std::mem::take(&mut *locked(&self.google.cut_off));
        cut_off.cancel();
    }

    /// Gives a key a new fate, begun at its first step; a key not known yet becomes known, with a project of its own.
    pub fn set_fate(&self, secret: &str, fate: Fate) {
        match self.google.key(secret) {
            Some(key) => key.set_fate(fate),
            None => self.add_key(FakeKey::new(secret, "999000000001", fate)),
        }
    }

    /// Makes a key known, or replaces it; its counts begin anew.
    pub fn add_key(&self, key: FakeKey) {
        let mut keys = self
            .google
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.secret.clone(), Arc::new(KeyState::new(key)));
    }

    /// Forgets a key: it is `API_KEY_INVALID` from now on.
    pub fn remove_key(&self, secret: &str) {
        let mut keys = self
            .google
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        keys.remove(secret);
    }

    /// Sets or lifts the limits of a project.
    pub fn set_quota(&self, project: &str, quota: Option<ProjectQuota>) {
        let rules = self.google.quota_rules.write();
        let mut rules = rules.unwrap_or_else(PoisonError::into_inner);
        match quota {
            Some(quota) => rules.insert(project.to_owned(), quota),
            None => rules.remove(project),
        };
    }

    /// Gives back everything used so far, as midnight does.
    pub fn refill_quotas(&self) {
        self.google.quotas.reset();
    }

    /// Makes every n-th request for a model meet a 503 whatever its key, from the n-th on; `None` ends it.
    pub fn set_overload(&self, model: &str, every_nth: Option<u64>) {
        let overloads = self.google.overloads.write();
        let mut overloads = overloads.unwrap_or_else(PoisonError::into_inner);
        match every_nth {
            Some(n) => {
                let fate = Fate::EveryNth(n.max(1), Box::new(Fate::Overloaded));
                overloads.insert(model.to_owned(), Turns::of(fate));
            }
            None => drop(overloads.remove(model)),
        }
    }

    /// Lets a fate strike everybody, before any key is looked at: the address is blocked, the front end fails.
    pub fn set_egress_fate(&self, fate: Option<Fate>) {
        let mut egress = self
            .google
            .egress
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *egress = fate.map(Turns::of);
    }

    pub fn set_manner(&self, manner: Manner) {
        *self
            .google
            .manner
            .write()
            .unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Answers the next requests exactly so, one each, whatever they ask; then by the rules again.
    pub fn replay(&self, answers: impl IntoIterator<Item = RawAnswer>) {
        locked(&self.google.replays).extend(answers);
    }

    /// Has the next live session go exactly so.
    pub fn play(&self, steps: impl IntoIterator<Item = Step>) {
        self.google.live.script(steps.into_iter().collect());
    }

    /// The live sessions, in the order in which they began.
    pub fn sessions(&self) -> Vec<Held> {
        self.google.live.held()
    }

    /// What came since the last reset, oldest first (the newest 10,000).
    pub fn received(&self) -> Vec<Received> {
        self.google.journal.received()
    }

    /// What came with this key.
    pub fn received_with(&self, secret: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|request| request.key.as_deref() == Some(secret));
        received
    }

    pub fn last_received(&self) -> Option<Received> {
        self.received().pop()
    }

    /// All requests since the last reset.
    pub fn requests(&self) -> u64 {
        self.google.journal.requests.load(Ordering::Relaxed)
    }

    /// How often a key was used; zero for one that is not known.
    pub fn counts(&self, secret: &str) -> KeyCounts {
        self.google
            .key(secret)
            .map_or_else(KeyCounts::default, |key| key.counts())
    }

    /// The counts of every key, by secret.
    pub fn all_counts(&self) -> HashMap<String, KeyCounts> {
        let keys = self
            .google
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        keys.values()
            .map(|key| (key.secret.clone(), key.counts()))
            .collect()
    }

    /// What belongs to any project now, by name.
    pub fn belongings(&self) -> Vec<Belonging> {
        self.google.belongings.all((self.google.clock)())
    }

    /// The uploads in several requests that were ever begun, in no order.
    pub fn uploads(&self) -> Vec<Upload> {
        self.google.belongings.uploads()
    }

    /// Clients that went before their answer was whole.
    pub fn hang_ups(&self) -> Vec<HangUp> {
        self.google.journal.hang_ups()
    }

    pub fn open_connections(&self) -> usize {
        self.google.journal.open_connections.load(Ordering::Relaxed)
    }

    /// Connections accepted since the last reset.
    pub fn connections(&self) -> u64 {
        self.google.journal.connections.load(Ordering::Relaxed)
    }

    /// Requests that wait for their answer or are being sent it.
    pub fn open_answers(&self) -> usize {
        self.google.journal.open_answers.load(Ordering::Relaxed)
    }

    pub fn open_streams(&self) -> usize {
        self.google.journal.open_streams.load(Ordering::Relaxed)
    }

    /// Counts from zero again; quotas and the steps of fates stay.
    pub fn reset_counts(&self) {
        self.google.journal.reset();
        let keys = self
            .google
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        keys.values().for_each(|key| key.reset_counts());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the fake stands for another machine, which has a clock of its own"
)]
fn system_clock() -> i64 {
    Timestamp::now().as_millisecond()
}
