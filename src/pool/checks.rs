//! Which keys are to be looked at, and what a look at one means.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::change::Change;
use crate::pool::cooldown::check_after;
use crate::pool::keys::Keys;
use crate::pool::secret::Secret;
use crate::pool::upstream_key::{Condition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId};
use crate::pool::verdict::{Fault, Rule, Verdict};
use crate::pool::window::Amount;

/// When a check that told nothing is made again.
const AGAIN: Duration = Duration::from_mins(10);

/// A key to look at.
#[derive(Debug, Clone)]
pub struct DueCheck {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub secret: Secret,
}

/// The looks to come. An entry that its key no longer agrees with counts for nothing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    by_time: BTreeSet<(Timestamp, UpstreamKeyId)>,
    /// Keys that were never used nor looked at.
    new: BTreeSet<UpstreamKeyId>,
    /// New keys whose check is still to come, or under way.
    unchecked: HashSet<UpstreamKeyId>,
}

/// What a check tells of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Google knows the key. Whether it would generate is not proven.
    Alive,
    /// The key or its project is refused.
    Dead(KeyState),
    /// Nothing about the key.
    Unclear,
}

impl Found {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict.rule.fault() {
            // What is not known may be about the key as well.
            Fault::Client if verdict.rule == Rule::UnnamedFault => Self::Unclear,
            // Google looks at the key before it counts quota or reads what was asked.
            Fault::Client | Fault::ProjectModel => Self::Alive,
            Fault::Nobody => match verdict.rule {
                Rule::Success | Rule::ForeignResource | Rule::ResourceNotFound => Self::Alive,
                _ => Self::Unclear,
            },
            Fault::KeyInvalid => Self::Dead(KeyState::Invalid),
            Fault::KeyLeaked => Self::Dead(KeyState::Leaked),
            Fault::ProjectSuspended => Self::Dead(KeyState::Suspended),
            Fault::ProjectMisconfigured => Self::Dead(KeyState::Misconfigured),
            Fault::Model | Fault::WayOut | Fault::Soft => Self::Unclear,
        }
    }
}

impl Keys {
    /// At most `most` keys that are to be looked at now, those whose time has come before those that are new. Of a
    /// project that was set aside one key stands for all.
    pub fn due_checks(&mut self, now: Timestamp, with_new: bool, most: usize) -> Vec<DueCheck> {
        let mut due = Vec::new();
        let mut stale = Vec::new();
        let mut projects = HashSet::new();
        for entry in self.plan.by_time.iter().take_while(|(at, _)| *at <= now) {
            if due.len() == most {
                break;
            }
            let key = self.by_id.get(&entry.1).map(|key| &key.row);
            let Some(key) = key.filter(|key| next_check(key) == Some(entry.0)) else {
                stale.push(*entry);
                continue;
            };
            if !is_of_project(key.condition.state) || projects.insert(key.project_id) {
                due.push(DueCheck::of(key));
            }
        }
        for entry in stale {
            self.plan.by_time.remove(&entry);
        }
        if !with_new {
            return due;
        }
        while due.len() < most
            && let Some(id) = self.plan.new.pop_first()
        {
            let key = self.by_id.get(&id).map(|key| &key.row);
            due.extend(key.filter(|key| is_new(key)).map(DueCheck::of));
        }
        due
    }

    /// How many new keys have not been looked at to the end.
    pub fn unchecked(&self) -> usize {
        self.plan.unchecked.len()
    }

    /// Draws the consequences of a check that `began` then. A key that `generated`, with this model and at this expense, is
    /// proven.
    pub fn settle_check(
        &mut self,
        id: UpstreamKeyId,
        verdict: &Verdict,
        generated: Option<(&str, Amount)>,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        self.day_ends(now);
        if let Some((model, amount)) = generated {
            self.count(id, model, amount, now);
        }
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.row.checked_at = Some(now);
        let condition = key.row.condition;
        self.plan.unchecked.remove(&id);
        // What was found while it ran, it does not know.
        if condition.since > began || condition.state == KeyState::Leaked {
            return Vec::new();
        }
        match Found::of(verdict) {
            Found::Alive => self.bring_back(id, generated.is_some(), began, now),
            Found::Dead(state) => self.confirm(id, state, verdict.rule, began, now),
            Found::Unclear => self.look_again(id, now),
        }
    }

    /// Notes when a key is to be looked at.
    pub(super) fn plan_check(&mut self, id: UpstreamKeyId) {
        let Some(key) = self.by_id.get(&id) else {
            return;
        };
        if let Some(at) = next_check(&key.row) {
            self.plan.by_time.insert((at, id));
        }
        if is_new(&key.row) {
            self.plan.new.insert(id);
            self.plan.unchecked.insert(id);
        } else {
            self.plan.unchecked.remove(&id);
        }
    }

    /// Forgets the looks at a key that is removed.
    pub(super) fn plan_no_check(&mut self, id: UpstreamKeyId) {
        self.plan.new.remove(&id);
        self.plan.unchecked.remove(&id);
    }

