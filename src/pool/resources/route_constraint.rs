//! The rule that places a request in a project by the owners of the resources it names, or by the affinity of its
//! client.

use std::collections::{HashMap, HashSet};

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::ProjectId;

/// A resource that Google keeps in one project: a file, cache, batch or interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownResource {
    pub name: String,
    pub project_id: ProjectId,
    /// `None`: unknown owner.
    pub maker: Option<ClientKeyId>,
    /// Whether its usage is already in a request's row.
    pub is_counted: bool,
}

/// The client of a request that names resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestingClient {
    pub client: ClientKeyId,
    /// The project of its new resources; `None`: it has created none yet.
    pub preferred_project: Option<ProjectId>,
    /// Whether it may use only its own resources.
    pub is_isolated: bool,
}

/// Which project may serve a request, because of the resources it names or creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement<'a> {
    /// Any project.
    Anywhere,
    /// This project only, because of the named resource: no other project that the client may use can have it.
    Required {
        project_id: ProjectId,
        name: &'a str,
    },
    /// This project if it can serve, else any.
    Preferred(ProjectId),
    /// None: no project has all named resources. They are grouped by project.
    DifferentProjects(Vec<Vec<&'a str>>),
    /// None: the resource does not exist for this client.
    NotFound(&'a str),
}

/// Determines the project for a request from the known ones of its named resources, in any order, and from whether it
/// may create one.
///
/// A resource of another client is not found, before projects are considered. An unknown resource was created before
/// its owner used this server, or through another server: it can only be in the project of the other named resources,
/// or in the client's preferred project, or, for a client without isolation, anywhere.
pub fn place<'a>(
    names: &[&'a str],
    known: &[KnownResource],
    client: RequestingClient,
    creates_resource: bool,
) -> Placement<'a> {
    let Some(first) = names.first() else {
        let preferred_project = client.preferred_project.filter(|_| creates_resource);
        return preferred_project.map_or(Placement::Anywhere, Placement::Preferred);
    };
    let known: HashMap<&str, &KnownResource> =
        known.iter().map(|one| (one.name.as_str(), one)).collect();
    let of = |name: &str| known.get(name).copied();
    let is_foreign =
        |known: &KnownResource| client.is_isolated && known.maker != Some(client.client);
    if let Some(foreign) = names.iter().find(|name| of(name).is_some_and(is_foreign)) {
        return Placement::NotFound(foreign);
    }
    let mut groups: Vec<(ProjectId, Vec<&str>)> = Vec::new();
    let mut grouped = HashSet::new();
    for name in names.iter().filter(|name| grouped.insert(**name)) {
        let Some(KnownResource { project_id, .. }) = of(name) else {
            continue;
        };
        match groups.iter_mut().find(|(id, _)| id == project_id) {
            Some((_, group)) => group.push(name),
            None => groups.push((*project_id, vec![name])),
        }
    }
    match (&groups[..], client.preferred_project) {
        ([], Some(project_id)) if client.is_isolated => Placement::Required {
            project_id,
            name: first,
        },
        ([], None) if client.is_isolated => Placement::NotFound(first),
        ([], preferred_project) => {
            preferred_project.map_or(Placement::Anywhere, Placement::Preferred)
        }
        ([(project_id, group)], _) => Placement::Required {
            project_id: *project_id,
            name: group[0],
        },
        (_, _) => {
            Placement::DifferentProjects(groups.into_iter().map(|(_, group)| group).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: ClientKeyId = ClientKeyId(1);
    const OTHER: ClientKeyId = ClientKeyId(2);
    const HOME: ProjectId = ProjectId(9);

    fn known(name: &str, project: i64, maker: Option<ClientKeyId>) -> KnownResource {
        KnownResource {
            name: name.to_owned(),
            project_id: ProjectId(project),
            maker,
            is_counted: false,
        }
    }

    /// Two of my resources in one project and one in another; one of another client, one of unknown owner.
    fn all_known() -> Vec<KnownResource> {
        vec![
            known("files/a", 1, Some(ME)),
            known("files/b", 1, Some(ME)),
            known("files/c", 2, Some(ME)),
            known("files/theirs", 1, Some(OTHER)),
            known("files/nobodys", 1, None),
        ]
    }

    fn client(preferred_project: Option<ProjectId>, is_isolated: bool) -> RequestingClient {
        RequestingClient {
            client: ME,
            preferred_project,
            is_isolated,
        }
    }

    fn only(project: i64, name: &'static str) -> Placement<'static> {
        Placement::Required {
            project_id: ProjectId(project),
            name,
        }
    }

    #[test]
    fn named_resources_determine_the_project() {
        use Placement::{Anywhere, DifferentProjects, NotFound, Preferred};
        let same = |placement: Placement<'static>| std::array::from_fn(|_| placement.clone());
        let hidden =
            |name, seen: Placement<'static>| [NotFound(name), NotFound(name), seen.clone(), seen];
        let unknown = [
            only(9, "files/new"),
            NotFound("files/new"),
            Preferred(HOME),
            Anywhere,
        ];
        // Named resources; the placement isolated with a preferred project and without, then the same not isolated.
        let cases: &[(&[&str], [Placement; 4])] = &[
            (&[], same(Anywhere)),
            (&["files/a"], same(only(1, "files/a"))),
            (&["files/b", "files/a"], same(only(1, "files/b"))),
            (
                &["files/a", "files/c", "files/b", "files/a"],
                same(DifferentProjects(vec![
                    vec!["files/a", "files/b"],
                    vec!["files/c"],
                ])),
            ),
            (&["files/new", "files/newer"], unknown),
            (&["files/new", "files/c"], same(only(2, "files/c"))),
            (
                &["files/theirs"],
                hidden("files/theirs", only(1, "files/theirs")),
            ),
            (
                &["files/nobodys"],
                hidden("files/nobodys", only(1, "files/nobodys")),
            ),
            (
                &["files/a", "files/theirs"],
                hidden("files/theirs", only(1, "files/a")),
            ),
            (
                &["files/new", "files/theirs"],
                hidden("files/theirs", only(1, "files/theirs")),
            ),
            // The message does not reveal that it is in another project.
            (
                &["files/c", "files/theirs"],
                hidden(
                    "files/theirs",
                    DifferentProjects(vec![vec!["files/c"], vec!["files/theirs"]]),
                ),
            ),
        ];
        let known = all_known();
        for (names, expected) in cases {
            let clients = [
                client(Some(HOME), true),
                client(None, true),
                client(Some(HOME), false),
                client(None, false),
            ];
            for (client, expected) in clients.into_iter().zip(expected) {
                let found = place(names, &known, client, false);
                assert_eq!(found, *expected, "{names:?} by {client:?}");
                if !names.is_empty() {
                    // A created resource is placed in the same project.
                    assert_eq!(place(names, &known, client, true), found, "{names:?}");
                }
            }
        }
    }

    #[test]
    fn a_request_that_creates_a_resource_prefers_the_clients_project() {
        for is_isolated in [true, false] {
            let with_preference = place(&[], &[], client(Some(HOME), is_isolated), true);
            assert_eq!(with_preference, Placement::Preferred(HOME));
            let anywhere = place(&[], &[], client(None, is_isolated), true);
            assert_eq!(anywhere, Placement::Anywhere);
        }
    }

    proptest! {
        /// With names in any order, an isolated client reaches only its own resources and its preferred project.
        #[test]
        fn an_isolated_client_reaches_nothing_of_others(
            picks in prop::collection::vec(0..7_usize, 1..6),
            preferred_project in prop::option::of(Just(HOME)),
        ) {
            let all = ["files/a", "files/b", "files/c", "files/theirs", "files/nobodys", "files/x", "files/y"];
            let names: Vec<_> = picks.iter().map(|pick| all[*pick]).collect();
            let known = all_known();
            let of = |name: &str| known.iter().find(|known| known.name == name);
            let names_foreign = names.iter().any(|name| of(name).is_some_and(|known| known.maker != Some(ME)));

            match place(&names, &known, client(preferred_project, true), false) {
                Placement::Anywhere | Placement::Preferred(_) => prop_assert!(false, "it may go anywhere"),
                Placement::Required { project_id, name } => {
                    prop_assert!(!names_foreign);
                    let expected = of(name).map(|known| known.project_id).or(preferred_project);
                    prop_assert_eq!(Some(project_id), expected);
                    prop_assert!(names.iter().all(|name| of(name).is_none_or(|known| known.project_id == project_id)));
                }
                Placement::DifferentProjects(groups) => {
                    prop_assert!(!names_foreign);
                    prop_assert!(groups.len() > 1);
                }
                Placement::NotFound(name) => prop_assert!(of(name).is_none_or(|known| known.maker != Some(ME))),
            }
        }
    }
}
