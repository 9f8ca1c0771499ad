//! The status of a key as it is shown: kind, cooldowns and quota windows, computed from the running server.

use std::collections::HashMap;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber};
use crate::pool::keys::registry::{KeyEntry, KeyRegistry, ProjectEntry};
use crate::pool::keys::running_cooldowns::{CooldownReason, NumberedCooldown};
use crate::pool::keys::upstream_key::{Billing, KeyCondition, KeyState, UpstreamKeyId};
use crate::pool::quota::limits::{Measure, ModelQuota, ObservedLimit, QuotaLimits, QuotaUsage};

/// The kind of a key's status.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum KeyStatusKind {
    /// Also without models that the project has never had.
    Ready,
    /// Ready, but not for every model that it has.
    #[strum(serialize = "partly_resting")]
    PartlyCoolingDown,
    CoolingDown,
    Trial,
    Invalid,
    Leaked,
    Suspended,
    Misconfigured,
    Disabled,
}

/// A key's status kind with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatusSummary {
    pub id: UpstreamKeyId,
    pub kind: KeyStatusKind,
    /// When the cooldown ends (the first of several per-model ones), else the next check. `None`: the status does not
    /// end by itself.
    pub until: Option<Timestamp>,
}

/// The full status of a key.
#[derive(Debug, Clone)]
pub struct KeyStatus {
    pub kind: KeyStatusKind,
    pub condition: KeyCondition,
    pub billing: Billing,
    pub in_flight: u32,
    /// Longest first.
    pub cooldowns: Vec<KeyCooldown>,
    /// By model, most used first.
    pub windows: Vec<QuotaWindowStatus>,
}

/// A running cooldown of a key, for one model or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCooldown {
    /// `None`: all models.
    pub model: Option<String>,
    /// `None`: a cooldown by used-up quota.
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub reason: CooldownReason,
}

/// Usage and limit of a running minute or day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaWindowStatus {
    pub of: QuotaWindowScope,
    pub measure: Measure,
    pub used: u64,
    /// `None`: unknown.
    pub limit: Option<u64>,
    pub source: LimitSource,
    /// When the present usage no longer counts; `None`: no usage.
    pub resets_at: Option<Timestamp>,
}

/// What a window counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaWindowScope {
    /// The project's usage of a model.
    Model(String),
    /// The key's usage of all models, limited by the admin.
    Key,
    /// The project's usage of all models, limited by the admin.
    Project,
}

/// How a limit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// Google named it for this project.
    Named,
    /// Google named it for another project with the same billing.
    Inherited,
    /// Successful requests exceeded the inherited limit, or the admin reset it.
    Contradicted,
    Unknown,
    Setting,
}

impl KeyStatusKind {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in URLs.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl KeyStatus {
    /// The effective cooldown of each model, soonest end first: the last to end, and of equal ends the one from
    /// Google's answers.
    pub fn effective_cooldowns(&self) -> Vec<&KeyCooldown> {
        let mut effective_cooldowns: Vec<&KeyCooldown> = Vec::new();
        // The cooldowns are ordered by end, longest first.
        for cooldown in &self.cooldowns {
            let kept = effective_cooldowns
                .iter_mut()
                .find(|kept| kept.model == cooldown.model);
            match kept {
                Some(kept) if kept.until == cooldown.until && cooldown.is_from_google() => {
                    *kept = cooldown;
                }
                Some(_) => {}
                None => effective_cooldowns.push(cooldown),
            }
        }
        effective_cooldowns.reverse();
        effective_cooldowns
    }

    /// Whether quota of Google's day is used up, by our count or by an answer.
    pub fn has_used_up_day(&self) -> bool {
        self.cooldowns.iter().any(|cooldown| match cooldown.reason {
            CooldownReason::Verdict(rule) => rule == Rule::QuotaPerDay,
            CooldownReason::QuotaUsed(measure) => measure.is_daily(),
            CooldownReason::SoftFaults
            | CooldownReason::ZeroQuota
            | CooldownReason::KeyLimit(_)
            | CooldownReason::ProjectLimit(_) => false,
        })
    }

