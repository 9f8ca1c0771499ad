//! Checks unavailable and new keys, so that requests use them again or never use an invalid one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use crate::app::App;
use crate::clock::{self, Timestamp, ticks};
use crate::gemini::key_check::{CheckScope, KeyCheck, check_key};
use crate::gemini::prices::cost_nano_usd;
use crate::gemini::redact::Redactor;
use crate::gemini::transport::GeminiClient;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::check_schedule::{CheckFinding, DueCheck};
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::project_number::learned_number;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::model_lists::{ListedModel, ModelListPace};
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::request_id::{RequestId, RequestIdGenerator};
use crate::pool::settings::Settings;
use crate::storage::db::Db;
use crate::storage::error::Error;
use crate::storage::model_lists;
use crate::storage::recorder::Recorder;
use crate::storage::request_logs::{LogKind, NewAttempt, NewRequestLog};
use crate::storage::upstream_keys::Evidence;

const PERIOD: Duration = Duration::from_secs(1);
/// Number of concurrent checks.
pub const CONCURRENT_CHECKS: usize = 8;
/// Minimum time between the begins of two checks: the processor and the database are left to requests while thousands of
/// new keys are checked, and Google sees no burst from one address.
const CHECK_SPACING: Duration = Duration::from_millis(8);
/// Maximum number of keys per pass: thousands of new keys must not delay keys that may have recovered.
const MAX_KEYS_PER_PASS: usize = 64;
/// Pause of all checks while Google limits the address: more checks would affect requests too.
const THROTTLE_PAUSE: Duration = Duration::from_mins(1);

/// Runs for ever.
pub async fn run(app: Arc<App>) {
    let mut ticks = ticks(PERIOD);
    loop {
        let pause = pass(&app, clock::now()).await.pause();
        if pause == PERIOD {
            ticks.tick().await;
            // Not at the moment of a reload, which could undo in memory what a check has just changed.
            tokio::time::sleep(PERIOD / 2).await;
            continue;
        }
        if pause == THROTTLE_PAUSE {
            tracing::warn!(
                "Google refuses checks without a reason: upstream keys are not checked for a minute"
            );
        }
        tokio::time::sleep(pause).await;
    }
}

/// The result of one pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckPass {
    pub keys: usize,
    /// Checks refused for too many requests, without a quota in the response.
    pub limited: usize,
}

impl CheckPass {
    /// The pause before the next pass.
    pub fn pause(self) -> Duration {
        if self.limited >= CONCURRENT_CHECKS {
            THROTTLE_PAUSE
        } else if self.keys < MAX_KEYS_PER_PASS {
            PERIOD
        } else {
            Duration::ZERO
        }
    }
}

/// Checks the keys that are due at `now`.
pub async fn pass(app: &App, now: Timestamp) -> CheckPass {
    let mut result = CheckPass::default();
    // The results could not be stored.
    if app.recorder.is_failing() {
        return result;
    }
    let with_new = app.settings().check_new_keys;
    let due = app.keys.lock().due_checks(now, with_new, MAX_KEYS_PER_PASS);
    let checker = KeyChecker::of(app);
    let spacing = tokio::sync::Mutex::new(ticks(CHECK_SPACING));
    let check = async |due: &DueCheck| {
        spacing.lock().await.tick().await;
        // Earlier checks may have taken minutes.
        let row = app.keys.lock().get(due.id).map(|row| row.enabled);
        if row == Some(true) {
            checker.check(due).await
        } else {
            None
        }
    };
    let checks: Vec<_> = due.iter().map(check).collect();
    let mut checks = stream::iter(checks).buffer_unordered(CONCURRENT_CHECKS);
    while let Some(one) = checks.next().await {
        // The key may be available again.
        app.key_queue.notify();
        let Some(one) = one else { continue };
        result.keys += 1;
        result.limited += usize::from(one.verdict().rule == Rule::QuotaWithoutDetail);
    }
    result
}

