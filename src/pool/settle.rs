//! What an attempt's verdict means for keys, projects, models and the way out.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::change::Change;
use crate::pool::cooldown::{
    EVERY_MODEL, SOFT_FAULT_REST, SOFT_FAULT_SPAN, SOFT_FAULTS, check_after, rest_until,
};
use crate::pool::gate::{Gate, Pause};
use crate::pool::keys::{Cooldown, Keys, Lent, Overload};
use crate::pool::quota::{Measure, Own, billing_of, is_counted};
use crate::pool::storm::{STORM_SPAN, Weather};
use crate::pool::upstream_key::{Billing, Condition, KeyState, ProjectId, UpstreamKeyId};
use crate::pool::verdict::{Fault, Rule, Verdict, Violation};

/// After so many overloads in a row, with no success between, a model rests for everybody.
const OVERLOADS: u32 = 5;
/// How long a model rests at most.
const LONGEST_OVERLOAD_PAUSE: Duration = Duration::from_secs(30);
/// An unexplained 429 so soon after the last one's rest is the same trouble going on.
const SAME_TROUBLE: Duration = Duration::from_mins(2);

/// When an attempt began and ended, and chance (0 to 1), by which pauses differ.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub began: Timestamp,
    pub now: Timestamp,
    pub chance: f64,
    /// Whether an answer had begun to flow: what breaks off later is no sign of an overload.
    pub had_begun: bool,
}

impl Keys {
    /// Draws the consequences of `verdict` on an attempt with a lent key for this model.
    pub fn settle(
        &mut self,
        lent: &Lent,
        model: &str,
        verdict: &Verdict,
        moment: Moment,
    ) -> Vec<Change> {
        let Moment {
            began, now, chance, ..
        } = moment;
        let rule = verdict.rule;
        self.correct_count(lent, model, rule, now);
        let project_id = self.project_of_lent(lent);
        let mut changes = Vec::new();
        if verdict.status.is_some() {
            let refused = is_unexplained(verdict);
            match self.storm.note(project_id, refused, began, now, chance) {
                Weather::Calm | Weather::Ends => {}
                Weather::Begins => return self.lift_unexplained(now),
                Weather::Goes => return Vec::new(),
            }
        }
        self.note_overload(model, rule, moment);
        changes.extend(self.learn_billing(project_id, verdict, now));
        changes.extend(self.learn_limits(lent, project_id, model, verdict, now));
        match rule.fault() {
            Fault::Nobody if rule == Rule::Success => {
                changes.extend(self.succeed(lent.id, project_id, model, began, now));
            }
            Fault::Nobody | Fault::Client | Fault::Model | Fault::WayOut => {}
            Fault::Soft => changes.extend(self.soft_fault(lent.id, now)),
            Fault::ProjectModel => {
                changes.extend(self.rest_project(project_id, model, verdict, began, now));
            }
            Fault::KeyInvalid => {
                changes.extend(self.blame(lent.id, KeyState::Invalid, rule, began, now));
            }
            Fault::KeyLeaked => {
                changes.extend(self.blame(lent.id, KeyState::Leaked, rule, began, now));
            }
            Fault::ProjectSuspended => {
                changes.extend(self.blame_project(lent.id, KeyState::Suspended, rule, began, now));
            }
            Fault::ProjectMisconfigured => {
                changes.extend(self.blame_project(
                    lent.id,
                    KeyState::Misconfigured,
                    rule,
                    began,
                    now,
                ));
            }
        }
        changes
    }

    /// Takes back what Google has not counted, and counts for a model that was not known before it answered.
    fn correct_count(&mut self, lent: &Lent, model: &str, rule: Rule, now: Timestamp) {
        let charge = &lent.charge;
        let (amount, at) = (charge.amount, charge.at.unwrap_or(now));
        if amount.requests == 0 {
            return;
        }
        let day_ends = self.day_ends(now);
        let counted_in = charge.day_ends.unwrap_or(day_ends);
        let project_id = self.project_of_lent(lent);
        if !is_counted(rule) {
            self.correct_spent(lent.id, project_id, charge.model, now, |spent| {
                spent.take_back(amount, at, counted_in);
            });
        } else if charge.model.is_none() && rule == Rule::Success {
            let model = self.model_number(model);
            if let Some(project) = self.projects.get_mut(&project_id) {
                let quota = project.quota(model);
                quota.spent.add(amount, at, counted_in);
            }
        }
    }

