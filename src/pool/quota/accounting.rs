//! Counts usage and requests in flight per key, project and model, in Google's running day.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber};
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::QuotaUsage;
use crate::pool::quota::windows::QuotaAmount;

/// How far a clock reading may lag behind an earlier one because threads overtake each other. A longer lag means that
/// the clock was set back.
const BEHIND: Duration = Duration::from_mins(1);

impl KeyRegistry {
    /// Adds an answer's input tokens to its model's usage.
    pub fn count_tokens(&mut self, leased: &LeasedKey, model: &str, tokens: u64, now: Timestamp) {
        let (Some(model), Some(estimated)) = (self.find_model(model), leased.reservation.day_ends)
        else {
            return;
        };
        // Google's count replaces the estimate.
        let estimate = QuotaAmount::tokens(leased.reservation.amount.tokens);
        let amount = QuotaAmount::tokens(tokens);
        let day_ends = self.day_ends(now);
        let at = leased.reservation.at.unwrap_or(now);
        let project_id = self.project_of_leased(leased);
        self.correct_usage(leased.id, project_id, Some(model), now, |usage| {
            usage.take_back(estimate, at, estimated);
            usage.add(amount, now, day_ends);
        });
    }

    /// The project of a leased key now: it may have changed during the lease.
    pub(in crate::pool) fn project_of_leased(&self, leased: &LeasedKey) -> ProjectId {
        let key = self.by_id.get(&leased.id);
        key.map_or(leased.project_id, |key| key.row.project_id)
    }

    /// Changes usage. Keys that were cooling down by it are updated for every model, because the admin's limits span
    /// all models.
    pub(in crate::pool) fn correct_usage(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        now: Timestamp,
        change: impl FnMut(&mut QuotaUsage),
    ) {
        let key = self.by_id.get(&id);
        // The usage of a removed key is unknown; its project's other keys may be cooling down.
        let was_held_back = key.is_none_or(|key| {
            self.cooldown_end_of(key, model.unwrap_or(ANY_MODEL), now)
                .is_some()
        });
        self.each_usage(id, project_id, model, change);
        if was_held_back {
            self.update_project_readiness(project_id, None, now);
        }
    }

    /// Calls `change` with each usage that counts a request: the key's, the project's, and the model's if it is known.
    pub(in crate::pool) fn each_usage(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        mut change: impl FnMut(&mut QuotaUsage),
    ) {
        if let Some(key) = self.by_id.get_mut(&id) {
            change(&mut key.usage);
        }
        if let Some(project) = self.projects.get_mut(&project_id) {
            change(&mut project.usage);
            if let Some(model) = model {
                change(&mut project.quota(model).usage);
            }
        }
    }

    /// Adds requests in flight of a model to a key and its project.
    pub(in crate::pool) fn begin_in_flight(
        &mut self,
        id: UpstreamKeyId,
        model: ModelNumber,
        requests: u64,
    ) {
        let Some(key) = self.by_id.get_mut(&id) else {
            return;
        };
        match key
            .in_flight_by_model
            .iter_mut()
            .find(|(of, _)| *of == model)
        {
            Some((_, count)) => *count += requests,
            None => key.in_flight_by_model.push((model, requests)),
        }
        let project = self.projects.entry(key.row.project_id).or_default();
        project.quota(model).in_flight += requests;
    }

    /// Subtracts requests in flight. Returns whether the project's other keys may have become ready.
    pub(in crate::pool) fn end_in_flight(
        &mut self,
        id: UpstreamKeyId,
        model: ModelNumber,
        requests: u64,
    ) -> bool {
        let Some(key) = self.by_id.get_mut(&id) else {
            return false;
        };
        // A key removed and added again has none.
        let Some(position) = key
            .in_flight_by_model
            .iter()
            .position(|(of, _)| *of == model)
        else {
            return false;
        };
        let requests = requests.min(key.in_flight_by_model[position].1);
        key.in_flight_by_model[position].1 -= requests;
        if key.in_flight_by_model[position].1 == 0 {
            key.in_flight_by_model.swap_remove(position);
        }
        let Some(project) = self.projects.get_mut(&key.row.project_id) else {
            return false;
        };
        let inherited = self.models[model].inherited.limits(project.billing);
        let before = project
            .quotas
            .get(&model)
            .map(|quota| quota.limits(inherited, self.latest_time));
        project.end_in_flight(&[(model, requests)]);
        // The ended requests may now contradict the inherited limit.
        project.quotas.get(&model).is_some_and(|quota| {
            quota.probes_after_reset || before != Some(quota.limits(inherited, self.latest_time))
        })
    }

    /// The end of Google's running day. At its end every key is updated, because all usage starts from zero.
    pub(in crate::pool) fn day_ends(&mut self, now: Timestamp) -> Timestamp {
        if now + BEHIND < self.latest_time {
            self.follow_clock_set_back(now);
        }
        self.latest_time = now;
        // A day has at most 25 hours; a later end was computed before the clock was set back.
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

    /// Starts a new day: where the last one was used up, the first request probes whether Google has reset the quota.
    fn begin_day(&mut self, yesterday_ended: Timestamp) {
        self.ready_indexes.clear();
        let yesterday = yesterday_ended - Duration::from_millis(1);
        for project in self.projects.values_mut() {
            let billing = project.billing;
            for (model, quota) in &mut project.quotas {
                let limits = quota.limits(self.models[*model].inherited.limits(billing), yesterday);
                quota.probes_after_reset |= quota.usage.share_of_day(&limits, yesterday) >= 1_000;
            }
        }
    }
}
