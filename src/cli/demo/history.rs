//! The demo's past: many keys and requests that never were, so that everything can be seen, and measured, full.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use rand::rngs::ThreadRng;
use tokio_util::sync::CancellationToken;

use crate::cli::demo::sample_data::{
    AGENTS, CLIENTS, FAILURES, MODELS, SURFACES, SampleFailure, SampleModel, SampleSurface, TAGS,
    choose, choose_weighted, hourly_weight, is_incident_hour,
};
use crate::clock::Timestamp;
use crate::demo::keys;
use crate::gemini::prices::cost_nano_usd;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::cooldown::{EVERY_MODEL, check_after};
use crate::pool::health::verdict::{Fault, Rule};
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKeyId,
};
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::request_id::{RequestId, RequestIdGenerator};
use crate::pool::secret::Secret;
use crate::storage::audit::{Act, Actor};
use crate::storage::client_keys::{self, NewClientKey};
use crate::storage::db::Db;
use crate::storage::recorder::{LogWriter, Recorder};
use crate::storage::request_logs::{self, NewAttempt, NewRequestLog};
use crate::storage::upstream_keys::Evidence;
use crate::storage::{cooldowns, installation, upstream_keys};

/// Over how long the rows are spread.
const SPAN: Duration = Duration::from_hours(30 * 24);
/// A bad key's last request comes so long before the time when it is gone at the latest.
const OUTAGE_DETECTION_WINDOW: Duration = Duration::from_hours(48);
/// How many rows share a transaction.
const BATCH: u64 = 50_000;
/// Room for the pages that one of those touches.
const CACHE_MIB: u32 = 400;
/// A key as the rows need it.
struct HistoryKey {
    id: UpstreamKeyId,
    project_id: ProjectId,
    is_free: bool,
    /// When its last lease ends.
    outage: Option<KeyOutage>,
}

/// When and by what rule a key was set aside, and the request that showed it.
struct KeyOutage {
    at: Timestamp,
    rule: Rule,
    detected_by: RequestId,
}

