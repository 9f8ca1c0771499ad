//! `Record`: the log row of a request while it runs: opened first, it settles each attempt at once and writes the final
//! row once.

mod bodies;
mod learned_resources;
mod twin;
mod usage;

use parking_lot::{Mutex, MutexGuard};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;

use crate::app::App;
use crate::body_log::capture::BodyCapture;
use crate::clock;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::tap::ResponseSummary;
use crate::gemini::target::{Surface, Target};
use crate::gemini::url::loggable_path;
use crate::peer::client_ip;
use crate::pool::clients::admission::{ClientCharge, Permit};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::blame::Suspicion;
use crate::pool::health::settle::AttemptTiming;
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::keys::project_number::learned_number;
use crate::pool::keys::registry::LeasedKey;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::retry::StopReason;
use crate::pool::settings::Settings;
use crate::proxy::charge::DiscardedUsage;
use crate::proxy::committed::Committed;
use crate::proxy::pool_headers::{add_details, add_own_headers};
use crate::proxy::request_facts::RequestFacts;
use crate::proxy::route_constraint::RouteConstraint;
use crate::proxy::streaming_body::BodyProgress;
use crate::storage::request_logs::{BOUND_BY_PREFERRED_PROJECT, NewAttempt, NewRequestLog};
use crate::storage::upstream_keys::Evidence;
use crate::traces::{EndedRequest, TracePlace};

/// The row of a running request. Dropped unfinished, its outcome is `client_gone`.
#[derive(Debug)]
pub struct Record {
    app: Arc<App>,
    /// `None` once it was submitted.
    row: Option<Arc<Mutex<NewRequestLog>>>,
    began: Instant,
    attempt_began: Instant,
    /// When the wait for a key began; `None`: it does not wait.
    waits_since: Option<Instant>,
    /// The key of the last attempt.
    key: Option<LeasedKey>,
    /// The key of the attempt beside the last one, and when it began.
    other_attempt: Option<(LeasedKey, Instant)>,
    surface: Surface,
    /// The project that should serve the request.
    preferred: Option<ProjectId>,
    /// Named resources of unknown owner.
    unknown: Vec<ResourceName>,
    /// Named jobs whose usage is in a row already.
    counted: Vec<String>,
    /// The resource that the request deletes.
    deletes: Option<ResourceName>,
    /// The estimated input tokens, for an answer without usage.
    estimated_tokens: Option<u64>,
    /// Verdicts against keys or their projects, which wait for the end of the request.
    suspicions: Vec<(Suspicion, Evidence)>,
    client_ip: IpAddr,
    /// Held until the row is submitted; `None` for a client key without limits.
    permit: Option<Permit>,
    /// How much was sent of a body that streams.
    progress: Option<BodyProgress>,
    /// Usage and cost of answers that the client did not get, in the row but not charged to the client.
    discarded: DiscardedUsage,
    /// What the client is charged for.
    client_charge: ClientCharge,
    trace: TracePlace,
    /// The bodies, if they may be kept.
    bodies: Option<Box<BodyCapture>>,
    left_out: bool,
    finished: bool,
}

