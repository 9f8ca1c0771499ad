//! `Simulator`: days of traffic in seconds: the pool's rules against Google's quotas, with a simulated clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use gemini_pool::clock::Timestamp;
use gemini_pool::demo::fake_gemini::quota::{ProjectQuota, QuotaCharge, QuotaCounters};
use gemini_pool::gemini::errors::classify::{ErrorContext, classify, success};
use gemini_pool::gemini::errors::error_body::ErrorBody;
use gemini_pool::gemini::target::Surface;
use gemini_pool::pool::health::settle::AttemptTiming;
use gemini_pool::pool::health::state_change::StateChange;
use gemini_pool::pool::health::verdict::{Rule, Verdict};
use gemini_pool::pool::keys::registry::{KeyRegistry, LeasedKey};
use gemini_pool::pool::keys::selection::{KeyReuse, LeaseObstacle, LeaseRequest, TriedKeys};
use gemini_pool::pool::keys::upstream_key::{
    Billing, KeyCondition, ProjectId, UpstreamKey, UpstreamKeyId,
};
use gemini_pool::pool::quota::google_clock::begin_of_google_day;
use gemini_pool::pool::quota::windows::QuotaAmount;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::request_logs::{NewAttempt, NewRequestLog};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long a request waits for a key.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Maximum number of attempts per request.
const MOST_ATTEMPTS: usize = 32;

/// The requests for one model in a day.
#[derive(Debug, Clone, Copy)]
pub struct ModelLoad {
    pub model: &'static str,
    /// Requests a day.
    pub per_day: u32,
    /// Average number of input tokens per request; a few requests have many more.
    pub tokens: u64,
    /// Maximum number of texts per batch of embeddings; 0: no embeddings.
    pub texts: u64,
    /// A project's daily quota, in requests or texts.
    pub quota: u64,
}

/// A pool, its clients and Google.
pub struct Simulator {
    pub keys: KeyRegistry,
    pub now: Timestamp,
    pub figures: Figures,
    /// The rows that a server would have written since the last take.
    pub written: Vec<WrittenRow>,
    google: QuotaService,
    model_loads: Vec<ModelLoad>,
    events: BinaryHeap<Reverse<SimulatorEvent>>,
    running: HashMap<u64, SimulatedRequest>,
    /// The cooldowns written so far, by project and model.
    cooling_down: HashMap<(ProjectId, String), Timestamp>,
    random: StdRng,
    last: u64,
}

/// A row or a change that a server would write.
pub enum WrittenRow {
    Row(Box<NewRequestLog>),
    Change(StateChange),
}

