//! `KeyRegistry`: the condition, load and quota of every upstream key, in memory.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::time::Duration;

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxies::EgressProxies;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::circuit_breaker::CircuitBreaker;
use crate::pool::health::client_evidence::ClientEvidence;
use crate::pool::health::cooldown::{Cooldown, EVERY_MODEL};
use crate::pool::health::upstream_watch::UpstreamWatch;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber, ReadyIndex};
use crate::pool::keys::upstream_key::{Billing, ProjectId, UpstreamKey, UpstreamKeyId};
use crate::pool::quota::limits::{
    InheritedLimits, Measure, ModelQuota, ObservedLimit, QuotaLimits, QuotaUsage,
};
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// Stands for all models beyond [`MAX_MODELS`].
const OTHER_MODEL: ModelNumber = 1;
/// How many keys are read or changed under one lock where work concerns all of them: some hundred microseconds.
pub const KEYS_PER_LOCK: usize = 250;
/// Maximum number of models with their own entry; Google has about a hundred.
const MAX_MODELS: usize = 1_000;
/// Maximum length of a model name with its own entry.
const MAX_MODEL_NAME_BYTES: usize = 200;

/// All upstream keys of a running server.
///
/// [`selection`](crate::pool::keys::selection) leases from it, [`settle`](crate::pool::health::settle) applies
/// verdicts, [`readiness`](crate::pool::keys::readiness) and [`accounting`](crate::pool::quota::accounting) keep it
/// consistent.
#[derive(Debug)]
pub struct KeyRegistry {
    /// In boxes, as the projects are: a map that grows moves all its entries while requests wait for the lock.
    pub(in crate::pool) by_id: HashMap<UpstreamKeyId, Box<KeyEntry>>,
    /// The ids in order, for work that steps through all keys.
    ids: BTreeSet<UpstreamKeyId>,
    pub(in crate::pool) projects: HashMap<ProjectId, Box<ProjectEntry>>,
    pub(in crate::pool) models: Vec<ModelEntry>,
    model_numbers: HashMap<Box<str>, ModelNumber>,
    /// One for each model with an own index and each combination of tags, built when first needed.
    pub(in crate::pool) ready_indexes: Vec<ReadyIndex>,
    pub(in crate::pool) egress: EgressProxies,
    pub(in crate::pool) check_schedule: CheckSchedule,
    pub(in crate::pool) policy: KeyPolicy,
    /// The end of Google's running day.
    pub(in crate::pool) day_ends: Option<Timestamp>,
    /// The latest time passed in so far.
    pub(in crate::pool) latest_time: Timestamp,
    pub(in crate::pool) last_lease_order: i64,
    /// By model.
    pub(in crate::pool) successes: HashMap<String, LastSuccesses>,
    pub(in crate::pool) client_evidence: ClientEvidence,
    pub(in crate::pool) upstream_watch: UpstreamWatch,
}

/// The admin's settings that apply to all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Maximum number of concurrent requests per key; 0: no limit.
    pub per_key_concurrency: u32,
    pub key_limits: QuotaLimits,
    pub project_limits: QuotaLimits,
    /// The first pause of an overloaded model.
    pub overload_pause: Duration,
}

#[derive(Debug)]
pub(in crate::pool) struct KeyEntry {
    pub row: UpstreamKey,
    pub in_flight: u32,
    pub lease_order: i64,
    pub soft_faults: Vec<SoftFault>,
    /// Running requests with a verdict against the key.
    pub suspicions: u32,
    /// When a check was last scheduled because a request blamed the key without contrast.
    pub checked_at_once: Option<Timestamp>,
    /// Across all models, for the admin's limits.
    pub usage: QuotaUsage,
    /// The ready indexes updated while the key had requests in flight; they are updated again when one ends.
    pub indexed_while_busy: Vec<(ModelNumber, usize)>,
    /// The key's share of its project's quota in flight; it moves with the key to another project.
    pub in_flight_by_model: Vec<(ModelNumber, u64)>,
}

