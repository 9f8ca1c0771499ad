//! `Keys`: every upstream key's condition, load and quota.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::checks::Plan;
use crate::pool::cooldown::EVERY_MODEL;
use crate::pool::gate::Gate;
use crate::pool::line::{ANY_MODEL, Line, ModelNumber};
use crate::pool::quota::{Limits, Measure, ModelQuota, Own, Presumed, Spent};
use crate::pool::quota_clock::end_of_google_day;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;
use crate::pool::storm::Storm;
use crate::pool::upstream_key::{Billing, ProjectId, UpstreamKey, UpstreamKeyId};
use crate::pool::verdict::Rule;
use crate::pool::window::Amount;

/// The model that stands for those beyond [`MOST_MODELS`].
const OTHER_MODEL: ModelNumber = 1;
/// Of how many models something is remembered; Google has about a hundred.
const MOST_MODELS: usize = 1_000;
/// The longest name of a model of which something is remembered, in bytes.
const LONGEST_NAME: usize = 200;

/// All upstream keys of a running server.
///
/// [`selection`](crate::pool::selection) lends from it, [`settle`](crate::pool::settle) draws the consequences,
/// [`places`](crate::pool::places) and [`counting`](crate::pool::counting) keep it in order.
#[derive(Debug)]
pub struct Keys {
    pub(super) by_id: HashMap<UpstreamKeyId, Key>,
    pub(super) projects: HashMap<ProjectId, Project>,
    pub(super) models: Vec<Model>,
    model_numbers: HashMap<Box<str>, ModelNumber>,
    /// One for each model of which something is known and each choice of tags, made when first needed.
    pub(super) lines: Vec<Line>,
    pub(super) storm: Storm,
    pub(super) plan: Plan,
    pub(super) rules: Rules,
    /// When Google's day ends, in which quotas are counted.
    pub(super) day_ends: Option<Timestamp>,
    /// The latest time that anybody has told.
    pub(super) told: Timestamp,
    pub(super) last_turn: i64,
    pub(super) successes: LastSuccesses,
}

/// What the admin has set for all keys alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How many requests a key carries at once; 0: any number.
    pub per_key_concurrency: u32,
    pub key_limits: Limits,
    pub project_limits: Limits,
    /// How long a model rests that is overloaded, the first time.
    pub overload_pause: Duration,
}

#[derive(Debug)]
pub(super) struct Key {
    pub row: UpstreamKey,
    pub in_flight: u32,
    pub turn: i64,
    pub soft_faults: Vec<Timestamp>,
    /// Over all models, for the admin's own limits.
    pub spent: Spent,
    /// Where it was placed while it carried a request: places that get better when one ends.
    pub loose: Vec<(ModelNumber, usize)>,
    /// Its part of what its project's quotas have under way; goes with it to another project.
    pub under_way: Vec<(ModelNumber, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Project {
    pub keys: BTreeSet<UpstreamKeyId>,
    pub billing: Billing,
    pub cooldowns: HashMap<ModelNumber, Cooldown>,
    pub quotas: HashMap<ModelNumber, ModelQuota>,
    /// Over all models, for the admin's own limits.
    pub spent: Spent,
}

/// What is known of a model over all projects.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Whether some project may not serve it while others may, so that it needs a line of its own.
    pub has_line: bool,
    pub presumed: Presumed,
    pub overload: Overload,
}

/// How often in a row a model was overloaded, and whether nothing is sent for a while.
#[derive(Debug, Default)]
pub(super) struct Overload {
    pub in_a_row: u32,
    pub gate: Option<Gate>,
}

/// Until when a project rests for a model, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    pub rule: Rule,
    /// How often in a row it came without an explanation.
    pub step: u32,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// The last success and the last one by another key: enough to know whether others succeed.
#[derive(Debug, Default)]
pub(super) struct LastSuccesses {
    last: Option<(UpstreamKeyId, Timestamp)>,
    last_by_another: Option<(UpstreamKeyId, Timestamp)>,
}

/// What a lent key is needed for, and what lending it has counted.
#[derive(Debug, Clone)]
pub struct Lent {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub secret: Secret,
    /// Google bills nothing to its project.
    pub is_free: bool,
    pub(super) charge: Charge,
}

/// What was counted when a key was lent.
#[derive(Debug, Clone, Default)]
pub(super) struct Charge {
    /// `None`: a model nobody has met yet, or something that uses no quota.
    pub model: Option<ModelNumber>,
    pub amount: Amount,
    pub at: Option<Timestamp>,
    pub day_ends: Option<Timestamp>,
    /// The limits over which it went, to see whether they are true.
    pub beyond: Vec<Measure>,
    /// It looks whether the storm is over, or the model's overload.
    pub probes_storm: bool,
    pub probes_overload: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            projects: HashMap::new(),
            models: vec![Model::default(), Model::default()],
            model_numbers: HashMap::from([(EVERY_MODEL.into(), ANY_MODEL)]),
            lines: Vec::new(),
            storm: Storm::default(),
            plan: Plan::default(),
            rules: Rules::of(&Settings::default()),
            day_ends: None,
            told: Timestamp::from_millis(0),
            last_turn: 0,
            successes: LastSuccesses::default(),
        }
    }
}

