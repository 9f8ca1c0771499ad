//! The project in which each client's resources are created, so that they can be used together.

use std::collections::HashMap;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::selection::LeaseObstacle;
use crate::pool::keys::upstream_key::ProjectId;

/// The project in which each client's things are made, so that they can be used together.
///
/// In memory: what a client has made tells it again, see [`ClientAffinity::Unknown`].
#[derive(Debug, Default)]
pub struct ProjectAffinity(HashMap<ClientKeyId, ClientAffinity>);

/// Where a client's things are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAffinity {
    /// Nobody has looked yet what it has made: whoever must know looks where its newest thing is.
    #[default]
    Unknown,
    None,
    /// Its first thing is being made there.
    Claimed(ProjectId),
    Project(ProjectId),
}

impl ClientAffinity {
    /// The project, if there is one.
    pub fn project(self) -> Option<ProjectId> {
        match self {
            Self::Claimed(id) | Self::Project(id) => Some(id),
            Self::Unknown | Self::None => None,
        }
    }
}

impl ProjectAffinity {
    pub fn of(&self, client: ClientKeyId) -> ClientAffinity {
        self.0.get(&client).copied().unwrap_or_default()
    }

    /// Takes over where a client's newest thing is, unless its home became known meanwhile.
    pub fn set_from_newest(&mut self, client: ClientKeyId, newest: Option<ProjectId>) {
        let affinity = self.0.entry(client).or_default();
        if *affinity == ClientAffinity::Unknown {
            *affinity = newest.map_or(ClientAffinity::None, ClientAffinity::Project);
        }
    }

    /// Notes that something was made for a client in a project, which becomes its home if it has none.
    pub fn record_created(&mut self, client: ClientKeyId, project_id: ProjectId) {
        let affinity = self.0.entry(client).or_default();
        match affinity {
            ClientAffinity::Unknown | ClientAffinity::None | ClientAffinity::Claimed(_) => {
                *affinity = ClientAffinity::Project(project_id);
            }
            ClientAffinity::Project(_) => {}
        }
    }

    /// Notes that a client's first thing is about to be made in a project, so that what it makes at the same time comes
    /// there too. Returns where that is: another request may have been first.
    pub fn claim(&mut self, client: ClientKeyId, project_id: ProjectId) -> ProjectId {
        let affinity = self.0.entry(client).or_default();
        affinity.project().unwrap_or_else(|| {
            *affinity = ClientAffinity::Claimed(project_id);
            project_id
        })
    }

    /// Notes why a project could not serve a client. One that will soon be well stays its home.
    pub fn record_obstacle(
        &mut self,
        client: ClientKeyId,
        project_id: ProjectId,
        why: LeaseObstacle,
    ) {
        let affinity = self.0.entry(client).or_default();
        if affinity.project() != Some(project_id) {
            return;
        }
        match why {
            LeaseObstacle::AllTried
            | LeaseObstacle::Busy
            | LeaseObstacle::CoolingDown {
                for_the_day: false, ..
            }
            | LeaseObstacle::Overloaded { .. }
            | LeaseObstacle::AddressThrottled { .. } => {}
            LeaseObstacle::CoolingDown {
                for_the_day: true, ..
            } => *affinity = ClientAffinity::None,
            // It may have turned out to be another project, with all that was made in it.
            LeaseObstacle::NoKeys
            | LeaseObstacle::NoUsableKey
            | LeaseObstacle::ProjectWithoutKeys => *affinity = ClientAffinity::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const ME: ClientKeyId = ClientKeyId(1);
    const OTHER: ClientKeyId = ClientKeyId(2);
    const HOME: ProjectId = ProjectId(9);

    #[test]
    fn a_home_is_where_the_newest_thing_is_or_the_next_is_made() {
        let (mut affinity, project) = (ProjectAffinity::default(), ProjectId);
        assert_eq!(affinity.of(ME), ClientAffinity::Unknown);

        affinity.set_from_newest(ME, None);
        assert_eq!(affinity.of(ME), ClientAffinity::None);
        affinity.record_created(ME, project(1));
        affinity.record_created(ME, project(2));
        affinity.set_from_newest(ME, Some(project(3)));
        assert_eq!(affinity.of(ME), ClientAffinity::Project(project(1)));
        affinity.set_from_newest(OTHER, Some(project(3)));
        assert_eq!(affinity.of(OTHER), ClientAffinity::Project(project(3)));
    }

    #[test]
    fn things_made_at_the_same_time_come_to_one_project() {
        let mut affinity = ProjectAffinity::default();
        affinity.set_from_newest(ME, None);

        assert_eq!(affinity.claim(ME, ProjectId(1)), ProjectId(1));
        assert_eq!(affinity.claim(ME, ProjectId(2)), ProjectId(1));
        assert_eq!(affinity.claim(OTHER, ProjectId(2)), ProjectId(2));
        // The first was made elsewhere after all.
        affinity.record_created(ME, ProjectId(3));
        assert_eq!(affinity.of(ME), ClientAffinity::Project(ProjectId(3)));
        affinity.record_created(ME, ProjectId(1));
        assert_eq!(affinity.claim(ME, ProjectId(2)), ProjectId(3));
        // What is only claimed is given up like any other.
        affinity.record_obstacle(OTHER, ProjectId(2), LeaseObstacle::NoUsableKey);
        assert_eq!(affinity.of(OTHER), ClientAffinity::Unknown);
    }

    #[test]
    fn a_home_stays_while_it_will_soon_be_well() {
        let until = Timestamp::from_millis(1_764_000_000_000);
        let cooling_down = |for_the_day| LeaseObstacle::CoolingDown { until, for_the_day };
        let established = ClientAffinity::Project(HOME);
        for (obstacle, left) in [
            (LeaseObstacle::AllTried, established),
            (LeaseObstacle::Busy, established),
            (cooling_down(false), established),
            (LeaseObstacle::Overloaded { until }, established),
            (LeaseObstacle::AddressThrottled { until }, established),
            (cooling_down(true), ClientAffinity::None),
            (LeaseObstacle::NoKeys, ClientAffinity::Unknown),
            (LeaseObstacle::NoUsableKey, ClientAffinity::Unknown),
            (LeaseObstacle::ProjectWithoutKeys, ClientAffinity::Unknown),
        ] {
            let mut affinity = ProjectAffinity::default();
            affinity.record_created(ME, HOME);

            affinity.record_obstacle(ME, ProjectId(1), obstacle);
            assert_eq!(
                affinity.of(ME),
                established,
                "{obstacle:?} of another project"
            );
            affinity.record_obstacle(ME, HOME, obstacle);
            assert_eq!(affinity.of(ME), left, "{obstacle:?}");
        }
    }
}
