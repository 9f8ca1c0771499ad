//! `Keys`: every upstream key's condition, load and quota.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::checks::Plan;
use crate::pool::cooldown::EVERY_MODEL;
use crate::pool::gate::Gate;
use crate::pool::line::{ANY_MODEL, Line, ModelNumber, Place, Rank};
use crate::pool::quota::{Limits, Measure, ModelQuota, Own, Presumed, Spent};
use crate::pool::quota_clock::end_of_google_day;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;
use crate::pool::storm::Storm;
use crate::pool::upstream_key::{
    Billing, Condition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId,
};
use crate::pool::verdict::Rule;
use crate::pool::window::Amount;

/// The model that stands for those beyond [`MOST_MODELS`].
const OTHER_MODEL: ModelNumber = 1;
/// Of how many models something is remembered; Google has about a hundred.
const MOST_MODELS: usize = 1_000;
/// The longest name of a model of which something is remembered, in bytes.
const LONGEST_NAME: usize = 200;
/// How much earlier than another a reading of the clock may be that came later: threads overtake each other. What is
/// earlier by more comes from a clock that was set back.
const BEHIND: Duration = Duration::from_mins(1);

/// All upstream keys of a running server.
///
/// [`selection`](crate::pool::selection) lends from it, [`settle`](crate::pool::settle) draws the consequences.
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
    under_way: Vec<(ModelNumber, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Project {
    pub keys: BTreeSet<UpstreamKeyId>,
    pub billing: Option<Billing>,
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

/// Until when a key rests, and whether it has used up a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub until: Timestamp,
    pub for_the_day: bool,
    /// Nobody but our own count says so.
    pub is_estimate: bool,
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

/// What a verdict changed, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Key {
        id: UpstreamKeyId,
        condition: Condition,
    },
    Cooldown {
        project_id: ProjectId,
        model: String,
        cooldown: Cooldown,
    },
    /// A cooldown that was nobody's fault.
    CooldownLifted {
        project_id: ProjectId,
        model: String,
    },
    /// What a project may use of a model; no limit: more than was presumed.
    Limit {
        project_id: ProjectId,
        model: String,
        measure: Measure,
        limit: Option<u64>,
        at: Timestamp,
    },
    /// Google said what it bills the project for.
    Billing {
        project_id: ProjectId,
        billing: Billing,
    },
    /// A check left the key's condition as it was or let it come on trial; the evidence stays.
    Checked {
        id: UpstreamKeyId,
        condition: Condition,
    },
    /// Google named the key's project: `projects/123`.
    Project { id: UpstreamKeyId, number: String },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, condition } | Self::Checked { id, condition } => {
                write!(f, "upstream key {} is now {:?}", id.0, condition.state)?;
                match condition.until.or(condition.next_check) {
                    Some(at) => write!(f, " until {at}"),
                    None => Ok(()),
                }
            }
            Self::Cooldown {
                project_id,
                model,
                cooldown,
            } => write!(
                f,
                "project {} rests for {model} until {}",
                project_id.0, cooldown.until
            ),
            Self::CooldownLifted { project_id, model } => {
                write!(f, "project {} rests no longer for {model}", project_id.0)
            }
            Self::Limit {
                project_id,
                model,
                measure,
                limit: Some(limit),
                ..
            } => write!(
                f,
                "project {} may use {limit} of {model}: {}",
                project_id.0,
                measure.name()
            ),
            Self::Limit {
                project_id,
                model,
                measure,
                limit: None,
                ..
            } => write!(
                f,
                "project {} may use more of {model} than was presumed: {}",
                project_id.0,
                measure.name()
            ),
            Self::Billing {
                project_id,
                billing,
            } => write!(f, "project {} is billed as {billing:?}", project_id.0),
            // Without the number, by which Google knows the project: this is for the log.
            Self::Project { id, .. } => {
                write!(f, "upstream key {} is in a project that Google named", id.0)
            }
        }
    }
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
        if billing != Billing::Unknown || known.is_none() {
            project.billing = Some(billing);
        }
        let is_billed_anew = known.is_some() && known != project.billing;
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
            project.quotas.entry(model).or_default().goes_alone = true;
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
        project.quotas.entry(model).or_default().learn(measure, own);
        if let Own::Limit(limit) = own {
            let billing = project.billing.unwrap_or(Billing::Unknown);
            self.models[model]
                .presumed
                .learn(billing, measure, limit, learnt_at);
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

    /// Adds the input tokens of an answer to what its model has used.
    pub fn count_tokens(&mut self, lent: &Lent, model: &str, tokens: u64, now: Timestamp) {
        let (Some(model), Some(estimated)) = (self.known_model(model), lent.charge.day_ends) else {
            return;
        };
        // What was put down for the request before anybody had counted gives way to what Google has.
        let estimate = Amount {
            requests: 0,
            tokens: lent.charge.amount.tokens,
        };
        let amount = Amount {
            requests: 0,
            tokens,
        };
        let day_ends = self.day_ends(now);
        let at = lent.charge.at.unwrap_or(now);
        let project_id = self.project_of_lent(lent);
        self.correct_spent(lent.id, project_id, Some(model), now, |spent| {
            spent.take_back(estimate, at, estimated);
            spent.add(amount, now, day_ends);
        });
    }

    /// The project that a lent key belongs to now: it may have turned out to be another.
    pub(super) fn project_of_lent(&self, lent: &Lent) -> ProjectId {
        let key = self.by_id.get(&lent.id);
        key.map_or(lent.project_id, |key| key.row.project_id)
    }

    /// Changes what was counted. Who was held back by it is placed anew, for every model: the admin's limits are over all.
    pub(super) fn correct_spent(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        now: Timestamp,
        change: impl FnMut(&mut Spent),
    ) {
        let key = self.by_id.get(&id);
        // Of a key that is gone nobody knows; its sisters may be held back.
        let was_held_back =
            key.is_none_or(|key| self.rest_of(key, model.unwrap_or(ANY_MODEL), now).is_some());
        self.each_spent(id, project_id, model, change);
        if was_held_back {
            self.place_project(project_id, None, now);
        }
    }

    /// Calls `change` with all that counts a request: the key's, the project's, and the model's if it is known.
    pub(super) fn each_spent(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        mut change: impl FnMut(&mut Spent),
    ) {
        if let Some(key) = self.by_id.get_mut(&id) {
            change(&mut key.spent);
        }
        if let Some(project) = self.projects.get_mut(&project_id) {
            change(&mut project.spent);
            if let Some(model) = model {
                change(&mut project.quotas.entry(model).or_default().spent);
            }
        }
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

    /// Notes that a key has so many more requests of a model under way.
    pub(super) fn begin_under_way(&mut self, id: UpstreamKeyId, model: ModelNumber, requests: u64) {
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        match key.under_way.iter_mut().find(|(of, _)| *of == model) {
            Some((_, count)) => *count += requests,
            None => key.under_way.push((model, requests)),
        }
        let project = self.projects.entry(key.row.project_id).or_default();
        project.quotas.entry(model).or_default().under_way += requests;
    }

    /// Notes that they have ended. Returns whether its sisters may be ready for that.
    fn end_under_way(&mut self, id: UpstreamKeyId, model: ModelNumber, requests: u64) -> bool {
        let Some(key) = self.by_id.get_mut(&id) else {
            return false;
        };
        // Of a key that was removed and came back none is known.
        let Some(place) = key.under_way.iter().position(|(of, _)| *of == model) else {
            return false;
        };
        let requests = requests.min(key.under_way[place].1);
        key.under_way[place].1 -= requests;
        if key.under_way[place].1 == 0 {
            key.under_way.swap_remove(place);
        }
        let Some(project) = self.projects.get_mut(&key.row.project_id) else {
            return false;
        };
        let billing = project.billing.unwrap_or(Billing::Unknown);
        let presumed = self.models[model].presumed.limits(billing);
        let before = project
            .quotas
            .get(&model)
            .map(|quota| quota.limits(presumed, self.told));
        project.end(&[(model, requests)]);
        // What has gone through may now contradict what is presumed.
        project.quotas.get(&model).is_some_and(|quota| {
            quota.goes_alone || before != Some(quota.limits(presumed, self.told))
        })
    }

    /// When Google's running day ends. At its end everything is placed anew, because all shares are nothing again.
    pub(super) fn day_ends(&mut self, now: Timestamp) -> Timestamp {
        if now + BEHIND < self.told {
            self.set_back(now);
        }
        self.told = now;
        // A day has at most 25 hours; where the clock went back the end is too far away.
        let longest = Duration::from_hours(26);
        match self.day_ends {
            Some(ends) if now < ends && ends < now + longest => ends,
            before => {
                let ends = end_of_google_day(now);
                self.day_ends = Some(ends);
                if let Some(before) = before {
                    self.begin_day(before);
                }
                ends
            }
        }
    }

    /// All shares are nothing again, and where the day was used up the first request shows whether that is so at Google.
    fn begin_day(&mut self, yesterday_ended: Timestamp) {
        self.lines.clear();
        let yesterday = yesterday_ended - Duration::from_millis(1);
        for project in self.projects.values_mut() {
            let billing = project.billing.unwrap_or(Billing::Unknown);
            for (model, quota) in &mut project.quotas {
                let limits = quota.limits(self.models[*model].presumed.limits(billing), yesterday);
                quota.goes_alone |= quota.spent.share_of_day(&limits, yesterday) >= 1_000;
            }
        }
    }

    /// Places a key in one line.
    pub(super) fn place(&mut self, id: UpstreamKeyId, line: usize, now: Timestamp) {
        let Some(turn) = self.lines[line].turn(id) else {
            return;
        };
        self.place_with(id, line, turn, now);
    }

    pub(super) fn place_with(&mut self, id: UpstreamKeyId, line: usize, turn: i64, now: Timestamp) {
        let model = self.lines[line].model;
        let place = self.place_of(id, model, turn, now);
        self.lines[line].put(id, place, turn);
        if let Some(key) = self.by_id.get_mut(&id)
            && key.in_flight > 0
            && !key.loose.contains(&(model, line))
        {
            key.loose.push((model, line));
        }
    }

    /// Places a key in every line, or takes it out where it does not belong any more.
    pub(super) fn place_everywhere(&mut self, id: UpstreamKeyId, now: Timestamp) {
        for line in 0..self.lines.len() {
            let Some(key) = self.by_id.get(&id) else {
                return;
            };
            if self.lines[line].takes(&key.row.tags) {
                let turn = self.lines[line].turn(id).unwrap_or(key.turn);
                self.place_with(id, line, turn, now);
            } else {
                self.lines[line].remove(id);
            }
        }
    }

    /// Places a project's keys in the lines of one model, or in all.
    pub(super) fn place_project(
        &mut self,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        now: Timestamp,
    ) {
        let Some(project) = self.projects.get(&project_id) else {
            return;
        };
        let keys: Vec<_> = project.keys.iter().copied().collect();
        for line in 0..self.lines.len() {
            if model.is_none_or(|model| self.lines[line].model == model) {
                for id in &keys {
                    self.place(*id, line, now);
                }
            }
        }
    }

    /// Places anew those that rest in the lines of a model of which more is presumed than before.
    pub(super) fn place_resting(&mut self, model: ModelNumber, now: Timestamp) {
        for line in 0..self.lines.len() {
            if self.lines[line].model == model {
                for id in self.lines[line].all_resting() {
                    self.place(id, line, now);
                }
            }
        }
    }

    /// Where a key truly stands for a model now.
    pub(super) fn place_of(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        turn: i64,
        now: Timestamp,
    ) -> Place {
        let Some(key) = self.by_id.get(&id).filter(|key| key.row.enabled) else {
            return Place::Out;
        };
        let one_at_a_time = match key.row.condition.state {
            KeyState::Ready => false,
            KeyState::Trial => true,
            KeyState::CoolingDown => match key.row.condition.until {
                Some(until) if until > now => return Place::Resting(until),
                Some(_) => true,
                None => return Place::Out,
            },
            KeyState::Invalid
            | KeyState::Leaked
            | KeyState::Suspended
            | KeyState::Misconfigured => return Place::Out,
        };
        if let Some(rest) = self.rest_of(key, model, now) {
            return Place::Resting(rest.until);
        }
        let project = self.projects.get(&key.row.project_id);
        let quota = project.and_then(|project| project.quotas.get(&model));
        let most = self.rules.per_key_concurrency;
        let is_busy = (most > 0 && key.in_flight >= most)
            || (one_at_a_time && key.in_flight > 0)
            || quota.is_some_and(|quota| quota.goes_alone && quota.under_way > 0);
        if is_busy {
            return Place::Busy;
        }
        let share = quota.map_or(0, |quota| {
            let presumed = self.presumed(model, project);
            quota.spent.share_of_day(&quota.limits(presumed, now), now)
        });
        Place::Ready(Rank {
            priority: key.row.priority,
            busyness: u64::from(key.in_flight) * 1_000 / u64::from(key.row.weight.max(1)),
            share,
            turn,
            id,
        })
    }

    /// What keeps a key's project, or the key by the admin's limits, from serving a model; `None`: nothing.
    pub(super) fn rest_of(&self, key: &Key, model: ModelNumber, now: Timestamp) -> Option<Rest> {
        let project = self.projects.get(&key.row.project_id)?;
        let cooldowns = [model, ANY_MODEL].map(|model| project.cooldowns.get(&model));
        let running = cooldowns
            .into_iter()
            .flatten()
            .filter(|cooldown| cooldown.until > now);
        let cooling = running.map(|cooldown| Rest {
            until: cooldown.until,
            for_the_day: cooldown.rule == Rule::QuotaPerDay,
            is_estimate: false,
        });
        let day_ends = self.day_ends.unwrap_or(now);
        let full = |spent: &Spent, limits: &Limits, is_estimate| {
            let full = spent.full(limits, now, day_ends)?;
            Some(Rest {
                until: full.until,
                for_the_day: full.measure.is_daily(),
                is_estimate,
            })
        };
        let sure = cooling
            .chain(full(&key.spent, &self.rules.key_limits, false))
            .chain(full(&project.spent, &self.rules.project_limits, false))
            .max_by_key(|rest| rest.until);
        let estimated = project.quotas.get(&model).and_then(|quota| {
            let limits = quota.limits(self.presumed(model, Some(project)), now);
            full(&quota.spent, &limits, sure.is_none())
        });
        sure.into_iter()
            .chain(estimated)
            .max_by_key(|rest| rest.until)
    }

    /// When `amount` more will fit into what a key may use of a model; `None`: now.
    pub(super) fn room_for(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        amount: Amount,
        now: Timestamp,
    ) -> Option<Rest> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id)?;
        let quota = project.quotas.get(&model)?;
        let limits = quota.limits(self.presumed(model, Some(project)), now);
        let day_ends = self.day_ends.unwrap_or(now);
        let full = quota.spent.without_room(&limits, amount, now, day_ends)?;
        Some(Rest {
            until: full.until,
            for_the_day: full.measure.is_daily(),
            is_estimate: true,
        })
    }

    pub(super) fn presumed(&self, model: ModelNumber, project: Option<&Project>) -> &Limits {
        let billing = project.and_then(|project| project.billing);
        self.models[model]
            .presumed
            .limits(billing.unwrap_or(Billing::Unknown))
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
                project.quotas.entry(model).or_default().merge(quota);
            }
        }
        let project = self.projects.entry(to).or_default();
        for (model, count) in under_way {
            project.quotas.entry(model).or_default().under_way += count;
        }
        self.place_project(from, None, now);
        self.place_project(to, None, now);
    }
}

impl Project {
    /// So many requests of these models have ended, or are another project's.
    fn end(&mut self, under_way: &[(ModelNumber, u64)]) {
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