/// The dependencies of a check: a server's, or a command's own.
#[derive(Debug)]
pub struct KeyChecker<'a> {
    pub gemini: &'a GeminiClient,
    pub settings: Arc<Settings>,
    pub redactor: Arc<Redactor>,
    pub ids: &'a RequestIdGenerator,
    pub keys: &'a SharedKeyRegistry,
    pub recorder: &'a Recorder,
    /// `None`: a command, which reads no lists of models.
    pub model_lists: Option<ModelLists<'a>>,
}

/// Where the lists of models go, and when they are due.
#[derive(Debug, Clone, Copy)]
pub struct ModelLists<'a> {
    pub pace: &'a Mutex<ModelListPace>,
    pub db: &'a Db,
}

impl ModelLists<'_> {
    /// Stores the list of a project whose key has passed its check.
    async fn store(&self, project: ProjectId, models: &[ListedModel], now: Timestamp) {
        let stored = async {
            let mut tx = self.db.begin().await?;
            let is_stored = model_lists::replace(&mut tx, project, models, now).await?;
            tx.commit().await?;
            Ok::<_, Error>(is_stored)
        };
        match stored.await {
            Ok(true) => self.pace.lock().has_read(project, now),
            Ok(false) => tracing::warn!(
                project.id = project.0,
                "a project's list of models is not stored: projects have too many different lists"
            ),
            Err(error) => tracing::warn!("a list of models could not be stored: {error}"),
        }
    }
}

impl<'a> KeyChecker<'a> {
    /// The dependencies of a server.
    pub fn of(app: &'a App) -> Self {
        Self {
            gemini: &app.gemini,
            settings: app.settings(),
            redactor: app.redactor(),
            ids: &app.request_ids,
            keys: &app.keys,
            recorder: &app.recorder,
            model_lists: Some(ModelLists {
                pace: &app.model_lists,
                db: &app.db,
            }),
        }
    }

    /// Checks one key, and records its row and the state changes. If it passes and its project's list of models is due,
    /// that is stored. `None`: the key was removed, and nothing is sent.
    pub async fn check(&self, due: &DueCheck) -> Option<KeyCheck> {
        let now = clock::now();
        let lists = self.model_lists;
        let reads_list = lists.is_some_and(|lists| lists.pace.lock().take(due.project_id, now));
        let scope = if reads_list {
            CheckScope::KeyAndModels
        } else {
            CheckScope::Key
        };
        self.check_within(due, scope).await
    }

    /// Reads the models of a working key's project. A refusal of the key has the effects that it has in a check; that
    /// Google lists models proves nothing about the key.
    pub async fn list_models(&self, due: &DueCheck) -> Option<KeyCheck> {
        self.check_within(due, CheckScope::Models).await
    }

    async fn check_within(&self, due: &DueCheck, scope: CheckScope) -> Option<KeyCheck> {
        let egress = self.keys.lock().egress_of(due.id).ok()?;
        let began = clock::now();
        let id = self.ids.next(began);
        let checked = check_key(self.gemini, &self.settings, &due.secret, scope, egress).await;
        let verdict = checked.verdict();
        let finding = CheckFinding::of(verdict);
        if let (CheckFinding::Accepted, Some(lists), Some(models)) =
            (finding, &self.model_lists, &checked.models)
        {
            lists.store(due.project_id, models, clock::now()).await;
        }
        drop(
            self.recorder
                .record_finished(Box::new(self.row(id, due, egress, &checked))),
        );
        let evidence = Evidence {
            status: verdict.status,
            message: self.redactor.redact_for_row(&verdict.message),
            request_id: id,
        };
        let amount = QuotaAmount {
            requests: 1,
            tokens: checked.summary.usage.prompt.unwrap_or(0),
        };
        let generated = checked
            .has_generated
            .then_some((self.settings.check_model.as_str(), amount));
        if scope == CheckScope::Models && !matches!(finding, CheckFinding::Refused(_)) {
            return Some(checked);
        }
        let (key, rule) = (due.id, verdict.rule.name());
        let mut keys = self.keys.lock();
        let mut changes = keys.settle_check(key, verdict, generated, egress, (began, clock::now()));
        let number = keys.get(key).and_then(|row| learned_number(row, verdict));
        changes.extend(number.map(|number| StateChange::Project { id: key, number }));
        // Under the lock, so that the rows end up in the state of the last verdict.
        for change in &changes {
            self.recorder
                .record_change(change.clone(), evidence.clone());
        }
        drop(keys);
        for change in changes.iter().filter(|change| change.is_news()) {
            tracing::info!(request.id = %id, upstream_key.id = key.0, rule, "{change}");
        }
        Some(checked)
    }

