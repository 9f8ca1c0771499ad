//! The fake Gemini. It answers as recordings show, with Google's errors word for word, counts quotas, and
//! injects faults on request; the upstream of `gemini-pool demo` and of every test.

pub mod behaviour;
mod connection;
mod errors;
mod exhausted;
pub mod journal;
mod json;
pub mod keys;
mod lenient_json;
pub mod live;
mod models;
pub mod quota;
pub mod replay;
mod request_body;
mod request_target;
pub mod resources;
mod respond;
mod response;
mod response_body;
pub mod response_shape;
mod responses;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use behaviour::{Behaviour, FakeKey};
use journal::{ClientDisconnect, ReceivedRequest, RecordingLevel};
use keys::{FakeKeyState, KeyCounts};
use live::{RecordedSession, SessionStep};
use quota::ProjectQuota;
use replay::ReplayedResponse;
use resources::resource_store::{ResourceSummary, UploadSummary};
use response_shape::ResponseShape;
use state::{CountedBehaviour, FakeState, locked};

/// The time for the fake, in unix milliseconds.
pub type FakeClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The configuration of a fake.
#[derive(Clone)]
pub struct FakeConfig {
    pub keys: Vec<FakeKey>,
    /// By project number; other projects have no limits.
    pub quotas: HashMap<String, ProjectQuota>,
    pub response_shape: ResponseShape,
    /// Whether answers are compressed for clients that accept it.
    pub gzip: bool,
    pub recording: RecordingLevel,
    pub clock: FakeClock,
    /// The number of polls after which batches and other long work are done.
    pub polls_until_done: u32,
    /// The same for interactions in the background.
    pub polls_until_answered: u32,
}

impl Default for FakeConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            quotas: HashMap::new(),
            response_shape: ResponseShape::default(),
            gzip: false,
            recording: RecordingLevel::Bodies,
            clock: Arc::new(system_clock),
            polls_until_done: 2,
            polls_until_answered: 1,
        }
    }
}

impl FakeConfig {
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

/// A handle of a running fake. Clones control the same one.
#[derive(Clone)]
pub struct FakeGemini {
    state: Arc<FakeState>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl FakeGemini {
    /// Listens on a free port of the loopback, for HTTP/1.1 and HTTP/2 without TLS.
    pub async fn start(config: FakeConfig) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(FakeState::new(config, format!("http://{address}")));
        let stop = CancellationToken::new();
        let accepting = connection::accept(listener, state.clone(), stop.clone());
        state.tasks.spawn(accepting);
        Ok(Self {
            state,
            address,
            stop,
        })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and cuts off open connections. Its port refuses connections afterwards.
    pub async fn shutdown(&self) {
        self.cut_off_connections();
        self.stop.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }

    /// Closes all connections, idle ones and those in the middle of an answer.
    pub fn cut_off_connections(&self) {
        let cut_off = std::mem::take(&mut *locked(&self.state.cut_off));
        cut_off.cancel();
    }

    /// Gives a key a new behaviour, at its first step; an unknown key is added, with a project of its own.
    pub fn set_behaviour(&self, secret: &str, behaviour: Behaviour) {
        match self.state.key(secret) {
            Some(key) => key.set_behaviour(behaviour),
            None => self.add_key(FakeKey::new(secret, "999000000001", behaviour)),
        }
    }

    /// Adds or replaces a key; its counts begin at zero.
    pub fn add_key(&self, key: FakeKey) {
        let mut keys = self.state.keys.write();
        keys.insert(key.secret.clone(), Arc::new(FakeKeyState::new(key)));
    }

    /// Removes a key: it is `API_KEY_INVALID` from now on.
    pub fn remove_key(&self, secret: &str) {
        let mut keys = self.state.keys.write();
        keys.remove(secret);
    }

    /// Sets or lifts the limits of a project.
    pub fn set_quota(&self, project: &str, quota: Option<ProjectQuota>) {
        let config = self.state.project_quotas.write();
        let mut config = config;
        match quota {
            Some(quota) => config.insert(project.to_owned(), quota),
            None => config.remove(project),
        };
    }

    /// Resets all usage, as midnight does.
    pub fn reset_quotas(&self) {
        self.state.quotas.reset();
    }

    /// Answers every n-th request for a model with 503, whatever its key, from the n-th on; `None` ends it.
    pub fn set_overload(&self, model: &str, every_nth: Option<u64>) {
        let overloads = self.state.overloads.write();
        let mut overloads = overloads;
        match every_nth {
            Some(n) => {
                let behaviour = Behaviour::EveryNth(n.max(1), Box::new(Behaviour::Overloaded));
                overloads.insert(model.to_owned(), CountedBehaviour::of(behaviour));
            }
            None => drop(overloads.remove(model)),
        }
    }

    /// Applies a behaviour to all requests before their keys are checked: a blocked address, a failing front end.
    pub fn set_egress_behaviour(&self, behaviour: Option<Behaviour>) {
        let mut egress = self.state.egress.write();
        *egress = behaviour.map(CountedBehaviour::of);
    }

    /// Reads the JSON of requests and live messages as leniently as protobuf does, or strictly again.
    pub fn set_lenient_json(&self, is_lenient: bool) {
        self.state
            .reads_lenient_json
            .store(is_lenient, Ordering::Relaxed);
    }

    pub fn set_response_shape(&self, response_shape: ResponseShape) {
        *self.state.response_shape.write() = response_shape;
    }

    /// Answers the next requests with these, one each, whatever they are; then as configured again.
    pub fn replay(&self, answers: impl IntoIterator<Item = ReplayedResponse>) {
        locked(&self.state.replays).extend(answers);
    }

    /// Answers every request whose query contains `mark` with this, whatever its key.
    pub fn respond_to_marked(&self, mark: &str, response: ReplayedResponse) {
        *locked(&self.state.marked) = Some((mark.to_owned(), response));
    }

    /// Runs the next live session by this script.
    pub fn script_session(&self, steps: impl IntoIterator<Item = SessionStep>) {
        self.state.live.add_script(steps.into_iter().collect());
    }

    /// The live sessions, in the order in which they began.
    pub fn sessions(&self) -> Vec<RecordedSession> {
        self.state.live.recorded()
    }

    /// Requests received since the last reset, oldest first (the newest 10,000).
    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.state.journal.received()
    }