    /// The models that the key's project has never had.
    pub fn missing_models(&self) -> Vec<&str> {
        let cooldowns = self.effective_cooldowns().into_iter();
        let missing = cooldowns.filter(|cooldown| cooldown.reason.is_missing_model());
        missing
            .filter_map(|cooldown| cooldown.model.as_deref())
            .collect()
    }

    /// The cooldown that determines the status; `None`: the status does not end with a cooldown.
    pub fn deciding_cooldown(&self) -> Option<&KeyCooldown> {
        let effective_cooldowns = self.effective_cooldowns();
        match self.kind {
            KeyStatusKind::PartlyCoolingDown => effective_cooldowns
                .into_iter()
                .find(|cooldown| !cooldown.reason.is_missing_model()),
            KeyStatusKind::CoolingDown => effective_cooldowns
                .into_iter()
                .find(|cooldown| cooldown.model.is_none()),
            KeyStatusKind::Ready
            | KeyStatusKind::Trial
            | KeyStatusKind::Invalid
            | KeyStatusKind::Leaked
            | KeyStatusKind::Suspended
            | KeyStatusKind::Misconfigured
            | KeyStatusKind::Disabled => None,
        }
    }
}

impl KeyCooldown {
    /// Whether an answer of Google is the reason.
    pub fn is_from_google(&self) -> bool {
        matches!(self.reason, CooldownReason::Verdict(_))
    }
}

impl SharedKeyRegistry {
    /// The summary of every key.
    pub fn key_status_summaries(&self, now: Timestamp) -> HashMap<UpstreamKeyId, KeyStatusSummary> {
        let mut summaries = HashMap::new();
        self.for_each_key(|keys, id| {
            let summary = keys.key_status_summary(id, now);
            summaries.extend(summary.map(|summary| (id, summary)));
        });
        summaries
    }
}

impl KeyRegistry {
    /// A key's status kind and its end; `None`: unknown key.
    pub fn key_status_summary(
        &self,
        id: UpstreamKeyId,
        now: Timestamp,
    ) -> Option<KeyStatusSummary> {
        let key = self.by_id.get(&id)?;
        let (kind, until) = self.kind_and_end(key, now);
        Some(KeyStatusSummary { id, kind, until })
    }