    /// Counts overloads in a row; too many close the model's gate, one success opens it.
    fn note_overload(&mut self, model: &str, rule: Rule, moment: Moment) {
        let Moment {
            began,
            now,
            chance,
            had_begun,
        } = moment;
        if rule == Rule::Success {
            let known = self.known_model(model);
            if let Some(model) = known.and_then(|model| self.models.get_mut(model)) {
                let is_news = model.overload.gate.is_none_or(|gate| gate.is_news(began));
                if is_news {
                    model.overload = Overload::default();
                }
            }
            return;
        }
        if rule != Rule::Overloaded || model.is_empty() || had_begun {
            return;
        }
        let first = self.rules.overload_pause;
        let pause = Pause {
            first,
            most: LONGEST_OVERLOAD_PAUSE.max(first),
        };
        let number = self.model_number(model);
        let overload = &mut self.models[number].overload;
        overload.in_a_row = overload.in_a_row.saturating_add(1);
        match &mut overload.gate {
            Some(gate) if gate.is_news(began) => gate.close_again(now, pause, chance),
            None if overload.in_a_row >= OVERLOADS => {
                tracing::warn!(
                    model,
                    "the model is overloaded: nothing is sent to it for a while"
                );
                overload.gate = Some(Gate::close(now, pause, chance));
            }
            Some(_) | None => {}
        }
    }

    /// What a storm let rest was not at fault.
    fn lift_unexplained(&mut self, now: Timestamp) -> Vec<Change> {
        tracing::warn!(
            "Google refuses many projects at once without a reason: it limits this address. No key is blamed"
        );
        let mut lifted = Vec::new();
        for (project_id, project) in &mut self.projects {
            project.cooldowns.retain(|model, cooldown| {
                let is_of_storm = is_unexplained_rule(cooldown.rule)
                    && now - cooldown.since <= STORM_SPAN
                    && cooldown.until > now;
                if is_of_storm {
                    lifted.push((*project_id, *model));
                }
                !is_of_storm
            });
        }
        let mut changes = Vec::new();
        for (project_id, model) in lifted {
            self.place_project(project_id, None, now);
            changes.push(Change::CooldownLifted {
                project_id,
                model: self.name_of(model),
            });
        }
        changes
    }