    /// Requests received with this key.
    pub fn received_with(&self, secret: &str) -> Vec<ReceivedRequest> {
        let mut received = self.received();
        received.retain(|request| request.key.as_deref() == Some(secret));
        received
    }

    pub fn last_received(&self) -> Option<ReceivedRequest> {
        self.received().pop()
    }

    /// All requests since the last reset.
    pub fn requests(&self) -> u64 {
        self.state.journal.requests.load(Ordering::Relaxed)
    }

    /// How often a key was used; zero for one that is not known.
    pub fn counts(&self, secret: &str) -> KeyCounts {
        self.state
            .key(secret)
            .map_or_else(KeyCounts::default, |key| key.counts())
    }

    /// The counts of every key, by secret.
    pub fn all_counts(&self) -> HashMap<String, KeyCounts> {
        let keys = self.state.keys.read();
        keys.values()
            .map(|key| (key.secret.clone(), key.counts()))
            .collect()
    }

    /// The resources of all projects, by name.
    pub fn resources(&self) -> Vec<ResourceSummary> {
        self.state.resources.list((self.state.clock)())
    }

    /// All uploads in several requests that have begun, in no order.
    pub fn uploads(&self) -> Vec<UploadSummary> {
        self.state.resources.uploads()
    }

    /// Clients that disconnected before the end of their answers.
    pub fn disconnects(&self) -> Vec<ClientDisconnect> {
        self.state.journal.disconnects()
    }

    pub fn open_connections(&self) -> usize {
        self.state.journal.open_connections.load(Ordering::Relaxed)
    }

    /// Connections accepted since the last reset.
    pub fn connections(&self) -> u64 {
        self.state.journal.connections.load(Ordering::Relaxed)
    }

    /// Requests whose answers have not ended.
    pub fn open_responses(&self) -> usize {
        self.state.journal.open_responses.load(Ordering::Relaxed)
    }

    pub fn open_streams(&self) -> usize {
        self.state.journal.open_streams.load(Ordering::Relaxed)
    }

    /// Resets the counts, but neither quotas nor the steps of behaviours.
    pub fn reset_counts(&self) {
        self.state.journal.reset();
        let keys = self.state.keys.read();
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
