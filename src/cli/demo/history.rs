//! Generates the history of the demo: upstream keys and days of requests, written like those that were served.

use std::f64::consts::TAU;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use rand::rngs::ThreadRng;
use sqlx::{Sqlite, Transaction};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::demo::keys::{demo_keys, extra_keys};
use crate::gemini::prices::cost_nano_usd;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::cooldown::check_after;
use crate::pool::health::verdict::{Fault, Rule};
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKeyId,
};
use crate::pool::model_prices::ModelPrices;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::request_id::{IdsInUse, RequestId, RequestIdGenerator};
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::recorder::Recorder;
use crate::storage::request_logs::{self, NewAttempt, NewRequestLog};
use crate::storage::upstream_keys::Evidence;
use crate::storage::{client_keys, installation, key_index, settings, upstream_keys};

const DAY: Duration = Duration::from_hours(24);
/// Rows per transaction.
const BATCH: u64 = 50_000;
/// How many attempts are added to the indexes of keys and projects at a time, as long as there are so many. A portion writes a
/// page for each key, so that large ones are the fastest.
const INDEX_PORTIONS: [u32; 3] = [1 << 20, 1 << 16, 1 << 12];
/// Holds the pages that one batch changes.
const CACHE_MIB: u32 = 400;

/// Name, weight, typical time to the first byte in milliseconds, and tenths of a millisecond per token.
const MODELS: [(&str, u32, f64, u64); 4] = [
    ("gemini-2.5-flash", 45, 480.0, 52),
    ("gemini-3.8-flash", 25, 420.0, 41),
    ("gemini-2.5-flash-lite", 18, 260.0, 22),
    ("gemini-2.5-pro", 12, 1_650.0, 98),
];
const USER_AGENT: &str = "google-genai-sdk/3.4.0 gl-python/3.13.3";
const TEAMS: [&str; 4] = ["search", "support", "mobile", "research"];
/// Failures after which another key is tried, by weight.
const RETRIED: [(Rule, u32); 5] = [
    (Rule::QuotaPerMinute, 60),
    (Rule::QuotaPerDay, 17),
    (Rule::Overloaded, 15),
    (Rule::InternalError, 5),
    (Rule::ConnectionBroken, 3),
];
/// Failures that end the request, by weight.
const FINAL: [(Rule, u32); 5] = [
    (Rule::InvalidRequest, 32),
    (Rule::ModelNotFound, 10),
    (Rule::Overloaded, 24),
    (Rule::QuotaPerDay, 20),
    (Rule::Cancelled, 14),
];

/// An upstream key that the requests are sent with.
struct HistoryKey {
    id: UpstreamKeyId,
    project_id: ProjectId,
    is_free: bool,
}

/// How much is generated.
#[derive(Debug, Clone, Copy)]
pub struct HistorySize {
    pub rows: u64,
    pub keys: usize,
    /// How long before now the first request began.
    pub span: Duration,
}

