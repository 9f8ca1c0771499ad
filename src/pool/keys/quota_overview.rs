//! Quota of every project by model, computed from the running server: what is used, what limits it, and what is held back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use parking_lot::MutexGuard;

use crate::clock::Timestamp;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::key_status::LimitSource;
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber};
use crate::pool::keys::registry::{KeyEntry, KeyRegistry, ProjectEntry};
use crate::pool::keys::running_cooldowns::CooldownReason;
use crate::pool::keys::upstream_key::{Billing, KeyState, ProjectId};
use crate::pool::quota::limits::{Measure, ModelQuota};

/// How many projects are read under one lock: each has several models, so that these are some hundred microseconds too.
const PROJECTS_PER_LOCK: usize = 25;

/// The models with inherited limits by billing.
type InheritedModels = [Vec<ModelNumber>; 3];

/// The quota of all projects.
#[derive(Debug, Clone, Default)]
pub struct QuotaOverview {
    /// By name.
    pub models: BTreeMap<String, ModelQuotaTotals>,
    /// Those with the least left first, then by id.
    pub projects: Vec<ProjectId>,
    /// When Google's day ends.
    pub day_ends: Option<Timestamp>,
}

/// One model in all projects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelQuotaTotals {
    /// Projects with a key that is not refused by Google or disabled.
    pub projects: usize,
    /// Requests today, of these.
    pub used: u64,
    /// Of the projects whose daily limit of requests is known: the limits, and what is left where it may be used.
    pub limit: u64,
    pub remaining: u64,
    pub limited_projects: usize,
    /// The largest of these limits.
    pub largest_limit: u64,
    /// Projects that cannot serve it now, apart from those that have never had it.
    pub held_back: usize,
    /// Projects whose limit is zero: they have never had it.
    pub missing: usize,
    /// When the first one that is held back becomes ready.
    pub next_ready_at: Option<Timestamp>,
}

/// The quota of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectQuota {
    pub id: ProjectId,
    pub billing: Billing,
    pub keys: usize,
    /// Keys that Google does not refuse, and that are enabled.
    pub working_keys: usize,
    /// By model; models without usage, limit and cooldown have no entry.
    pub models: BTreeMap<String, ModelQuotaStatus>,
    /// What holds back every model.
    pub held_back: Option<HeldBack>,
}

/// The quota of one model in one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelQuotaStatus {
    /// In the order of [`Measure::ALL`].
    pub windows: [QuotaMeasure; 4],
    pub held_back: Option<HeldBack>,
}

/// Usage and limit of one measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaMeasure {
    pub used: u64,
    /// `None`: unknown.
    pub limit: Option<u64>,
    pub source: LimitSource,
    /// Since when an inherited limit is known.
    pub inherited_since: Option<Timestamp>,
    /// When the usage no longer counts; `None`: no usage.
    pub resets_at: Option<Timestamp>,
}

/// Until when a project cannot serve a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// `None`: by our count of the quota.
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub reason: CooldownReason,
}

impl ModelQuotaStatus {
    pub fn window(&self, measure: Measure) -> &QuotaMeasure {
        &self.windows[measure as usize]
    }

    /// Whether the project has never had the model.
    pub fn is_missing(&self) -> bool {
        let held_back = self.held_back;
        self.windows.iter().any(|window| window.limit == Some(0))
            || held_back.is_some_and(|held_back| held_back.reason.is_missing_model())
    }

    /// The largest used share of a limit, in thousandths.
    pub fn share(&self) -> u64 {
        let shares = self.windows.iter().filter_map(QuotaMeasure::share);
        shares.max().unwrap_or(0)
    }
}

impl QuotaMeasure {
    /// The used share in thousandths; `None`: no limit, or one of zero.
    pub fn share(&self) -> Option<u64> {
        let limit = self.limit.filter(|limit| *limit > 0)?;
        Some((self.used.saturating_mul(1_000) / limit).min(1_000))
    }
}