/// A fault that may be the key's, and whose request met it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct SoftFault {
    pub at: Timestamp,
    pub client: Option<ClientKeyId>,
}

#[derive(Debug, Default)]
pub(in crate::pool) struct ProjectEntry {
    pub keys: BTreeSet<UpstreamKeyId>,
    pub billing: Billing,
    pub cooldowns: HashMap<ModelNumber, Cooldown>,
    pub quotas: HashMap<ModelNumber, ModelQuota>,
    /// Across all models, for the admin's limits.
    pub usage: QuotaUsage,
}

/// State of a model across all projects.
#[derive(Debug, Default)]
pub(in crate::pool) struct ModelEntry {
    /// Whether some projects cannot serve the model while others can, so that it needs a ready index of its own.
    pub has_own_index: bool,
    pub inherited: InheritedLimits,
    pub overload: ModelOverload,
}

/// Consecutive overloads of a model, and its circuit breaker.
#[derive(Debug, Default)]
pub(in crate::pool) struct ModelOverload {
    pub in_a_row: u32,
    pub breaker: Option<CircuitBreaker>,
}

/// The last success and the last one of another key: enough to determine whether others succeed.
#[derive(Debug, Default)]
pub(in crate::pool) struct LastSuccesses {
    last: Option<(UpstreamKeyId, Timestamp)>,
    last_by_another: Option<(UpstreamKeyId, Timestamp)>,
}

/// The scheduled checks. An entry that differs from its key's condition is ignored.
#[derive(Debug, Default)]
pub(in crate::pool) struct CheckSchedule {
    pub(in crate::pool) by_time: BTreeSet<(Timestamp, UpstreamKeyId)>,
    /// Keys that were never used nor checked.
    pub(in crate::pool) new_keys: BTreeSet<UpstreamKeyId>,
    /// New keys whose check is due or running.
    pub(in crate::pool) unchecked_keys: HashSet<UpstreamKeyId>,
}

/// The key of a lease, and what its lease reserved.
#[derive(Debug, Clone)]
pub struct LeasedKey {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub secret: Secret,
    /// The project's billing is free.
    pub is_free: bool,
    /// The proxy that the attempt goes through; `None`: a direct connection.
    pub egress: Option<EgressProxyId>,
    pub(in crate::pool) reservation: QuotaReservation,
}

/// What was counted when a key was leased.
#[derive(Debug, Clone, Default)]
pub(in crate::pool) struct QuotaReservation {
    /// `None`: a model without an entry yet, or a request that uses no quota.
    pub model: Option<ModelNumber>,
    pub amount: QuotaAmount,
    pub at: Option<Timestamp>,
    pub day_ends: Option<Timestamp>,
    /// The limits that this request exceeds, as a probe.
    pub beyond: Vec<Measure>,
    /// This request probes the address throttle, or the model's circuit breaker.
    pub probes_address_throttle: bool,
    pub probes_overload: bool,
}

impl Default for KeyRegistry {
    fn default() -> Self {
        Self {
            by_id: HashMap::default(),
            ids: BTreeSet::new(),
            projects: HashMap::default(),
            models: vec![ModelEntry::default(), ModelEntry::default()],
            model_numbers: HashMap::from_iter([(EVERY_MODEL.into(), ANY_MODEL)]),
            ready_indexes: Vec::new(),
            egress: EgressProxies::default(),
            check_schedule: CheckSchedule::default(),
            policy: KeyPolicy::of(&Settings::default()),
            day_ends: None,
            latest_time: Timestamp::from_millis(0),
            last_lease_order: 0,
            successes: HashMap::default(),
            client_evidence: ClientEvidence::default(),
            upstream_watch: UpstreamWatch::default(),
        }
    }
}