    /// A key's full status; `None`: unknown key.
    pub fn key_status(&self, id: UpstreamKeyId, now: Timestamp) -> Option<KeyStatus> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id);
        let mut cooldowns = Vec::new();
        self.each_cooldown(key, now, |cooldown| {
            cooldowns.push(self.with_model_name(cooldown));
        });
        cooldowns.sort_by(|a, b| b.until.cmp(&a.until).then_with(|| a.model.cmp(&b.model)));
        Some(KeyStatus {
            kind: self.kind_and_end(key, now).0,
            condition: key.row.condition,
            billing: project.map_or(key.row.billing, |project| project.billing),
            in_flight: key.in_flight,
            cooldowns,
            windows: self.windows_of(key, now),
        })
    }

    fn kind_and_end(&self, key: &KeyEntry, now: Timestamp) -> (KeyStatusKind, Option<Timestamp>) {
        let condition = key.row.condition;
        if !key.row.enabled {
            return (KeyStatusKind::Disabled, None);
        }
        match condition.state {
            KeyState::Ready => self.ready_or_cooling_down(key, now),
            KeyState::CoolingDown => match condition.until {
                Some(until) if until <= now => (KeyStatusKind::Trial, None),
                until => (KeyStatusKind::CoolingDown, until),
            },
            KeyState::Trial => (KeyStatusKind::Trial, None),
            KeyState::Invalid => (KeyStatusKind::Invalid, condition.next_check),
            KeyState::Leaked => (KeyStatusKind::Leaked, None),
            KeyState::Suspended => (KeyStatusKind::Suspended, condition.next_check),
            KeyState::Misconfigured => (KeyStatusKind::Misconfigured, condition.next_check),
        }
    }

    fn ready_or_cooling_down(
        &self,
        key: &KeyEntry,
        now: Timestamp,
    ) -> (KeyStatusKind, Option<Timestamp>) {
        let mut whole: Option<Timestamp> = None;
        // A model with several cooldowns is ready when the last of them ends.
        let mut parts: Vec<(ModelNumber, Timestamp)> = Vec::new();
        self.each_cooldown(key, now, |cooldown| {
            if cooldown.model == ANY_MODEL {
                whole = whole.max(Some(cooldown.until));
                return;
            }
            if cooldown.reason.is_missing_model() {
                return;
            }
            match parts.iter_mut().find(|part| part.0 == cooldown.model) {
                Some((_, until)) => *until = cooldown.until.max(*until),
                None => parts.push((cooldown.model, cooldown.until)),
            }
        });
        let first_part = parts.into_iter().map(|(_, until)| until).min();
        match (whole, first_part) {
            (Some(until), _) => (KeyStatusKind::CoolingDown, Some(until)),
            (None, Some(until)) => (KeyStatusKind::PartlyCoolingDown, Some(until)),
            (None, None) => (KeyStatusKind::Ready, None),
        }
    }

    fn with_model_name(&self, cooldown: NumberedCooldown) -> KeyCooldown {
        KeyCooldown {
            model: (cooldown.model != ANY_MODEL).then(|| self.model_name(cooldown.model)),
            since: cooldown.since,
            until: cooldown.until,
            reason: cooldown.reason,
        }
    }

    /// The windows with usage or a limit.
    fn windows_of(&self, key: &KeyEntry, now: Timestamp) -> Vec<QuotaWindowStatus> {
        let day_ends = self.running_day_ends(now);
        let mut windows = Vec::new();
        let mut add = |of: QuotaWindowScope,
                       usage: &QuotaUsage,
                       limit: &dyn Fn(Measure) -> LimitAndSource| {
            for measure in Measure::ALL.iter().copied() {
                let (limit, source) = limit(measure);
                let used = usage.used(measure, now);
                if used > 0 || limit.is_some() || source == LimitSource::Contradicted {
                    windows.push(QuotaWindowStatus {
                        of: of.clone(),
                        measure,
                        used,
                        limit,
                        source,
                        resets_at: (used > 0).then(|| usage.resets_at(measure, now, day_ends)),
                    });
                }
            }
        };
        let set = |limits: QuotaLimits| move |measure| (limits.get(measure), LimitSource::Setting);
        if !self.policy.key_limits.is_empty() {
            add(
                QuotaWindowScope::Key,
                &key.usage,
                &set(self.policy.key_limits),
            );
        }
        let Some(project) = self.projects.get(&key.row.project_id) else {
            return windows;
        };
        if !self.policy.project_limits.is_empty() {
            let limits = set(self.policy.project_limits);
            add(QuotaWindowScope::Project, &project.usage, &limits);
        }
        let mut quotas: Vec<_> = project.quotas.iter().collect();
        quotas.sort_by_cached_key(|(model, quota)| {
            let used = quota.usage.used(Measure::RequestsPerDay, now);
            (std::cmp::Reverse(used), self.model_name(**model))
        });
        for (model, quota) in quotas {
            let of = QuotaWindowScope::Model(self.model_name(*model));
            let limits = self.limits_of(*model, quota, project, now);
            add(of, &quota.usage, &|measure| limits[measure as usize]);
        }
        windows
    }

    /// The limits of a model in a project, in the order of [`Measure::ALL`].
    pub(in crate::pool) fn limits_of(
        &self,
        model: ModelNumber,
        quota: &ModelQuota,
        project: &ProjectEntry,
        now: Timestamp,
    ) -> [LimitAndSource; Measure::ALL.len()] {
        let inherited = self.inherited_limits(model, Some(project));
        let limits = quota.limits(inherited, now);
        std::array::from_fn(|number| {
            let measure = Measure::ALL[number];
            let limit = limits.get(measure);
            let source = match (quota.observed(measure), limit) {
                (ObservedLimit::Limit(_), _) => LimitSource::Named,
                (ObservedLimit::Contradicted, _) => LimitSource::Contradicted,
                (ObservedLimit::Unknown, Some(_)) => LimitSource::Inherited,
                // Usage exceeded the inherited limit without a refusal.
                (ObservedLimit::Unknown, None) if inherited.get(measure).is_some() => {
                    LimitSource::Contradicted
                }
                (ObservedLimit::Unknown, None) => LimitSource::Unknown,
            };
            (limit, source)
        })
    }
}

pub(in crate::pool) type LimitAndSource = (Option<u64>, LimitSource);

#[cfg(test)]
mod tests;