/// Adds `keys` upstream keys, and `rows` requests with their attempts and sums, all of them before `now`. A log that has
/// rows already gets no more.
pub async fn generate(
    db: &Db,
    rows: u64,
    keys: usize,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<()> {
    db.set_cache_size(CACHE_MIB).await?;
    let mut added = add_keys(db, keys, now).await?;
    let clients = add_clients(db, now).await?;
    let is_empty = request_logs::last_id(&db.readers).await? == RequestId(0);
    if rows > 0 && is_empty {
        let mut generator = HistoryGenerator {
            rng: rand::rng(),
            ids: RequestIdGenerator::after(RequestId(0)),
            keys: &mut added,
            clients: &clients,
        };
        let (_recorder, mut writer) = Recorder::new(db.clone());
        generator.write(db, &mut writer, rows, now, stop).await?;
    }
    write_key_states(db, &added, now).await
}

/// Adds keys beyond the cast's, in projects of a few each. Those that are known from an earlier demo stay as they are.
async fn add_keys(db: &Db, count: usize, now: Timestamp) -> Result<Vec<HistoryKey>> {
    let bar = progress_bar("upstream keys", count as u64);
    let mut rng = rand::rng();
    let mut tx = db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    // As old as the rows, because no state is older than its key.
    let act = Act::begin(&mut tx, &Actor::demo(), now - SPAN).await?;
    for (number, extra) in keys::extra_keys(count).enumerate() {
        let team = choose(&mut rng, &TAGS);
        let environment = choose(&mut rng, &["prod", "batch", "spare"]);
        let attributes = KeyAttributes {
            label: Some(format!("{team}-{number:05}")),
            project: Some(format!("projects/{}", extra.project)),
            billing: Some(match extra.project.as_bytes().last() {
                Some(b'0'..=b'6') => Billing::Free,
                Some(b'7' | b'8') => Billing::Paid,
                _ => Billing::Unknown,
            }),
            priority: Some(i64::from(number % 12 == 0)),
            weight: Some(if number % 9 == 0 { 2 } else { 1 }),
            tags: Some(vec![team.to_owned(), environment.to_owned()]),
        };
        let secret = Secret::new(&extra.secret);
        upstream_keys::insert(&mut tx, &hash_key, &secret, &attributes, false, &act).await?;
        bar.inc(1);
    }
    tx.commit().await?;
    bar.finish_and_clear();

    let (known, _) = upstream_keys::list_changed(&db.readers, -1).await?;
    let first = rand::rng().random_range(0..100);
    let keys = known
        .into_iter()
        .enumerate()
        .map(|(number, key)| HistoryKey {
            id: key.id,
            project_id: key.project_id,
            is_free: key.billing == Billing::Free,
            // The cast finds out by itself; of the others a few in a hundred were set aside some time ago.
            outage: (number >= keys::demo_keys().len() && key.condition.state == KeyState::Ready)
                .then(|| outage_rule((number + first) % 200))
                .flatten()
                .map(|rule| KeyOutage {
                    at: now - SPAN.mul_f64(rng.random_range(0.0..0.3)),
                    rule,
                    detected_by: RequestId(0),
                }),
        });
    Ok(keys.collect())
}

fn outage_rule(of_200: usize) -> Option<Rule> {
    match of_200 {
        0..=2 => Some(Rule::ApiKeyInvalid),
        3 => Some(Rule::KeyLeaked),
        4 | 5 => Some(Rule::ConsumerSuspended),
        6 => Some(Rule::BillingEmpty),
        7 => Some(Rule::ServiceDisabled),
        _ => None,
    }
}

async fn add_clients(db: &Db, now: Timestamp) -> Result<Vec<ClientKeyId>> {
    let mut tx = db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let act = Act::begin(&mut tx, &Actor::demo(), now).await?;
    for name in CLIENTS {
        let secret = format!("demo-{}", name.replace(' ', "-"));
        let key = NewClientKey {
            name,
            note: "of the demo: not secret",
            secret: &Secret::new(&secret),
            expires_at: None,
        };
        client_keys::insert(&mut tx, &hash_key, &key, &act).await?;
    }
    tx.commit().await?;
    let clients = client_keys::list(&db.readers).await?;
    Ok(clients.into_iter().map(|client| client.id).collect())
}

/// Sets aside the keys that were found bad, and lets a few projects rest.
async fn write_key_states(db: &Db, keys: &[HistoryKey], now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    let act = Act::begin(&mut tx, &Actor::demo(), now).await?;
    for key in keys {
        // A past without checks would have them all made as soon as the server starts.
        upstream_keys::update_checked_at(&mut *tx, key.id, now).await?;
        let Some(outage) = &key.outage else { continue };
        let fault = outage.rule.fault();
        let condition = KeyCondition {
            state: match fault {
                Fault::KeyLeaked => KeyState::Leaked,
                Fault::ProjectSuspended => KeyState::Suspended,
                Fault::ProjectMisconfigured => KeyState::Misconfigured,
                _ => KeyState::Invalid,
            },
            rule: Some(outage.rule),
            since: outage.at,
            until: None,
            next_check: check_after(fault, 4).map(|wait| now + wait),
            failed_checks: 4,
        };
        let evidence = evidence(outage);
        upstream_keys::update_condition(&mut *tx, key.id, &condition, &evidence).await?;
    }
    for (number, key) in keys.iter().enumerate().skip(keys::demo_keys().len()) {
        let model = if number % 3 == 0 {
            EVERY_MODEL
        } else {
            MODELS[0].name
        };
        let (rule, duration) = match number % 40 {
            7 => (Rule::QuotaPerDay, Duration::from_hours(9)),
            19 => (Rule::QuotaPerMinute, Duration::from_mins(10)),
            _ => continue,
        };
        let cooldown = Cooldown {
            rule,
            step: 0,
            since: now,
            until: now + duration,
        };
        let failure = SampleFailure::of(rule);
        let evidence = Evidence {
            status: failure.status,
            message: failure.message.to_owned(),
            request_id: RequestId::first_at(now),
        };
        cooldowns::upsert(&mut *tx, key.project_id, model, &cooldown, &evidence).await?;
    }
    let others = keys.iter().skip(keys::demo_keys().len());
    let off: Vec<_> = others.step_by(60).map(|key| key.id).collect();
    upstream_keys::update_enabled(&mut tx, &off, false, &act).await?;
    tx.commit().await?;
    Ok(())
}

fn evidence(outage: &KeyOutage) -> Evidence {
    let failure = SampleFailure::of(outage.rule);
    Evidence {
        status: failure.status,
        message: failure.message.to_owned(),
        request_id: outage.detected_by,
    }
}

/// Makes the rows, oldest first.
struct HistoryGenerator<'a> {
    rng: ThreadRng,
    ids: RequestIdGenerator,
    keys: &'a mut [HistoryKey],
    clients: &'a [ClientKeyId],
}