/// The figures.
#[derive(Debug, Default)]
pub struct Figures {
    pub calls: u64,
    pub refusals: u64,
    /// Calls during a known cooldown; there must be none.
    pub calls_during_cooldown: u64,
    /// Requests (or texts) served, by Google's day and model.
    pub served: BTreeMap<(Timestamp, &'static str), u64>,
    pub asked: BTreeMap<(Timestamp, &'static str), u64>,
    pub refused_by: BTreeMap<(&'static str, &'static str), u64>,
}

/// Google's quotas.
struct QuotaService {
    quotas: QuotaCounters,
    free: ProjectQuota,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SimulatorEvent {
    at: Timestamp,
    number: u64,
    kind: EventKind,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EventKind {
    /// A client sends a request, and schedules the next.
    Arrival(usize),
    /// A request selects a key.
    KeySelection(u64),
    AttemptEnd(u64),
}

struct SimulatedRequest {
    model_load: usize,
    amount: QuotaAmount,
    tokens: u64,
    arrived: Timestamp,
    tried: TriedKeys,
    began: Timestamp,
    leased: Option<LeasedKey>,
    verdict: Option<Verdict>,
    attempts: Vec<NewAttempt>,
}

impl Simulator {
    pub fn new(keys: KeyRegistry, model_loads: &[ModelLoad], start: Timestamp, seed: u64) -> Self {
        let mut simulator = Self {
            keys,
            now: start,
            figures: Figures::default(),
            written: Vec::new(),
            google: QuotaService {
                quotas: QuotaCounters::default(),
                free: ProjectQuota::free_tier(),
            },
            model_loads: model_loads.to_vec(),
            events: BinaryHeap::new(),
            running: HashMap::new(),
            cooling_down: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
            last: 0,
        };
        for model_load in 0..model_loads.len() {
            simulator.schedule_arrival(model_load);
        }
        simulator
    }

    /// Processes all events before `until`.
    pub fn run_until(&mut self, until: Timestamp) {
        while let Some(Reverse(event)) = self.events.peek() {
            if event.at >= until {
                break;
            }
            let Some(Reverse(SimulatorEvent { at, kind, .. })) = self.events.pop() else {
                break;
            };
            self.now = at;
            match kind {
                EventKind::Arrival(model_load) => {
                    self.start_request(model_load);
                    self.schedule_arrival(model_load);
                }
                EventKind::KeySelection(request) => self.select_key(request),
                EventKind::AttemptEnd(request) => self.end_attempt(request),
            }
        }
        self.now = until;
    }

    /// Adds so many requests for each model now.
    pub fn burst(&mut self, requests: u32) {
        for model_load in 0..self.model_loads.len() {
            for _ in 0..requests {
                self.start_request(model_load);
            }
        }
    }

    /// Ends all running requests, with success or failure, so that the pool can be stopped.
    pub fn end_running_requests(&mut self) {
        let mut running: Vec<_> = self.running.keys().copied().collect();
        running.sort_unstable();
        for request in running {
            if self
                .running
                .get(&request)
                .is_some_and(|request| request.leased.is_some())
            {
                self.end_attempt(request);
            }
            self.running.remove(&request);
        }
        self.events
            .retain(|Reverse(event)| matches!(event.kind, EventKind::Arrival(_)));
    }

    /// The share of calls that met a 429.
    pub fn refused_share(&self) -> f64 {
        share(self.figures.refusals, self.figures.calls)
    }

    /// Served requests relative to the demand and to the quotas of `projects`, by day and model.
    pub fn throughput(&self, projects: u64) -> Vec<(Timestamp, &'static str, f64)> {
        let allowed = self
            .figures
            .asked
            .iter()
            .filter_map(|((day, model), asked)| {
                let model_load = self
                    .model_loads
                    .iter()
                    .find(|model_load| model_load.model == *model)?;
                let most = (model_load.quota * projects).min(*asked);
                let served = self
                    .figures
                    .served
                    .get(&(*day, *model))
                    .copied()
                    .unwrap_or(0);
                (most > 0).then(|| (*day, *model, share(served, most)))
            });
        allowed.collect()
    }

    fn schedule_arrival(&mut self, model_load: usize) {
        let mean_ms = 86_400_000.0 / f64::from(self.model_loads[model_load].per_day);
        // Requests arrive at random, independently of each other.
        let wait = -mean_ms * (1.0 - self.random.random::<f64>()).ln();
        let at = self.now + Duration::from_secs_f64(wait / 1_000.0);
        self.schedule(at, EventKind::Arrival(model_load));
    }

    fn schedule(&mut self, at: Timestamp, kind: EventKind) {
        self.last += 1;
        let number = self.last;
        self.events
            .push(Reverse(SimulatorEvent { at, number, kind }));
    }

    fn start_request(&mut self, model_load: usize) {
        let ModelLoad {
            model,
            tokens,
            texts,
            ..
        } = self.model_loads[model_load];
        let requests = if texts > 0 {
            self.random.random_range(1..=texts)
        } else {
            1
        };
        // One in fifty is ten times as long.
        let long = if self.random.random_range(0..50) == 0 {
            10
        } else {
            1
        };
        let tokens = self.random.random_range(tokens / 2..=tokens * 3 / 2) * long;
        *self
            .figures
            .asked
            .entry((begin_of_google_day(self.now), model))
            .or_default() += requests;
        self.last += 1;
        let request = SimulatedRequest {
            model_load,
            // The estimate from a body's bytes is accurate to a quarter.
            amount: QuotaAmount {
                requests,
                tokens: (tokens * 5 / 4).min(16_384),
            },
            tokens,
            arrived: self.now,
            tried: TriedKeys::default(),
            began: self.now,
            leased: None,
            verdict: None,
            attempts: Vec::new(),
        };
        let number = self.last;
        self.running.insert(number, request);
        self.select_key(number);
    }

    fn select_key(&mut self, number: u64) {
        let Some(request) = self.running.get_mut(&number) else {
            return;
        };
        let model = self.model_loads[request.model_load].model;
        let lease_request = LeaseRequest {
            model,
            amount: request.amount,
            tags: &[],
            project: None,
        };
        match self.keys.lease(&lease_request, &request.tried, self.now) {
            Ok(leased) => self.send(number, leased),
            Err(obstacle) => {
                let last = request.arrived + MAX_WAIT;
                let again = match obstacle {
                    // The simulator polls instead of waiting for a release.
                    LeaseObstacle::Busy => Some(self.now + Duration::from_millis(200)),
                    other => other.until(self.now),
                };
                match again.filter(|again| *again <= last) {
                    Some(again) => self.schedule(again, EventKind::KeySelection(number)),
                    None => self.finish_request(number),
                }
            }
        }
    }

    fn send(&mut self, number: u64, leased: LeasedKey) {
        let request = self.running.get_mut(&number).unwrap();
        let ModelLoad { model, texts, .. } = self.model_loads[request.model_load];
        let cooldown_until = self
            .cooling_down
            .get(&(leased.project_id, model.to_owned()));
        self.figures.calls_during_cooldown +=
            u64::from(cooldown_until.is_some_and(|until| *until > self.now));
        self.figures.calls += 1;
        let charge = QuotaCharge {
            is_embedding: texts > 0,
            requests: request.amount.requests,
            input_tokens: request.tokens,
        };
        let verdict = self
            .google
            .answer(leased.project_id, model, charge, self.now);
        let took = if verdict.rule == Rule::Success {
            Duration::from_millis(self.random.random_range(400..6_000))
        } else {
            Duration::from_millis(self.random.random_range(50..200))
        };
        request.began = self.now;
        request.attempts.push(NewAttempt {
            upstream_key_id: leased.id,
            project_id: leased.project_id,
            status: verdict.status,
            outcome: Some(verdict.rule.outcome()),
            rule: Some(verdict.rule.name().into()),
            error: None,
            started_at: self.now,
            first_byte_ms: Some(1),
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap()),
            egress_id: None,
        });
        request.leased = Some(leased);
        request.verdict = Some(verdict);
        self.schedule(self.now + took, EventKind::AttemptEnd(number));
    }

    fn end_attempt(&mut self, number: u64) {
        let Some(request) = self.running.get_mut(&number) else {
            return;
        };
        let (Some(leased), Some(verdict)) = (request.leased.take(), request.verdict.take()) else {
            return;
        };
        let model = self.model_loads[request.model_load].model;
        let timing = AttemptTiming {
            began: request.began,
            now: self.now,
            chance: self.random.random(),
            answer_had_begun: false,
            client: None,
        };
        let changes = self.keys.settle(&leased, model, &verdict, timing);
        for change in changes {
            match &change {
                StateChange::Cooldown {
                    project_id,
                    model,
                    cooldown,
                } => {
                    self.cooling_down
                        .insert((*project_id, model.clone()), cooldown.until);
                }
                StateChange::CooldownLifted { project_id, model } => {
                    self.cooling_down.remove(&(*project_id, model.clone()));
                }
                _ => {}
            }
            self.written.push(WrittenRow::Change(change));
        }
        if verdict.rule == Rule::Success {
            self.keys
                .count_tokens(&leased, model, request.tokens, self.now);
            let served = (begin_of_google_day(request.began), model);
            *self.figures.served.entry(served).or_default() += request.amount.requests;
        } else {
            self.figures.refusals += 1;
            *self
                .figures
                .refused_by
                .entry((model, verdict.rule.name()))
                .or_default() += 1;
            request
                .tried
                .add(leased.id, leased.project_id, KeyReuse::AfterCooldown);
        }
        self.keys.release(&leased);
        if verdict.rule != Rule::Success && request.attempts.len() < MOST_ATTEMPTS {
            self.select_key(number);
        } else {
            self.finish_request(number);
        }
    }

    /// A request has ended, with an answer or without.
    fn finish_request(&mut self, number: u64) {
        let Some(request) = self.running.remove(&number) else {
            return;
        };
        let ModelLoad { model, .. } = self.model_loads[request.model_load];
        let id = RequestId(
            RequestId::first_at(request.arrived).0 + i64::try_from(number % 1_000_000).unwrap(),
        );
        let path = format!("/v1beta/models/{model}:generateContent");
        let mut row = NewRequestLog::started(id, request.arrived, "POST".into(), path);
        let outcome = request.attempts.last().and_then(|attempt| attempt.outcome);
        row.model = Some(model.to_owned());
        row.outcome = Some(outcome.unwrap_or(gemini_pool::pool::outcome::Outcome::Quota));
        row.quota_requests = request.amount.requests;
        row.usage.prompt = Some(request.tokens);
        row.duration_ms = Some(u64::try_from((self.now - request.arrived).as_millis()).unwrap());
        row.attempts = request.attempts;
        self.written.push(WrittenRow::Row(Box::new(row)));
    }
}

impl QuotaService {
    fn answer(
        &self,
        project: ProjectId,
        model: &str,
        charge: QuotaCharge,
        now: Timestamp,
    ) -> Verdict {
        let project = project.0.to_string();
        let booked = self
            .quotas
            .charge(&self.free, &project, model, charge, now.as_millis());
        match booked {
            Ok(()) => success(200),
            Err(exhausted) => {
                let body = ErrorBody::read(exhausted.body().as_bytes());
                let asked = ErrorContext {
                    surface: Surface::Native,
                    client_deadline: false,
                };
                classify(429, Some("application/json"), &body, asked)
            }
        }
    }
}

/// A model load, with its fields in order.
pub const fn model_load(
    model: &'static str,
    per_day: u32,
    tokens: u64,
    texts: u64,
    quota: u64,
) -> ModelLoad {
    ModelLoad {
        model,
        per_day,
        tokens,
        texts,
        quota,
    }
}

/// The key with this number, in a project of the same number.
pub fn key(number: i64) -> UpstreamKey {
    UpstreamKey {
        id: UpstreamKeyId(number),
        project_id: ProjectId(number),
        project: None,
        project_number: None,
        billing: Billing::Unknown,
        label: String::new(),
        tags: vec![],
        secret: Secret::new(&format!("secret-of-key-{number}")),
        enabled: true,
        priority: 0,
        weight: 1,
        condition: KeyCondition::ready(start()),
        state_reset_revision: 0,
        last_used_at: None,
        checked_at: None,
    }
}

/// The first of three of Google's days, the last of which has 25 hours.
pub fn start() -> Timestamp {
    "2026-10-30T07:00:00Z".parse().unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "a share is no count")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
