//! What is counted of each key, project and model: quota used, requests under way, and the day they belong to.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::keys::{Keys, Lent};
use crate::pool::line::{ANY_MODEL, ModelNumber};
use crate::pool::quota::Spent;
use crate::pool::quota_clock::end_of_google_day;
use crate::pool::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::window::Amount;

/// How much earlier than another a reading of the clock may be that came later: threads overtake each other. What is
/// earlier by more comes from a clock that was set back.
const BEHIND: Duration = Duration::from_mins(1);

impl Keys {
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
                change(&mut project.quota(model).spent);
            }
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
        project.quota(model).under_way += requests;
    }

    /// Notes that they have ended. Returns whether its sisters may be ready for that.
    pub(super) fn end_under_way(
        &mut self,
        id: UpstreamKeyId,
        model: ModelNumber,
        requests: u64,
    ) -> bool {
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
        let presumed = self.models[model].presumed.limits(project.billing);
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
            let billing = project.billing;
            for (model, quota) in &mut project.quotas {
                let limits = quota.limits(self.models[*model].presumed.limits(billing), yesterday);
                quota.goes_alone |= quota.spent.share_of_day(&limits, yesterday) >= 1_000;
            }
        }
    }
}
