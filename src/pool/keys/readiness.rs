//! Computes the readiness of a key for a model, and until when the key cools down.

use crate::clock::Timestamp;
use crate::pool::keys::ready_index::{ModelNumber, Readiness, ReadyRank};
use crate::pool::keys::registry::{KeyEntry, KeyRegistry};
use crate::pool::keys::running_cooldowns::NumberedCooldown;
use crate::pool::keys::upstream_key::{KeyState, ProjectId, UpstreamKeyId};
use crate::pool::quota::windows::QuotaAmount;

/// Until when a key cools down, and whether a daily limit is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct CooldownEnd {
    pub until: Timestamp,
    pub for_the_day: bool,
    /// Only our own count is the reason, not an answer of Google.
    pub is_estimate: bool,
}

impl KeyRegistry {
    /// Updates a key in one ready index.
    pub(in crate::pool) fn update_readiness(
        &mut self,
        id: UpstreamKeyId,
        index: usize,
        now: Timestamp,
    ) {
        let Some(lease_order) = self.ready_indexes[index].lease_order(id) else {
            return;
        };
        self.update_readiness_in_order(id, index, lease_order, now);
    }

    pub(in crate::pool) fn update_readiness_in_order(
        &mut self,
        id: UpstreamKeyId,
        index: usize,
        lease_order: i64,
        now: Timestamp,
    ) {
        let model = self.ready_indexes[index].model;
        let readiness = self.readiness_of(id, model, lease_order, now);
        self.ready_indexes[index].put(id, readiness, lease_order);
        if let Some(key) = self.by_id.get_mut(&id)
            && key.in_flight > 0
            && !key.indexed_while_busy.contains(&(model, index))
        {
            key.indexed_while_busy.push((model, index));
        }
    }

    /// Updates a key in every ready index, and removes it from those whose tags it no longer has.
    pub(in crate::pool) fn update_readiness_everywhere(
        &mut self,
        id: UpstreamKeyId,
        now: Timestamp,
    ) {
        for index in 0..self.ready_indexes.len() {
            let Some(key) = self.by_id.get(&id) else {
                return;
            };
            if self.ready_indexes[index].accepts_tags(&key.row.tags) {
                let lease_order = self.ready_indexes[index]
                    .lease_order(id)
                    .unwrap_or(key.lease_order);
                self.update_readiness_in_order(id, index, lease_order, now);
            } else {
                self.ready_indexes[index].remove(id);
            }
        }
    }

    /// Updates a project's keys in the ready indexes of one model, or in all.
    pub(in crate::pool) fn update_project_readiness(
        &mut self,
        project_id: ProjectId,
        model: Option<ModelNumber>,
        now: Timestamp,
    ) {
        let Some(project) = self.projects.get(&project_id) else {
            return;
        };
        let keys: Vec<_> = project.keys.iter().copied().collect();
        for index in 0..self.ready_indexes.len() {
            if model.is_none_or(|model| self.ready_indexes[index].model == model) {
                for id in &keys {
                    self.update_readiness(*id, index, now);
                }
            }
        }
    }

    /// Updates the cooling keys in the ready indexes of a model whose inherited limits have grown.
    pub(in crate::pool) fn update_cooling_readiness(&mut self, model: ModelNumber, now: Timestamp) {
        for index in 0..self.ready_indexes.len() {
            if self.ready_indexes[index].model == model {
                for id in self.ready_indexes[index].all_cooling_down() {
                    self.update_readiness(id, index, now);
                }
            }
        }
    }

    /// The current readiness of a key for a model.
    pub(in crate::pool) fn readiness_of(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        lease_order: i64,
        now: Timestamp,
    ) -> Readiness {
        let Some(key) = self.by_id.get(&id).filter(|key| key.row.enabled) else {
            return Readiness::Unavailable;
        };
        let one_at_a_time = match key.row.condition.state {
            KeyState::Ready => false,
            KeyState::Trial => true,
            KeyState::CoolingDown => match key.row.condition.until {
                Some(until) if until > now => return Readiness::CoolingDown(until),
                Some(_) => true,
                None => return Readiness::Unavailable,
            },
            KeyState::Invalid
            | KeyState::Leaked
            | KeyState::Suspended
            | KeyState::Misconfigured => return Readiness::Unavailable,
        };
        if let Some(block) = self.egress_block(key, now) {
            return Readiness::CoolingDown(block.until);
        }
        if let Some(cooldown_end) = self.cooldown_end_of(key, model, now) {
            return Readiness::CoolingDown(cooldown_end.until);
        }
        let project = self.projects.get(&key.row.project_id);
        let quota = project.and_then(|project| project.quotas.get(&model));
        let most = self.policy.per_key_concurrency;
        let is_busy = (most > 0 && key.in_flight >= most)
            || (one_at_a_time && key.in_flight > 0)
            || quota.is_some_and(|quota| quota.probes_after_reset && quota.in_flight > 0);
        if is_busy {
            return Readiness::Busy;
        }
        let quota_share = quota.map_or(0, |quota| {
            let inherited = self.inherited_limits(model, project.map(AsRef::as_ref));
            quota.usage.share_of_day(&quota.limits(inherited, now), now)
        });
        Readiness::Ready(ReadyRank {
            is_suspected: key.suspicions > 0,
            priority: key.row.priority,
            load: u64::from(key.in_flight) * 1_000 / u64::from(key.row.weight.max(1)),
            quota_share,
            lease_order,
            id,
        })
    }

    /// The end of the longest cooldown of a key for a model: verdicts, the admin's limits and quota; `None`: no
    /// cooldown.
    pub(in crate::pool) fn cooldown_end_of(
        &self,
        key: &KeyEntry,
        model: ModelNumber,
        now: Timestamp,
    ) -> Option<CooldownEnd> {
        let (mut sure, mut estimated) = (None::<CooldownEnd>, None::<CooldownEnd>);
        self.each_cooldown_apart_from_state(key, Some(model), now, |cooldown| {
            let is_estimate = cooldown.is_estimate();
            let longest = if is_estimate {
                &mut estimated
            } else {
                &mut sure
            };
            if longest.is_none_or(|longest| longest.until <= cooldown.until) {
                let NumberedCooldown {
                    until, for_the_day, ..
                } = cooldown;
                *longest = Some(CooldownEnd {
                    until,
                    for_the_day,
                    is_estimate,
                });
            }
        });
        // Nothing is estimated where an answer or the admin blocks the key as well.
        if let Some(estimated) = &mut estimated {
            estimated.is_estimate = sure.is_none();
        }
        let ends = sure.into_iter().chain(estimated);
        ends.max_by_key(|cooldown_end| cooldown_end.until)
    }

    /// When the key's quota of a model has room for `amount`; `None`: now.
    pub(in crate::pool) fn room_for(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        amount: QuotaAmount,
        now: Timestamp,
    ) -> Option<CooldownEnd> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id)?;
        let quota = project.quotas.get(&model)?;
        let limits = quota.limits(self.inherited_limits(model, Some(project)), now);
        let day_ends = self.day_ends.unwrap_or(now);
        let full = quota
            .usage
            .limit_without_room(&limits, amount, now, day_ends)?;
        Some(CooldownEnd {
            until: full.until,
            for_the_day: full.measure.is_daily(),
            is_estimate: true,
        })
    }
}
