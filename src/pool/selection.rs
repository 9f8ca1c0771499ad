//! Which key to lend next.

use crate::clock::Timestamp;
use crate::pool::keys::{Charge, Keys, Lent, turn_at};
use crate::pool::line::{ANY_MODEL, Line, ModelNumber, Place, Rank};
use crate::pool::places::Rest;
use crate::pool::quota::{Measure, Own};
use crate::pool::upstream_key::{Billing, Condition, KeyState, ProjectId, UpstreamKeyId};
use crate::pool::window::Amount;

mod of_project;

/// How many keys are looked at behind the first that would do, for one that would do better, and for one with room for a
/// large batch.
const LOOKED_AT: usize = 64;

/// How many lines there are at most: each holds every key.
const MOST_LINES: usize = 200;

/// What a request needs a key for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Empty: nothing that uses a model.
    pub model: &'a str,
    /// What it will use of the model's quota, as far as can be told; no requests: nothing.
    pub amount: Amount,
    /// The tags of which the key must have one; none: any key.
    pub tags: &'a [String],
    /// The project of which the key must be, because what the request names is there; `None`: any project.
    pub project: Option<ProjectId>,
}

/// The keys a request has been tried with.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// Those that failed.
    keys: Vec<UpstreamKeyId>,
    projects: Vec<ProjectId>,
    /// The key that may be tried once more because its failure said nothing about it.
    again: Option<UpstreamKeyId>,
}

/// What a failure says about trying the same key again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Never,
    /// Another try could well succeed.
    Once,
    /// As soon as its project's rest has ended.
    AfterRest,
}

/// Why no key can be lent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// There is none at all.
    NoKeys,
    /// Only a check or a hand can bring one back, or none has the tags.
    NoneUsable,
    /// The one project that could serve has no key that a client with these tags can use.
    OwnerGone,
    /// All that could serve were tried.
    AllTried,
    /// Those that could serve carry as much as they may.
    Busy,
    /// All rest; the first until then.
    Resting { until: Timestamp, for_the_day: bool },
    /// The model is overloaded, for everybody.
    Overloaded { until: Timestamp },
    /// Google refuses our address.
    Storm { until: Timestamp },
}

impl Tried {
    /// Notes an attempt that failed.
    pub fn add(&mut self, id: UpstreamKeyId, project_id: ProjectId, again: Again) {
        self.projects.push(project_id);
        let first_time = !self.keys.contains(&id);
        match again {
            Again::AfterRest => return,
            Again::Once if first_time => self.again = Some(id),
            Again::Once | Again::Never if self.again == Some(id) => self.again = None,
            Again::Once | Again::Never => {}
        }
        self.keys.push(id);
    }

    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    fn has_key(&self, id: UpstreamKeyId) -> bool {
        self.keys.contains(&id)
    }

    pub fn has_project(&self, id: ProjectId) -> bool {
        self.projects.contains(&id)
    }
}

impl Obstacle {
    /// When it may be over; `None`: not by itself, or not at a time that anybody knows.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::NoKeys | Self::NoneUsable | Self::OwnerGone | Self::AllTried => None,
            Self::Busy => Some(now),
            Self::Resting { until, .. } | Self::Overloaded { until } | Self::Storm { until } => {
                Some(*until)
            }
        }
    }
}

