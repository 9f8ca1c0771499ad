//! `BatchStatistics`: what a batch of finished rows adds to the statistics of keys, the rollups and the quota days.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::quota::google_clock::{begin_of_google_day, end_of_google_day};
use crate::pool::quota::usage::TokenUsage;
use crate::storage::recorder::counted_model::CountedModel;
use crate::storage::request_logs::NewRequestLog;
use crate::storage::rollups::{Rollup, Sample, begin_of_day};

/// What finished rows add to statistics and sums.
#[derive(Debug, Default)]
pub struct BatchStatistics {
    /// By start, model and outcome.
    pub model_hours: HashMap<(i64, i64, Outcome), Rollup>,
    pub model_days: HashMap<(i64, i64, Outcome), Rollup>,
    pub client_key_hours: HashMap<(i64, i64), Rollup>,
    /// Without durations.
    pub client_key_days: HashMap<(i64, i64), Rollup>,
    /// In the order of the table's primary key, so that a large batch is written in that order.
    pub upstream_key_days: BTreeMap<(i64, i64), Rollup>,
    /// In the order of the table, which a large batch then goes through once.
    pub upstream_keys: BTreeMap<i64, KeyStatistics>,
    pub client_keys: HashMap<i64, KeyStatistics>,
    /// Attempts and failures by start and egress proxy.
    pub egress_proxy_days: BTreeMap<(i64, i64), (u64, u64)>,
    /// Finished rows, checks included.
    pub finished_rows: u64,
    /// Requests and tokens by Google's day, key and model.
    pub quota_days: HashMap<(i64, i64, i64), (u64, u64)>,
    /// Start and end of the last computed day of Google, cached because most rows are of today.
    google_day: Option<(Timestamp, Timestamp)>,
}

/// What finished attempts or requests add to a key's statistics.
#[derive(Debug, Default)]
pub struct KeyStatistics {
    /// Without durations.
    pub rollup: Rollup,
    pub last_used_at_ms: i64,
    pub last_error: Option<String>,
}

impl KeyStatistics {
    fn add(&mut self, at: Timestamp, sample: Sample) {
        self.rollup.add(without_durations(sample));
        self.last_used_at_ms = self.last_used_at_ms.max(at.as_millis());
    }
}

impl BatchStatistics {
    /// Adds a finished row with its attempts.
    pub fn add_row(&mut self, row: &NewRequestLog, model: CountedModel) {
        let Some(outcome) = row.outcome else { return };
        let quota_model_id = model.id.filter(|_| model.is_confirmed);
        let sample = Sample {
            outcome,
            attempts: row.attempts.len(),
            usage: &row.usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms,
            duration_ms: row.duration_ms,
        };
        self.add_request(row.started_at, model.rollup_id, row.client_key_id, sample);
        let no_usage = TokenUsage::default();
        for (index, attempt) in row.attempts.iter().enumerate() {
            // Only the attempt that answered has spent tokens that we know of.
            let is_last = index + 1 == row.attempts.len();
            let sample = Sample {
                outcome: attempt.outcome.unwrap_or(Outcome::Interrupted),
                attempts: 1,
                usage: if is_last { &row.usage } else { &no_usage },
                cost_nano_usd: row.cost_nano_usd.filter(|_| is_last),
                first_byte_ms: attempt.first_byte_ms,
                duration_ms: attempt.duration_ms,
            };
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            if uses_quota(sample.outcome) {
                self.add_quota(at, id, quota_model_id, row.quota_requests, sample.usage);
            }
            self.add_attempt(at, id, sample, attempt.error.as_deref());
            self.add_egress(at, attempt.egress_id, sample.outcome);
        }
    }

    /// A check is in no statistic, but Google counts what it has generated.
    pub fn add_check(&mut self, row: &NewRequestLog, model: CountedModel) {
        let model_id = model.id.filter(|_| model.is_confirmed);
        if let Some(attempt) = row.attempts.last() {
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            self.add_quota(at, id, model_id, row.quota_requests, &row.usage);
        }
    }

    /// Adds a finished request; `model_id` is the string of the model that rollups count it under.
    pub fn add_request(
        &mut self,
        at: Timestamp,
        model_id: Option<i64>,
        client_key_id: Option<ClientKeyId>,
        sample: Sample,
    ) {
        let hour = at.start_of_hour().as_millis();
        let day = begin_of_day(at).as_millis();
        let model = model_id.unwrap_or(0);
        let hours = self.model_hours.entry((hour, model, sample.outcome));
        hours.or_default().add(sample);
        let days = self.model_days.entry((day, model, sample.outcome));
        days.or_default().add(sample);
        let client = client_key_id.map_or(0, |id| id.0);
        let hours = self.client_key_hours.entry((hour, client));
        hours.or_default().add(sample);
        let days = self.client_key_days.entry((day, client));
        days.or_default().add(without_durations(sample));
        if let Some(id) = client_key_id {
            let statistics = self.client_keys.entry(id.0).or_default();
            statistics.add(at, sample);
        }
    }

    pub fn add_attempt(
        &mut self,
        at: Timestamp,
        id: UpstreamKeyId,
        sample: Sample,
        error: Option<&str>,
    ) {
        let day = begin_of_day(at).as_millis();
        let days = self.upstream_key_days.entry((day, id.0));
        days.or_default().add(sample);
        let statistics = self.upstream_keys.entry(id.0).or_default();
        statistics.add(at, sample);
        if let Some(error) = error.filter(|_| sample.outcome.is_failure()) {
            statistics.last_error = Some(error.to_owned());
        }
    }

    /// Adds an attempt to its egress proxy, if it went through one.
    pub fn add_egress(&mut self, at: Timestamp, id: Option<EgressProxyId>, outcome: Outcome) {
        let Some(id) = id else { return };
        let day = begin_of_day(at).as_millis();
        let used = self.egress_proxy_days.entry((day, id.0)).or_default();
        used.0 += 1;
        used.1 += u64::from(outcome == Outcome::Network);
    }

    fn add_quota(
        &mut self,
        at: Timestamp,
        id: UpstreamKeyId,
        model_id: Option<i64>,
        requests: u64,
        usage: &TokenUsage,
    ) {
        let Some(model_id) = model_id.filter(|_| requests > 0) else {
            return;
        };
        let day = self
            .google_day
            .filter(|(begin, end)| (*begin..*end).contains(&at));
        let day = day.unwrap_or_else(|| (begin_of_google_day(at), end_of_google_day(at)));
        self.google_day = Some(day);
        let used = self.quota_days.entry((day.0.as_millis(), id.0, model_id));
        let used = used.or_default();
        used.0 += requests;
        used.1 += usage.prompt.unwrap_or(0);
    }
}

/// What is added where no sketch is stored.
fn without_durations(sample: Sample) -> Sample {
    Sample {
        first_byte_ms: None,
        duration_ms: None,
        ..sample
    }
}

/// Whether Google counts an attempt that ended so: not what it refused, nor what never reached it.
fn uses_quota(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Success
        | Outcome::UpstreamError
        | Outcome::ClientGone
        | Outcome::BrokenOff
        | Outcome::Interrupted => true,
        Outcome::ClientError
        | Outcome::Quota
        | Outcome::KeyFault
        | Outcome::Network
        | Outcome::NoKey
        | Outcome::Refused => false,
    }
}
