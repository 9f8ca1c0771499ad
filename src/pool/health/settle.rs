//! Applies the verdict on an attempt to keys, projects, models and the egress.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::address_throttle::{AddressThrottleSignal, THROTTLE_SPAN};
use crate::pool::health::circuit_breaker::{Backoff, CircuitBreaker};
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::cooldown::{
    EVERY_MODEL, SOFT_FAULT_COOLDOWN, SOFT_FAULT_SPAN, SOFT_FAULTS, cooldown_until,
};
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::{Fault, Rule, Verdict, Violation};
use crate::pool::keys::registry::{
    KeyRegistry, LastSuccesses, LeasedKey, ModelOverload, SoftFault,
};
use crate::pool::keys::upstream_key::{Billing, KeyCondition, KeyState, ProjectId, UpstreamKeyId};
use crate::pool::quota::limits::{Measure, ObservedLimit, billing_of, is_counted};

/// Number of consecutive overloads that open a model's circuit breaker.
const OVERLOADS_TO_OPEN: u32 = 5;
/// The longest pause of a model.
const LONGEST_OVERLOAD_PAUSE: Duration = Duration::from_secs(30);
/// An unexplained 429 this soon after the last one's cooldown continues its series.
const REPEAT_SPAN: Duration = Duration::from_mins(2);

/// Models whose successes are stored; clients choose their names.
const MAX_MODELS_WITH_SUCCESSES: usize = 1_000;

/// When an attempt began and ended, and a random number (0 to 1) that varies pauses.
#[derive(Debug, Clone, Copy)]
pub struct AttemptTiming {
    pub began: Timestamp,
    pub now: Timestamp,
    pub chance: f64,
    /// Whether the answer had begun: a later break is no sign of an overload.
    pub answer_had_begun: bool,
    /// Whose request it was.
    pub client: Option<ClientKeyId>,
}

impl KeyRegistry {
    /// Applies the verdict on an attempt with a leased key for this model.
    pub fn settle(
        &mut self,
        leased: &LeasedKey,
        model: &str,
        verdict: &Verdict,
        timing: AttemptTiming,
    ) -> Vec<StateChange> {
        let AttemptTiming {
            began,
            now,
            chance,
            client,
            ..
        } = timing;
        let rule = verdict.rule;
        // A connection that fails through a proxy is the proxy's fault, and says nothing about Google or the key.
        let is_of_proxy = leased.egress.is_some() && rule.is_of_connection();
        if !is_of_proxy {
            self.upstream_watch.record(verdict);
        }
        self.correct_count(leased, model, rule, now);
        let project_id = self.project_of_leased(leased);
        let mut changes = Vec::new();
        if !timing.answer_had_begun {
            changes.extend(self.record_egress(leased.egress, verdict, began, now));
        }
        if verdict.status.is_some()
            && let Some(throttle) = self.egress.throttle(leased.egress)
        {
            let refused = is_unexplained(verdict);
            match throttle.record(project_id, refused, began, now, chance) {
                AddressThrottleSignal::Inactive => {}
                AddressThrottleSignal::Ended => self.egress_changed(),
                AddressThrottleSignal::Started => {
                    let refused = std::mem::take(&mut throttle.refused);
                    changes.extend(self.lift_throttle_cooldowns(&refused, now));
                    return changes;
                }
                AddressThrottleSignal::Continues => return changes,
            }
        }
        self.record_overload(model, rule, timing);
        changes.extend(self.learn_billing(project_id, verdict, now));
        changes.extend(self.learn_limits(leased, project_id, model, verdict, now));
        match rule.fault() {
            Fault::None if rule == Rule::Success => {
                self.client_evidence.record_success(client, now);
                changes.extend(self.record_success(leased.id, project_id, model, began, now));
            }
            Fault::Soft if is_of_proxy => {}
            Fault::Soft => changes.extend(self.record_soft_fault(leased.id, model, client, now)),
            Fault::ProjectModel => {
                changes.extend(self.cool_down_project(project_id, model, verdict, began, now));
            }
            // Verdicts against a key or its project wait for the end of the request: see `suspect` and `blame`.
            Fault::None
            | Fault::Client
            | Fault::Model
            | Fault::Egress
            | Fault::KeyInvalid
            | Fault::KeyLeaked
            | Fault::ProjectSuspended
            | Fault::ProjectMisconfigured => {}
        }
        changes
    }

