//! The project in which each client's resources are created, so that they can be used together.

use std::collections::HashMap;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::selection::LeaseObstacle;
use crate::pool::keys::upstream_key::ProjectId;

/// The preferred project of each client.
///
/// In memory only: after a restart it is derived from the client's newest resource, see [`ClientAffinity::Unknown`].
#[derive(Debug, Default)]
pub struct ProjectAffinity(HashMap<ClientKeyId, ClientAffinity>);

/// A client's preferred project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAffinity {
    /// Not loaded yet: the caller must read the project of the client's newest resource.
    #[default]
    Unknown,
    None,
    /// The client's first resource is being created there.
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

    /// Sets the project of the client's newest resource, unless the affinity became known meanwhile.
    pub fn set_from_newest(&mut self, client: ClientKeyId, newest: Option<ProjectId>) {
        let affinity = self.0.entry(client).or_default();
        if *affinity == ClientAffinity::Unknown {
            *affinity = newest.map_or(ClientAffinity::None, ClientAffinity::Project);
        }
    }

    /// Records that a resource was created for a client in a project, which becomes its preferred one if it has none.
    pub fn record_created(&mut self, client: ClientKeyId, project_id: ProjectId) {
        let affinity = self.0.entry(client).or_default();
        match affinity {
            ClientAffinity::Unknown | ClientAffinity::None | ClientAffinity::Claimed(_) => {
                *affinity = ClientAffinity::Project(project_id);
            }
            ClientAffinity::Project(_) => {}
        }
    }

    /// Claims a project for the client's first resource, so that simultaneous ones are created there too. Returns the
    /// preferred project: another request may have claimed first.
    pub fn claim(&mut self, client: ClientKeyId, project_id: ProjectId) -> ProjectId {
        let affinity = self.0.entry(client).or_default();
        affinity.project().unwrap_or_else(|| {
            *affinity = ClientAffinity::Claimed(project_id);
            project_id
        })
    }

    /// Records why a project could not serve a client. A project that is ready again soon stays preferred.
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
            | LeaseObstacle::AddressThrottled { .. }
            | LeaseObstacle::EgressBroken { .. } => {}
            LeaseObstacle::CoolingDown {
                for_the_day: true, ..
            } => *affinity = ClientAffinity::None,
            // The key may have moved to another project, with all its resources.
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
    fn the_preferred_project_has_the_newest_resource_or_gets_the_next() {
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
    fn simultaneous_resources_are_created_in_one_project() {
        let mut affinity = ProjectAffinity::default();
        affinity.set_from_newest(ME, None);

        assert_eq!(affinity.claim(ME, ProjectId(1)), ProjectId(1));
        assert_eq!(affinity.claim(ME, ProjectId(2)), ProjectId(1));
        assert_eq!(affinity.claim(OTHER, ProjectId(2)), ProjectId(2));
        // The first was created in another project after all.
        affinity.record_created(ME, ProjectId(3));
        assert_eq!(affinity.of(ME), ClientAffinity::Project(ProjectId(3)));
        affinity.record_created(ME, ProjectId(1));
        assert_eq!(affinity.claim(ME, ProjectId(2)), ProjectId(3));
        // A claimed project is given up like any other.
        affinity.record_obstacle(OTHER, ProjectId(2), LeaseObstacle::NoUsableKey);
        assert_eq!(affinity.of(OTHER), ClientAffinity::Unknown);
    }

    #[test]
    fn a_project_stays_preferred_while_it_is_ready_again_soon() {
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
