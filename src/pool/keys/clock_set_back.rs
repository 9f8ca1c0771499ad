//! Corrects the registry when the system clock was set back, so that no cooldown or check waits for a wrong time.

use crate::clock::Timestamp;
use crate::pool::keys::registry::{KeyRegistry, ModelOverload};
use crate::pool::quota::google_clock::end_of_google_day;

impl KeyRegistry {
    /// Sets the time to `now`, earlier than before. What began later than `now` begins now and keeps its length.
    pub(in crate::pool) fn follow_clock_set_back(&mut self, now: Timestamp) {
        tracing::warn!("the clock was set back: running cooldowns continue from {now}");
        let day_ends = end_of_google_day(now);
        self.day_ends = Some(day_ends);
        self.ready_indexes.clear();
        self.egress.forget_throttles();
        self.successes.clear();
        self.client_evidence.clear();
        for model in &mut self.models {
            model.overload = ModelOverload::default();
            model.inherited.clear_probe_times();
        }
        for project in self.projects.values_mut() {
            for cooldown in project.cooldowns.values_mut() {
                *cooldown = cooldown.rebased_at(now);
            }
            project.usage.follow_clock_set_back(now, day_ends);
            for quota in project.quotas.values_mut() {
                quota.usage.follow_clock_set_back(now, day_ends);
            }
        }
        for key in self.by_id.values_mut() {
            key.usage.follow_clock_set_back(now, day_ends);
            key.soft_faults.clear();
            key.checked_at_once = None;
            key.row.condition = key.row.condition.rebased_at(now);
        }
        let ids: Vec<_> = self.by_id.keys().copied().collect();
        for id in ids {
            self.schedule_check(id);
        }
    }
}