    /// Subtracts what Google did not count, and counts for a model that had no entry before this answer.
    fn correct_count(&mut self, leased: &LeasedKey, model: &str, rule: Rule, now: Timestamp) {
        let reservation = &leased.reservation;
        let (amount, at) = (reservation.amount, reservation.at.unwrap_or(now));
        if amount.requests == 0 {
            return;
        }
        let day_ends = self.day_ends(now);
        let counted_in = reservation.day_ends.unwrap_or(day_ends);
        let project_id = self.project_of_leased(leased);
        if !is_counted(rule) {
            self.correct_usage(leased.id, project_id, reservation.model, now, |usage| {
                usage.take_back(amount, at, counted_in);
            });
        } else if reservation.model.is_none() && rule == Rule::Success {
            let model = self.model_number(model);
            if let Some(project) = self.projects.get_mut(&project_id) {
                let quota = project.quota(model);
                quota.usage.add(amount, at, counted_in);
                // The usage may contradict the inherited limit by which the project's other keys cool down.
                self.update_project_readiness(project_id, Some(model), now);
            }
        }
    }

    /// Counts consecutive overloads; too many open the model's circuit breaker, one success closes it.
    fn record_overload(&mut self, model: &str, rule: Rule, timing: AttemptTiming) {
        let AttemptTiming {
            began,
            now,
            chance,
            answer_had_begun,
            ..
        } = timing;
        if rule == Rule::Success {
            let known = self.find_model(model);
            if let Some(model) = known.and_then(|model| self.models.get_mut(model)) {
                let is_new_evidence = model
                    .overload
                    .breaker
                    .is_none_or(|breaker| breaker.is_new_evidence(began));
                if is_new_evidence {
                    model.overload = ModelOverload::default();
                }
            }
            return;
        }
        if rule != Rule::Overloaded || model.is_empty() || answer_had_begun {
            return;
        }
        let first = self.policy.overload_pause;
        let backoff = Backoff {
            first,
            most: LONGEST_OVERLOAD_PAUSE.max(first),
        };
        let number = self.model_number(model);
        let overload = &mut self.models[number].overload;
        overload.in_a_row = overload.in_a_row.saturating_add(1);
        match &mut overload.breaker {
            Some(breaker) if breaker.is_new_evidence(began) => breaker.reopen(now, backoff, chance),
            None if overload.in_a_row >= OVERLOADS_TO_OPEN => {
                tracing::warn!(
                    model,
                    "the model is overloaded: its circuit breaker is open"
                );
                overload.breaker = Some(CircuitBreaker::open(now, backoff, chance));
            }
            Some(_) | None => {}
        }
    }

    /// Lifts the cooldowns that the throttle of an address caused for these projects.
    fn lift_throttle_cooldowns(
        &mut self,
        refused: &HashSet<ProjectId>,
        now: Timestamp,
    ) -> Vec<StateChange> {
        tracing::warn!(
            "Google refuses many projects at once without a reason: it limits an IP address of ours, no key is at fault"
        );
        let mut lifted = Vec::new();
        let projects = self.projects.iter_mut();
        for (project_id, project) in projects.filter(|(id, _)| refused.contains(id)) {
            project.cooldowns.retain(|model, cooldown| {
                let is_of_throttle = is_unexplained_rule(cooldown.rule)
                    && now - cooldown.since <= THROTTLE_SPAN
                    && cooldown.until > now;
                if is_of_throttle {
                    lifted.push((*project_id, *model));
                }
                !is_of_throttle
            });
        }
        let mut changes = Vec::new();
        for (project_id, model) in lifted {
            self.update_project_readiness(project_id, None, now);
            changes.push(StateChange::CooldownLifted {
                project_id,
                model: self.model_name(model),
            });
        }
        changes
    }

