//! `Keys`: every upstream key's condition and load, and where it stands in line.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::checks::Plan;
use crate::pool::cooldown::{
    EVERY_MODEL, SOFT_FAULT_REST, SOFT_FAULT_SPAN, SOFT_FAULTS, check_after, rest_until,
};
use crate::pool::secret::Secret;
use crate::pool::upstream_key::{Condition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId};
use crate::pool::verdict::{Fault, Rule, Verdict};

/// All upstream keys of a running server.
///
/// Keys whose projects rest for the same models share a shelf, on which they stand in the order in which they are
/// lent. To lend a key for a model is to look at the head of every shelf that does not rest for it; there are few
/// shelves, however many keys there are.
#[derive(Debug, Default)]
pub struct Keys {
    pub(super) by_id: HashMap<UpstreamKeyId, Key>,
    pub(super) projects: HashMap<ProjectId, Project>,
    pub(super) shelves: BTreeMap<Vec<ModelNumber>, BTreeSet<Rank>>,
    models: HashMap<Box<str>, ModelNumber>,
    alarms: BinaryHeap<Reverse<(Timestamp, Alarm)>>,
    pub(super) plan: Plan,
    last_turn: i64,
    per_key_concurrency: u32,
    successes: LastSuccesses,
}

/// A model's short name inside `Keys`.
pub(super) type ModelNumber = u32;

/// A key's place in line: lower is lent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub priority: i64,
    /// Requests under way, a thousandfold, by weight.
    pub busyness: u64,
    /// Grows each time a key is lent, so the longest rested comes first.
    pub turn: i64,
    pub id: UpstreamKeyId,
}

#[derive(Debug)]
pub(super) struct Key {
    pub row: UpstreamKey,
    pub in_flight: u32,
    turn: i64,
    soft_faults: Vec<Timestamp>,
    shelved: Option<Rank>,
}

#[derive(Debug, Default)]
pub(super) struct Project {
    pub keys: Vec<UpstreamKeyId>,
    cooldowns: HashMap<ModelNumber, Cooldown>,
    /// The shelf its keys stand on: the models it rests for, in order.
    resting: Vec<ModelNumber>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    KeyWakes(UpstreamKeyId),
    CooldownEnds(ProjectId, ModelNumber),
}

/// The last success and the last one by another key: enough to know whether others succeed.
#[derive(Debug, Default)]
struct LastSuccesses {
    last: Option<(UpstreamKeyId, Timestamp)>,
    last_by_another: Option<(UpstreamKeyId, Timestamp)>,
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
            } => {
                write!(
                    f,
                    "project {} rests for {model} until {}",
                    project_id.0, cooldown.until
                )
            }
            // Without the number, by which Google knows the project: this is for the log.
            Self::Project { id, .. } => {
                write!(f, "upstream key {} is in a project that Google named", id.0)
            }
        }
    }
}

impl Keys {
    /// Takes a key in, or takes over what a hand changed of one that is known.
    ///
    /// What only the server knows (load, soft faults, a condition not yet written) stays, unless a hand cleared it.
    /// `turn` is the place in line of a key that is new here: the time it was last used, or chance.
    pub fn put(&mut self, key: UpstreamKey, turn: i64) {
        let (id, project_id, wakes_at) = (key.id, key.project_id, key.condition.wakes_at());
        self.unshelve(id);
        if let Some(known) = self.by_id.get_mut(&id) {
            let condition = known.row.condition;
            let cleared = key.state_reset_revision > known.row.state_reset_revision;
            let old_project = known.row.project_id;
            known.row = UpstreamKey {
                condition: if cleared { key.condition } else { condition },
                ..key
            };
            if cleared {
                known.soft_faults.clear();
            }
            if old_project != project_id {
                self.leave_project(id, old_project);
                self.projects.entry(project_id).or_default().keys.push(id);
            }
        } else {
            self.by_id.insert(
                id,
                Key {
                    row: key,
                    in_flight: 0,
                    turn,
                    soft_faults: Vec::new(),
                    shelved: None,
                },
            );
            self.projects.entry(project_id).or_default().keys.push(id);
        }
        if let Some(at) = wakes_at {
            self.alarms.push(Reverse((at, Alarm::KeyWakes(id))));
        }
        self.plan_check(id);
        self.shelve(id);
    }

    /// Forgets a removed key. Leases of it end in their own time.
    pub fn remove(&mut self, id: UpstreamKeyId) {
        self.unshelve(id);
        if let Some(key) = self.by_id.remove(&id) {
            self.leave_project(id, key.row.project_id);
        }
    }

