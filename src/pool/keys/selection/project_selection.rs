//! Selects a key within one project, for requests that name a resource of that project.

use crate::clock::Timestamp;
use crate::pool::keys::readiness::CooldownEnd;
use crate::pool::keys::ready_index::{ANY_MODEL, ModelNumber, Readiness, ReadyRank};
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};

impl KeyRegistry {
    /// Leases the best ready key of one project, by the rules of [`KeyRegistry::lease`].
    ///
    /// A project has few keys: the readiness of each is computed anew, without a ready index. Readiness stored in
    /// indexes may become better than the real one, which is always allowed.
    pub(in crate::pool) fn lease_in_project(
        &mut self,
        project_id: ProjectId,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Result<LeasedKey, LeaseObstacle> {
        let model = self.check_breakers(lease_request, now)?;
        let id = match self.select_of_project(project_id, lease_request, tried, now) {
            Ok(id) => id,
            Err(obstacle) => self
                .key_of_project_for_limit_probe(project_id, lease_request, obstacle, tried, now)
                .ok_or(obstacle)?,
        };
        Ok(self.lease_selected(id, model, None, lease_request.amount, now))
    }

    /// Leases this key of the required project if it is ready, whatever the rank of the others.
    pub fn lease_key(
        &mut self,
        id: UpstreamKeyId,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeasedKey> {
        let model = self.check_breakers(lease_request, now).ok()?;
        self.spendable(lease_request.project?, lease_request.tags)
            .find(|spendable| *spendable == id)?;
        let lease_order = self.by_id.get(&id)?.lease_order;
        let readiness = self.readiness_of(id, self.number_or_any(lease_request), lease_order, now);
        match readiness {
            Readiness::Ready(_) => {
                Some(self.lease_selected(id, model, None, lease_request.amount, now))
            }
            Readiness::Busy | Readiness::CoolingDown(_) | Readiness::Unavailable => None,
        }
    }

    /// Why no key of a project can be leased; `None`: one can.
    pub(in crate::pool) fn obstacle_of_project(
        &mut self,
        project_id: ProjectId,
        lease_request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeaseObstacle> {
        let passed = self.check_breakers(lease_request, now);
        let selected = passed.and_then(|_| {
            self.select_of_project(project_id, lease_request, &TriedKeys::default(), now)
        });
        selected.err()
    }

    fn select_of_project(
        &self,
        project_id: ProjectId,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Result<UpstreamKeyId, LeaseObstacle> {
        let model = self.number_or_any(lease_request);
        let (mut other_key, mut same_key) = (None::<ReadyRank>, None);
        let (mut has_ready, mut has_busy) = (false, false);
        let mut cooling_down: Option<CooldownEnd> = None;
        let mut no_room: Option<CooldownEnd> = None;
        for id in self.spendable(project_id, lease_request.tags) {
            let key = &self.by_id[&id];
            match self.readiness_of(id, model, key.lease_order, now) {
                Readiness::Ready(rank) => {
                    has_ready = true;
                    let cooldown_end = (lease_request.amount.requests > 0)
                        .then(|| self.room_for(id, model, lease_request.amount, now))
                        .flatten();
                    if cooldown_end.is_some() {
                        no_room = sooner(no_room, cooldown_end);
                    } else if !tried.has_key(id) {
                        other_key = Some(other_key.map_or(rank, |best| best.min(rank)));
                    } else if tried.reusable == Some(id) {
                        same_key = Some(id);
                    }
                }
                Readiness::Busy => has_busy = true,
                Readiness::CoolingDown(until) => {
                    let cooldown_end = self.cooldown_end_of(key, model, now);
                    let for_the_day = cooldown_end.is_some_and(|cooldown_end| {
                        cooldown_end.until == until && cooldown_end.for_the_day
                    });
                    let cooldown_end = CooldownEnd {
                        until,
                        for_the_day,
                        is_estimate: false,
                    };
                    cooling_down = sooner(cooling_down, Some(cooldown_end));
                }
                Readiness::Unavailable => {}
            }
        }
        if let Some(id) = other_key.map(|rank| rank.id).or(same_key) {
            return Ok(id);
        }
        let as_obstacle = |cooldown_end: CooldownEnd| LeaseObstacle::CoolingDown {
            until: cooldown_end.until,
            for_the_day: cooldown_end.for_the_day,
        };
        Err(match (no_room, cooling_down) {
            (Some(cooldown_end), _) => as_obstacle(cooldown_end),
            _ if has_busy => LeaseObstacle::Busy,
            _ if has_ready => LeaseObstacle::AllTried,
            (None, Some(cooldown_end)) => as_obstacle(cooldown_end),
            (None, None) => LeaseObstacle::ProjectWithoutKeys,
        })
    }

    /// A key of the project that cools down by our estimate alone, to probe the project's limit from time to time: no
    /// other project can serve the request.
    fn key_of_project_for_limit_probe(
        &mut self,
        project_id: ProjectId,
        lease_request: &LeaseRequest,
        obstacle: LeaseObstacle,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<UpstreamKeyId> {
        let LeaseObstacle::CoolingDown { .. } = obstacle else {
            return None;
        };
        let model = self.number_or_any(lease_request);
        let billing = self.projects.get(&project_id)?.billing;
        if !self.models[model].inherited.may_be_probed(billing, now) {
            return None;
        }
        let found = self
            .spendable(project_id, lease_request.tags)
            .filter(|id| self.billing_to_probe(*id, model, tried, now).is_some())
            .min_by_key(|id| (self.by_id[id].lease_order, *id))?;
        self.models[model].inherited.probe_started(billing, now);
        Some(found)
    }

    /// The project's keys that have one of these tags.
    fn spendable<'a>(
        &'a self,
        project_id: ProjectId,
        tags: &'a [String],
    ) -> impl Iterator<Item = UpstreamKeyId> + 'a {
        let keys = self.projects.get(&project_id).map(|project| &project.keys);
        keys.into_iter().flatten().copied().filter(|id| {
            self.by_id.get(id).is_some_and(|key| {
                tags.is_empty() || key.row.tags.iter().any(|tag| tags.contains(tag))
            })
        })
    }

    fn number_or_any(&self, lease_request: &LeaseRequest) -> ModelNumber {
        self.find_model(lease_request.quota_model())
            .unwrap_or(ANY_MODEL)
    }
}

fn sooner(one: Option<CooldownEnd>, other: Option<CooldownEnd>) -> Option<CooldownEnd> {
    one.into_iter()
        .chain(other)
        .min_by_key(|cooldown_end| cooldown_end.until)
}