impl SharedKeyRegistry {
    /// The totals of all models, and the order of the projects: of `only` these, by the quota of one model or of all.
    pub fn quota_overview(
        &self,
        model: Option<&str>,
        only: Option<&BTreeSet<ProjectId>>,
        now: Timestamp,
    ) -> QuotaOverview {
        let mut ids = BTreeSet::new();
        self.for_each_key(|keys, id| {
            ids.extend(keys.by_id.get(&id).map(|key| key.row.project_id));
        });
        ids.retain(|id| only.is_none_or(|only| only.contains(id)));
        let mut totals = BTreeMap::<ModelNumber, ModelQuotaTotals>::new();
        let mut ranked = Vec::with_capacity(ids.len());
        let ids: Vec<_> = ids.into_iter().collect();
        let keys = self.lock();
        let day_ends = Some(keys.running_day_ends(now));
        let inherited = keys.inherited_models();
        drop(keys);
        for ids in ids.chunks(PROJECTS_PER_LOCK) {
            let keys = self.lock();
            for id in ids {
                if let Some(rank) = keys.add_project(*id, model, now, (&inherited, &mut totals)) {
                    ranked.push((Reverse(rank), *id));
                }
            }
            // A request that waits gets the lock first.
            MutexGuard::unlock_fair(keys);
        }
        ranked.sort_unstable();
        let keys = self.lock();
        let totals = totals.into_iter();
        QuotaOverview {
            models: totals
                .map(|(number, totals)| (keys.model_name(number), totals))
                .collect(),
            projects: ranked.into_iter().map(|(_, id)| id).collect(),
            day_ends,
        }
    }

    /// The quota of some projects, in the same order.
    pub fn project_quotas(&self, ids: &[ProjectId], now: Timestamp) -> Vec<ProjectQuota> {
        let keys = self.lock();
        let inherited = keys.inherited_models();
        let quotas = ids.iter();
        let quotas = quotas.filter_map(|id| keys.project_quota(*id, &inherited, now));
        quotas.collect()
    }
}

impl KeyRegistry {
    /// Adds a project to the totals. Returns how little is left of it; `None`: it has nothing of the only model.
    fn add_project(
        &self,
        id: ProjectId,
        only: Option<&str>,
        now: Timestamp,
        sums: (
            &InheritedModels,
            &mut BTreeMap<ModelNumber, ModelQuotaTotals>,
        ),
    ) -> Option<u64> {
        let (inherited, totals) = sums;
        let project = self.projects.get(&id)?;
        let works = self.working_keys(project).next().is_some();
        let whole = self.held_back(project, ANY_MODEL, now);
        let is_shown = |model| only.is_none_or(|only| self.find_model(only) == Some(model));
        let mut rank = only.is_none().then_some(0);
        for model in models_of(project, inherited) {
            let status = self.model_status(project, model, now);
            if is_shown(model) {
                rank = rank.max(Some(rank_of(&status, whole.as_ref())));
            }
            if works {
                let held_back = status.held_back.or(whole);
                totals.entry(model).or_default().add(&status, held_back);
            }
        }
        rank
    }

    fn project_quota(
        &self,
        id: ProjectId,
        inherited: &InheritedModels,
        now: Timestamp,
    ) -> Option<ProjectQuota> {
        let project = self.projects.get(&id)?;
        let models = models_of(project, inherited).into_iter();
        let models = models.map(|model| {
            let status = self.model_status(project, model, now);
            (self.model_name(model), status)
        });
        Some(ProjectQuota {
            id,
            billing: project.billing,
            keys: project.keys.len(),
            working_keys: self.working_keys(project).count(),
            models: models.collect(),
            held_back: self.held_back(project, ANY_MODEL, now),
        })
    }

    fn inherited_models(&self) -> InheritedModels {
        let mut models = InheritedModels::default();
        for billing in [Billing::Free, Billing::Paid, Billing::Unknown] {
            let limited = self.models.iter().enumerate();
            let limited = limited.filter(|(_, model)| !model.inherited.limits(billing).is_empty());
            models[billing as usize] = limited.map(|(number, _)| number).collect();
        }
        models
    }

    /// The keys that Google does not refuse, and that are enabled.
    fn working_keys<'a>(&'a self, project: &'a ProjectEntry) -> impl Iterator<Item = &'a KeyEntry> {
        let keys = project.keys.iter().filter_map(|id| self.by_id.get(id));
        let keys = keys.map(AsRef::as_ref);
        let works = |state| {
            matches!(
                state,
                KeyState::Ready | KeyState::CoolingDown | KeyState::Trial
            )
        };
        keys.filter(move |key: &&KeyEntry| key.row.enabled && works(key.row.condition.state))
    }

