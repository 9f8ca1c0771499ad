//! The check schedule of keys: which are due for a check, and what a result changes.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::cooldown::check_after;
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::{Fault, Rule, Verdict};
use crate::pool::keys::registry::KeyRegistry;
use crate::pool::keys::upstream_key::{
    KeyCondition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId,
};
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::secret::Secret;

/// How long after an inconclusive check the next one follows.
const RECHECK_AFTER: Duration = Duration::from_mins(10);

/// How many keys that requests have just blamed are checked in one pass.
const MAX_CHECKS_AT_ONCE: usize = 4;

/// A key due for a check.
#[derive(Debug, Clone)]
pub struct DueCheck {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    pub secret: Secret,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFinding {
    /// Google accepts the key. Whether it would generate is not proven.
    Accepted,
    /// Google refuses the key or its project.
    Refused(KeyState),
    /// Nothing is known about the key.
    Inconclusive,
}

impl CheckFinding {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict.rule.fault() {
            // An unknown error may concern the key.
            Fault::Client if verdict.rule == Rule::UnnamedFault => Self::Inconclusive,
            // Google verifies the key before it counts quota or reads the request.
            Fault::Client | Fault::ProjectModel => Self::Accepted,
            Fault::None => match verdict.rule {
                Rule::Success | Rule::ForeignResource | Rule::ResourceNotFound => Self::Accepted,
                _ => Self::Inconclusive,
            },
            fault => KeyState::after(fault).map_or(Self::Inconclusive, Self::Refused),
        }
    }
}

impl KeyRegistry {
    /// At most `most` keys that are due for a check now, scheduled ones before new ones. One key stands for all of a
    /// refused project.
    pub fn due_checks(&mut self, now: Timestamp, with_new: bool, most: usize) -> Vec<DueCheck> {
        let mut due = Vec::new();
        let mut stale = Vec::new();
        let mut projects = HashSet::new();
        let mut at_once = 0;
        for entry in self
            .check_schedule
            .by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
        {
            if due.len() == most {
                break;
            }
            let key = self.by_id.get(&entry.1);
            let is_at_once = key.is_some_and(|key| key.checked_at_once == Some(entry.0));
            if is_at_once && at_once == MAX_CHECKS_AT_ONCE {
                continue;
            }
            let key = key.map(|key| &key.row);
            let Some(key) = key.filter(|key| scheduled_check(key) == Some(entry.0)) else {
                stale.push(*entry);
                continue;
            };
            if !key.condition.state.is_of_project() || projects.insert(key.project_id) {
                due.push(DueCheck::of(key));
                at_once += usize::from(is_at_once);
            }
        }
        for entry in stale {
            self.check_schedule.by_time.remove(&entry);
        }
        if !with_new {
            return due;
        }
        while due.len() < most
            && let Some(id) = self.check_schedule.new_keys.pop_first()
        {
            let key = self.by_id.get(&id).map(|key| &key.row);
            due.extend(key.filter(|key| is_new(key)).map(DueCheck::of));
        }
        due
    }

    /// Number of new keys whose check has not finished.
    pub fn unchecked_keys(&self) -> usize {
        self.check_schedule.unchecked_keys.len()
    }

    /// Applies the result of a check through a proxy or directly, which began and ended at these times. A key that
    /// `generated`, with this model and usage, is proven to work.
    pub fn settle_check(
        &mut self,
        id: UpstreamKeyId,
        verdict: &Verdict,
        generated: Option<(&str, QuotaAmount)>,
        egress: Option<EgressProxyId>,
        (began, now): (Timestamp, Timestamp),
    ) -> Vec<StateChange> {
        if egress.is_none() || !verdict.rule.is_of_connection() {
            self.upstream_watch.record(verdict);
        }
        let mut changes = Vec::from_iter(self.record_egress(egress, verdict, began, now));
        self.day_ends(now);
        if let Some((model, amount)) = generated {
            self.count_check_usage(id, model, amount, now);
        }
        let Some(key) = self.by_id.get_mut(&id) else {
            return changes;
        };
        key.row.checked_at = Some(now);
        let condition = key.row.condition;
        self.check_schedule.unchecked_keys.remove(&id);
        // Evidence found during the check is newer than its result.
        if condition.since > began || condition.state == KeyState::Leaked {
            return changes;
        }
        changes.extend(match CheckFinding::of(verdict) {
            CheckFinding::Accepted => self.put_on_trial(id, generated.is_some(), began, now),
            CheckFinding::Refused(state) => {
                self.confirm_refusal(id, state, verdict.rule, began, now)
            }
            CheckFinding::Inconclusive => self.postpone_check(id, now),
        });
        changes
    }

    /// Schedules the next check of a key.
    pub(in crate::pool) fn schedule_check(&mut self, id: UpstreamKeyId) {
        let Some(key) = self.by_id.get(&id) else {
            return;
        };
        if let Some(at) = scheduled_check(&key.row) {
            self.check_schedule.by_time.insert((at, id));
        }
        if is_new(&key.row) {
            self.check_schedule.new_keys.insert(id);
            self.check_schedule.unchecked_keys.insert(id);
        } else {
            self.check_schedule.unchecked_keys.remove(&id);
        }
    }