impl KeyRegistry {
    /// Inserts a key, or updates a known one with the admin's changes.
    ///
    /// State that only the server has (load, soft faults, an unsaved condition) is kept unless the admin reset it.
    /// `lease_order` orders a new key: the time of its last use, or a random value.
    pub fn put(&mut self, mut key: UpstreamKey, lease_order: i64, now: Timestamp) {
        key.condition = key.condition.rebased_at(now);
        let (id, project_id, billing) = (key.id, key.project_id, key.billing);
        let mut left = None;
        if let Some(known) = self.by_id.get_mut(&id) {
            let condition = known.row.condition;
            let cleared = key.state_reset_revision > known.row.state_reset_revision;
            left = Some(known.row.project_id).filter(|old| *old != project_id);
            known.row = UpstreamKey {
                condition: if cleared { key.condition } else { condition },
                checked_at: key.checked_at.max(known.row.checked_at),
                ..key
            };
            if cleared {
                known.soft_faults.clear();
            }
        } else {
            self.ids.insert(id);
            self.by_id.insert(
                id,
                Box::new(KeyEntry {
                    row: key,
                    in_flight: 0,
                    lease_order,
                    soft_faults: Vec::new(),
                    suspicions: 0,
                    checked_at_once: None,
                    usage: QuotaUsage::default(),
                    indexed_while_busy: Vec::new(),
                    in_flight_by_model: Vec::new(),
                }),
            );
        }
        let project = self.projects.entry(project_id).or_default();
        project.keys.insert(id);
        let known = project.billing;
        // The billing that Google named is more recent than the row's.
        if billing != Billing::Unknown {
            project.billing = billing;
        }
        let is_billed_anew = known != project.billing;
        self.schedule_check(id);
        if let Some(left) = left {
            self.move_key(id, left, project_id, now);
        }
        if is_billed_anew {
            // The inherited limits of the project's other keys change too.
            self.update_project_readiness(project_id, None, now);
        }
        self.update_readiness_everywhere(id, now);
    }

    /// Removes a key. Its leases end later by themselves.
    pub fn remove(&mut self, id: UpstreamKeyId) {
        self.unschedule_checks(id);
        self.ids.remove(&id);
        for index in &mut self.ready_indexes {
            index.remove(id);
        }
        if let Some(key) = self.by_id.remove(&id)
            && let Some(project) = self.projects.get_mut(&key.row.project_id)
        {
            project.keys.remove(&id);
            project.end_in_flight(&key.in_flight_by_model);
            self.update_project_readiness(key.row.project_id, None, self.latest_time);
        }
    }

    /// Sets a cooldown, from the database or from a verdict.
    pub fn set_cooldown(&mut self, project_id: ProjectId, model: &str, cooldown: Cooldown) {
        let model = self.model_number(model);
        self.models[model].has_own_index = true;
        let project = self.projects.entry(project_id).or_default();
        if cooldown.rule == Rule::QuotaPerDay && model != ANY_MODEL {
            project.quota(model).probes_after_reset = true;
        }
        project.cooldowns.insert(model, cooldown);
    }

    /// Sets a cooldown that another project's verdict implies, unless the present one is longer.
    pub fn extend_cooldown(&mut self, project_id: ProjectId, model: &str, cooldown: Cooldown) {
        let number = self.model_number(model);
        let project = self.projects.get(&project_id);
        let known = project.and_then(|project| project.cooldowns.get(&number));
        if known.is_none_or(|known| known.until < cooldown.until) {
            self.set_cooldown(project_id, model, cooldown);
        }
    }

    /// Ends all cooldowns of a project and resets its limits, at the admin's request.
    pub fn clear_cooldowns(&mut self, project_id: ProjectId, now: Timestamp) {
        if let Some(project) = self.projects.get_mut(&project_id) {
            project.cooldowns.clear();
            for quota in project.quotas.values_mut() {
                quota.doubt_limits();
            }
            self.update_project_readiness(project_id, None, now);
        }
    }