    /// Takes over a cooldown, from the database or from a hand.
    pub fn put_cooldown(
        &mut self,
        project_id: ProjectId,
        model: &str,
        cooldown: Cooldown,
        now: Timestamp,
    ) {
        let model = self.model_number(model);
        self.alarms.push(Reverse((
            cooldown.until,
            Alarm::CooldownEnds(project_id, model),
        )));
        self.projects
            .entry(project_id)
            .or_default()
            .cooldowns
            .insert(model, cooldown);
        self.reshelve_project(project_id, now);
    }

    /// How many requests one key may carry at once; 0: any number.
    pub fn limit_per_key(&mut self, concurrency: u32) {
        if self.per_key_concurrency != concurrency {
            self.per_key_concurrency = concurrency;
            let ids: Vec<_> = self.by_id.keys().copied().collect();
            for id in ids {
                self.shelve(id);
            }
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

    /// The secret of every key with the ids of its project.
    pub fn values_to_redact(&self) -> Vec<(Secret, Vec<String>)> {
        let values = self
            .by_id
            .values()
            .map(|key| (key.row.secret.clone(), key.row.project_ids()));
        values.collect()
    }

    /// Counts a request on the key and sends it to the end of the line.
    pub(super) fn take(&mut self, id: UpstreamKeyId, now: Timestamp) {
        self.last_turn = (self.last_turn + 1).max(turn_at(now));
        let turn = self.last_turn;
        if let Some(key) = self.by_id.get_mut(&id) {
            key.in_flight += 1;
            key.turn = turn;
        }
        self.shelve(id);
    }

    /// Ends what [`Keys::take`] began.
    pub(super) fn give_back(&mut self, id: UpstreamKeyId) {
        if let Some(key) = self.by_id.get_mut(&id) {
            key.in_flight = key.in_flight.saturating_sub(1);
        }
        self.shelve(id);
    }

    /// Lets what has rested long enough stand in line again.
    pub fn wake(&mut self, now: Timestamp) {
        while let Some(Reverse((at, alarm))) = self.alarms.peek().copied() {
            if at > now {
                break;
            }
            self.alarms.pop();
            match alarm {
                Alarm::KeyWakes(id) => self.wake_key(id, now),
                Alarm::CooldownEnds(project_id, model) => self.end_cooldown(project_id, model, now),
            }
        }
    }

    /// Draws the consequences of `verdict` on an attempt that `began` with this key for this model.
    pub fn settle(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let fault = verdict.rule.fault();
        match fault {
            Fault::Nobody if verdict.rule == Rule::Success => self.succeed(id, model, began, now),
            Fault::Nobody | Fault::Client | Fault::Model | Fault::WayOut => Vec::new(),
            Fault::Soft => self.soft_fault(id, now),
            Fault::ProjectModel => self.rest_project(id, model, verdict, began, now),
            Fault::KeyInvalid => self
                .blame(id, KeyState::Invalid, verdict.rule, began, now)
                .into_iter()
                .collect(),
            Fault::KeyLeaked => self
                .blame(id, KeyState::Leaked, verdict.rule, began, now)
                .into_iter()
                .collect(),
            Fault::ProjectSuspended => {
                self.blame_project(id, KeyState::Suspended, verdict.rule, began, now)
            }
            Fault::ProjectMisconfigured => {
                self.blame_project(id, KeyState::Misconfigured, verdict.rule, began, now)
            }
        }
    }

    /// When the first key that now rests can serve `model`, and which rule keeps it until then; `None`: none can
    /// without a hand.
    pub fn soonest(&self, model: &str, now: Timestamp) -> Option<(Timestamp, Option<Rule>)> {
        let models = [self.models.get(model), self.models.get(EVERY_MODEL)];
        let rested = |project: &Project| {
            let cooldowns = models
                .iter()
                .flatten()
                .filter_map(|model| project.cooldowns.get(model));
            let longest = cooldowns.max_by_key(|cooldown| cooldown.until);
            longest.map(|cooldown| (cooldown.until, Some(cooldown.rule)))
        };
        let keys = self.by_id.values().filter(|key| key.row.enabled);
        let usable = keys.filter_map(|key| match key.row.condition.state {
            KeyState::Ready | KeyState::Trial => Some((key, now)),
            // Only a rest that is sure to end is a promise to the client; a check may fail again.
            KeyState::CoolingDown => key.row.condition.until.map(|until| (key, until)),
            KeyState::Invalid
            | KeyState::Suspended
            | KeyState::Misconfigured
            | KeyState::Leaked => None,
        });
        let ready = usable.map(|(key, at)| {
            let project = self.projects.get(&key.row.project_id).and_then(rested);
            project
                .filter(|(until, _)| *until > at)
                .unwrap_or((at, key.row.condition.rule))
        });
        ready.min_by_key(|(at, _)| *at)
    }

    fn succeed(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        self.successes.add(id, now);
        let model = self.models.get(model).copied();
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.soft_faults.clear();
        if let (Some(model), Some(project)) = (model, self.projects.get_mut(&key.row.project_id))
            && project
                .cooldowns
                .get(&model)
                .is_some_and(|cooldown| cooldown.until <= began)
        {
            // The next unexplained 429 begins its doubling anew.
            project.cooldowns.remove(&model);
        }
        let on_trial =
            key.row.condition.state == KeyState::Trial && key.row.condition.since <= began;
        if on_trial {
            vec![self.set_condition(id, Condition::ready(now))]
        } else {
            Vec::new()
        }
    }

    fn soft_fault(&mut self, id: UpstreamKeyId, now: Timestamp) -> Vec<Change> {
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.soft_faults.retain(|at| now - *at <= SOFT_FAULT_SPAN);
        key.soft_faults.push(now);
        let others_succeed = |since| {
            self.successes
                .of_another_than(id)
                .is_some_and(|at| at >= since)
        };
        let often = key.soft_faults.len() >= SOFT_FAULTS && others_succeed(key.soft_faults[0]);
        let usable = matches!(key.row.condition.state, KeyState::Ready | KeyState::Trial);
        let failed_trial =
            key.row.condition.state == KeyState::Trial && others_succeed(key.row.condition.since);
        if !usable || !(often || failed_trial) {
            return Vec::new();
        }
        key.soft_faults.clear();
        let until = Some(now + SOFT_FAULT_REST);
        let condition = Condition {
            state: KeyState::CoolingDown,
            until,
            ..Condition::ready(now)
        };
        vec![self.set_condition(id, condition)]
    }

    fn rest_project(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let Some(project_id) = self.by_id.get(&id).map(|key| key.row.project_id) else {
            return Vec::new();
        };
        let whole_project = !verdict.violations.is_empty()
            && verdict
                .violations
                .iter()
                .all(|violation| violation.model.is_none());
        let model = if whole_project { EVERY_MODEL } else { model };
        let number = self.model_number(model);
        let project = self.projects.entry(project_id).or_default();
        let before = project.cooldowns.get(&number);
        let step = match before {
            // Attempts that were under way together tell of one exhaustion, not of several.
            Some(before) if began < before.since => before.step,
            Some(before) if now - before.until <= Duration::from_mins(2) => before.step + 1,
            _ => 0,
        };
        let until = rest_until(verdict, step, now);
        if before.is_some_and(|before| before.until >= until) {
            return Vec::new();
        }
        let cooldown = Cooldown {
            rule: verdict.rule,
            step,
            since: now,
            until,
        };
        self.put_cooldown(project_id, model, cooldown, now);
        vec![Change::Cooldown {
            project_id,
            model: model.to_owned(),
            cooldown,
        }]
    }

    /// Sets the state of one key; nothing when the attempt is older than what is known.
    fn blame(
        &mut self,
        id: UpstreamKeyId,
        state: KeyState,
        rule: Rule,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<Change> {
        let condition = self.by_id.get(&id)?.row.condition;
        let already = condition.state == state || condition.state == KeyState::Leaked;
        if already || (condition.since > began && condition.state != KeyState::Ready) {
            return None;
        }
        // Only a key that was on trial confirms what was found before.
        let failed_checks = if condition.state == KeyState::Trial {
            condition.failed_checks + 1
        } else {
            1
        };
        let next_check = check_after(rule.fault(), failed_checks).map(|wait| now + wait);
        let condition = Condition {
            state,
            rule: Some(rule),
            since: now,
            until: None,
            next_check,
            failed_checks,
        };
        Some(self.set_condition(id, condition))
    }

    fn blame_project(
        &mut self,
        id: UpstreamKeyId,
        state: KeyState,
        rule: Rule,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let Some(project_id) = self.by_id.get(&id).map(|key| key.row.project_id) else {
            return Vec::new();
        };
        let keys = self
            .projects
            .get(&project_id)
            .map(|project| project.keys.clone())
            .unwrap_or_default();
        keys.into_iter()
            .filter_map(|id| self.blame(id, state, rule, began, now))
            .collect()
    }

    pub(super) fn set_condition(&mut self, id: UpstreamKeyId, condition: Condition) -> Change {
        if let Some(key) = self.by_id.get_mut(&id) {
            key.row.condition = condition;
        }
        if let Some(at) = condition.wakes_at() {
            self.alarms.push(Reverse((at, Alarm::KeyWakes(id))));
        }
        self.plan_check(id);
        self.shelve(id);
        Change::Key { id, condition }
    }

    fn wake_key(&mut self, id: UpstreamKeyId, now: Timestamp) {
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        if key.row.condition.wakes_at().is_some_and(|at| at <= now) {
            let condition = &mut key.row.condition;
            *condition = Condition {
                state: KeyState::Trial,
                since: now,
                until: None,
                next_check: None,
                ..*condition
            };
            self.shelve(id);
        }
    }

    fn end_cooldown(&mut self, project_id: ProjectId, model: ModelNumber, now: Timestamp) {
        let ends = self
            .projects
            .get(&project_id)
            .and_then(|project| project.cooldowns.get(&model));
        if ends.is_some_and(|cooldown| cooldown.until <= now) {
            self.reshelve_project(project_id, now);
        }
    }

    /// Moves a project's keys to the shelf of the models it rests for at `now`.
    fn reshelve_project(&mut self, project_id: ProjectId, now: Timestamp) {
        let Some(project) = self.projects.get(&project_id) else {
            return;
        };
        let running = project
            .cooldowns
            .iter()
            .filter(|(_, cooldown)| cooldown.until > now);
        let mut resting: Vec<_> = running.map(|(model, _)| *model).collect();
        resting.sort_unstable();
        if resting == project.resting {
            return;
        }
        let keys = project.keys.clone();
        for id in &keys {
            self.unshelve(*id);
        }
        if let Some(project) = self.projects.get_mut(&project_id) {
            project.resting = resting;
        }
        for id in keys {
            self.shelve(id);
        }
    }

    /// Puts a key where it belongs in line, or out of it.
    fn shelve(&mut self, id: UpstreamKeyId) {
        self.unshelve(id);
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        let has_room = match key.row.condition.state {
            KeyState::Ready => {
                self.per_key_concurrency == 0 || key.in_flight < self.per_key_concurrency
            }
            KeyState::Trial => key.in_flight == 0,
            KeyState::CoolingDown
            | KeyState::Invalid
            | KeyState::Leaked
            | KeyState::Suspended
            | KeyState::Misconfigured => false,
        };
        if !key.row.enabled || !has_room {
            return;
        }
        let busyness = u64::from(key.in_flight) * 1_000 / u64::from(key.row.weight.max(1));
        let rank = Rank {
            priority: key.row.priority,
            busyness,
            turn: key.turn,
            id,
        };
        key.shelved = Some(rank);
        let resting = self
            .projects
            .get(&key.row.project_id)
            .map(|project| &project.resting);
        if let Some(shelf) = resting.and_then(|resting| self.shelves.get_mut(resting)) {
            shelf.insert(rank);
        } else {
            let resting = resting.cloned().unwrap_or_default();
            self.shelves.insert(resting, BTreeSet::from([rank]));
        }
    }

    fn unshelve(&mut self, id: UpstreamKeyId) {
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        let Some(rank) = key.shelved.take() else {
            return;
        };
        let Some(project) = self.projects.get(&key.row.project_id) else {
            return;
        };
        if let Some(shelf) = self.shelves.get_mut(&project.resting) {
            shelf.remove(&rank);
            // The shelf without a cooldown is the common one and stays.
            if shelf.is_empty() && !project.resting.is_empty() {
                self.shelves.remove(&project.resting);
            }
        }
    }

    fn leave_project(&mut self, id: UpstreamKeyId, project_id: ProjectId) {
        if let Some(project) = self.projects.get_mut(&project_id) {
            project.keys.retain(|other| *other != id);
        }
    }

    pub(super) fn model_number(&mut self, model: &str) -> ModelNumber {
        if let Some(number) = self.models.get(model) {
            return *number;
        }
        let number = ModelNumber::try_from(self.models.len()).unwrap_or(ModelNumber::MAX);
        self.models.insert(model.into(), number);
        number
    }

    pub(super) fn known_model(&self, model: &str) -> Option<ModelNumber> {
        self.models.get(model).copied()
    }

    /// Takes over a cooldown of which another project has told, unless the known one is longer.
    pub fn extend_cooldown(
        &mut self,
        project_id: ProjectId,
        model: &str,
        cooldown: Cooldown,
        now: Timestamp,
    ) {
        let number = self.model_number(model);
        let project = self.projects.entry(project_id).or_default();
        let known = project.cooldowns.get(&number);
        if known.is_none_or(|known| known.until < cooldown.until) {
            self.put_cooldown(project_id, model, cooldown, now);
        }
    }

    /// Forgets a project's cooldowns: a hand has cleared them.
    pub fn clear_cooldowns(&mut self, project_id: ProjectId, now: Timestamp) {
        if let Some(project) = self.projects.get_mut(&project_id) {
            project.cooldowns.clear();
        }
        self.reshelve_project(project_id, now);
    }
}

impl LastSuccesses {
    fn add(&mut self, id: UpstreamKeyId, at: Timestamp) {
        if let Some((last, _)) = self.last
            && last != id
        {
            self.last_by_another = self.last;
        }
        self.last = Some((id, at));
    }

    fn of_another_than(&self, id: UpstreamKeyId) -> Option<Timestamp> {
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

/// What a lent key is needed for.
#[derive(Debug, Clone)]
pub struct Lent {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub secret: Secret,
}