    /// Removes the scheduled checks of a removed key.
    pub(in crate::pool) fn unschedule_checks(&mut self, id: UpstreamKeyId) {
        self.check_schedule.new_keys.remove(&id);
        self.check_schedule.unchecked_keys.remove(&id);
    }

    /// Counts the quota used by a check.
    fn count_check_usage(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        amount: QuotaAmount,
        now: Timestamp,
    ) {
        let Some(project_id) = self.by_id.get(&id).map(|key| key.row.project_id) else {
            return;
        };
        let (model, day_ends) = (self.model_number(model), self.day_ends(now));
        self.correct_usage(id, project_id, Some(model), now, |usage| {
            usage.add(amount, now, day_ends);
        });
    }

    /// Puts refused keys on trial: an accepted key is not proven to generate.
    fn put_on_trial(
        &mut self,
        id: UpstreamKeyId,
        has_generated: bool,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<StateChange> {
        let refused = self.refused_keys_of(id);
        let mut changes = Vec::new();
        for other in refused {
            let Some(condition) = self.condition(other).filter(|is| is.since <= began) else {
                continue;
            };
            if other == id && has_generated {
                continue;
            }
            let trial = KeyCondition {
                state: KeyState::Trial,
                since: now,
                until: None,
                next_check: None,
                ..condition
            };
            changes.push(self.set_condition_after_check(other, trial));
        }
        let may_be_ready = |state| state != KeyState::Ready && state != KeyState::CoolingDown;
        if has_generated && self.condition(id).is_some_and(|is| may_be_ready(is.state)) {
            changes.push(self.set_condition(id, KeyCondition::ready(now)));
        }
        changes
    }

    /// Confirms the refusal of a key, or of its whole project, with a longer interval each time in a row.
    fn confirm_refusal(
        &mut self,
        id: UpstreamKeyId,
        state: KeyState,
        rule: Rule,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<StateChange> {
        let ids = self.keys_that_share(state, id);
        let mut changes = Vec::new();
        for id in ids {
            let Some(before) = self.condition(id) else {
                continue;
            };
            if before.state == KeyState::Leaked || before.since > began {
                continue;
            }
            let failed_checks = before.failed_checks.saturating_add(1);
            let condition = KeyCondition {
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

    /// Schedules the next check and changes nothing else.
    fn postpone_check(&mut self, id: UpstreamKeyId, now: Timestamp) -> Vec<StateChange> {
        let refused = self.refused_keys_of(id);
        let mut changes = Vec::new();
        for other in refused {
            let condition = self.condition(other);
            let is_due = |is: &KeyCondition| is.next_check.is_some_and(|at| at <= now);
            if let Some(condition) = condition.filter(is_due) {
                let next_check = Some(now + RECHECK_AFTER);
                let condition = KeyCondition {
                    next_check,
                    ..condition
                };
                changes.push(self.set_condition_after_check(other, condition));
            }
        }
        changes
    }

    /// The refused keys that a check of this one represents: itself, or all of a refused project. Empty if it was not
    /// refused.
    fn refused_keys_of(&self, id: UpstreamKeyId) -> Vec<UpstreamKeyId> {
        match self.condition(id).map(|condition| condition.state) {
            Some(KeyState::Invalid) => vec![id],
            Some(KeyState::Suspended | KeyState::Misconfigured) => {
                let mut refused = self.keys_of_same_project(id);
                refused.retain(|other| {
                    self.condition(*other)
                        .is_some_and(|is| is.state.is_of_project())
                });
                refused
            }
            Some(KeyState::Ready | KeyState::CoolingDown | KeyState::Trial | KeyState::Leaked)
            | None => Vec::new(),
        }
    }

    /// The keys that are in this state when one is: itself, or all of its project.
    pub(in crate::pool) fn keys_that_share(
        &self,
        state: KeyState,
        id: UpstreamKeyId,
    ) -> Vec<UpstreamKeyId> {
        if state.is_of_project() {
            self.keys_of_same_project(id)
        } else {
            vec![id]
        }
    }

    /// All keys of the key's project, including itself.
    fn keys_of_same_project(&self, id: UpstreamKeyId) -> Vec<UpstreamKeyId> {
        let project = self.by_id.get(&id).map(|key| key.row.project_id);
        let project = project.and_then(|project| self.projects.get(&project));
        project.map_or_else(
            || vec![id],
            |project| project.keys.iter().copied().collect(),
        )
    }

    fn condition(&self, id: UpstreamKeyId) -> Option<KeyCondition> {
        self.by_id.get(&id).map(|key| key.row.condition)
    }

    /// Sets a condition and keeps its evidence.
    fn set_condition_after_check(
        &mut self,
        id: UpstreamKeyId,
        condition: KeyCondition,
    ) -> StateChange {
        self.set_condition(id, condition);
        StateChange::Checked { id, condition }
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

/// When a key is checked by itself; `None`: only the admin, time or a success can restore it.
fn scheduled_check(key: &UpstreamKey) -> Option<Timestamp> {
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

#[cfg(test)]
mod tests;