    /// The row of a check: its last request, and an attempt for each request.
    fn row(
        &self,
        id: RequestId,
        due: &DueCheck,
        egress_id: Option<EgressProxyId>,
        checked: &KeyCheck,
    ) -> NewRequestLog {
        let message = |rule: Rule, message: &str| {
            let has_message = rule != Rule::Success && !message.is_empty();
            has_message.then(|| self.redactor.redact_for_row(message))
        };
        let attempts = checked.steps.iter().map(|step| NewAttempt {
            upstream_key_id: due.id,
            project_id: due.project_id,
            status: step.verdict.status,
            outcome: Some(step.verdict.rule.outcome()),
            rule: Some(step.verdict.rule.name().into()),
            error: message(step.verdict.rule, &step.verdict.message),
            started_at: step.began,
            first_byte_ms: None,
            duration_ms: Some(step.duration_ms),
            egress_id,
        });
        let last = checked.steps.last().expect("a check sends a request");
        let (request, answered) = (&last.request, &checked.summary);
        let model = self.settings.check_model.as_str();
        // A mere list of models concerns no model.
        let uses_model = checked.steps.len() > 1 || checked.models.is_none();
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let sent = checked.steps.iter().map(|step| step.request.body.len());
        let received = checked.steps.iter().map(|step| step.response_bytes);
        let began = checked.steps.first().map_or(last.began, |step| step.began);
        let (method, path) = (request.method.to_string(), request.path.clone());
        let version = answered.model_version.as_deref().unwrap_or(model);
        let tier = answered.service_tier.as_deref();
        NewRequestLog {
            kind: LogKind::Check,
            model: uses_model.then(|| model.to_owned()),
            model_version: answered.model_version.clone(),
            operation: Some(request.operation.to_owned()),
            status: last.verdict.status,
            outcome: Some(last.verdict.rule.outcome()),
            error: message(last.verdict.rule, &last.verdict.message),
            attempts: attempts.collect(),
            duration_ms: Some(checked.steps.iter().map(|step| step.duration_ms).sum()),
            request_bytes: bytes(sent.sum()),
            response_bytes: bytes(received.sum()),
            usage: answered.usage,
            quota_requests: u64::from(checked.has_generated),
            finish_reason: answered.finish_reason.clone(),
            service_tier: answered.service_tier.clone(),
            cost_nano_usd: if answered.is_charged {
                cost_nano_usd(
                    &self.settings.model_prices,
                    version,
                    &answered.usage,
                    tier,
                    began,
                )
            } else {
                Some(0)
            },
            ..NewRequestLog::started(id, began, method, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_follow_at_once_while_many_keys_are_due_and_pause_while_the_address_is_limited() {
        for (keys, limited, pause) in [
            (0, 0, PERIOD),
            (MAX_KEYS_PER_PASS - 1, CONCURRENT_CHECKS - 1, PERIOD),
            (MAX_KEYS_PER_PASS, CONCURRENT_CHECKS - 1, Duration::ZERO),
            (MAX_KEYS_PER_PASS, CONCURRENT_CHECKS, THROTTLE_PAUSE),
        ] {
            assert_eq!(
                CheckPass { keys, limited }.pause(),
                pause,
                "{keys} {limited}"
            );
        }
    }
}