    /// Counts what a check has used of the quota.
    fn count(&mut self, id: UpstreamKeyId, model: &str, amount: Amount, now: Timestamp) {
        let Some(project_id) = self.by_id.get(&id).map(|key| key.row.project_id) else {
            return;
        };
        let (model, day_ends) = (self.model_number(model), self.day_ends(now));
        self.correct_spent(id, project_id, Some(model), now, |spent| {
            spent.add(amount, now, day_ends);
        });
    }

    /// Puts what was set aside on trial: that Google knows a key does not prove that it lets it generate.
    fn bring_back(
        &mut self,
        id: UpstreamKeyId,
        has_generated: bool,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let aside = self.set_aside_with(id);
        let mut changes = Vec::new();
        for other in aside {
            let Some(condition) = self.condition(other).filter(|is| is.since <= began) else {
                continue;
            };
            if other == id && has_generated {
                continue;
            }
            let trial = Condition {
                state: KeyState::Trial,
                since: now,
                until: None,
                next_check: None,
                ..condition
            };
            changes.push(self.set_checked(other, trial));
        }
        let may_be_ready = |state| state != KeyState::Ready && state != KeyState::CoolingDown;
        if has_generated && self.condition(id).is_some_and(|is| may_be_ready(is.state)) {
            changes.push(self.set_condition(id, Condition::ready(now)));
        }
        changes
    }

    /// Sets the key aside, or all of its project, and each time in a row for longer.
    fn confirm(
        &mut self,
        id: UpstreamKeyId,
        state: KeyState,
        rule: Rule,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let ids = if is_of_project(state) {
            self.sisters(id)
        } else {
            vec![id]
        };
        let mut changes = Vec::new();
        for id in ids {
            let Some(before) = self.condition(id) else {
                continue;
            };
            if before.state == KeyState::Leaked || before.since > began {
                continue;
            }
            let failed_checks = before.failed_checks.saturating_add(1);
            let condition = Condition {
                state,
                rule: Some(rule),
                since: if before.state == state {
                    before.since
                } else {
                    now
                },
                until: None,
                next_check: check_after(rule.fault(), failed_checks).map(|wait| now + wait),
                failed_checks,
            };
            changes.push(self.set_condition(id, condition));
        }
        changes
    }

    /// Leaves everything as it is until the next look.
    fn look_again(&mut self, id: UpstreamKeyId, now: Timestamp) -> Vec<Change> {
        let aside = self.set_aside_with(id);
        let mut changes = Vec::new();
        for other in aside {
            let condition = self.condition(other);
            let is_due = |is: &Condition| is.next_check.is_some_and(|at| at <= now);
            if let Some(condition) = condition.filter(is_due) {
                let next_check = Some(now + AGAIN);
                let condition = Condition {
                    next_check,
                    ..condition
                };
                changes.push(self.set_checked(other, condition));
            }
        }
        changes
    }

    /// The keys for which a check of this one speaks: itself, or all of a project that was set aside. None where it was
    /// not set aside.
    fn set_aside_with(&self, id: UpstreamKeyId) -> Vec<UpstreamKeyId> {
        match self.condition(id).map(|condition| condition.state) {
            Some(KeyState::Invalid) => vec![id],
            Some(KeyState::Suspended | KeyState::Misconfigured) => {
                let mut aside = self.sisters(id);
                aside.retain(|other| {
                    self.condition(*other)
                        .is_some_and(|is| is_of_project(is.state))
                });
                aside
            }
            Some(KeyState::Ready | KeyState::CoolingDown | KeyState::Trial | KeyState::Leaked)
            | None => Vec::new(),
        }
    }

    /// All keys of the key's project, itself too.
    pub(super) fn sisters(&self, id: UpstreamKeyId) -> Vec<UpstreamKeyId> {
        let project = self.by_id.get(&id).map(|key| key.row.project_id);
        let project = project.and_then(|project| self.projects.get(&project));
        project.map_or_else(
            || vec![id],
            |project| project.keys.iter().copied().collect(),
        )
    }

    fn condition(&self, id: UpstreamKeyId) -> Option<Condition> {
        self.by_id.get(&id).map(|key| key.row.condition)
    }

    /// Sets a condition whose evidence stays what it was.
    fn set_checked(&mut self, id: UpstreamKeyId, condition: Condition) -> Change {
        self.set_condition(id, condition);
        Change::Checked { id, condition }
    }
}

impl DueCheck {
    pub fn of(key: &UpstreamKey) -> Self {
        Self {
            id: key.id,
            project_id: key.project_id,
            secret: key.secret.clone(),
        }
    }
}

/// When a key is looked at by itself; `None` for one that only a hand, time or a success can bring back.
fn next_check(key: &UpstreamKey) -> Option<Timestamp> {
    match key.condition.state {
        KeyState::Invalid | KeyState::Suspended | KeyState::Misconfigured => {
            key.condition.next_check.filter(|_| key.enabled)
        }
        KeyState::Ready | KeyState::CoolingDown | KeyState::Trial | KeyState::Leaked => None,
    }
}

fn is_new(key: &UpstreamKey) -> bool {
    let is_unknown = key.checked_at.is_none() && key.last_used_at.is_none();
    is_unknown && key.enabled && key.condition.state == KeyState::Ready
}

fn is_of_project(state: KeyState) -> bool {
    matches!(state, KeyState::Suspended | KeyState::Misconfigured)
}

#[cfg(test)]
mod tests;
