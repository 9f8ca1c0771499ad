//! `World`: days of traffic in seconds: the rules of lending against Google's quotas, on a clock that is moved by hand.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use gemini_pool::clock::Timestamp;
use gemini_pool::demo::fake_gemini::quota::{Charge, ProjectQuota, Quotas};
use gemini_pool::gemini::classify::{Asked, classify, success};
use gemini_pool::gemini::error_body::ErrorBody;
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
const PATIENCE: Duration = Duration::from_secs(10);
/// How many keys it may be tried with.
const MOST_ATTEMPTS: usize = 32;

/// What is asked of one model, all day.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    pub model: &'static str,
    /// Requests a day.
    pub per_day: u32,
    /// How many input tokens a request has on average; a few have many more.
    pub tokens: u64,
    /// How many texts a batch of embeddings has at most; 0: it is no embedding.
    pub texts: u64,
    /// What a project may use in a day, in requests or texts.
    pub quota: u64,
}

/// A pool, its clients and Google.
pub struct World {
    pub keys: KeyRegistry,
    pub now: Timestamp,
    pub seen: Seen,
    /// What a server would have written down since it was last taken.
    pub written: Vec<Written>,
    google: Google,
    demands: Vec<Demand>,
    events: BinaryHeap<Reverse<Event>>,
    running: HashMap<u64, Request>,
    /// Until when a project rests for a model, as it was written down.
    resting: HashMap<(ProjectId, String), Timestamp>,
    random: StdRng,
    last: u64,
}

/// What would be a row or a change of the database.
pub enum Written {
    Row(Box<NewRequestLog>),
    Change(StateChange),
}