    fn model_status(
        &self,
        project: &ProjectEntry,
        model: ModelNumber,
        now: Timestamp,
    ) -> ModelQuotaStatus {
        let unused = ModelQuota::default();
        let quota = project.quotas.get(&model).unwrap_or(&unused);
        let day_ends = self.running_day_ends(now);
        let inherited_since = |measure| {
            let inherited = &self.models[model].inherited;
            inherited.since(project.billing, measure)
        };
        let limits = self.limits_of(model, quota, project, now);
        let windows = std::array::from_fn(|number| {
            let measure = Measure::ALL[number];
            let (limit, source) = limits[number];
            let used = quota.usage.used(measure, now);
            let inherited = source == LimitSource::Inherited;
            QuotaMeasure {
                used,
                limit,
                source,
                inherited_since: inherited.then(|| inherited_since(measure)).flatten(),
                resets_at: (used > 0).then(|| quota.usage.resets_at(measure, now, day_ends)),
            }
        });
        ModelQuotaStatus {
            windows,
            held_back: self.held_back(project, model, now),
        }
    }

    /// The verdict on a project that ends last, or its used-up quota.
    fn held_back(
        &self,
        project: &ProjectEntry,
        model: ModelNumber,
        now: Timestamp,
    ) -> Option<HeldBack> {
        let by_verdict = |cooldown: &Cooldown| HeldBack {
            since: Some(cooldown.since),
            until: cooldown.until,
            reason: CooldownReason::Verdict(cooldown.rule),
        };
        let cooldown = project.cooldowns.get(&model);
        let verdict = cooldown
            .filter(|cooldown| cooldown.until > now)
            .map(by_verdict);
        let day_ends = self.running_day_ends(now);
        let (usage, limits) = if model == ANY_MODEL {
            (Some(&project.usage), self.policy.project_limits)
        } else {
            let quota = project.quotas.get(&model);
            let inherited = self.inherited_limits(model, Some(project));
            let limits = quota.map_or(*inherited, |quota| quota.limits(inherited, now));
            (quota.map(|quota| &quota.usage), limits)
        };
        let full = usage.and_then(|usage| usage.exhausted(&limits, now, day_ends));
        let count = full.map(|full| HeldBack {
            since: None,
            until: full.until,
            reason: match limits.get(full.measure) {
                Some(0) => CooldownReason::ZeroQuota,
                _ if model == ANY_MODEL => CooldownReason::ProjectLimit(full.measure),
                _ => CooldownReason::QuotaUsed(full.measure),
            },
        });
        match (verdict, count) {
            (Some(verdict), Some(count)) if verdict.until < count.until => Some(count),
            (verdict, count) => verdict.or(count),
        }
    }
}

/// The models with usage, a limit or a cooldown in a project.
fn models_of(project: &ProjectEntry, inherited: &InheritedModels) -> BTreeSet<ModelNumber> {
    let own = project.quotas.keys().chain(project.cooldowns.keys());
    let models = own.chain(&inherited[project.billing as usize]);
    models
        .copied()
        .filter(|model| *model != ANY_MODEL)
        .collect()
}

/// How little is left: held back, then by the used share. A model that the project has never had is no alarm.
fn rank_of(status: &ModelQuotaStatus, whole: Option<&HeldBack>) -> u64 {
    if status.is_missing() {
        return 0;
    }
    let is_held_back = status.held_back.is_some() || whole.is_some();
    status.share() + if is_held_back { 2_000 } else { 0 }
}

impl ModelQuotaTotals {
    fn add(&mut self, status: &ModelQuotaStatus, held_back: Option<HeldBack>) {
        self.projects += 1;
        if status.is_missing() {
            self.missing += 1;
            return;
        }
        let window = status.window(Measure::RequestsPerDay);
        self.used += window.used;
        // A cooldown of seconds takes nothing from the day.
        let is_for_the_day = held_back.is_some_and(|held_back| match held_back.reason {
            CooldownReason::Verdict(rule) => rule == Rule::QuotaPerDay,
            CooldownReason::QuotaUsed(measure) | CooldownReason::ProjectLimit(measure) => {
                measure.is_daily()
            }
            CooldownReason::SoftFaults
            | CooldownReason::ZeroQuota
            | CooldownReason::KeyLimit(_) => false,
        });
        if let Some(limit) = window.limit {
            self.limited_projects += 1;
            self.limit += limit;
            self.largest_limit = self.largest_limit.max(limit);
            if !is_for_the_day {
                self.remaining += limit.saturating_sub(window.used);
            }
        }
        if let Some(held_back) = held_back {
            self.held_back += 1;
            let soonest = [self.next_ready_at, Some(held_back.until)];
            self.next_ready_at = soonest.into_iter().flatten().min();
        }
    }
}

#[cfg(test)]
mod tests;
