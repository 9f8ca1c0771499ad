//! Whose things a request names, and so which project may serve it.

use std::collections::{HashMap, HashSet};

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::ProjectId;

/// What is known of something that Google keeps for one project: a file, a cache, a batch, an interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownResource {
    pub name: String,
    pub project_id: ProjectId,
    /// `None`: nobody we know made it.
    pub maker: Option<ClientKeyId>,
    /// Whether what it used is in the row of a request already.
    pub is_counted: bool,
}

/// Who asks for what is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestingClient {
    pub client: ClientKeyId,
    /// Where its new things are made; `None`: it has made nothing yet.
    pub preferred_project: Option<ProjectId>,
    /// Whether it may use only what it has made itself.
    pub is_isolated: bool,
}

/// Where a request may go because of what it names or makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement<'a> {
    /// To any project.
    Anywhere,
    /// To this project alone, because of what is named so: there it is, or nowhere that the client may look.
    Required {
        project_id: ProjectId,
        name: &'a str,
    },
    /// To this project if it can serve, else to any.
    Preferred(ProjectId),
    /// Nowhere: no project has all that is named. What each has stands together.
    DifferentProjects(Vec<Vec<&'a str>>),
    /// Nowhere: for this client nothing of this name exists.
    NotFound(&'a str),
}

/// Where a request may go that names these things, of which so much is known, in any order; and that may make one.
///
/// What another client made is not found, before anything is said about projects. A name that nobody knows was made before
/// its maker came here, or under another server: it can only be with what else is named, or in the client's home, or, for
/// who is not isolated, anywhere.
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

    /// Two of mine in one project and one in another; one of another client, one of nobody.
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
    fn what_is_named_decides_where_a_request_goes() {
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
        // What is named; where it goes isolated with a home and without, then the same not isolated.
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
            // That it is in another project is not told either.
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
                    // What it makes besides goes where that is.
                    assert_eq!(place(names, &known, client, true), found, "{names:?}");
                }
            }
        }
    }

    #[test]
    fn what_makes_something_and_names_nothing_goes_home_first() {
        for is_isolated in [true, false] {
            let with_preference = place(&[], &[], client(Some(HOME), is_isolated), true);
            assert_eq!(with_preference, Placement::Preferred(HOME));
            let anywhere = place(&[], &[], client(None, is_isolated), true);
            assert_eq!(anywhere, Placement::Anywhere);
        }
    }

    proptest! {
        /// However names come, an isolated client reaches only its own things, and its home.
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
