//! Where each key stands, and what keeps it back.

use crate::clock::Timestamp;
use crate::pool::keys::{Key, Keys};
use crate::pool::line::{ANY_MODEL, ModelNumber, Place, Rank};
use crate::pool::quota::{Limits, Spent};
use crate::pool::upstream_key::{KeyState, ProjectId, UpstreamKeyId};
use crate::pool::verdict::Rule;
use crate::pool::window::Amount;

/// Until when a key rests, and whether it has used up a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub until: Timestamp,
    pub for_the_day: bool,
    /// Nobody but our own count says so.
    pub is_estimate: bool,
}

impl Keys {
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
}