impl Cooldown {
    /// What began later than now was told by a clock that has been set back: it lasts as long, from now.
    #[must_use]
    pub fn begun_by(self, now: Timestamp) -> Self {
        if self.since <= now {
            return self;
        }
        let until = match self.rule {
            Rule::QuotaPerDay => end_of_google_day(now),
            _ => now + (self.until - self.since),
        };
        Self {
            since: now,
            until,
            ..self
        }
    }
}

impl Keys {
    /// Takes a key in, or takes over what a hand changed of one that is known.
    ///
    /// What only the server knows (load, soft faults, a condition not yet written) stays, unless a hand cleared it.
    /// `turn` is the place in line of a key that is new here: the time it was last used, or chance.
    pub fn put(&mut self, mut key: UpstreamKey, turn: i64, now: Timestamp) {
        key.condition = key.condition.begun_by(now);
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
            self.by_id.insert(
                id,
                Key {
                    row: key,
                    in_flight: 0,
                    turn,
                    soft_faults: Vec::new(),
                    spent: Spent::default(),
                    loose: Vec::new(),
                    under_way: Vec::new(),
                },
            );
        }
        let project = self.projects.entry(project_id).or_default();
        project.keys.insert(id);
        let known = project.billing;
        // Of a project that Google has named meanwhile more is known than its row says.
        if billing != Billing::Unknown {
            project.billing = billing;
        }
        let is_billed_anew = known != project.billing;
        self.plan_check(id);
        if let Some(left) = left {
            self.move_key(id, left, project_id, now);
        }
        if is_billed_anew {
            // Other limits are presumed for its sisters too.
            self.place_project(project_id, None, now);
        }
        self.place_everywhere(id, now);
    }

    /// Forgets a removed key. Leases of it end in their own time.
    pub fn remove(&mut self, id: UpstreamKeyId) {
        self.plan_no_check(id);
        for line in &mut self.lines {
            line.remove(id);
        }
        if let Some(key) = self.by_id.remove(&id)
            && let Some(project) = self.projects.get_mut(&key.row.project_id)
        {
            project.keys.remove(&id);
            project.end(&key.under_way);
            self.place_project(key.row.project_id, None, self.told);
        }
    }

    /// Takes over a cooldown, from the database or from a verdict.
    pub fn put_cooldown(&mut self, project_id: ProjectId, model: &str, cooldown: Cooldown) {
        let model = self.model_number(model);
        self.models[model].has_line = true;
        let project = self.projects.entry(project_id).or_default();
        if cooldown.rule == Rule::QuotaPerDay && model != ANY_MODEL {
            project.quota(model).goes_alone = true;
        }
        project.cooldowns.insert(model, cooldown);
    }

    /// Takes over a cooldown of which another project has told, unless the known one is longer.
    pub fn extend_cooldown(&mut self, project_id: ProjectId, model: &str, cooldown: Cooldown) {
        let number = self.model_number(model);
        let project = self.projects.get(&project_id);
        let known = project.and_then(|project| project.cooldowns.get(&number));
        if known.is_none_or(|known| known.until < cooldown.until) {
            self.put_cooldown(project_id, model, cooldown);
        }
    }

    /// Ends all cooldowns of a project, and what follows from limits, by hand.
    pub fn clear_cooldowns(&mut self, project_id: ProjectId, now: Timestamp) {
        if let Some(project) = self.projects.get_mut(&project_id) {
            project.cooldowns.clear();
            for quota in project.quotas.values_mut() {
                quota.forget_limits();
            }
            self.place_project(project_id, None, now);
        }
    }

    /// Takes over what an earlier run has learnt of a project's limits.
    pub fn put_limit(
        &mut self,
        project_id: ProjectId,
        model: &str,
        measure: Measure,
        own: Own,
        learnt_at: Timestamp,
    ) {
        let model = self.model_number(model);
        self.models[model].has_line = true;
        let project = self.projects.entry(project_id).or_default();
        project.quota(model).learn(measure, own);
        if let Own::Limit(limit) = own {
            self.models[model]
                .presumed
                .learn(project.billing, measure, limit, learnt_at);
        }
    }

    /// Takes over what an earlier run has used of a key in the running day (`at` is `None`) or at a time within the last
    /// minute.
    pub fn put_spent(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        amount: Amount,
        at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let model = self.model_number(model);
        let day_ends = self.day_ends(now);
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        let project = self.projects.entry(key.row.project_id).or_default();
        // Not by its method: all three are borrowed at once.
        let quota = project.quotas.entry(model).or_default();
        for spent in [&mut key.spent, &mut project.spent, &mut quota.spent] {
            match at {
                Some(at) => spent.restore_minute(amount, at),
                None => spent.restore_day(amount, day_ends),
            }
        }
    }

    /// Takes over what the admin has set.
    pub fn set_rules(&mut self, rules: Rules) {
        if self.rules != rules {
            self.rules = rules;
            self.lines.clear();
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

    /// How many requests are under way, over all keys.
    pub fn in_flight(&self) -> u32 {
        self.by_id.values().map(|key| key.in_flight).sum()
    }

    /// The secret of every key with the ids that Google gave its project.
    pub fn values_to_redact(&self) -> Vec<(Secret, Vec<String>)> {
        let values = self
            .by_id
            .values()
            .map(|key| (key.row.secret.clone(), key.row.project_ids()));
        values.collect()
    }

    /// Ends what lending began.
    pub fn give_back(&mut self, lent: &Lent) {
        let now = self.told;
        if lent.charge.probes_storm
            && let Some(gate) = &mut self.storm.gate
        {
            gate.release();
        }
        if lent.charge.probes_overload
            && let Some(model) = lent.charge.model
            && let Some(gate) = &mut self.models[model].overload.gate
        {
            gate.release();
        }
        let Some(key) = self.by_id.get_mut(&lent.id) else {
            return;
        };
        key.in_flight = key.in_flight.saturating_sub(1);
        let project_id = key.row.project_id;
        let frees_project = lent
            .charge
            .model
            .is_some_and(|model| self.end_under_way(lent.id, model, lent.charge.amount.requests));
        let loose = self
            .by_id
            .get_mut(&lent.id)
            .map(|key| std::mem::take(&mut key.loose));
        for (model, line) in loose.unwrap_or_default() {
            // Lines are made anew now and then, and then everything in them is.
            if self.lines.get(line).is_some_and(|line| line.model == model) {
                self.place(lent.id, line, now);
            }
        }
        if frees_project {
            self.place_project(project_id, lent.charge.model, now);
        }
    }

    pub(super) fn presumed(&self, model: ModelNumber, project: Option<&Project>) -> &Limits {
        let billing = project.map(|project| project.billing);
        self.models[model]
            .presumed
            .limits(billing.unwrap_or_default())
    }

    /// The model's number, given to it now where it has none. Clients send whatever names they like, so that only so many
    /// have one of their own; of the others nothing is remembered that anybody would ask for.
    pub(super) fn model_number(&mut self, model: &str) -> ModelNumber {
        if let Some(number) = self.model_numbers.get(model) {
            return *number;
        }
        let number = self.models.len();
        if number >= MOST_MODELS || model.len() > LONGEST_NAME {
            return OTHER_MODEL;
        }
        self.models.push(Model::default());
        self.model_numbers.insert(model.into(), number);
        number
    }

    pub(super) fn name_of(&self, model: ModelNumber) -> String {
        let name = self
            .model_numbers
            .iter()
            .find(|(_, number)| **number == model);
        name.map(|(name, _)| name.to_string()).unwrap_or_default()
    }

    pub(super) fn known_model(&self, model: &str) -> Option<ModelNumber> {
        self.model_numbers.get(model).copied()
    }

    /// A key turns out to belong to another project. Nothing that was known is lost when the old one has no key left.
    fn move_key(&mut self, id: UpstreamKeyId, from: ProjectId, to: ProjectId, now: Timestamp) {
        let under_way = self.by_id.get(&id).map(|key| key.under_way.clone());
        let under_way = under_way.unwrap_or_default();
        let emptied = self.projects.get_mut(&from).is_some_and(|project| {
            project.keys.remove(&id);
            project.end(&under_way);
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
            project.spent.merge(old.spent);
            for (model, quota) in old.quotas {
                project.quota(model).merge(quota);
            }
        }
        let project = self.projects.entry(to).or_default();
        for (model, count) in under_way {
            project.quota(model).under_way += count;
        }
        self.place_project(from, None, now);
        self.place_project(to, None, now);
    }
}

impl Project {
    /// What it may use of a model, and has.
    pub fn quota(&mut self, model: ModelNumber) -> &mut ModelQuota {
        self.quotas.entry(model).or_default()
    }

    /// So many requests of these models have ended, or are another project's.
    pub fn end(&mut self, under_way: &[(ModelNumber, u64)]) {
        for (model, count) in under_way {
            if let Some(quota) = self.quotas.get_mut(model) {
                quota.under_way = quota.under_way.saturating_sub(*count);
            }
        }
    }
}

impl Rules {
    pub fn of(settings: &Settings) -> Self {
        Self {
            per_key_concurrency: settings.per_key_concurrency,
            key_limits: Limits::of_settings(
                settings.key_requests_per_minute,
                settings.key_tokens_per_minute,
                settings.key_requests_per_day,
                settings.key_tokens_per_day,
            ),
            project_limits: Limits::of_settings(
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

/// The place in line of a key that was last lent at `time`.
pub fn turn_at(time: Timestamp) -> i64 {
    // Room for a thousand turns a millisecond.
    time.as_millis().saturating_mul(1_000)
}
