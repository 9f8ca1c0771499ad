//! Whose things a request names, and so which project may serve it; in which project a client's new things are made.

use std::collections::{HashMap, HashSet};

use crate::pool::client_key::ClientKeyId;
use crate::pool::selection::Obstacle;
use crate::pool::upstream_key::ProjectId;

/// What is known of something that Google keeps for one project: a file, a cache, a batch, an interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub project_id: ProjectId,
    /// `None`: nobody we know made it.
    pub maker: Option<ClientKeyId>,
    /// Whether what it used is in the row of a request already.
    pub is_counted: bool,
}

/// Who asks for what is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub client: ClientKeyId,
    /// Where its new things are made; `None`: it has made nothing yet.
    pub home: Option<ProjectId>,
    /// Whether it may use only what it has made itself.
    pub is_isolated: bool,
}

/// Where a request may go because of what it names or makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding<'a> {
    /// To any project.
    Free,
    /// To this project alone, because of what is named so: there it is, or nowhere that the client may look.
    Only {
        project_id: ProjectId,
        name: &'a str,
    },
    /// To this project if it can serve, else to any.
    First(ProjectId),
    /// Nowhere: no project has all that is named. What each has stands together.
    Apart(Vec<Vec<&'a str>>),
    /// Nowhere: for this client nothing of this name exists.
    NotFound(&'a str),
}

/// Where a request may go that names these things, of which so much is known, in any order; and that may make one.
///
/// What another client made is not found, before anything is said about projects. A name that nobody knows was made before
/// its maker came here, or under another server: it can only be with what else is named, or in the client's home, or, for
/// who is not isolated, anywhere.
pub fn binding<'a>(
    names: &[&'a str],
    known: &[Known],
    asker: Asker,
    makes_something: bool,
) -> Binding<'a> {
    let Some(first) = names.first() else {
        let home = asker.home.filter(|_| makes_something);
        return home.map_or(Binding::Free, Binding::First);
    };
    let known: HashMap<&str, &Known> = known.iter().map(|one| (one.name.as_str(), one)).collect();
    let of = |name: &str| known.get(name).copied();
    let is_foreign = |known: &Known| asker.is_isolated && known.maker != Some(asker.client);
    if let Some(foreign) = names.iter().find(|name| of(name).is_some_and(is_foreign)) {
        return Binding::NotFound(foreign);
    }
    let mut groups: Vec<(ProjectId, Vec<&str>)> = Vec::new();
    let mut grouped = HashSet::new();
    for name in names.iter().filter(|name| grouped.insert(**name)) {
        let Some(Known { project_id, .. }) = of(name) else {
            continue;
        };
        match groups.iter_mut().find(|(id, _)| id == project_id) {
            Some((_, group)) => group.push(name),
            None => groups.push((*project_id, vec![name])),
        }
    }
    match (&groups[..], asker.home) {
        ([], Some(project_id)) if asker.is_isolated => Binding::Only {
            project_id,
            name: first,
        },
        ([], None) if asker.is_isolated => Binding::NotFound(first),
        ([], home) => home.map_or(Binding::Free, Binding::First),
        ([(project_id, group)], _) => Binding::Only {
            project_id: *project_id,
            name: group[0],
        },
        (_, _) => Binding::Apart(groups.into_iter().map(|(_, group)| group).collect()),
    }
}

/// The project in which each client's things are made, so that they can be used together.
///
/// In memory: what a client has made tells it again, see [`Home::Unread`].
#[derive(Debug, Default)]
pub struct Homes(HashMap<ClientKeyId, Home>);

/// Where a client's things are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Home {
    /// Nobody has looked yet what it has made: whoever must know looks where its newest thing is.
    #[default]
    Unread,
    Nowhere,
    /// Its first thing is being made there.
    Claimed(ProjectId),
    In(ProjectId),
}

impl Home {
    /// The project, if there is one.
    pub fn project(self) -> Option<ProjectId> {
        match self {
            Self::Claimed(id) | Self::In(id) => Some(id),
            Self::Unread | Self::Nowhere => None,
        }
    }
}

impl Homes {
    pub fn of(&self, client: ClientKeyId) -> Home {
        self.0.get(&client).copied().unwrap_or_default()
    }

    /// Takes over where a client's newest thing is, unless its home became known meanwhile.
    pub fn read(&mut self, client: ClientKeyId, newest: Option<ProjectId>) {
        let home = self.0.entry(client).or_default();
        if *home == Home::Unread {
            *home = newest.map_or(Home::Nowhere, Home::In);
        }
    }