impl Keys {
    /// Lends the best ready key: lowest priority, then least busy for its weight, then the smallest share used of what is
    /// known of its day's quota, then longest rested.
    ///
    /// A key of a project not yet tried comes before any other, another key of a tried project before the same key
    /// again.
    pub fn lend(
        &mut self,
        wanted: &Wanted,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<Lent, Obstacle> {
        if let Some(project_id) = wanted.project {
            return self.lend_of_project(project_id, wanted, tried, now);
        }
        let (model, line) = self.stand_in_line(wanted, now)?;
        match self.select(line, wanted, tried, now) {
            Ok(id) => Ok(self.take(id, model, Some(line), wanted.amount, now)),
            Err(obstacle) => match self.key_to_test(line, obstacle, tried, now) {
                Some(id) => Ok(self.take(id, model, Some(line), wanted.amount, now)),
                None => Err(obstacle),
            },
        }
    }

    /// What keeps every key from being lent; `None`: nothing.
    pub fn obstacle(&mut self, wanted: &Wanted, now: Timestamp) -> Option<Obstacle> {
        if let Some(project_id) = wanted.project {
            return self.obstacle_of_project(project_id, wanted, now);
        }
        let selected = self
            .stand_in_line(wanted, now)
            .and_then(|(_, line)| self.select(line, wanted, &Tried::default(), now));
        selected.err()
    }

    /// The model whose quota is used, if it is known, and the line for it, past every gate and with all awake.
    fn stand_in_line(
        &mut self,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<(Option<ModelNumber>, usize), Obstacle> {
        let model = self.pass_gates(wanted, now)?;
        let line = self.line(wanted, now);
        self.wake(line, now);
        Ok((model, line))
    }

    /// The model whose quota is used, if it is known, and nothing holds requests for it back.
    fn pass_gates(
        &mut self,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Option<ModelNumber>, Obstacle> {
        self.day_ends(now);
        let model = self
            .known_model(wanted.model)
            .filter(|_| wanted.amount.requests > 0);
        if let Some(gate) = &self.storm.gate {
            gate.admits(now)
                .map_err(|until| Obstacle::Storm { until })?;
        }
        if let Some(gate) = model.and_then(|model| self.models[model].overload.gate) {
            gate.admits(now)
                .map_err(|until| Obstacle::Overloaded { until })?;
        }
        Ok(model)
    }

    /// The line for what is wanted, made where there is none.
    fn line(&mut self, wanted: &Wanted, now: Timestamp) -> usize {
        let known = self.known_model(wanted.model_or_none());
        let model = known
            .filter(|model| self.models[*model].has_line)
            .unwrap_or(ANY_MODEL);
        let known = self
            .lines
            .iter()
            .position(|line| line.model == model && *line.tags == *wanted.tags);
        known.unwrap_or_else(|| {
            if self.lines.len() >= MOST_LINES {
                // Those that are still asked for are soon made again.
                self.lines.clear();
            }
            let line = self.lines.len();
            let mut made = Line::new(model, wanted.tags);
            let keys = self.by_id.iter();
            let members = keys.filter(|(_, key)| made.takes(&key.row.tags));
            let placed = members.map(|(id, key)| {
                let place = self.place_of(*id, model, key.turn, now);
                (*id, place, key.turn)
            });
            let placed: Vec<_> = placed.collect();
            made.fill(placed);
            self.lines.push(made);
            for key in self.by_id.values_mut().filter(|key| key.in_flight > 0) {
                key.loose.push((model, line));
            }
            line
        })
    }

    /// Places anew what has rested long enough, and, where nobody is ready, what turns out to rest shorter than was
    /// written down.
    fn wake(&mut self, line: usize, now: Timestamp) {
        let model = self.lines[line].model;
        while let Some((until, id)) = self.lines[line].next_resting() {
            let rests = || self.place_of(id, model, 0, now) == Place::Resting(until);
            if until > now && (self.lines[line].has_ready() || rests()) {
                break;
            }
            self.place(id, line, now);
        }
    }

    fn select(
        &mut self,
        line: usize,
        wanted: &Wanted,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<UpstreamKeyId, Obstacle> {
        let mut passed = None;
        let mut looked_at = 0;
        let (mut other_key, mut same_key) = (None, None);
        let mut no_room: Option<Rest> = None;
        while let Some(rank) = self.lines[line].next_ready(passed) {
            if !self.holds(rank, line, now) {
                continue;
            }
            passed = Some(rank);
            looked_at += 1;
            let rest = (wanted.amount.requests > 0)
                .then(|| self.room_for(rank.id, self.lines[line].model, wanted.amount, now))
                .flatten();
            if let Some(rest) = rest {
                no_room = no_room
                    .filter(|first| first.until <= rest.until)
                    .or(Some(rest));
            } else if !self
                .project_of(rank.id)
                .is_some_and(|project| tried.has_project(project))
            {
                return Ok(rank.id);
            } else if !tried.has_key(rank.id) {
                other_key = other_key.or(Some(rank.id));
            } else if tried.again == Some(rank.id) {
                same_key = Some(rank.id);
            }
            if looked_at > LOOKED_AT && (other_key.is_some() || no_room.is_some()) {
                break;
            }
        }
        if let Some(id) = other_key.or(same_key) {
            return Ok(id);
        }
        if let Some(Rest {
            until, for_the_day, ..
        }) = no_room
        {
            return Err(Obstacle::Resting { until, for_the_day });
        }
        Err(self.obstacle_of(line, now))
    }

    /// Whether a key stands as well as was written down, or better; else its place is written anew.
    fn holds(&mut self, rank: Rank, line: usize, now: Timestamp) -> bool {
        let model = self.lines[line].model;
        let place = self.place_of(rank.id, model, rank.turn, now);
        if place == Place::Ready(rank) {
            return true;
        }
        self.place(rank.id, line, now);
        matches!(place, Place::Ready(better) if better < rank)
    }

    /// Why nobody in the line is ready.
    fn obstacle_of(&mut self, line: usize, now: Timestamp) -> Obstacle {
        if self.by_id.is_empty() {
            return Obstacle::NoKeys;
        }
        let model = self.lines[line].model;
        let busy = self.lines[line].has_busy();
        if self.lines[line].has_ready() {
            return if busy {
                Obstacle::Busy
            } else {
                Obstacle::AllTried
            };
        }
        while let Some((until, id)) = self.lines[line].next_resting() {
            let key = &self.by_id[&id];
            if self.place_of(id, model, 0, now) == Place::Resting(until) {
                let rest = self.rest_of(key, model, now);
                let for_the_day = rest.is_some_and(|rest| rest.until == until && rest.for_the_day);
                return if busy {
                    Obstacle::Busy
                } else {
                    Obstacle::Resting { until, for_the_day }
                };
            }
            self.place(id, line, now);
        }
        if busy || self.lines[line].has_ready() {
            Obstacle::Busy
        } else {
            Obstacle::NoneUsable
        }
    }

    /// A key that rests by our estimate alone, now and then, to see whether its project has more than is presumed.
    fn key_to_test(
        &mut self,
        line: usize,
        obstacle: Obstacle,
        tried: &Tried,
        now: Timestamp,
    ) -> Option<UpstreamKeyId> {
        let Obstacle::Resting { .. } = obstacle else {
            return None;
        };
        let model = self.lines[line].model;
        let billings = [Billing::Free, Billing::Paid, Billing::Unknown];
        let may = billings.map(|billing| self.models[model].presumed.may_be_tested(billing, now));
        if !may.contains(&true) {
            return None;
        }
        let may_be_tested = |id: &UpstreamKeyId| {
            let fits = self.lines[line].takes(&self.by_id[id].row.tags);
            let billing = self.billing_to_test(*id, model, tried, now)?;
            (fits && may[billing as usize]).then_some(billing)
        };
        // Whose limit was never named first; each has its turn.
        let found = self
            .by_id
            .keys()
            .filter_map(|id| {
                Some((
                    self.tested_before(*id, model),
                    self.by_id[id].turn,
                    *id,
                    may_be_tested(id)?,
                ))
            })
            .min_by_key(|(before, turn, id, _)| (*before, *turn, *id));
        for billing in billings {
            let is_his = found.as_ref().is_none_or(|(.., of)| *of == billing);
            if may[billing as usize] && is_his {
                self.models[model].presumed.tested(billing, now);
            }
        }
        found.map(|(_, _, id, _)| id)
    }

    /// Whose presumption a key could put to the test, as it rests by our estimate alone; `None`: it could not.
    fn billing_to_test(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        tried: &Tried,
        now: Timestamp,
    ) -> Option<Billing> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id)?;
        let quota = project.quotas.get(&model)?;
        let is_ready =
            key.row.enabled && key.row.condition.state == KeyState::Ready && key.in_flight == 0;
        let rests_by_estimate = self
            .rest_of(key, model, now)
            .is_some_and(|rest| rest.is_estimate);
        let is_new = !tried.has_key(id) && !tried.has_project(key.row.project_id);
        (is_ready && rests_by_estimate && quota.under_way == 0 && is_new).then_some(project.billing)
    }

    fn tested_before(&self, id: UpstreamKeyId, model: ModelNumber) -> bool {
        let project = self
            .by_id
            .get(&id)
            .and_then(|key| self.projects.get(&key.row.project_id));
        let quota = project.and_then(|project| project.quotas.get(&model));
        quota.is_some_and(|quota| {
            Measure::ALL
                .iter()
                .any(|measure| quota.own(*measure) != Own::Unknown)
        })
    }

    /// Counts a request on the key and sends it to the end of the line in which it stood.
    fn take(
        &mut self,
        id: UpstreamKeyId,
        model: Option<ModelNumber>,
        line: Option<usize>,
        amount: Amount,
        now: Timestamp,
    ) -> Lent {
        self.last_turn = (self.last_turn + 1).max(turn_at(now));
        let turn = self.last_turn;
        let day_ends = self.day_ends(now);
        let mut charge = Charge {
            model,
            amount,
            at: Some(now),
            day_ends: Some(day_ends),
            ..Charge::default()
        };
        let project_id = self.by_id[&id].row.project_id;
        if let Some(model) = model {
            charge.beyond = self.limits_reached(project_id, model, now);
        }
        if amount.requests > 0 {
            self.each_spent(id, project_id, model, |spent| {
                spent.add(amount, now, day_ends);
            });
        }
        if let Some(model) = model {
            self.begin_under_way(id, model, amount.requests);
            if let Some(gate) = &mut self.models[model].overload.gate {
                gate.probe();
                charge.probes_overload = true;
            }
        }
        if let Some(gate) = &mut self.storm.gate {
            gate.probe();
            charge.probes_storm = true;
        }
        let key = self.by_id.get_mut(&id).expect("a selected key is known");
        key.in_flight += 1;
        key.turn = turn;
        let secret = key.row.secret.clone();
        // Its rest is over: from now on it is on trial.
        let condition = &mut key.row.condition;
        if condition.state == KeyState::CoolingDown {
            *condition = Condition {
                state: KeyState::Trial,
                since: now,
                until: None,
                next_check: None,
                ..*condition
            };
        }
        if let Some(line) = line {
            self.place_with(id, line, turn, now);
        }
        let billing = self
            .projects
            .get(&project_id)
            .map(|project| project.billing);
        Lent {
            id,
            project_id,
            secret,
            is_free: billing == Some(Billing::Free),
            charge,
        }
    }

    /// The limits that our count has reached, for a request that goes all the same.
    fn limits_reached(
        &self,
        project_id: ProjectId,
        model: ModelNumber,
        now: Timestamp,
    ) -> Vec<Measure> {
        let Some(project) = self.projects.get(&project_id) else {
            return Vec::new();
        };
        let Some(quota) = project.quotas.get(&model) else {
            return Vec::new();
        };
        let limits = quota.limits(self.presumed(model, Some(project)), now);
        if limits.is_empty() {
            return Vec::new();
        }
        let reached = |measure: &Measure| {
            limits
                .get(*measure)
                .is_some_and(|limit| quota.spent.used(*measure, now) >= limit)
        };
        Measure::ALL.into_iter().filter(reached).collect()
    }

    fn project_of(&self, id: UpstreamKeyId) -> Option<ProjectId> {
        self.by_id.get(&id).map(|key| key.row.project_id)
    }
}

impl Wanted<'_> {
    /// What uses no quota shares a name, whatever model it asks about.
    pub fn model_or_none(&self) -> &str {
        if self.amount.requests == 0 {
            ""
        } else {
            self.model
        }
    }
}

#[cfg(test)]
mod tests;