/// The figures.
#[derive(Debug, Default)]
pub struct Seen {
    pub calls: u64,
    pub refusals: u64,
    /// Calls to what was known to rest; there must be none.
    pub forbidden: u64,
    /// Requests (or texts) served, by Google's day and model.
    pub served: BTreeMap<(Timestamp, &'static str), u64>,
    pub asked: BTreeMap<(Timestamp, &'static str), u64>,
    pub refused_by: BTreeMap<(&'static str, &'static str), u64>,
}

/// Google, as far as its quotas go.
struct Google {
    quotas: Quotas,
    free: ProjectQuota,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Timestamp,
    number: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A client asks, and will ask again.
    Arrives(usize),
    /// A request looks for a key.
    Tries(u64),
    Ends(u64),
}

struct Request {
    demand: usize,
    amount: QuotaAmount,
    tokens: u64,
    arrived: Timestamp,
    tried: TriedKeys,
    began: Timestamp,
    leased: Option<LeasedKey>,
    verdict: Option<Verdict>,
    attempts: Vec<NewAttempt>,
}

impl World {
    pub fn new(keys: KeyRegistry, demands: &[Demand], start: Timestamp, seed: u64) -> Self {
        let mut world = Self {
            keys,
            now: start,
            seen: Seen::default(),
            written: Vec::new(),
            google: Google {
                quotas: Quotas::default(),
                free: ProjectQuota::free_tier(),
            },
            demands: demands.to_vec(),
            events: BinaryHeap::new(),
            running: HashMap::new(),
            resting: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
            last: 0,
        };
        for demand in 0..demands.len() {
            world.plan_arrival(demand);
        }
        world
    }

    /// Lets everything happen that happens before `until`.
    pub fn run_until(&mut self, until: Timestamp) {
        while let Some(Reverse(event)) = self.events.peek() {
            if event.at >= until {
                break;
            }
            let Some(Reverse(Event { at, what, .. })) = self.events.pop() else {
                break;
            };
            self.now = at;
            match what {
                What::Arrives(demand) => {
                    self.arrive(demand);
                    self.plan_arrival(demand);
                }
                What::Tries(request) => self.try_key(request),
                What::Ends(request) => self.end_attempt(request),
            }
        }
        self.now = until;
    }

    /// So many more requests for each model, now.
    pub fn burst(&mut self, requests: u32) {
        for demand in 0..self.demands.len() {
            for _ in 0..requests {
                self.arrive(demand);
            }
        }
    }

    /// Ends what runs, well or badly, so that the pool can be stopped.
    pub fn let_all_end(&mut self) {
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
            .retain(|Reverse(event)| matches!(event.what, What::Arrives(_)));
    }

    /// The share of calls that met a 429.
    pub fn refused_share(&self) -> f64 {
        share(self.seen.refusals, self.seen.calls)
    }

    /// What was served of what was asked and of what the quotas of `projects` allow, by day and model.
    pub fn throughput(&self, projects: u64) -> Vec<(Timestamp, &'static str, f64)> {
        let allowed = self.seen.asked.iter().filter_map(|((day, model), asked)| {
            let demand = self.demands.iter().find(|demand| demand.model == *model)?;
            let most = (demand.quota * projects).min(*asked);
            let served = self.seen.served.get(&(*day, *model)).copied().unwrap_or(0);
            (most > 0).then(|| (*day, *model, share(served, most)))
        });
        allowed.collect()
    }

    fn plan_arrival(&mut self, demand: usize) {
        let mean_ms = 86_400_000.0 / f64::from(self.demands[demand].per_day);
        // Requests come by chance, independently of each other.
        let wait = -mean_ms * (1.0 - self.random.random::<f64>()).ln();
        let at = self.now + Duration::from_secs_f64(wait / 1_000.0);
        self.plan(at, What::Arrives(demand));
    }

    fn plan(&mut self, at: Timestamp, what: What) {
        self.last += 1;
        let number = self.last;
        self.events.push(Reverse(Event { at, number, what }));
    }

    fn arrive(&mut self, demand: usize) {
        let Demand {
            model,
            tokens,
            texts,
            ..
        } = self.demands[demand];
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
            .seen
            .asked
            .entry((begin_of_google_day(self.now), model))
            .or_default() += requests;
        self.last += 1;
        let request = Request {
            demand,
            // What the bytes of a body tell is right to a quarter.
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
        self.try_key(number);
    }

    fn try_key(&mut self, number: u64) {
        let Some(request) = self.running.get_mut(&number) else {
            return;
        };
        let model = self.demands[request.demand].model;
        let lease_request = LeaseRequest {
            model,
            amount: request.amount,
            tags: &[],
            project: None,
        };
        match self.keys.lease(&lease_request, &request.tried, self.now) {
            Ok(leased) => self.send(number, leased),
            Err(obstacle) => {
                let last = request.arrived + PATIENCE;
                let again = match obstacle {
                    // A bell would ring; here it is looked for again.
                    LeaseObstacle::Busy => Some(self.now + Duration::from_millis(200)),
                    other => other.until(self.now),
                };
                match again.filter(|again| *again <= last) {
                    Some(again) => self.plan(again, What::Tries(number)),
                    None => self.give_up(number),
                }
            }
        }
    }

    fn send(&mut self, number: u64, leased: LeasedKey) {
        let request = self.running.get_mut(&number).unwrap();
        let Demand { model, texts, .. } = self.demands[request.demand];
        let rests = self.resting.get(&(leased.project_id, model.to_owned()));
        self.seen.forbidden += u64::from(rests.is_some_and(|until| *until > self.now));
        self.seen.calls += 1;
        let charge = Charge {
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
            rule: Some(verdict.rule.name()),
            error: None,
            started_at: self.now,
            first_byte_ms: Some(1),
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap()),
        });
        request.leased = Some(leased);
        request.verdict = Some(verdict);
        self.plan(self.now + took, What::Ends(number));
    }

    fn end_attempt(&mut self, number: u64) {
        let Some(request) = self.running.get_mut(&number) else {
            return;
        };
        let (Some(leased), Some(verdict)) = (request.leased.take(), request.verdict.take()) else {
            return;
        };
        let model = self.demands[request.demand].model;
        let timing = AttemptTiming {
            began: request.began,
            now: self.now,
            chance: self.random.random(),
            answer_had_begun: false,
        };
        let changes = self.keys.settle(&leased, model, &verdict, timing);
        for change in changes {
            match &change {
                StateChange::Cooldown {
                    project_id,
                    model,
                    cooldown,
                } => {
                    self.resting
                        .insert((*project_id, model.clone()), cooldown.until);
                }
                StateChange::CooldownLifted { project_id, model } => {
                    self.resting.remove(&(*project_id, model.clone()));
                }
                _ => {}
            }
            self.written.push(Written::Change(change));
        }
        if verdict.rule == Rule::Success {
            self.keys
                .count_tokens(&leased, model, request.tokens, self.now);
            let served = (begin_of_google_day(request.began), model);
            *self.seen.served.entry(served).or_default() += request.amount.requests;
        } else {
            self.seen.refusals += 1;
            *self
                .seen
                .refused_by
                .entry((model, verdict.rule.name()))
                .or_default() += 1;
            request
                .tried
                .add(leased.id, leased.project_id, KeyReuse::AfterCooldown);
        }
        self.keys.release(&leased);
        if verdict.rule != Rule::Success && request.attempts.len() < MOST_ATTEMPTS {
            self.try_key(number);
        } else {
            self.give_up(number);
        }
    }

    /// The request has come to its end, with an answer or without.
    fn give_up(&mut self, number: u64) {
        let Some(request) = self.running.remove(&number) else {
            return;
        };
        let Demand { model, .. } = self.demands[request.demand];
        let id = RequestId(
            RequestId::first_at(request.arrived).0 + i64::try_from(number % 1_000_000).unwrap(),
        );
        let path = format!("/v1beta/models/{model}:generateContent");
        let mut row = NewRequestLog::begun(id, request.arrived, "POST".into(), path);
        let outcome = request.attempts.last().and_then(|attempt| attempt.outcome);
        row.model = Some(model.to_owned());
        row.outcome = Some(outcome.unwrap_or(gemini_pool::pool::outcome::Outcome::Quota));
        row.quota_requests = request.amount.requests;
        row.usage.prompt = Some(request.tokens);
        row.duration_ms = Some(u64::try_from((self.now - request.arrived).as_millis()).unwrap());
        row.attempts = request.attempts;
        self.written.push(Written::Row(Box::new(row)));
    }
}

impl Google {
    fn answer(&self, project: ProjectId, model: &str, charge: Charge, now: Timestamp) -> Verdict {
        let project = project.0.to_string();
        let booked = self
            .quotas
            .charge(&self.free, &project, model, charge, now.as_millis());
        match booked {
            Ok(()) => success(200),
            Err(exhausted) => {
                let body = ErrorBody::read(exhausted.body().as_bytes());
                let asked = Asked {
                    surface: Surface::Native,
                    client_deadline: false,
                };
                classify(429, Some("application/json"), &body, asked)
            }
        }
    }
}

/// A demand, in the order of its fields.
pub const fn demand(
    model: &'static str,
    per_day: u32,
    tokens: u64,
    texts: u64,
    quota: u64,
) -> Demand {
    Demand {
        model,
        per_day,
        tokens,
        texts,
        quota,
    }
}

/// The key with this number, alone in the project with the same.
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

/// Three days of Google's, the last of which has 25 hours.
pub fn start() -> Timestamp {
    "2026-10-30T07:00:00Z".parse().unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "a share is no count")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
