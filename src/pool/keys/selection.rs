//! Selects the upstream key that a request leases, by rank in the ready index, limits, circuit breakers and egress.

use crate::clock::Timestamp;
use crate::pool::egress::proxies::EgressBlock;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::verdict::{Retry, Rule};
use crate::pool::keys::readiness::CooldownEnd;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber, Readiness, ReadyIndex, ReadyRank};
use crate::pool::keys::registry::{
    KeyEntry, KeyRegistry, LeasedKey, QuotaReservation, lease_order_at,
};
use crate::pool::keys::upstream_key::{Billing, KeyCondition, KeyState, ProjectId, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::quota::limits::Measure;
use crate::pool::quota::windows::QuotaAmount;

/// Maximum number of further ready keys examined for a better one, or for one with room for a large batch.
const MAX_EXAMINED: usize = 64;

/// Maximum number of ready indexes: each contains every key.
const MAX_READY_INDEXES: usize = 200;

/// Requirements of a request for a key.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'a> {
    /// Empty: the request uses no model.
    pub model: &'a str,
    /// Estimated use of the model's quota; no requests: no use.
    pub amount: QuotaAmount,
    /// Tags of which the key must have one; empty: any key.
    pub tags: &'a [String],
    /// The required project, because it has the named resources; `None`: any project.
    pub project: Option<ProjectId>,
}

/// The keys that a request has been sent with.
#[derive(Debug, Clone, Default)]
pub struct TriedKeys {
    /// Those that failed.
    keys: Vec<UpstreamKeyId>,
    projects: Vec<ProjectId>,
    /// The key that may be tried once more because its failure does not concern it.
    reusable: Option<UpstreamKeyId>,
    /// The proxies that failed.
    pub(in crate::pool) egresses: Vec<EgressProxyId>,
}

/// Whether the same key may be used again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyReuse {
    Never,
    /// Another attempt may well succeed.
    Once,
    /// Once its project's cooldown has ended.
    AfterCooldown,
}

impl KeyReuse {
    /// Whether a request whose attempt came to `rule` may use the same key again.
    pub fn after(rule: Rule) -> Self {
        match (rule.outcome(), rule.retry()) {
            (Outcome::Quota, _) => Self::AfterCooldown,
            (_, Retry::FreeWithOtherKey) => Self::Never,
            (_, Retry::No | Retry::OneOtherKey | Retry::Once | Retry::TwiceAfterPause) => {
                Self::Once
            }
        }
    }
}

/// Why no key can be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseObstacle {
    /// The pool has no keys.
    NoKeys,
    /// Only a check or the admin can make one usable, or none has the tags.
    NoUsableKey,
    /// The required project has no usable key with these tags.
    ProjectWithoutKeys,
    /// All usable keys were tried.
    AllTried,
    /// All usable keys are at their limit of concurrent requests.
    Busy,
    /// All keys cool down, the first until then.
    CoolingDown { until: Timestamp, for_the_day: bool },
    /// The model's circuit breaker is open.
    Overloaded { until: Timestamp },
    /// Google limits our IP address.
    AddressThrottled { until: Timestamp },
    /// The egress proxies of every ready key are broken; the first is probed then.
    EgressBroken { until: Timestamp },
}

impl TriedKeys {
    /// Records a failed attempt.
    pub fn add(&mut self, id: UpstreamKeyId, project_id: ProjectId, reuse: KeyReuse) {
        self.projects.push(project_id);
        let first_time = !self.keys.contains(&id);
        match reuse {
            KeyReuse::AfterCooldown => return,
            KeyReuse::Once if first_time => self.reusable = Some(id),
            KeyReuse::Once | KeyReuse::Never if self.reusable == Some(id) => self.reusable = None,
            KeyReuse::Once | KeyReuse::Never => {}
        }
        self.keys.push(id);
    }

    /// Records that a proxy failed.
    pub fn add_egress(&mut self, id: EgressProxyId) {
        self.egresses.push(id);
    }

    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    pub(in crate::pool) fn has_key(&self, id: UpstreamKeyId) -> bool {
        self.keys.contains(&id)
    }

    pub fn has_project(&self, id: ProjectId) -> bool {
        self.projects.contains(&id)
    }
}

impl LeaseObstacle {
    /// When it may end; `None`: not by itself, or at an unknown time.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::NoKeys | Self::NoUsableKey | Self::ProjectWithoutKeys | Self::AllTried => None,
            Self::Busy => Some(now),
            Self::CoolingDown { until, .. }
            | Self::Overloaded { until }
            | Self::AddressThrottled { until }
            | Self::EgressBroken { until } => Some(*until),
        }
    }
}