    /// Restores an observed limit of a project from the database.
    pub fn restore_limit(
        &mut self,
        project_id: ProjectId,
        model: &str,
        measure: Measure,
        observed: ObservedLimit,
        learnt_at: Timestamp,
    ) {
        let model = self.model_number(model);
        self.models[model].has_own_index = true;
        let project = self.projects.entry(project_id).or_default();
        project.quota(model).learn(measure, observed);
        if let ObservedLimit::Limit(limit) = observed {
            self.models[model]
                .inherited
                .learn(project.billing, measure, limit, learnt_at);
        }
    }

    /// Restores usage of a key from the database: in the running day (`at` is `None`) or at a time within the last
    /// minute.
    pub fn restore_usage(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        amount: QuotaAmount,
        at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let model = self.model_number(model);
        let day_ends = self.day_ends(now);
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        let project = self.projects.entry(key.row.project_id).or_default();
        // Not through a method: all three fields are borrowed at once.
        let quota = project.quotas.entry(model).or_default();
        for usage in [&mut key.usage, &mut project.usage, &mut quota.usage] {
            match at {
                Some(at) => usage.restore_minute(amount, at),
                None => usage.restore_day(amount, day_ends),
            }
        }
    }

    /// Applies the admin's settings.
    pub fn set_policy(&mut self, policy: KeyPolicy) {
        if self.policy != policy {
            self.policy = policy;
            self.ready_indexes.clear();
        }
    }

    pub fn get(&self, id: UpstreamKeyId) -> Option<&UpstreamKey> {
        self.by_id.get(&id).map(|key| &key.row)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Number of requests in flight across all keys.
    pub fn in_flight(&self) -> u32 {
        self.by_id.values().map(|key| key.in_flight).sum()
    }

    /// The ids that follow `last`, or the first ones; at most [`KEYS_PER_LOCK`].
    pub(in crate::pool) fn ids_after(&self, last: Option<UpstreamKeyId>) -> Vec<UpstreamKeyId> {
        let begin = last.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.ids.range((begin, Bound::Unbounded));
        ids.take(KEYS_PER_LOCK).copied().collect()
    }

    /// Ends a lease.
    pub fn release(&mut self, leased: &LeasedKey) {
        let now = self.latest_time;
        if leased.reservation.probes_address_throttle
            && let Some(throttle) = self.egress.throttle(leased.egress)
            && let Some(breaker) = &mut throttle.breaker
        {
            breaker.end_probe();
        }
        if leased.reservation.probes_overload
            && let Some(model) = leased.reservation.model
            && let Some(breaker) = &mut self.models[model].overload.breaker
        {
            breaker.end_probe();
        }
        let Some(key) = self.by_id.get_mut(&leased.id) else {
            return;
        };
        key.in_flight = key.in_flight.saturating_sub(1);
        let project_id = key.row.project_id;
        let frees_project = leased.reservation.model.is_some_and(|model| {
            self.end_in_flight(leased.id, model, leased.reservation.amount.requests)
        });
        let indexed_while_busy = self
            .by_id
            .get_mut(&leased.id)
            .map(|key| std::mem::take(&mut key.indexed_while_busy));
        for (model, index) in indexed_while_busy.unwrap_or_default() {
            // The ready indexes are rebuilt now and then; a rebuilt index is up to date.
            if self
                .ready_indexes
                .get(index)
                .is_some_and(|index| index.model == model)
            {
                self.update_readiness(leased.id, index, now);
            }
        }
        if frees_project {
            self.update_project_readiness(project_id, leased.reservation.model, now);
        }
    }

    pub(in crate::pool) fn inherited_limits(
        &self,
        model: ModelNumber,
        project: Option<&ProjectEntry>,
    ) -> &QuotaLimits {
        let billing = project.map(|project| project.billing);
        self.models[model]
            .inherited
            .limits(billing.unwrap_or_default())
    }

    /// The model's number, assigned if it has none. Clients send arbitrary names, so only [`MAX_MODELS`] get a number
    /// of their own; the others share one.
    pub(in crate::pool) fn model_number(&mut self, model: &str) -> ModelNumber {
        if let Some(number) = self.model_numbers.get(model) {
            return *number;
        }
        let number = self.models.len();
        if number >= MAX_MODELS || model.len() > MAX_MODEL_NAME_BYTES {
            return OTHER_MODEL;
        }
        self.models.push(ModelEntry::default());
        self.model_numbers.insert(model.into(), number);
        number
    }

    pub(in crate::pool) fn model_name(&self, model: ModelNumber) -> String {
        let name = self
            .model_numbers
            .iter()
            .find(|(_, number)| **number == model);
        name.map(|(name, _)| name.to_string()).unwrap_or_default()
    }

    pub(in crate::pool) fn find_model(&self, model: &str) -> Option<ModelNumber> {
        self.model_numbers.get(model).copied()
    }

    /// Moves a key to the project it turned out to belong to. If the old project has no key left, the new one takes
    /// over its state.
    fn move_key(&mut self, id: UpstreamKeyId, from: ProjectId, to: ProjectId, now: Timestamp) {
        let in_flight_by_model = self
            .by_id
            .get(&id)
            .map(|key| key.in_flight_by_model.clone());
        let in_flight_by_model = in_flight_by_model.unwrap_or_default();
        let emptied = self.projects.get_mut(&from).is_some_and(|project| {
            project.keys.remove(&id);
            project.end_in_flight(&in_flight_by_model);
            project.keys.is_empty()
        });
        if emptied && let Some(old) = self.projects.remove(&from) {
            let project = self.projects.entry(to).or_default();
            for (model, cooldown) in old.cooldowns {
                let known = project.cooldowns.entry(model).or_insert(cooldown);
                if cooldown.until > known.until {
                    *known = cooldown;
                }
            }
            project.usage.merge(old.usage);
            for (model, quota) in old.quotas {
                project.quota(model).merge(quota);
            }
        }
        let project = self.projects.entry(to).or_default();
        for (model, count) in in_flight_by_model {
            project.quota(model).in_flight += count;
        }
        self.update_project_readiness(from, None, now);
        self.update_project_readiness(to, None, now);
    }
}

impl ProjectEntry {
    /// The limits and usage of a model.
    pub fn quota(&mut self, model: ModelNumber) -> &mut ModelQuota {
        self.quotas.entry(model).or_default()
    }