impl Record {
    /// Opens the row of a request that has just arrived.
    pub fn open(app: &Arc<App>, request: &Request, peer: SocketAddr) -> Self {
        let (now, began) = (clock::now(), clock::instant());
        let redactor = app.redactor();
        let (headers, uri) = (request.headers(), request.uri());
        let client_ip = client_ip(peer, headers, &app.config.trusted_proxies);
        let user_agent = headers
            .get(USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let path = redactor.redact_for_row(&loggable_path(uri.path(), uri.query()));
        let row = NewRequestLog {
            client_ip: Some(client_ip.to_string()),
            user_agent: user_agent.map(|text| redactor.redact_for_row(&text)),
            ..NewRequestLog::started(
                app.request_ids.next(now),
                now,
                request.method().to_string(),
                path,
            )
        };
        let row = Arc::new(Mutex::new(row));
        app.track_request(&row, now);
        Self {
            app: app.clone(),
            row: Some(row),
            began,
            attempt_began: began,
            waits_since: None,
            key: None,
            other_attempt: None,
            surface: Surface::of_path(uri.path()),
            preferred: None,
            unknown: Vec::new(),
            counted: Vec::new(),
            deletes: None,
            estimated_tokens: None,
            suspicions: Vec::new(),
            client_ip,
            permit: None,
            progress: None,
            discarded: DiscardedUsage::default(),
            client_charge: ClientCharge::default(),
            trace: TracePlace::of_client(headers),
            bodies: None,
            left_out: false,
            finished: false,
        }
    }

    pub fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    pub fn surface(&self) -> Surface {
        self.surface
    }

    pub fn target(&mut self, target: &Target) {
        self.surface = target.surface;
        let mut row = self.row();
        row.operation = target.operation.as_deref().map(ToOwned::to_owned);
        row.model = target.model.as_deref().map(cut_name);
        row.streamed = target.is_stream;
    }

    pub fn client(&mut self, client: ClientKeyId) {
        self.row().client_key_id = Some(client);
    }

    /// Leaves the request out of the log; one row counts all requests of its kind.
    pub fn leave_out(&mut self) {
        self.left_out = true;
    }

    /// Records what was read of the request.
    pub fn request(&mut self, facts: RequestFacts<'_>) {
        self.deletes = facts.deletes;
        self.estimated_tokens = facts.estimated_tokens;
        self.progress = facts.progress.cloned();
        let mut row = self.row();
        row.model = facts.model.map(cut_name);
        row.streamed = facts.streams;
        row.request_bytes = u64::try_from(facts.body_bytes).unwrap_or(u64::MAX);
        row.quota_requests = facts.quota_requests;
    }

    /// Sets the place in a trace that Google is told.
    pub fn set_traceparent(&mut self, settings: &Settings, headers: &mut HeaderMap) {
        self.trace.apply(settings, headers);
    }

    /// Records that another model is asked in place of the client's.
    pub fn fall_back(&mut self, model: &str) {
        self.row().fallback_model = Some(model.to_owned());
    }

    /// The upstream key and the client of a resource that the request has created.
    pub fn maker(&self) -> Option<(UpstreamKeyId, ClientKeyId)> {
        let key = self.key.as_ref().map(|key| key.id);
        key.zip(self.row().client_key_id)
    }

    /// Records where the request may be served, and why.
    pub fn route(&mut self, route: &RouteConstraint) {
        self.preferred = route.preferred;
        self.unknown.clone_from(&route.unknown);
        self.counted.clone_from(&route.counted);
        self.row().bound_by.clone_from(&route.name);
    }

    /// Begins a wait for a key.
    pub fn begin_wait(&mut self) {
        self.waits_since = Some(clock::instant());
    }

    /// Ends the wait and adds it to the row. Returns its duration.
    pub fn end_wait(&mut self) -> Duration {
        let since = self.waits_since.take();
        let wait = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.row().wait_ms += u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        wait
    }

    /// Holds the client's permit for as long as the request runs.
    pub fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    pub fn begin_attempt(&mut self, key: &LeasedKey) {
        self.attempt_began = clock::instant();
        self.key = Some(key.clone());
        if self.preferred == Some(key.project_id) {
            self.row().bound_by = Some(BOUND_BY_PREFERRED_PROJECT.to_owned());
        }
        self.row().attempts.push(NewAttempt {
            upstream_key_id: key.id,
            project_id: key.project_id,
            status: None,
            outcome: None,
            rule: None,
            error: None,
            started_at: clock::now(),
            first_byte_ms: None,
            duration_ms: None,
            egress_id: key.egress,
        });
    }

    /// Applies the verdict of an attempt at once, so that no other request picks a key that must cool down. An answer that
    /// `is_open` has yet to end well.
    pub fn apply(&mut self, verdict: &Verdict, lease: Option<&Lease>, model: &str, is_open: bool) {
        self.conclude_attempt(verdict, (!is_open).then_some(verdict.rule.outcome()));
        let Some(lease) = lease else { return };
        if is_open && verdict.rule == Rule::Success {
            let timing = self.timing();
            let mut keys = self.app.keys.lock();
            let change = keys.record_answer_start(&lease.key, model, timing);
            if let Some(change) = &change {
                let evidence = Evidence {
                    status: verdict.status,
                    message: String::new(),
                    request_id: self.row().id,
                };
                self.app.recorder.record_change(change.clone(), evidence);
            }
            drop(keys);
            if let Some(change) = change {
                tracing::info!("{change}");
            }
            self.blame(true);
            self.app.key_queue.notify();
        } else {
            self.settle(&lease.key, model, verdict);
        }
    }

    /// The timing of the running attempt, which ends now.
    fn timing(&self) -> AttemptTiming {
        let row = self.row();
        let attempt = row.attempts.last();
        AttemptTiming {
            began: attempt.map_or(row.started_at, |attempt| attempt.started_at),
            now: clock::now(),
            chance: rand::random(),
            answer_had_begun: row.first_byte_ms.is_some(),
            client: row.client_key_id,
        }
    }

    /// Settles the verdict of an attempt that has ended: changes key, project and quota state, and submits the changes.
    pub fn settle(&mut self, key: &LeasedKey, model: &str, verdict: &Verdict) {
        let id = self.row().id;
        let timing = self.timing();
        let (id_of_key, rule) = (key.id, verdict.rule.name());
        // A success has no message to redact.
        let message = match verdict.message.as_str() {
            "" => String::new(),
            message => self.app.redactor().redact_for_row(message),
        };
        let evidence = Evidence {
            status: verdict.status,
            message,
            request_id: id,
        };
        let mut keys = self.app.keys.lock();
        let mut changes = keys.settle(key, model, verdict, timing);
        let number = keys
            .get(id_of_key)
            .and_then(|row| learned_number(row, verdict));
        changes.extend(number.map(|number| StateChange::Project {
            id: id_of_key,
            number,
        }));
        let suspicion = keys.suspect(key, verdict.rule, timing.began, timing.now);
        // Under the lock, so that changes are submitted in the order of the verdicts.
        for change in &changes {
            self.app
                .recorder
                .record_change(change.clone(), evidence.clone());
        }
        drop(keys);
        self.suspicions
            .extend(suspicion.map(|suspicion| (suspicion, evidence)));
        if verdict.rule == Rule::Success {
            self.blame(true);
        }
        self.app.key_queue.notify();
        for change in changes.iter().filter(|change| change.is_news()) {
            tracing::warn!(request.id = %id, upstream_key.id = id_of_key.0, rule, "{change}");
        }
    }

    /// Decides which of the suspected keys are to blame: all of them if another key answered well.
    pub fn blame(&mut self, has_contrast: bool) {
        let suspected = std::mem::take(&mut self.suspicions);
        if suspected.is_empty() {
            return;
        }
        let (id, client) = {
            let row = self.row();
            (row.id, row.client_key_id)
        };
        let suspicions: Vec<_> = suspected.iter().map(|(suspicion, _)| *suspicion).collect();
        let mut keys = self.app.keys.lock();
        let changes = keys.blame(&suspicions, has_contrast, client, clock::now());
        for (index, change) in &changes {
            let evidence = suspected[*index].1.clone();
            self.app.recorder.record_change(change.clone(), evidence);
        }
        drop(keys);
        self.app.key_queue.notify();
        for (index, change) in changes {
            let (suspicion, _) = &suspected[index];
            let rule = suspicion.rule.name();
            tracing::warn!(request.id = %id, upstream_key.id = suspicion.key.0, rule, "{change}");
        }
    }

    /// Records the verdict of the running attempt, unless it has ended; without an `outcome` its answer is still streaming.
    fn conclude_attempt(&self, verdict: &Verdict, outcome: Option<Outcome>) {
        let elapsed = millis(self.attempt_began);
        let message = (verdict.rule != Rule::Success && !verdict.message.is_empty())
            .then(|| self.app.redactor().redact_for_row(&verdict.message));
        let mut row = self.row();
        if let Some(attempt) = row.attempts.last_mut()
            && attempt.outcome.is_none()
        {
            // An answer that broke off had begun with a status.
            attempt.status = verdict.status.or(attempt.status);
            attempt.rule = Some(verdict.rule.name().into());
            attempt.error = message;
            attempt.outcome = outcome;
            attempt.first_byte_ms = attempt
                .status
                .map(|_| attempt.first_byte_ms.unwrap_or(elapsed));
            attempt.duration_ms = outcome.map(|_| elapsed);
        }
    }

    /// Records the head of the answer, right before its first byte is sent.
    pub fn first_byte(&mut self, status: StatusCode, streamed: bool) {
        let elapsed = millis(self.began);
        let mut row = self.row();
        row.status = Some(status.as_u16());
        row.first_byte_ms = Some(elapsed);
        row.streamed |= streamed;
    }

    /// Ends the attempts whose answer was not read to its end: one, or two at the same time.
    pub fn end_open_attempts(&self, outcome: Outcome) {
        let elapsed = millis(self.attempt_began);
        let mut row = self.row();
        let open = row
            .attempts
            .iter_mut()
            .filter(|open| open.outcome.is_none());
        for attempt in open {
            attempt.outcome = Some(outcome);
            attempt.duration_ms = Some(elapsed);
        }
    }

    /// Records a refusal.
    pub fn refused(&mut self, status: StatusCode, outcome: Outcome, message: &str) {
        self.end_open_attempts(outcome);
        let mut row = self.row();
        row.status = Some(status.as_u16());
        row.outcome = Some(outcome);
        // Google's message about our key is for the log only.
        let original = row
            .attempts
            .last()
            .and_then(|attempt| attempt.error.clone());
        row.error = Some(original.unwrap_or_else(|| message.to_owned()));
    }

    /// Records why there is no further attempt.
    pub fn stop(&mut self, reason: StopReason) {
        self.row().stop_reason = Some(reason);
    }

    /// Records an answer that was sent completely, with its usage.
    pub fn answered(&mut self, verdict: &Verdict, answered: &ResponseSummary, bytes: u64) {
        self.conclude_attempt(verdict, Some(verdict.rule.outcome()));
        self.end(verdict.rule.outcome(), answered, bytes);
    }

    /// Records an answer that broke off; `verdict` holds the reason.
    pub fn broken_off(&mut self, verdict: &Verdict, answered: &ResponseSummary, bytes: u64) {
        self.conclude_attempt(verdict, Some(Outcome::BrokenOff));
        self.stop(StopReason::AnswerBegun);
        self.end(Outcome::BrokenOff, answered, bytes);
    }

    /// Records that the client disconnected before the end of the answer.
    pub fn client_gone(&mut self, answered: &ResponseSummary, bytes: u64) {
        self.ended_early(self.abandoned(), answered, bytes);
    }

    /// Records that the server stopped before the end of the answer.
    pub fn interrupted(&mut self, answered: &ResponseSummary, bytes: u64) {
        self.ended_early(Outcome::Interrupted, answered, bytes);
    }

    fn ended_early(&mut self, outcome: Outcome, answered: &ResponseSummary, bytes: u64) {
        self.stop_if_abandoned(outcome);
        self.end_open_attempts(outcome);
        self.end(outcome, answered, bytes);
    }

    fn stop_if_abandoned(&mut self, outcome: Outcome) {
        if outcome == Outcome::ClientGone && !self.row().attempts.is_empty() {
            self.stop(StopReason::ClientGone);
        }
    }

    /// Records the facts of a live session, and the bytes that the client sent after its first message.
    pub fn session(&mut self, turns: u64, close_code: Option<u16>, more_bytes: u64) {
        let mut row = self.row();
        row.turns = Some(turns);
        row.close_code = close_code;
        row.request_bytes += more_bytes;
    }

    /// Adds the pool's own headers to the answer of this request.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        let row = self.row();
        add_own_headers(headers, &row);
        if self.app.settings().pool_headers {
            let client = row.client_key_id;
            let client = client.and_then(|id| self.app.client_keys().find_by_id(id));
            let remaining = client.map(|client| {
                let mut admission = self.app.admission.lock();
                admission.remaining(&client, clock::now())
            });
            add_details(headers, &row, remaining.unwrap_or_default());
        }
    }

