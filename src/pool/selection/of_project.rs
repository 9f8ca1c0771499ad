//! Which key of one certain project to lend: for what names something that only this project has.

use crate::clock::Timestamp;
use crate::pool::keys::{Keys, Lent};
use crate::pool::line::{ANY_MODEL, ModelNumber, Place, Rank};
use crate::pool::places::Rest;
use crate::pool::selection::{Obstacle, Tried, Wanted};
use crate::pool::upstream_key::{ProjectId, UpstreamKeyId};

impl Keys {
    /// Lends the best ready key of one project, by the rules of [`Keys::lend`].
    ///
    /// A project has few keys: each is looked at as it stands now, and no line is made or asked. The places written down in
    /// lines may so become better than the true ones, as they may anyway.
    pub(super) fn lend_of_project(
        &mut self,
        project_id: ProjectId,
        wanted: &Wanted,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<Lent, Obstacle> {
        let model = self.pass_gates(wanted, now)?;
        let id = match self.select_of_project(project_id, wanted, tried, now) {
            Ok(id) => id,
            Err(obstacle) => self
                .key_of_project_to_test(project_id, wanted, obstacle, tried, now)
                .ok_or(obstacle)?,
        };
        Ok(self.take(id, model, None, wanted.amount, now))
    }

    /// Lends this key of the wanted project if it is ready, whichever of the others might come first.
    pub fn lend_key(&mut self, id: UpstreamKeyId, wanted: &Wanted, now: Timestamp) -> Option<Lent> {
        let model = self.pass_gates(wanted, now).ok()?;
        self.spendable(wanted.project?, wanted.tags)
            .find(|spendable| *spendable == id)?;
        let turn = self.by_id.get(&id)?.turn;
        let place = self.place_of(id, self.number_or_any(wanted), turn, now);
        match place {
            Place::Ready(_) => Some(self.take(id, model, None, wanted.amount, now)),
            Place::Busy | Place::Resting(_) | Place::Out => None,
        }
    }

    /// What keeps every key of a project from being lent; `None`: nothing.
    pub(super) fn obstacle_of_project(
        &mut self,
        project_id: ProjectId,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Option<Obstacle> {
        let passed = self.pass_gates(wanted, now);
        let selected =
            passed.and_then(|_| self.select_of_project(project_id, wanted, &Tried::default(), now));
        selected.err()
    }

    fn select_of_project(
        &self,
        project_id: ProjectId,
        wanted: &Wanted,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<UpstreamKeyId, Obstacle> {
        let model = self.number_or_any(wanted);
        let (mut other_key, mut same_key) = (None::<Rank>, None);
        let (mut has_ready, mut has_busy) = (false, false);
        let mut resting: Option<Rest> = None;
        let mut no_room: Option<Rest> = None;
        for id in self.spendable(project_id, wanted.tags) {
            let key = &self.by_id[&id];
            match self.place_of(id, model, key.turn, now) {
                Place::Ready(rank) => {
                    has_ready = true;
                    let rest = (wanted.amount.requests > 0)
                        .then(|| self.room_for(id, model, wanted.amount, now))
                        .flatten();
                    if rest.is_some() {
                        no_room = sooner(no_room, rest);
                    } else if !tried.has_key(id) {
                        other_key = Some(other_key.map_or(rank, |best| best.min(rank)));
                    } else if tried.again == Some(id) {
                        same_key = Some(id);
                    }
                }
                Place::Busy => has_busy = true,
                Place::Resting(until) => {
                    let rest = self.rest_of(key, model, now);
                    let for_the_day =
                        rest.is_some_and(|rest| rest.until == until && rest.for_the_day);
                    let rest = Rest {
                        until,
                        for_the_day,
                        is_estimate: false,
                    };
                    resting = sooner(resting, Some(rest));
                }
                Place::Out => {}
            }
        }
        if let Some(id) = other_key.map(|rank| rank.id).or(same_key) {
            return Ok(id);
        }
        let as_obstacle = |rest: Rest| Obstacle::Resting {
            until: rest.until,
            for_the_day: rest.for_the_day,
        };
        Err(match (no_room, resting) {
            (Some(rest), _) => as_obstacle(rest),
            _ if has_busy => Obstacle::Busy,
            _ if has_ready => Obstacle::AllTried,
            (None, Some(rest)) => as_obstacle(rest),
            (None, None) => Obstacle::OwnerGone,
        })
    }

    /// A key of the project that rests by our estimate alone, now and then, to see whether the project has more than is
    /// presumed: nobody else can serve the request.
    fn key_of_project_to_test(
        &mut self,
        project_id: ProjectId,
        wanted: &Wanted,
        obstacle: Obstacle,
        tried: &Tried,
        now: Timestamp,
    ) -> Option<UpstreamKeyId> {
        let Obstacle::Resting { .. } = obstacle else {
            return None;
        };
        let model = self.number_or_any(wanted);
        let billing = self.projects.get(&project_id)?.billing;
        if !self.models[model].presumed.may_be_tested(billing, now) {
            return None;
        }
        let found = self
            .spendable(project_id, wanted.tags)
            .filter(|id| self.billing_to_test(*id, model, tried, now).is_some())
            .min_by_key(|id| (self.by_id[id].turn, *id))?;
        self.models[model].presumed.tested(billing, now);
        Some(found)
    }

    /// The project's keys that a client with these tags may spend.
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

    fn number_or_any(&self, wanted: &Wanted) -> ModelNumber {
        self.known_model(wanted.model_or_none())
            .unwrap_or(ANY_MODEL)
    }
}

fn sooner(one: Option<Rest>, other: Option<Rest>) -> Option<Rest> {
    one.into_iter().chain(other).min_by_key(|rest| rest.until)
}