    /// Subtracts requests of these models that have ended or moved to another project.
    pub fn end_in_flight(&mut self, in_flight_by_model: &[(ModelNumber, u64)]) {
        for (model, count) in in_flight_by_model {
            if let Some(quota) = self.quotas.get_mut(model) {
                quota.in_flight = quota.in_flight.saturating_sub(*count);
            }
        }
    }
}

impl KeyPolicy {
    pub fn of(settings: &Settings) -> Self {
        Self {
            per_key_concurrency: settings.per_key_concurrency,
            key_limits: QuotaLimits::of_settings(
                settings.key_requests_per_minute,
                settings.key_tokens_per_minute,
                settings.key_requests_per_day,
                settings.key_tokens_per_day,
            ),
            project_limits: QuotaLimits::of_settings(
                settings.project_requests_per_minute,
                settings.project_tokens_per_minute,
                settings.project_requests_per_day,
                settings.project_tokens_per_day,
            ),
            overload_pause: settings.overload_pause(),
        }
    }
}

impl LastSuccesses {
    pub fn add(&mut self, id: UpstreamKeyId, at: Timestamp) {
        if let Some((last, _)) = self.last
            && last != id
        {
            self.last_by_another = self.last;
        }
        self.last = Some((id, at));
    }

    pub fn of_another_than(&self, id: UpstreamKeyId) -> Option<Timestamp> {
        let successes = [self.last, self.last_by_another];
        successes
            .into_iter()
            .flatten()
            .find(|(by, _)| *by != id)
            .map(|(_, at)| at)
    }
}

/// The lease order of a key last leased at `time`.
pub fn lease_order_at(time: Timestamp) -> i64 {
    // Leaves room for a thousand leases per millisecond.
    time.as_millis().saturating_mul(1_000)
}