    fn learn_billing(
        &mut self,
        project_id: ProjectId,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Option<StateChange> {
        let billing = verdict.violations.iter().find_map(billing_of)?;
        let project = self.projects.get_mut(&project_id)?;
        if project.billing != Billing::Unknown {
            return None;
        }
        project.billing = billing;
        self.update_project_readiness(project_id, None, now);
        Some(StateChange::Billing {
            project_id,
            billing,
        })
    }

    /// Records the limits that a refusal names, and those that a success contradicts.
    fn learn_limits(
        &mut self,
        leased: &LeasedKey,
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Vec<StateChange> {
        let mut changes = Vec::new();
        let billing = self
            .projects
            .get(&project_id)
            .map_or(Billing::Unknown, |project| project.billing);
        let change = |measure, limit, is_known| StateChange::Limit {
            project_id,
            model: model.to_owned(),
            measure,
            limit,
            is_known,
            at: now,
        };
        if verdict.rule == Rule::Success {
            let Some(number) = leased.reservation.model else {
                return changes;
            };
            for measure in &leased.reservation.beyond {
                let quota = self.projects.entry(project_id).or_default().quota(number);
                if quota.observed(*measure) != ObservedLimit::Contradicted {
                    quota.learn(*measure, ObservedLimit::Contradicted);
                    let inherited = &mut self.models[number].inherited;
                    if inherited.contradicted(billing, *measure) {
                        self.update_cooling_readiness(number, now);
                    }
                    changes.push(change(*measure, None, false));
                }
            }
            if !changes.is_empty() {
                self.update_project_readiness(project_id, Some(number), now);
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
            self.models[number].has_own_index = true;
            let inherited = &mut self.models[number].inherited;
            let more_is_inherited = inherited.learn(billing, measure, limit, now);
            let quota = self.projects.entry(project_id).or_default().quota(number);
            if !measure.is_daily() {
                quota.usage.begin_minute();
            }
            let observed = ObservedLimit::Limit(limit);
            let is_known = quota.observed(measure) == observed;
            quota.learn(measure, observed);
            changes.push(change(measure, Some(limit), is_known));
            self.update_project_readiness(project_id, Some(number), now);
            if more_is_inherited {
                self.update_cooling_readiness(number, now);
            }
        }
        changes
    }

    /// Records that an answer has begun well, long before its end: circuit breakers close and the day's quota is
    /// available again.
    pub fn record_answer_start(
        &mut self,
        leased: &LeasedKey,
        model: &str,
        timing: AttemptTiming,
    ) -> Option<StateChange> {
        let AttemptTiming {
            began, now, chance, ..
        } = timing;
        self.day_ends(now);
        let project_id = self.project_of_leased(leased);
        let throttle = self.egress.throttle(leased.egress);
        let signal =
            throttle.map(|throttle| throttle.record(project_id, false, began, now, chance));
        let change = leased
            .egress
            .and_then(|id| self.egress.record_answer_start(id, began, now));
        if change.is_some() || signal == Some(AddressThrottleSignal::Ended) {
            self.egress_changed();
        }
        self.record_overload(model, Rule::Success, timing);
        self.end_cooldown(project_id, model, began, now);
        change
    }

    /// Ends a project's cooldown and probing for a model after an answer.
    fn end_cooldown(
        &mut self,
        project_id: ProjectId,
        model: &str,
        began: Timestamp,
        now: Timestamp,
    ) {
        let number = self.find_model(model);
        let mut is_released = false;
        if let (Some(number), Some(project)) = (number, self.projects.get_mut(&project_id)) {
            let over = |cooldown: &Cooldown| cooldown.until <= began.min(now);
            let has_ended = project.cooldowns.get(&number).is_none_or(over);
            if has_ended {
                project.cooldowns.remove(&number);
                if let Some(quota) = project.quotas.get_mut(&number) {
                    is_released = std::mem::take(&mut quota.probes_after_reset);
                }
            }
        }
        if is_released {
            self.update_project_readiness(project_id, number, now);
        }
    }

    fn record_success(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: &str,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<StateChange> {
        self.add_success(id, model, now);
        self.end_cooldown(project_id, model, began, now);
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.soft_faults.clear();
        let condition = key.row.condition;
        if condition.state == KeyState::Trial && condition.since <= began {
            vec![self.set_condition(id, KeyCondition::ready(now))]
        } else {
            Vec::new()
        }
    }

    fn add_success(&mut self, id: UpstreamKeyId, model: &str, now: Timestamp) {
        if let Some(known) = self.successes.get_mut(model) {
            known.add(id, now);
        } else if self.successes.len() < MAX_MODELS_WITH_SUCCESSES {
            let mut successes = LastSuccesses::default();
            successes.add(id, now);
            self.successes.insert(model.to_owned(), successes);
        }
    }

    /// Counts a fault that may be the key's. It is evidence only if another key served the same model meanwhile, and if
    /// it is not the client's own.
    fn record_soft_fault(
        &mut self,
        id: UpstreamKeyId,
        model: &str,
        client: Option<ClientKeyId>,
        now: Timestamp,
    ) -> Vec<StateChange> {
        self.client_evidence.record_soft_fault(client, id, now);
        let Some(key) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        key.soft_faults
            .retain(|fault| now - fault.at <= SOFT_FAULT_SPAN);
        key.soft_faults.push(SoftFault { at: now, client });
        let evidence = &self.client_evidence;
        let faults = key.soft_faults.iter();
        let mut faults = faults.filter(|fault| !evidence.is_at_fault(fault.client, now));
        let first = faults.next().map(|fault| fault.at);
        let count = first.map_or(0, |_| 1 + faults.count());
        let successes = self.successes.get(model);
        let others_succeed = |since| {
            successes
                .and_then(|successes| successes.of_another_than(id))
                .is_some_and(|at| at >= since)
        };
        let often = count >= SOFT_FAULTS && first.is_some_and(others_succeed);
        let usable = matches!(key.row.condition.state, KeyState::Ready | KeyState::Trial);
        let failed_trial = count > 0
            && key.row.condition.state == KeyState::Trial
            && others_succeed(key.row.condition.since);
        if !usable || !(often || failed_trial) {
            return Vec::new();
        }
        key.soft_faults.clear();
        let until = Some(now + SOFT_FAULT_COOLDOWN);
        let condition = KeyCondition {
            state: KeyState::CoolingDown,
            until,
            ..KeyCondition::ready(now)
        };
        vec![self.set_condition(id, condition)]
    }

    fn cool_down_project(
        &mut self,
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<StateChange> {
        let whole_project =
            !verdict.violations.is_empty() && !verdict.violations.iter().any(is_of_model);
        let mut models = vec![if whole_project { EVERY_MODEL } else { model }];
        // Google may count an alias or a version under another name than the requested one.
        let named = verdict
            .violations
            .iter()
            .filter_map(|violation| violation.model.as_deref());
        models.extend(named);
        models.sort_unstable();
        models.dedup();
        let cooldowns = models
            .into_iter()
            .filter_map(|model| self.cool_down_for_model(project_id, model, verdict, began, now));
        cooldowns.collect()
    }

    fn cool_down_for_model(
        &mut self,
        project_id: ProjectId,
        model: &str,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<StateChange> {
        let number = self.model_number(model);
        let before = self
            .projects
            .get(&project_id)
            .and_then(|project| project.cooldowns.get(&number));
        let step = match before {
            // Attempts in flight together show one exhaustion, not several.
            Some(before) if began < before.since => before.step,
            Some(before) if now - before.until <= REPEAT_SPAN => before.step + 1,
            _ => 0,
        };
        let until = cooldown_until(verdict, step, now);
        if before.is_some_and(|before| before.until >= until) {
            return None;
        }
        let cooldown = Cooldown {
            rule: verdict.rule,
            step,
            since: now,
            until,
        };
        self.set_cooldown(project_id, model, cooldown);
        Some(StateChange::Cooldown {
            project_id,
            model: model.to_owned(),
            cooldown,
        })
    }

    pub(in crate::pool) fn set_condition(
        &mut self,
        id: UpstreamKeyId,
        condition: KeyCondition,
    ) -> StateChange {
        if let Some(key) = self.by_id.get_mut(&id) {
            key.row.condition = condition;
        }
        self.schedule_check(id);
        self.update_readiness_everywhere(id, self.latest_time);
        StateChange::Key { id, condition }
    }
}

/// A 429 that names no quota: the project or our IP address may be limited.
fn is_unexplained(verdict: &Verdict) -> bool {
    is_unexplained_rule(verdict.rule) && verdict.violations.is_empty()
}

fn is_unexplained_rule(rule: Rule) -> bool {
    matches!(rule, Rule::QuotaWithoutDetail | Rule::QuotaUnknownWindow)
}

/// Whether a violation concerns one model: it names one, or its id contains one in general.
fn is_of_model(violation: &Violation) -> bool {
    violation.model.is_some() || violation.quota_id.contains("PerModel")
}