    /// Submits the final row. The answer's last byte waits for the returned future.
    pub fn finish(mut self) -> Committed {
        let wait = self.app.commit_wait();
        Committed::new(self.hand_in(), wait)
    }

    fn hand_in(&mut self) -> Option<oneshot::Receiver<()>> {
        self.finished = true;
        self.blame(false);
        // The limits of the client key end their count here, whatever the outcome.
        let permit = self.permit.take();
        if self.left_out {
            return None;
        }
        let shared = self.row.take()?;
        let mut row = match Arc::try_unwrap(shared) {
            Ok(row) => row.into_inner(),
            // `record_running` reads it at this moment, and submits it first.
            Err(shared) => shared.lock().clone(),
        };
        row.duration_ms = Some(millis(self.began));
        if let Some(progress) = &self.progress {
            row.request_bytes = progress.borrow().bytes;
        }
        if let Some(permit) = permit.filter(|_| !row.attempts.is_empty()) {
            permit.settle(self.client_charge, clock::now());
        }
        if !self.app.settings().otlp_endpoint.is_empty() && self.trace.is_traced() {
            self.app.traces.submit(EndedRequest {
                row: row.clone(),
                place: self.trace,
            });
        }
        let (id, outcome, bytes) = (row.id, row.outcome, row.request_bytes);
        let committed = self.app.recorder.record_finished(Box::new(row));
        self.submit_bodies(id, outcome, bytes);
        Some(committed)
    }

    fn abandoned(&self) -> Outcome {
        if self.app.cutting_off.is_cancelled() {
            Outcome::Interrupted
        } else {
            Outcome::ClientGone
        }
    }

    fn row(&self) -> MutexGuard<'_, NewRequestLog> {
        let row = self
            .row
            .as_ref()
            .expect("a record that was handed in is not used again");
        row.lock()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let outcome = self.abandoned();
        self.end_wait();
        self.row().outcome.get_or_insert(outcome);
        self.stop_if_abandoned(outcome);
        self.end_open_attempts(outcome);
        self.hand_in();
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Maximum length of a name that a client or the upstream sends, as logged.
const MAX_NAME_BYTES: usize = 256;

fn cut_name(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests;
