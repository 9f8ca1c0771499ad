//! The running cooldowns of a key: verdicts, used-up quota and the admin's limits.

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber};
use crate::pool::keys::registry::{KeyEntry, KeyPolicy, KeyRegistry};
use crate::pool::keys::upstream_key::KeyState;
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::{Measure, QuotaLimits, QuotaUsage};

/// Why a key cools down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CooldownReason {
    /// A verdict on an answer of Google.
    Verdict(Rule),
    /// Five soft faults in a row.
    SoftFaults,
    /// Google's limit is used up by our own count.
    QuotaUsed(Measure),
    /// The known limit of the model is zero.
    ZeroQuota,
    /// The admin's limits per key or per project.
    KeyLimit(Measure),
    ProjectLimit(Measure),
}

/// The verdicts that a project has never had what a model needs.
pub const MISSING_MODEL_RULES: [Rule; 2] = [Rule::QuotaZero, Rule::ModelRetired];

impl CooldownReason {
    /// Its name in JSON.
    pub fn name(self) -> String {
        match self {
            Self::Verdict(rule) => rule.name().to_owned(),
            Self::SoftFaults => "soft_faults".to_owned(),
            Self::QuotaUsed(measure) => format!("{} used up", measure.name()),
            Self::ZeroQuota => "quota_zero".to_owned(),
            Self::KeyLimit(measure) => format!("key_{} used up", measure.name()),
            Self::ProjectLimit(measure) => format!("project_{} used up", measure.name()),
        }
    }

    /// Whether the project has never had what the model needs: no quota, or a model that new projects do not get. Nothing is
    /// wrong with its keys.
    pub fn is_missing_model(self) -> bool {
        match self {
            Self::ZeroQuota => true,
            Self::Verdict(rule) => MISSING_MODEL_RULES.contains(&rule),
            Self::SoftFaults | Self::QuotaUsed(_) | Self::ProjectLimit(_) | Self::KeyLimit(_) => {
                false
            }
        }
    }
}

/// A running cooldown of a key.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct NumberedCooldown {
    pub model: ModelNumber,
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub reason: CooldownReason,
    /// A daily limit is used up.
    pub for_the_day: bool,
}

impl NumberedCooldown {
    /// The reason is our count of Google's limit, not an answer of Google or a limit set by the admin.
    pub fn is_estimate(&self) -> bool {
        matches!(
            self.reason,
            CooldownReason::QuotaUsed(_) | CooldownReason::ZeroQuota
        )
    }
}

impl KeyRegistry {
    /// Calls `report` with every running cooldown of a key.
    pub(in crate::pool) fn each_cooldown(
        &self,
        key: &KeyEntry,
        now: Timestamp,
        mut report: impl FnMut(NumberedCooldown),
    ) {
        let condition = key.row.condition;
        if condition.state == KeyState::CoolingDown
            && let Some(until) = condition.until.filter(|until| *until > now)
        {
            report(NumberedCooldown {
                model: ANY_MODEL,
                since: Some(condition.since),
                until,
                reason: condition
                    .rule
                    .map_or(CooldownReason::SoftFaults, CooldownReason::Verdict),
                for_the_day: false,
            });
        }
        self.each_cooldown_apart_from_state(key, None, now, report);
    }

    /// Calls `report` with the running cooldowns of a key, apart from that of its state: all of them, or those that
    /// concern one model.
    pub(in crate::pool) fn each_cooldown_apart_from_state(
        &self,
        key: &KeyEntry,
        model: Option<ModelNumber>,
        now: Timestamp,
        mut report: impl FnMut(NumberedCooldown),
    ) {
        let Some(project) = self.projects.get(&key.row.project_id) else {
            return;
        };
        let for_any_model = model.and_then(|_| project.cooldowns.get_key_value(&ANY_MODEL));
        for (model, cooldown) in entries_of(&project.cooldowns, model).chain(for_any_model) {
            if cooldown.until > now {
                report(NumberedCooldown {
                    model: *model,
                    since: Some(cooldown.since),
                    until: cooldown.until,
                    reason: CooldownReason::Verdict(cooldown.rule),
                    for_the_day: cooldown.rule == Rule::QuotaPerDay,
                });
            }
        }
        let day_ends = self.running_day_ends(now);
        let mut full = |model: ModelNumber,
                        usage: &QuotaUsage,
                        limits: &QuotaLimits,
                        reason: fn(Measure) -> CooldownReason| {
            if let Some(full) = usage.exhausted(limits, now, day_ends) {
                report(NumberedCooldown {
                    model,
                    since: None,
                    until: full.until,
                    reason: match limits.get(full.measure) {
                        Some(0) => CooldownReason::ZeroQuota,
                        _ => reason(full.measure),
                    },
                    for_the_day: full.measure.is_daily(),
                });
            }
        };
        let KeyPolicy {
            key_limits,
            project_limits,
            ..
        } = &self.policy;
        full(ANY_MODEL, &key.usage, key_limits, CooldownReason::KeyLimit);
        full(
            ANY_MODEL,
            &project.usage,
            project_limits,
            CooldownReason::ProjectLimit,
        );
        for (model, quota) in entries_of(&project.quotas, model) {
            let limits = quota.limits(self.inherited_limits(*model, Some(project)), now);
            full(*model, &quota.usage, &limits, CooldownReason::QuotaUsed);
        }
    }

    /// The end of Google's day, also before the first request computed it.
    pub(in crate::pool) fn running_day_ends(&self, now: Timestamp) -> Timestamp {
        let known = self.day_ends.filter(|ends| *ends > now);
        known.unwrap_or_else(|| end_of_google_day(now))
    }
}

/// The entry of one model, or all entries.
fn entries_of<T>(
    by_model: &HashMap<ModelNumber, T>,
    model: Option<ModelNumber>,
) -> impl Iterator<Item = (&ModelNumber, &T)> {
    let all = model.is_none().then_some(by_model);
    let entry = model.and_then(|model| by_model.get_key_value(&model));
    all.into_iter().flatten().chain(entry)
}