impl HistoryGenerator<'_> {
    async fn write(
        &mut self,
        db: &Db,
        writer: &mut LogWriter,
        count: u64,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<()> {
        let bar = progress_bar("requests", count);
        let mut arrivals = ArrivalTimes::new(now - SPAN, count);
        let mut left = count;
        while left > 0 {
            if stop.is_cancelled() {
                bail!("stopped before all of the past was made");
            }
            let size = left.min(BATCH);
            let rows = (0..size).map(|_| {
                let at = arrivals.next(&mut self.rng);
                self.row(at)
            });
            let rows = rows.collect();
            writer.write_rows(rows).await?;
            // The server's task for it does not run yet.
            db.checkpoint().await?;
            left -= size;
            bar.inc(size);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// One request with its attempts, which began at `at`.
    fn row(&mut self, at: Timestamp) -> NewRequestLog {
        let id = self.ids.next(at);
        let surface = choose_weighted(&mut self.rng, &SURFACES, |surface| surface.weight);
        let model = surface
            .model
            .unwrap_or_else(|| choose_weighted(&mut self.rng, &MODELS, |model| model.weight));
        let mut row = NewRequestLog::started(id, at, "POST".to_owned(), surface.path_of(model));
        let client = self.choose_client();
        row.client_key_id = Some(self.clients[client]);
        row.client_ip = Some(self.address(client));
        row.user_agent = Some(AGENTS[client % AGENTS.len()].to_owned());
        row.model = Some(model.name.to_owned());
        row.operation = Some(surface.operation.to_owned());
        row.streamed = surface.is_streamed;
        row.request_bytes = self.random_number(900.0, 1.2);
        row.quota_requests = 1;

        let incident_factor: f64 = if is_incident_hour(at) { 12.0 } else { 1.0 };
        let chance: f64 = self.rng.random();
        if chance < 0.008 {
            self.refuse(&mut row);
        } else {
            // The first attempts of one in fifteen fail and are tried again; a few never succeed.
            while row.attempts.len() < 3
                && self.rng.random::<f64>() < 0.06 * incident_factor.min(5.0)
            {
                self.fail(&mut row, model, true);
            }
            if self.rng.random::<f64>() < 0.035 * incident_factor.min(8.0) {
                self.fail(&mut row, model, false);
            } else {
                self.succeed(&mut row, surface, model);
            }
        }
        row
    }

    /// What never got as far as an upstream key.
    fn refuse(&mut self, row: &mut NewRequestLog) {
        let (outcome, status, message) = match self.rng.random_range(0..10) {
            0..=3 => {
                row.client_key_id = None;
                row.client_ip = Some(format!("203.0.113.{}", self.rng.random_range(1..255)));
                let message =
                    "gemini-pool: this client key is not known. Ask the administrator for one.";
                (Outcome::Refused, 401, message)
            }
            4..=6 => {
                let message = "gemini-pool: this client key has sent 60 requests in the last minute and may send 60. \
                    Please retry in 21s.";
                (Outcome::Refused, 429, message)
            }
            _ => {
                row.wait_ms = 10_000;
                let message = "gemini-pool: no key was ready within 10 s. Please retry in 38s.";
                (Outcome::NoKey, 429, message)
            }
        };
        row.status = Some(status);
        row.outcome = Some(outcome);
        row.error = Some(message.to_owned());
        row.duration_ms = Some(row.wait_ms + self.random_number(2.0, 0.8));
        row.first_byte_ms = row.duration_ms;
        row.response_bytes = 400;
    }

    /// Adds an attempt that failed, and ends the request with it unless it is tried again.
    fn fail(&mut self, row: &mut NewRequestLog, model: &SampleModel, is_retried: bool) {
        let rules = FAILURES.iter();
        let fitting: Vec<_> = rules
            .filter(|failure| failure.is_retried == is_retried)
            .collect();
        let mut failure = **choose_weighted(&mut self.rng, &fitting, |failure| failure.weight);
        let begun = row.started_at + Duration::from_millis(row.duration_ms.unwrap_or(0));
        let key_index = self.choose_key(begun);
        if let Some(outage) = self.keys[key_index].outage.as_mut()
            && outage.detected_by == RequestId(0)
            && is_retried
            && outage.at - begun < OUTAGE_DETECTION_WINDOW
        {
            // The key's last request, which showed what is wrong with it.
            (outage.at, outage.detected_by) = (begun, row.id);
            failure = SampleFailure::of(outage.rule);
        }
        let ms = self.random_number(failure.typical_ms, 0.7);
        let message = failure.message_for(model.name);
        row.attempts.push(NewAttempt {
            upstream_key_id: self.keys[key_index].id,
            project_id: self.keys[key_index].project_id,
            status: failure.status,
            outcome: Some(failure.rule.outcome()),
            rule: Some(failure.rule.name()),
            error: Some(message.clone()),
            started_at: begun,
            first_byte_ms: failure.status.map(|_| ms),
            duration_ms: Some(ms),
        });
        row.duration_ms = Some(row.duration_ms.unwrap_or(0) + ms + 1);
        if is_retried {
            return;
        }
        row.status = failure.status.or(Some(504));
        row.outcome = Some(failure.outcome);
        row.first_byte_ms = row.duration_ms;
        row.response_bytes = 500;
        if let Some(attempt) = row.attempts.last_mut() {
            attempt.outcome = Some(failure.outcome);
        }
        row.error = Some(message);
        if failure.outcome == Outcome::ClientGone {
            row.status = None;
        }
    }

    fn succeed(&mut self, row: &mut NewRequestLog, surface: &SampleSurface, model: &SampleModel) {
        let begun = row.started_at + Duration::from_millis(row.duration_ms.unwrap_or(0));
        let key_index = self.choose_key(begun);
        let first = self.random_number(model.first_byte_ms, 0.6);
        let prompt = self.random_number(700.0, 1.3).max(3);
        let output = if surface.generates_text {
            self.random_number(260.0, 1.1).max(1)
        } else {
            0
        };
        let thoughts = if surface.generates_text && model.has_thoughts {
            Some(self.random_number(420.0, 1.0))
        } else {
            None
        };
        let cached =
            (surface.generates_text && self.rng.random_range(0..9) == 0).then_some(prompt * 3 / 4);
        let written = output + thoughts.unwrap_or(0);
        let ms = first + written * model.tenths_of_ms_per_token / 10;
        let duration = row.duration_ms.unwrap_or(0) + ms;
        row.usage = TokenUsage {
            prompt: Some(prompt),
            output: surface.generates_text.then_some(output),
            thoughts,
            cached,
            total: Some(prompt + written),
            ..TokenUsage::default()
        };
        row.request_bytes += prompt * 4;
        row.response_bytes = 600 + output * 5;
        row.first_byte_ms = Some(duration - ms + if surface.is_streamed { first } else { ms });
        row.duration_ms = Some(duration);
        row.status = Some(200);
        row.outcome = Some(Outcome::Success);
        row.model_version = Some(model.version.to_owned());
        if surface.generates_text {
            let is_cut = self.rng.random_range(0..40) == 0;
            row.finish_reason = Some(if is_cut { "MAX_TOKENS" } else { "STOP" }.to_owned());
            row.service_tier = Some("standard".to_owned());
        }
        row.cost_nano_usd = if self.keys[key_index].is_free {
            Some(0)
        } else {
            cost_nano_usd(model.version, &row.usage, None, row.started_at)
        };
        row.attempts.push(NewAttempt {
            upstream_key_id: self.keys[key_index].id,
            project_id: self.keys[key_index].project_id,
            status: Some(200),
            outcome: Some(Outcome::Success),
            rule: Some(Rule::Success.name()),
            error: None,
            started_at: begun,
            first_byte_ms: Some(if surface.is_streamed { first } else { ms }),
            duration_ms: Some(ms),
        });
    }

    /// A key that is still leased then.
    fn choose_key(&mut self, at: Timestamp) -> usize {
        loop {
            let key_index = self.rng.random_range(0..self.keys.len());
            if self.keys[key_index]
                .outage
                .as_ref()
                .is_none_or(|outage| at < outage.at)
            {
                return key_index;
            }
        }
    }

    /// A few clients ask most.
    fn choose_client(&mut self) -> usize {
        let draws = [(); 3].map(|()| self.rng.random_range(0..self.clients.len()));
        draws.into_iter().min().unwrap_or(0)
    }

    /// Each client has a few addresses.
    fn address(&mut self, client: usize) -> String {
        let host = self.rng.random_range(0..6) + client * 7 % 200;
        format!("10.20.{client}.{}", host + 10)
    }

    /// About `typical`, now and then many times as much.
    fn random_number(&mut self, typical: f64, width: f64) -> u64 {
        // The sum of three is near enough to a bell.
        let sum: f64 = (0..3).map(|_| self.rng.random::<f64>()).sum();
        let value = typical * ((sum - 1.5) * 2.0 * width).exp();
        Duration::from_secs_f64(value.min(1e9)).as_secs()
    }
}

/// When the requests began: more by day than by night, and fewer on Sundays.
struct ArrivalTimes {
    begin: Timestamp,
    /// How many are left for each hour.
    hours: Vec<u64>,
    hour: usize,
    /// Of the running hour, sorted downwards.
    offsets: Vec<u64>,
}

impl ArrivalTimes {
    fn new(begin: Timestamp, count: u64) -> Self {
        let hours = SPAN.as_secs() / 3600;
        let start_of = |hour: u64| begin + Duration::from_hours(hour);
        let total: u64 = (0..hours).map(|hour| hourly_weight(start_of(hour))).sum();
        let mut before = 0;
        let mut sum = 0;
        let hours = (0..hours).map(|hour| {
            sum += hourly_weight(start_of(hour));
            // Rounded so that all of them together are `count`.
            let until = u64::try_from(u128::from(count) * u128::from(sum) / u128::from(total));
            let until = until.expect("a part of the count");
            let here = until - before;
            before = until;
            here
        });
        Self {
            begin,
            hours: hours.collect(),
            hour: 0,
            offsets: Vec::new(),
        }
    }

    fn next(&mut self, rng: &mut ThreadRng) -> Timestamp {
        while self.offsets.is_empty() {
            let count = self.hours.get(self.hour).copied().unwrap_or(1);
            self.offsets = (0..count).map(|_| rng.random_range(0..3_600_000)).collect();
            self.offsets.sort_unstable_by(|a, b| b.cmp(a));
            self.hour += 1;
        }
        let offset = self.offsets.pop().unwrap_or(0);
        let hour = u64::try_from(self.hour - 1).unwrap_or(0);
        self.begin + Duration::from_hours(hour) + Duration::from_millis(offset)
    }
}

fn progress_bar(what: &'static str, count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("making {len} {msg} {wide_bar} {percent} % {eta}");
    let bar = ProgressBar::new(count).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