impl KeyRegistry {
    /// Leases the best ready key: lowest priority, then lowest load for its weight, then smallest used share of its
    /// day's known quota, then least recently leased.
    ///
    /// A key of an untried project precedes all others; another key of a tried project precedes the same key again.
    pub fn lease(
        &mut self,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Result<LeasedKey, LeaseObstacle> {
        let model = self.check_breakers(lease_request, now)?;
        let index = self.prepare_ready_index(lease_request, now);
        let selected = self
            .select(index, lease_request, tried, now)
            .or_else(|obstacle| {
                let probing = self.key_for_limit_probe(index, lease_request, obstacle, tried, now);
                probing.ok_or(obstacle)
            });
        let index = self.discard_project_index(index, lease_request);
        selected.map(|id| self.lease_selected(id, model, index, lease_request, tried, now))
    }

    /// The same, but only a key of a project that was not tried; `None`: none is ready.
    pub fn lease_untried_project(
        &mut self,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<LeasedKey> {
        let model = self.check_breakers(lease_request, now).ok()?;
        let index = self.prepare_ready_index(lease_request, now);
        let selected = self.select(index, lease_request, tried, now).ok();
        let index = self.discard_project_index(index, lease_request);
        let id = selected.filter(|id| !tried.has_project(self.by_id[id].row.project_id))?;
        Some(self.lease_selected(id, model, index, lease_request, tried, now))
    }

    /// Leases this key of the required project if it is ready, regardless of the rank of the others.
    pub fn lease_key(
        &mut self,
        id: UpstreamKeyId,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeasedKey> {
        let model = self.check_breakers(lease_request, now).ok()?;
        let index = self.project_index(lease_request.project?, lease_request, now);
        let is_ready = matches!(index.readiness(id)?, Readiness::Ready(_));
        let tried = TriedKeys::default();
        is_ready.then(|| self.lease_selected(id, model, None, lease_request, &tried, now))
    }

    /// Why no key can be leased; `None`: one can.
    pub fn obstacle(
        &mut self,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeaseObstacle> {
        if let Err(obstacle) = self.check_breakers(lease_request, now) {
            return Some(obstacle);
        }
        let index = self.prepare_ready_index(lease_request, now);
        let selected = self.select(index, lease_request, &TriedKeys::default(), now);
        self.discard_project_index(index, lease_request);
        selected.err()
    }

    /// The up-to-date ready index for the request, or a temporary one with the keys of the required project: they are
    /// few.
    fn prepare_ready_index(&mut self, lease_request: &LeaseRequest, now: Timestamp) -> usize {
        if let Some(project_id) = lease_request.project {
            let temporary = self.project_index(project_id, lease_request, now);
            self.ready_indexes.push(temporary);
            return self.ready_indexes.len() - 1;
        }
        let index = self.ready_index_for(lease_request, now);
        self.refresh_cooling_down(index, now);
        index
    }

    /// Removes a temporary index. Returns the index if it is permanent.
    fn discard_project_index(
        &mut self,
        index: usize,
        lease_request: &LeaseRequest,
    ) -> Option<usize> {
        if lease_request.project.is_some() {
            self.ready_indexes.truncate(index);
            return None;
        }
        Some(index)
    }

    fn project_index(
        &self,
        project_id: ProjectId,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> ReadyIndex {
        let model = self.find_model(lease_request.quota_model());
        let keys = self.keys_of_project(project_id);
        self.build_ready_index(model.unwrap_or(ANY_MODEL), lease_request.tags, keys, now)
    }

    fn keys_of_project(
        &self,
        project_id: ProjectId,
    ) -> impl Iterator<Item = (&UpstreamKeyId, &KeyEntry)> {
        let ids = self.projects.get(&project_id).map(|project| &project.keys);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.by_id.get_key_value(id))
            .map(|(id, key)| (id, key.as_ref()))
    }

    /// The model whose quota is used, if known; an error while a circuit breaker blocks it.
    fn check_breakers(
        &mut self,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> Result<Option<ModelNumber>, LeaseObstacle> {
        self.day_ends(now);
        let model = self
            .find_model(lease_request.model)
            .filter(|_| lease_request.amount.requests > 0);
        if self.egress.is_empty()
            && let Some(breaker) = &self.egress.direct_throttle().breaker
        {
            breaker
                .admits(now)
                .map_err(|until| LeaseObstacle::AddressThrottled { until })?;
        }
        if let Some(breaker) = model.and_then(|model| self.models[model].overload.breaker) {
            breaker
                .admits(now)
                .map_err(|until| LeaseObstacle::Overloaded { until })?;
        }
        Ok(model)
    }

    /// The ready index for the request, built if there is none.
    fn ready_index_for(&mut self, lease_request: &LeaseRequest, now: Timestamp) -> usize {
        let known = self.find_model(lease_request.quota_model());
        let model = known
            .filter(|model| self.models[*model].has_own_index)
            .unwrap_or(ANY_MODEL);
        let known = self
            .ready_indexes
            .iter()
            .position(|index| index.model == model && *index.tags == *lease_request.tags);
        known.unwrap_or_else(|| {
            if self.ready_indexes.len() >= MAX_READY_INDEXES {
                // Indexes still in use are soon rebuilt.
                self.ready_indexes.clear();
            }
            let index = self.ready_indexes.len();
            let keys = self.by_id.iter().map(|(id, key)| (id, key.as_ref()));
            let built = self.build_ready_index(model, lease_request.tags, keys, now);
            self.ready_indexes.push(built);
            for key in self.by_id.values_mut().filter(|key| key.in_flight > 0) {
                key.indexed_while_busy.push((model, index));
            }
            index
        })
    }

    fn build_ready_index<'a>(
        &self,
        model: ModelNumber,
        tags: &[String],
        keys: impl Iterator<Item = (&'a UpstreamKeyId, &'a KeyEntry)>,
        now: Timestamp,
    ) -> ReadyIndex {
        let mut built = ReadyIndex::new(model, tags);
        let members = keys.filter(|(_, key)| built.accepts_tags(&key.row.tags));
        let members = members.map(|(id, key)| {
            let readiness = self.readiness_of(*id, model, key.lease_order, now);
            (*id, readiness, key.lease_order)
        });
        let members: Vec<_> = members.collect();
        built.fill(members);
        built
    }

    /// Updates keys whose cooldown has ended and, while no key is ready, keys whose cooldown is shorter than stored.
    fn refresh_cooling_down(&mut self, index: usize, now: Timestamp) {
        let model = self.ready_indexes[index].model;
        while let Some((until, id)) = self.ready_indexes[index].next_cooling_down() {
            let is_unchanged =
                || self.readiness_of(id, model, 0, now) == Readiness::CoolingDown(until);
            if until > now && (self.ready_indexes[index].has_ready() || is_unchanged()) {
                break;
            }
            self.update_readiness(id, index, now);
        }
    }

    fn select(
        &mut self,
        index: usize,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Result<UpstreamKeyId, LeaseObstacle> {
        let mut passed = None;
        let mut examined = 0;
        let (mut other_key, mut same_key, mut same_egress) = (None, None, None);
        let mut no_room: Option<CooldownEnd> = None;
        while let Some(rank) = self.ready_indexes[index].next_ready(passed) {
            if !self.confirm_rank(rank, index, now) {
                continue;
            }
            passed = Some(rank);
            examined += 1;
            let cooldown_end = (lease_request.amount.requests > 0)
                .then(|| {
                    self.room_for(
                        rank.id,
                        self.ready_indexes[index].model,
                        lease_request.amount,
                        now,
                    )
                })
                .flatten();
            if let Some(cooldown_end) = cooldown_end {
                no_room = no_room
                    .filter(|first| first.until <= cooldown_end.until)
                    .or(Some(cooldown_end));
            } else if !tried.has_key(rank.id) {
                let project_id = self.by_id[&rank.id].row.project_id;
                if !tried.has_project(project_id) {
                    if !self.has_only_failed_egress(rank.id, tried, now) {
                        return Ok(rank.id);
                    }
                    same_egress = same_egress.or(Some(rank.id));
                }
                other_key = other_key.or(Some(rank.id));
            } else if tried.reusable == Some(rank.id) {
                same_key = Some(rank.id);
            }
            if examined > MAX_EXAMINED
                && (other_key.is_some() || same_egress.is_some() || no_room.is_some())
            {
                break;
            }
        }
        if let Some(id) = same_egress.or(other_key).or(same_key) {
            return Ok(id);
        }
        if let Some(CooldownEnd {
            until, for_the_day, ..
        }) = no_room
        {
            return Err(LeaseObstacle::CoolingDown { until, for_the_day });
        }
        Err(
            match (self.obstacle_of(index, now), lease_request.project) {
                (LeaseObstacle::NoKeys | LeaseObstacle::NoUsableKey, Some(_)) => {
                    LeaseObstacle::ProjectWithoutKeys
                }
                (obstacle, _) => obstacle,
            },
        )
    }

    /// Whether a key's rank is as stored, or better; otherwise it is updated.
    fn confirm_rank(&mut self, rank: ReadyRank, index: usize, now: Timestamp) -> bool {
        let model = self.ready_indexes[index].model;
        let readiness = self.readiness_of(rank.id, model, rank.lease_order, now);
        if readiness == Readiness::Ready(rank) {
            return true;
        }
        self.update_readiness(rank.id, index, now);
        matches!(readiness, Readiness::Ready(better) if better < rank)
    }

    /// Why no key of the index is ready.
    fn obstacle_of(&mut self, index: usize, now: Timestamp) -> LeaseObstacle {
        if self.by_id.is_empty() {
            return LeaseObstacle::NoKeys;
        }
        let model = self.ready_indexes[index].model;
        let busy = self.ready_indexes[index].has_busy();
        if self.ready_indexes[index].has_ready() {
            return if busy {
                LeaseObstacle::Busy
            } else {
                LeaseObstacle::AllTried
            };
        }
        while let Some((until, id)) = self.ready_indexes[index].next_cooling_down() {
            let key = &self.by_id[&id];
            if self.readiness_of(id, model, 0, now) == Readiness::CoolingDown(until) {
                if let Some(block) = self.egress_block(key, now)
                    && !busy
                {
                    let EgressBlock { until, is_broken } = block;
                    return if is_broken {
                        LeaseObstacle::EgressBroken { until }
                    } else {
                        LeaseObstacle::AddressThrottled { until }
                    };
                }
                let cooldown_end = self.cooldown_end_of(key, model, now);
                let for_the_day = cooldown_end.is_some_and(|cooldown_end| {
                    cooldown_end.until == until && cooldown_end.for_the_day
                });
                return if busy {
                    LeaseObstacle::Busy
                } else {
                    LeaseObstacle::CoolingDown { until, for_the_day }
                };
            }
            self.update_readiness(id, index, now);
        }
        if busy || self.ready_indexes[index].has_ready() {
            LeaseObstacle::Busy
        } else {
            LeaseObstacle::NoUsableKey
        }
    }

    /// Counts a request on the key and moves it to the end of the index it was selected from.
    fn lease_selected(
        &mut self,
        id: UpstreamKeyId,
        model: Option<ModelNumber>,
        index: Option<usize>,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> LeasedKey {
        let amount = lease_request.amount;
        self.last_lease_order = (self.last_lease_order + 1).max(lease_order_at(now));
        let lease_order = self.last_lease_order;
        let day_ends = self.day_ends(now);
        let mut reservation = QuotaReservation {
            model,
            amount,
            at: Some(now),
            day_ends: Some(day_ends),
            ..QuotaReservation::default()
        };
        let project_id = self.by_id[&id].row.project_id;
        let egress = self.egress_for(id, tried, now);
        if let Some(model) = model {
            reservation.beyond = self.limits_reached(project_id, model, now);
        }
        if amount.requests > 0 {
            self.each_usage(id, project_id, model, |usage| {
                usage.add(amount, now, day_ends);
            });
        }
        if let Some(model) = model {
            self.begin_in_flight(id, model, amount.requests);
            if let Some(breaker) = &mut self.models[model].overload.breaker {
                breaker.begin_probe();
                reservation.probes_overload = true;
            }
        }
        if let Some(throttle) = self.egress.throttle(egress)
            && let Some(breaker) = &mut throttle.breaker
        {
            breaker.begin_probe();
            reservation.probes_address_throttle = true;
        }
        let key = self.by_id.get_mut(&id).expect("a selected key is known");
        key.in_flight += 1;
        key.lease_order = lease_order;
        let secret = key.row.secret.clone();
        // Its cooldown has ended: the key is on trial.
        let condition = &mut key.row.condition;
        if condition.state == KeyState::CoolingDown {
            *condition = KeyCondition {
                state: KeyState::Trial,
                since: now,
                until: None,
                next_check: None,
                ..*condition
            };
        }
        if let Some(index) = index {
            self.update_readiness_in_order(id, index, lease_order, now);
        }
        let billing = self
            .projects
            .get(&project_id)
            .map(|project| project.billing);
        LeasedKey {
            id,
            project_id,
            secret,
            is_free: billing == Some(Billing::Free),
            egress,
            reservation,
        }
    }

    /// The limits used up by our own count, for a request that is sent as a probe.
    fn limits_reached(
        &self,
        project_id: ProjectId,
        model: ModelNumber,
        now: Timestamp,
    ) -> Vec<Measure> {
        let Some(project) = self.projects.get(&project_id) else {
            return Vec::new();
        };
        let Some(quota) = project.quotas.get(&model) else {
            return Vec::new();
        };
        let limits = quota.limits(self.inherited_limits(model, Some(project)), now);
        if limits.is_empty() {
            return Vec::new();
        }
        let reached = |measure: &Measure| {
            limits
                .get(*measure)
                .is_some_and(|limit| quota.usage.used(*measure, now) >= limit)
        };
        Measure::ALL.iter().copied().filter(reached).collect()
    }
}

impl LeaseRequest<'_> {
    /// Requests that use no quota share one name, whatever their model.
    pub fn quota_model(&self) -> &str {
        if self.amount.requests == 0 {
            ""
        } else {
            self.model
        }
    }
}

#[cfg(test)]
mod tests;
