//! What follows when the clock is set back: nothing may wait for a time that a wrong clock has told.

use crate::clock::Timestamp;
use crate::pool::keys::{Keys, LastSuccesses, Overload};
use crate::pool::quota_clock::end_of_google_day;
use crate::pool::storm::Storm;

impl Keys {
    /// Takes over that it is `now`, earlier than it was. What began later began now and lasts as long as it would have.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        tracing::warn!("the clock was set back: rests that had begun go on from {now}");
        let day_ends = end_of_google_day(now);
        self.day_ends = Some(day_ends);
        self.lines.clear();
        self.storm = Storm::default();
        self.successes = LastSuccesses::default();
        for model in &mut self.models {
            model.overload = Overload::default();
            model.presumed.forget_times();
        }
        for project in self.projects.values_mut() {
            for cooldown in project.cooldowns.values_mut() {
                *cooldown = cooldown.begun_by(now);
            }
            project.spent.set_back(now, day_ends);
            for quota in project.quotas.values_mut() {
                quota.spent.set_back(now, day_ends);
            }
        }
        for key in self.by_id.values_mut() {
            key.spent.set_back(now, day_ends);
            key.soft_faults.clear();
            key.row.condition = key.row.condition.begun_by(now);
        }
        let ids: Vec<_> = self.by_id.keys().copied().collect();
        for id in ids {
            self.plan_check(id);
        }
    }
}