    fn learn_billing(
        &mut self,
        project_id: ProjectId,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Option<Change> {
        let billing = verdict.violations.iter().find_map(billing_of)?;
        let project = self.projects.get_mut(&project_id)?;
        if project.billing != Billing::Unknown {
            return None;
        }
        project.billing = billing;
        self.place_project(project_id, None, now);
        Some(Change::Billing {
            project_id,
            billing,
        })
    }

    /// Takes note of the limits that a refusal names, and of those that a success contradicts.
    fn learn_limits(
        &mut self,
        lent: &Lent,
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let billing = self
            .projects
            .get(&project_id)
            .map_or(Billing::Unknown, |project| project.billing);
        let change = |measure, limit| Change::Limit {
            project_id,
            model: model.to_owned(),
            measure,
            limit,
            at: now,
        };
        if verdict.rule == Rule::Success {
            let Some(number) = lent.charge.model else {
                return changes;
            };
            for measure in &lent.charge.beyond {
                let quota = self.projects.entry(project_id).or_default().quota(number);
                if quota.own(*measure) != Own::Contradicted {
                    quota.learn(*measure, Own::Contradicted);
                    let presumed = &mut self.models[number].presumed;
                    if presumed.contradicted(billing, *measure) {
                        self.place_resting(number, now);
                    }
                    changes.push(change(*measure, None));
                }
            }
            if !changes.is_empty() {
                self.place_project(project_id, Some(number), now);
            }
            return changes;
        }
        for violation in &verdict.violations {
            let (Some(measure), Some(limit)) = (Measure::of(violation), violation.limit) else {
                continue;
            };
            if model.is_empty() || !is_of_model(violation) {
                continue;
            }
            let number = self.model_number(model);
            self.models[number].has_line = true;
            let presumed = &mut self.models[number].presumed;
            let more_is_presumed = presumed.learn(billing, measure, limit, now);
            let quota = self.projects.entry(project_id).or_default().quota(number);
            if !measure.is_daily() {
                quota.spent.begin_minute();
            }
            quota.learn(measure, Own::Limit(limit));
            changes.push(change(measure, Some(limit)));
            self.place_project(project_id, Some(number), now);
            if more_is_presumed {
                self.place_resting(number, now);
            }
        }
        changes
    }

    /// Takes note that an answer has begun well, of which the end is far: nobody need wait for that to know that the way is
    /// open again, or the day's quota.
    pub fn note_begun(&mut self, lent: &Lent, model: &str, moment: Moment) {
        let Moment {
            began, now, chance, ..
        } = moment;
        self.day_ends(now);
        let project_id = self.project_of_lent(lent);
        self.storm.note(project_id, false, began, now, chance);
        self.note_overload(model, Rule::Success, moment);
        self.end_rest(project_id, model, began, now);
    }

    /// A project has answered for a model: its rest is over, and it need not go alone.
    fn end_rest(&mut self, project_id: ProjectId, model: &str, began: Timestamp, now: Timestamp) {
        let number = self.known_model(model);
        let mut goes_on = false;
        if let (Some(number), Some(project)) = (number, self.projects.get_mut(&project_id)) {
            let over = |cooldown: &Cooldown| cooldown.until <= began.min(now);
            let has_ended = project.cooldowns.get(&number).is_none_or(over);
            if has_ended {
                // The next unexplained 429 begins its doubling anew.
                project.cooldowns.remove(&number);
                if let Some(quota) = project.quotas.get_mut(&number) {
                    goes_on = std::mem::take(&mut quota.goes_alone);
                }
            }
        }
        if goes_on {
            self.place_project(project_id, number, now);
        }
    }

    fn succeed(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: &str,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        self.successes.add(id, now);
        self.end_rest(project_id, model, began, now);
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.soft_faults.clear();
        let condition = key.row.condition;
        if condition.state == KeyState::Trial && condition.since <= began {
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
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<Change> {
        let whole_project =
            !verdict.violations.is_empty() && !verdict.violations.iter().any(is_of_model);
        let mut models = vec![if whole_project { EVERY_MODEL } else { model }];
        // Google may count an alias, or a version, under another name than the one it was asked by.
        let named = verdict
            .violations
            .iter()
            .filter_map(|violation| violation.model.as_deref());
        models.extend(named);
        models.sort_unstable();
        models.dedup();
        let rested = models
            .into_iter()
            .filter_map(|model| self.rest_for(project_id, model, verdict, began, now));
        rested.collect()
    }

    fn rest_for(
        &mut self,
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<Change> {
        let number = self.model_number(model);
        let before = self
            .projects
            .get(&project_id)
            .and_then(|project| project.cooldowns.get(&number));
        let step = match before {
            // Attempts that were under way together tell of one exhaustion, not of several.
            Some(before) if began < before.since => before.step,
            Some(before) if now - before.until <= SAME_TROUBLE => before.step + 1,
            _ => 0,
        };
        let until = rest_until(verdict, step, now);
        if before.is_some_and(|before| before.until >= until) {
            return None;
        }
        let cooldown = Cooldown {
            rule: verdict.rule,
            step,
            since: now,
            until,
        };
        self.put_cooldown(project_id, model, cooldown);
        Some(Change::Cooldown {
            project_id,
            model: model.to_owned(),
            cooldown,
        })
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
        self.sisters(id)
            .into_iter()
            .filter_map(|id| self.blame(id, state, rule, began, now))
            .collect()
    }

    pub(super) fn set_condition(&mut self, id: UpstreamKeyId, condition: Condition) -> Change {
        if let Some(key) = self.by_id.get_mut(&id) {
            key.row.condition = condition;
        }
        self.plan_check(id);
        self.place_everywhere(id, self.told);
        Change::Key { id, condition }
    }
}

/// A 429 that names no quota: it may mean the project, or our address.
fn is_unexplained(verdict: &Verdict) -> bool {
    is_unexplained_rule(verdict.rule) && verdict.violations.is_empty()
}

fn is_unexplained_rule(rule: Rule) -> bool {
    matches!(rule, Rule::QuotaWithoutDetail | Rule::QuotaUnknownWindow)
}

/// Whether a violation is about one model: it names one, or its id does in general.
fn is_of_model(violation: &Violation) -> bool {
    violation.model.is_some() || violation.quota_id.contains("PerModel")
}