/// Adds upstream keys, and requests that began before `now`. A log that is not empty gets no requests.
pub async fn generate(
    db: &Db,
    size: HistorySize,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<()> {
    db.set_cache_size(CACHE_MIB).await?;
    let begin = now - size.span;
    let keys = add_keys(db, size.keys, begin, now).await?;
    if size.rows > 0 && request_logs::last_id(&db.readers).await? == RequestId(0) {
        keep_for(db, size.span, now).await?;
        write_requests(db, &keys, size.rows, begin..now, stop).await?;
        index_requests(db).await?;
    }
    Ok(())
}

/// Keeps log rows for longer than the history, which the server would delete otherwise.
async fn keep_for(db: &Db, span: Duration, now: Timestamp) -> Result<()> {
    let days = span.as_secs().div_ceil(DAY.as_secs()) + 1;
    if days > Settings::default().log_retention_days {
        let mut tx = db.begin().await?;
        let act = Act::begin(&mut tx, &Actor::demo(), now).await?;
        settings::change(&mut tx, "log_retention_days", Some(&days.to_string()), &act).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Adds keys that an earlier demo has not added, some of them with a failure since `begin`, and returns all keys that work.
async fn add_keys(
    db: &Db,
    count: usize,
    begin: Timestamp,
    now: Timestamp,
) -> Result<Vec<HistoryKey>> {
    let mut rng = rand::rng();
    let mut tx = db.begin().await?;
    let installation_keys = installation::keys(&mut tx, &db.data_keys).await?;
    // Keys are as old as the first row, because a key's state cannot be older than the key.
    let act = Act::begin(&mut tx, &Actor::demo(), begin).await?;
    for (number, extra) in extra_keys(count).enumerate() {
        let team = TEAMS[rng.random_range(0..TEAMS.len())];
        let attributes = KeyAttributes {
            label: Some(format!("{team}-{number:05}")),
            project: Some(format!("projects/{}", extra.project)),
            billing: Some(match extra.project.as_bytes().last() {
                Some(b'0'..=b'6') => Billing::Free,
                Some(b'7' | b'8') => Billing::Paid,
                _ => Billing::Unknown,
            }),
            priority: Some(i64::from(number % 12 == 0)),
            tags: Some(vec![team.to_owned()]),
            ..KeyAttributes::default()
        };
        let secret = Secret::new(&extra.secret);
        upstream_keys::insert(
            &mut tx,
            &installation_keys,
            &secret,
            &attributes,
            false,
            &act,
        )
        .await?;
    }
    tx.commit().await?;

    let (keys, _) = upstream_keys::list_changed(db, -1).await?;
    let mut working = Vec::new();
    let mut tx = db.begin().await?;
    for (number, key) in keys.into_iter().enumerate() {
        // The server checks keys that were never checked as soon as it starts.
        upstream_keys::states::update_checked_at(&mut *tx, key.id, now).await?;
        // The demo keys fail by themselves once the server runs.
        let may_fail = number >= demo_keys().len() && key.condition.state == KeyState::Ready;
        let failure = failure_of_key(number).filter(|_| may_fail);
        if let Some(rule) = failure {
            let since = now - (now - begin).mul_f64(rng.random_range(0.0..1.0));
            store_failure(&mut tx, key.id, rule, since, now).await?;
        } else {
            working.push(HistoryKey {
                id: key.id,
                project_id: key.project_id,
                is_free: key.billing == Billing::Free,
            });
        }
    }
    tx.commit().await?;
    Ok(working)
}

fn failure_of_key(number: usize) -> Option<Rule> {
    match number % 200 {
        20 | 90 | 160 => Some(Rule::ApiKeyInvalid),
        40 => Some(Rule::KeyLeaked),
        60 | 120 => Some(Rule::ConsumerSuspended),
        80 => Some(Rule::BillingEmpty),
        100 => Some(Rule::ServiceDisabled),
        _ => None,
    }
}

async fn store_failure(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    rule: Rule,
    since: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let fault = rule.fault();
    let condition = KeyCondition {
        state: match fault {
            Fault::KeyLeaked => KeyState::Leaked,
            Fault::ProjectSuspended => KeyState::Suspended,
            Fault::ProjectMisconfigured => KeyState::Misconfigured,
            _ => KeyState::Invalid,
        },
        rule: Some(rule),
        since,
        until: None,
        next_check: check_after(fault, 4).map(|wait| now + wait),
        failed_checks: 4,
    };
    let (status, message) = response_to(rule);
    let evidence = Evidence {
        status,
        message: message.to_owned(),
        request_id: RequestId::first_at(since),
    };
    Ok(upstream_keys::states::update_condition(&mut **tx, id, &condition, &evidence).await?)
}

async fn write_requests(
    db: &Db,
    keys: &[HistoryKey],
    count: u64,
    span: Range<Timestamp>,
    stop: &CancellationToken,
) -> Result<()> {
    let clients = client_keys::list(&db.readers).await?;
    let mut generator = HistoryGenerator {
        rng: rand::rng(),
        ids: RequestIdGenerator::after(&IdsInUse::default()),
        keys,
        clients: clients.into_iter().map(|client| client.id).collect(),
    };
    // Without a journal the writer leaves the indexes to `index_requests`.
    let (_recorder, mut writer) = Recorder::without_journal(db.clone());
    let style = ProgressStyle::with_template("generating {len} requests {wide_bar} {percent} %");
    let bar = ProgressBar::new(count).with_style(style?);
    for first in (0..count).step_by(usize::try_from(BATCH)?) {
        if stop.is_cancelled() {
            bail!("stopped before the whole history was generated");
        }
        let batch = first..count.min(first + BATCH);
        bar.inc(batch.end - first);
        let rows = batch.map(|index| generator.row(start_time(&span, index, count)));
        writer.write_rows(rows.collect()).await?;
        // The checkpoint task of the server does not run yet.
        db.checkpoint().await?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Adds the requests to the indexes of keys and projects, but for the newest.
async fn index_requests(db: &Db) -> Result<()> {
    for portion in INDEX_PORTIONS {
        while key_index::add_portion(db, portion, key_index::LEFT_OUT)
            .await?
            .is_some()
        {
            db.checkpoint().await?;
        }
    }
    Ok(())
}

/// When request `index` of `count` began: the requests are spread over the days, densest about noon UTC.
fn start_time(span: &Range<Timestamp>, index: u64, count: u64) -> Timestamp {
    let shift = |time: Timestamp| {
        let days = (time - Timestamp::from_millis(0)).div_duration_f64(DAY);
        DAY.mul_f64(0.1 * (1.0 + (days * TAU).sin()))
    };
    let share = Duration::from_millis(index).div_duration_f64(Duration::from_millis(count));
    let even = span.start + (span.end - span.start).mul_f64(share);
    even + shift(even) - shift(span.start)
}

/// Status and message of a response that is classified by this rule; without a status: no response.
fn response_to(rule: Rule) -> (Option<u16>, &'static str) {
    match rule {
        Rule::QuotaPerMinute | Rule::QuotaPerDay => (Some(429), "You exceeded your current quota"),
        Rule::Overloaded => (Some(503), "The model is overloaded."),
        Rule::InternalError => (Some(500), "An internal error has occurred."),
        Rule::InvalidRequest => (Some(400), "Request contains an invalid argument."),
        Rule::ModelNotFound => (Some(404), "The model is not found for API version v1beta"),
        Rule::ApiKeyInvalid => (Some(400), "API key not valid. Please pass a valid API key."),
        Rule::KeyLeaked => (Some(403), "Your API key was reported as leaked."),
        Rule::ConsumerSuspended => (Some(403), "Permission denied: Consumer has been suspended."),
        Rule::BillingEmpty => (Some(402), "Your prepayment credits are depleted."),
        Rule::ServiceDisabled => (Some(403), "The API has not been used or is disabled."),
        Rule::Success => (Some(200), ""),
        Rule::Cancelled => (None, "the client closed the connection"),
        _ => (None, "connection closed before message completed"),
    }
}

struct HistoryGenerator<'a> {
    rng: ThreadRng,
    ids: RequestIdGenerator,
    keys: &'a [HistoryKey],
    clients: Vec<ClientKeyId>,
}

impl HistoryGenerator<'_> {
    /// A request that began at `at`, with its attempts.
    fn row(&mut self, at: Timestamp) -> NewRequestLog {
        let model = self.choose(&MODELS, |model| model.1);
        let streamed = self.rng.random_bool(0.5);
        let operation = ["generateContent", "streamGenerateContent"][usize::from(streamed)];
        let path = format!("/v1beta/models/{}:{operation}", model.0);
        let mut row = NewRequestLog::started(self.ids.next(at), at, "POST".to_owned(), path);
        let client = self.rng.random_range(0..self.clients.len());
        row.client_key_id = Some(self.clients[client]);
        row.client_ip = Some(format!("10.20.{client}.{}", self.rng.random_range(10..16)));
        row.user_agent = Some(USER_AGENT.to_owned());
        row.model = Some(model.0.to_owned());
        row.operation = Some(operation.to_owned());
        row.streamed = streamed;
        row.request_bytes = self.random_number(900.0);
        row.response_bytes = 500;
        row.quota_requests = 1;
        row.duration_ms = Some(0);
        while row.attempts.len() < 3 && self.rng.random_bool(0.06) {
            let (rule, _) = self.choose(&RETRIED, |failure| failure.1);
            self.fail(&mut row, rule);
        }
        if self.rng.random_bool(0.03) {
            let (rule, _) = self.choose(&FINAL, |failure| failure.1);
            self.fail(&mut row, rule);
            let last = row.attempts.last().expect("the attempt that failed");
            (row.status, row.outcome) = (last.status, last.outcome);
            row.error.clone_from(&last.error);
            row.first_byte_ms = row.status.and(row.duration_ms);
        } else {
            self.succeed(&mut row, model);
        }
        row
    }

    fn fail(&mut self, row: &mut NewRequestLog, rule: Rule) {
        let ms = self.random_number(180.0);
        self.add_attempt(row, rule, ms, ms);
    }

    fn succeed(&mut self, row: &mut NewRequestLog, model: (&str, u32, f64, u64)) {
        let prompt = self.random_number(700.0) + 3;
        let output = self.random_number(260.0) + 1;
        let thoughts = self.random_number(420.0);
        row.usage = TokenUsage {
            prompt: Some(prompt),
            output: Some(output),
            thoughts: Some(thoughts),
            cached: self.rng.random_bool(0.1).then_some(prompt * 3 / 4),
            total: Some(prompt + output + thoughts),
            ..TokenUsage::default()
        };
        let first = self.random_number(model.2);
        let ms = first + (output + thoughts) * model.3 / 10;
        let first = if row.streamed { first } else { ms };
        row.first_byte_ms = row.duration_ms.map(|earlier| earlier + first);
        let is_free = self.add_attempt(row, Rule::Success, first, ms).is_free;
        row.request_bytes += prompt * 4;
        row.response_bytes += output * 5;
        row.status = Some(200);
        row.outcome = Some(Outcome::Success);
        row.model_version = Some(model.0.to_owned());
        row.finish_reason = Some("STOP".to_owned());
        let cost = cost_nano_usd(
            &ModelPrices::default(),
            model.0,
            &row.usage,
            None,
            row.started_at,
        );
        row.cost_nano_usd = if is_free { Some(0) } else { cost };
    }

    /// Adds an attempt, begun when the attempts before it had ended, and returns its key.
    fn add_attempt(
        &mut self,
        row: &mut NewRequestLog,
        rule: Rule,
        first: u64,
        ms: u64,
    ) -> &HistoryKey {
        let key = &self.keys[self.rng.random_range(0..self.keys.len())];
        let earlier = row.duration_ms.unwrap_or(0);
        let (status, message) = response_to(rule);
        row.attempts.push(NewAttempt {
            upstream_key_id: key.id,
            project_id: key.project_id,
            status,
            outcome: Some(match rule {
                Rule::Cancelled => Outcome::ClientGone,
                _ => rule.outcome(),
            }),
            rule: Some(rule.name().into()),
            error: (rule != Rule::Success).then(|| message.to_owned()),
            started_at: row.started_at + Duration::from_millis(earlier),
            first_byte_ms: status.map(|_| first),
            duration_ms: Some(ms),
            egress_id: None,
        });
        row.duration_ms = Some(earlier + ms);
        key
    }

    /// One of the choices, by weight.
    fn choose<T: Copy>(&mut self, choices: &[T], weight: impl Fn(&T) -> u32) -> T {
        let mut point = self.rng.random_range(0..choices.iter().map(&weight).sum());
        for choice in choices {
            match point.checked_sub(weight(choice)) {
                Some(remaining) => point = remaining,
                None => return *choice,
            }
        }
        choices[0]
    }

    /// About `typical`, sometimes many times as much.
    fn random_number(&mut self, typical: f64) -> u64 {
        // The sum of three random numbers is nearly normally distributed.
        let sum: f64 = (0..3).map(|_| self.rng.random::<f64>()).sum();
        Duration::from_secs_f64(typical * ((sum - 1.5) * 2.0).exp()).as_secs()
    }
}