    /// Notes that something was made for a client in a project, which becomes its home if it has none.
    pub fn note_birth(&mut self, client: ClientKeyId, project_id: ProjectId) {
        let home = self.0.entry(client).or_default();
        match home {
            Home::Unread | Home::Nowhere | Home::Claimed(_) => *home = Home::In(project_id),
            Home::In(_) => {}
        }
    }

    /// Notes that a client's first thing is about to be made in a project, so that what it makes at the same time comes
    /// there too. Returns where that is: another request may have been first.
    pub fn claim(&mut self, client: ClientKeyId, project_id: ProjectId) -> ProjectId {
        let home = self.0.entry(client).or_default();
        home.project().unwrap_or_else(|| {
            *home = Home::Claimed(project_id);
            project_id
        })
    }

    /// Notes why a project could not serve a client. One that will soon be well stays its home.
    pub fn note_obstacle(&mut self, client: ClientKeyId, project_id: ProjectId, why: Obstacle) {
        let home = self.0.entry(client).or_default();
        if home.project() != Some(project_id) {
            return;
        }
        match why {
            Obstacle::AllTried
            | Obstacle::Busy
            | Obstacle::Resting {
                for_the_day: false, ..
            }
            | Obstacle::Overloaded { .. }
            | Obstacle::Storm { .. } => {}
            Obstacle::Resting {
                for_the_day: true, ..
            } => *home = Home::Nowhere,
            // It may have turned out to be another project, with all that was made in it.
            Obstacle::NoKeys | Obstacle::NoneUsable | Obstacle::OwnerGone => *home = Home::Unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    const ME: ClientKeyId = ClientKeyId(1);
    const OTHER: ClientKeyId = ClientKeyId(2);
    const HOME: ProjectId = ProjectId(9);

    fn known(name: &str, project: i64, maker: Option<ClientKeyId>) -> Known {
        Known {
            name: name.to_owned(),
            project_id: ProjectId(project),
            maker,
            is_counted: false,
        }
    }

    /// Two of mine in one project and one in another; one of another client, one of nobody.
    fn all_known() -> Vec<Known> {
        vec![
            known("files/a", 1, Some(ME)),
            known("files/b", 1, Some(ME)),
            known("files/c", 2, Some(ME)),
            known("files/theirs", 1, Some(OTHER)),
            known("files/nobodys", 1, None),
        ]
    }

    fn asker(home: Option<ProjectId>, is_isolated: bool) -> Asker {
        Asker {
            client: ME,
            home,
            is_isolated,
        }
    }

    fn only(project: i64, name: &'static str) -> Binding<'static> {
        Binding::Only {
            project_id: ProjectId(project),
            name,
        }
    }

    #[test]
    fn what_is_named_decides_where_a_request_goes() {
        use Binding::{Apart, First, Free, NotFound};
        let same = |binding: Binding<'static>| std::array::from_fn(|_| binding.clone());
        let hidden =
            |name, seen: Binding<'static>| [NotFound(name), NotFound(name), seen.clone(), seen];
        let unknown = [
            only(9, "files/new"),
            NotFound("files/new"),
            First(HOME),
            Free,
        ];
        // What is named; where it goes isolated with a home and without, then the same not isolated.
        let cases: &[(&[&str], [Binding; 4])] = &[
            (&[], same(Free)),
            (&["files/a"], same(only(1, "files/a"))),
            (&["files/b", "files/a"], same(only(1, "files/b"))),
            (
                &["files/a", "files/c", "files/b", "files/a"],
                same(Apart(vec![vec!["files/a", "files/b"], vec!["files/c"]])),
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
                    Apart(vec![vec!["files/c"], vec!["files/theirs"]]),
                ),
            ),
        ];
        let known = all_known();
        for (names, expected) in cases {
            let askers = [
                asker(Some(HOME), true),
                asker(None, true),
                asker(Some(HOME), false),
                asker(None, false),
            ];
            for (asker, expected) in askers.into_iter().zip(expected) {
                let found = binding(names, &known, asker, false);
                assert_eq!(found, *expected, "{names:?} by {asker:?}");
                if !names.is_empty() {
                    // What it makes besides goes where that is.
                    assert_eq!(binding(names, &known, asker, true), found, "{names:?}");
                }
            }
        }
    }

    #[test]
    fn what_makes_something_and_names_nothing_goes_home_first() {
        for is_isolated in [true, false] {
            let at_home = binding(&[], &[], asker(Some(HOME), is_isolated), true);
            assert_eq!(at_home, Binding::First(HOME));
            let anywhere = binding(&[], &[], asker(None, is_isolated), true);
            assert_eq!(anywhere, Binding::Free);
        }
    }

    proptest! {
        /// However names come, an isolated client reaches only its own things, and its home.
        #[test]
        fn an_isolated_client_reaches_nothing_of_others(
            picks in prop::collection::vec(0..7_usize, 1..6),
            home in prop::option::of(Just(HOME)),
        ) {
            let all = ["files/a", "files/b", "files/c", "files/theirs", "files/nobodys", "files/x", "files/y"];
            let names: Vec<_> = picks.iter().map(|pick| all[*pick]).collect();
            let known = all_known();
            let of = |name: &str| known.iter().find(|known| known.name == name);
            let names_foreign = names.iter().any(|name| of(name).is_some_and(|known| known.maker != Some(ME)));

            match binding(&names, &known, asker(home, true), false) {
                Binding::Free | Binding::First(_) => prop_assert!(false, "it may go anywhere"),
                Binding::Only { project_id, name } => {
                    prop_assert!(!names_foreign);
                    let expected = of(name).map(|known| known.project_id).or(home);
                    prop_assert_eq!(Some(project_id), expected);
                    prop_assert!(names.iter().all(|name| of(name).is_none_or(|known| known.project_id == project_id)));
                }
                Binding::Apart(groups) => {
                    prop_assert!(!names_foreign);
                    prop_assert!(groups.len() > 1);
                }
                Binding::NotFound(name) => prop_assert!(of(name).is_none_or(|known| known.maker != Some(ME))),
            }
        }
    }

    #[test]
    fn a_home_is_where_the_newest_thing_is_or_the_next_is_made() {
        let (mut homes, project) = (Homes::default(), ProjectId);
        assert_eq!(homes.of(ME), Home::Unread);

        homes.read(ME, None);
        assert_eq!(homes.of(ME), Home::Nowhere);
        homes.note_birth(ME, project(1));
        homes.note_birth(ME, project(2));
        homes.read(ME, Some(project(3)));
        assert_eq!(homes.of(ME), Home::In(project(1)));
        homes.read(OTHER, Some(project(3)));
        assert_eq!(homes.of(OTHER), Home::In(project(3)));
    }

    #[test]
    fn things_made_at_the_same_time_come_to_one_project() {
        let mut homes = Homes::default();
        homes.read(ME, None);

        assert_eq!(homes.claim(ME, ProjectId(1)), ProjectId(1));
        assert_eq!(homes.claim(ME, ProjectId(2)), ProjectId(1));
        assert_eq!(homes.claim(OTHER, ProjectId(2)), ProjectId(2));
        // The first was made elsewhere after all.
        homes.note_birth(ME, ProjectId(3));
        assert_eq!(homes.of(ME), Home::In(ProjectId(3)));
        homes.note_birth(ME, ProjectId(1));
        assert_eq!(homes.claim(ME, ProjectId(2)), ProjectId(3));
        // What is only claimed is given up like any other.
        homes.note_obstacle(OTHER, ProjectId(2), Obstacle::NoneUsable);
        assert_eq!(homes.of(OTHER), Home::Unread);
    }

    #[test]
    fn a_home_stays_while_it_will_soon_be_well() {
        let until = Timestamp::from_millis(1_764_000_000_000);
        let resting = |for_the_day| Obstacle::Resting { until, for_the_day };
        let home = Home::In(HOME);
        for (obstacle, left) in [
            (Obstacle::AllTried, home),
            (Obstacle::Busy, home),
            (resting(false), home),
            (Obstacle::Overloaded { until }, home),
            (Obstacle::Storm { until }, home),
            (resting(true), Home::Nowhere),
            (Obstacle::NoKeys, Home::Unread),
            (Obstacle::NoneUsable, Home::Unread),
            (Obstacle::OwnerGone, Home::Unread),
        ] {
            let mut homes = Homes::default();
            homes.note_birth(ME, HOME);

            homes.note_obstacle(ME, ProjectId(1), obstacle);
            assert_eq!(homes.of(ME), home, "{obstacle:?} of another project");
            homes.note_obstacle(ME, HOME, obstacle);
            assert_eq!(homes.of(ME), left, "{obstacle:?}");
        }
    }
}
