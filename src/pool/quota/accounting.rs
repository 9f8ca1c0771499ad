//! What is counted of each key, project and model: quota used, requests under way, and the day they belong to.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber};
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::QuotaUsage;
use crate::pool::quota::windows::QuotaAmount;

/// How much earlier than another a reading of the clock may be that came later: threads overtake each other. What is
/// earlier by more comes from a clock that was set back.
const BEHIND: Duration = Duration::from_mins(1);

impl KeyRegistry {
    /// Adds the input tokens of an answer to what its model has used.
    pub fn count_tokens(&mut self, leased: &LeasedKey, model: &str, tokens: u64, now: Timestamp) {
        let (Some(model), Some(estimated)) = (self.find_model(model), leased.reservation.day_ends)
        else {
            return;
        };
        // What was put down for the request before anybody had counted gives way to what Google has.
        let estimate = QuotaAmount {
            requests: 0,
            tokens: leased.reservation.amount.tokens,
        };
        let amount = QuotaAmount {
            requests: 0,
            tokens,
        };
        let day_ends = self.day_ends(now);
        let at = leased.reservation.at.unwrap_or(now);
        let project_id = self.project_of_leased(leased);
        self.correct_usage(leased.id, project_id, Some(model), now, |usage| {
            usage.take_back(estimate, at, estimated);
            usage.add(amount, now, day_ends);
        });
    }

    /// The project that a lent key belongs to now: it may have turned out to be another.
    pub(in crate::pool) fn project_of_leased(&self, leased: &LeasedKey) -> ProjectId {
        let key = self.by_id.get(&leased.id);
        key.map_or(leased.project_id, |key| key.row.project_id)
    }

    /// Changes what was counted. Who was held back by it is placed anew, for every model: the admin's limits are over all.
    pub(in crate::pool) fn correct_usage(
        &mut self,
        id: UpstreamKeyId,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        now: Timestamp,
        change: impl FnMut(&mut QuotaUsage),
    ) {
        let key = self.by_id.get(&id);
        // Of a key that is gone nobody knows; its sisters may be held back.
        let was_held_back = key.is_none_or(|key| {
            self.cooldown_end_of(key, model.unwrap_or(ANY_MODEL), now)
                .is_some()
        });
        self.each_usage(id, project_id, model, change);
        if was_held_back {
            self.update_project_readiness(project_id, None, now);
        }
    }

    /// Calls `change` with all that counts a request: the key's, the project's, and the model's if it is known.
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

    /// Notes that a key has so many more requests of a model under way.
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

    /// Notes that they have ended. Returns whether its sisters may be ready for that.
    pub(in crate::pool) fn end_in_flight(
        &mut self,
        id: UpstreamKeyId,
        model: ModelNumber,
        requests: u64,
    ) -> bool {
        let Some(key) = self.by_id.get_mut(&id) else {
            return false;
        };
        // Of a key that was removed and came back none is known.
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
        // What has gone through may now contradict what is presumed.
        project.quotas.get(&model).is_some_and(|quota| {
            quota.probes_after_reset || before != Some(quota.limits(inherited, self.latest_time))
        })
    }

    /// When Google's running day ends. At its end everything is placed anew, because all shares are nothing again.
    pub(in crate::pool) fn day_ends(&mut self, now: Timestamp) -> Timestamp {
        if now + BEHIND < self.latest_time {
            self.follow_clock_set_back(now);
        }
        self.latest_time = now;
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
