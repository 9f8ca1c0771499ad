//! The rule that selects the egress proxy of a request.
//!
//! Of the enabled proxies whose scope includes the key, only those with the most specific scope count: project before tag
//! before all. Among these each project keeps to one, which rendezvous hashing picks, so that a proxy that is added,
//! removed or broken moves no other project than those that it gains or loses. A less specific proxy never replaces a more
//! specific one that is broken, and neither does a direct connection: Google would see an address that the admin has not
//! chosen for the project.

use std::cmp::Reverse;

use crate::clock::Timestamp;
use crate::pool::egress::condition::Fitness;
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::pool::keys::upstream_key::ProjectId;

/// The proxy for a request with a key of this project and these tags; `None`: no proxy applies, the connection is direct.
/// The error is when the first of the proxies that apply may be used again. Those in `avoided` have failed in the same
/// request.
pub fn choose(
    proxies: &[EgressProxy],
    project: ProjectId,
    tags: &[String],
    avoided: &[EgressProxyId],
    fitness: impl Fn(EgressProxyId) -> Fitness,
) -> Result<Option<EgressProxyId>, Timestamp> {
    let specificity = |proxy: &EgressProxy| proxy.scope.specificity(project, tags);
    let enabled = || proxies.iter().filter(|proxy| proxy.enabled);
    let Some(most_specific) = enabled().filter_map(specificity).max() else {
        return Ok(None);
    };
    let mut until: Option<Timestamp> = None;
    let mut best = None;
    for proxy in enabled().filter(|proxy| specificity(proxy) == Some(most_specific)) {
        let is_last_resort = match fitness(proxy.id) {
            Fitness::Usable => false,
            Fitness::LastResort => true,
            Fitness::Blocked(at) => {
                until = Some(until.map_or(at, |until| until.min(at)));
                continue;
            }
        };
        let is_avoided = avoided.contains(&proxy.id);
        let weight = Reverse(weight(project, proxy.id));
        let rank = (is_last_resort, is_avoided, weight, proxy.id);
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    match (best, until) {
        (Some((.., id)), _) => Ok(Some(id)),
        (None, Some(until)) => Err(until),
        (None, None) => Ok(None),
    }
}

/// How much a proxy weighs for a project: a number that looks random and is always the same.
fn weight(project: ProjectId, proxy: EgressProxyId) -> u64 {
    // The finalizer of SplitMix64: a difference in one bit changes half of all bits.
    let mix = |mut bits: u64| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    let project = mix(project
        .0
        .cast_unsigned()
        .wrapping_add(0x9e37_79b9_7f4a_7c15));
    mix(project ^ mix(proxy.0.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;
    use crate::pool::egress::proxy::EgressScope;

    const LATER: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn proxies(ids: impl IntoIterator<Item = i64>) -> Vec<EgressProxy> {
        let ids = ids.into_iter();
        ids.map(|id| EgressProxy::example(id, EgressScope::All))
            .collect()
    }

    fn choice(proxies: &[EgressProxy], project: i64) -> Option<i64> {
        let chosen = choose(proxies, ProjectId(project), &[], &[], |_| Fitness::Usable);
        chosen.unwrap().map(|id| id.0)
    }

    fn choice_without(proxies: &[EgressProxy], project: i64, blocked: i64) -> Option<i64> {
        let fitness = |id: EgressProxyId| {
            if id.0 == blocked {
                Fitness::Blocked(LATER)
            } else {
                Fitness::Usable
            }
        };
        let chosen = choose(proxies, ProjectId(project), &[], &[], fitness);
        chosen.unwrap().map(|id| id.0)
    }

    #[test]
    fn the_most_specific_scope_wins_even_if_its_proxies_are_blocked() {
        let red = vec!["red".to_owned(), "old".to_owned()];
        let mut all = proxies([1]);
        all.push(EgressProxy::example(2, EgressScope::Tags(red.clone())));
        let of_project = EgressScope::Projects(vec![ProjectId(7)]);
        all.push(EgressProxy::example(3, of_project));
        let usable = |project, tags: &[String]| {
            choose(&all, ProjectId(project), tags, &[], |_| Fitness::Usable)
                .map(|chosen| chosen.map(|id| id.0))
        };

        assert_eq!(usable(8, &[]), Ok(Some(1)));
        assert_eq!(usable(8, &red[1..]), Ok(Some(2)));
        assert_eq!(usable(7, &red), Ok(Some(3)));
        let blocked = |id: EgressProxyId| {
            if id.0 == 3 {
                Fitness::Blocked(LATER)
            } else {
                Fitness::Usable
            }
        };
        assert_eq!(choose(&all, ProjectId(7), &red, &[], blocked), Err(LATER));
        all[2].enabled = false;
        let chosen = choose(&all, ProjectId(7), &red, &[], blocked);
        assert_eq!(chosen, Ok(Some(EgressProxyId(2))));
        let only_tags = &all[1..2];
        let chosen = choose(only_tags, ProjectId(8), &[], &[], blocked);
        assert_eq!(chosen, Ok(None));
    }

    #[test]
    fn an_avoided_proxy_and_a_last_resort_are_used_only_where_there_is_no_other() {
        let both = proxies([1, 2]);
        let of = |avoided: &[EgressProxyId], fitness: fn(EgressProxyId) -> Fitness| {
            choose(&both, ProjectId(1), &[], avoided, fitness).map(|id| id.unwrap().0)
        };
        let [one, two] = [EgressProxyId(1), EgressProxyId(2)];
        let usable = |_| Fitness::Usable;

        assert_eq!(of(&[one], usable), Ok(2));
        assert_eq!(of(&[two], usable), Ok(1));
        assert_eq!(of(&[one, two], usable), of(&[], usable));
        let two_last = |id: EgressProxyId| {
            if id.0 == 2 {
                Fitness::LastResort
            } else {
                Fitness::Usable
            }
        };
        assert_eq!(of(&[one], two_last), Ok(1));
        let only_two = |id: EgressProxyId| {
            if id.0 == 2 {
                Fitness::LastResort
            } else {
                Fitness::Blocked(LATER)
            }
        };
        assert_eq!(of(&[], only_two), Ok(2));
        assert_eq!(of(&[], |_| Fitness::Blocked(LATER)), Err(LATER));
    }

    #[test]
    fn projects_are_spread_evenly() {
        let four = proxies(1..=4);
        let mut counts = [0_u32; 5];
        for project in 0..4_000 {
            let chosen = choice(&four, project).unwrap();
            counts[usize::try_from(chosen).unwrap()] += 1;
        }
        for count in &counts[1..] {
            assert!((900..1_100).contains(count), "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn a_proxy_that_goes_or_breaks_moves_only_its_own_projects(
            ids in btree_set(any::<i64>(), 2..12),
            project in any::<i64>(),
            pick in any::<prop::sample::Index>(),
        ) {
            let ids: Vec<i64> = ids.into_iter().collect();
            let gone = *pick.get(&ids);
            let with = proxies(ids.iter().copied());
            let without = proxies(ids.iter().copied().filter(|id| *id != gone));

            let (before, after) = (choice(&with, project).unwrap(), choice(&without, project).unwrap());

            // Read from `without` to `with`, the same says that a new proxy moves projects only to itself.
            prop_assert!(before == gone || before == after);
            prop_assert_eq!(choice_without(&with, project, gone), Some(after));
            let mut reversed = with.clone();
            reversed.reverse();
            prop_assert_eq!(choice(&reversed, project), Some(before));
        }

        #[test]
        fn a_blocked_proxy_is_never_chosen(
            ids in btree_set(0..20_i64, 1..8),
            blocked in btree_set(0..20_i64, 0..8),
            avoided in btree_set(0..20_i64, 0..8),
            project in any::<i64>(),
        ) {
            let all = proxies(ids.iter().copied());
            let avoided: Vec<_> = avoided.into_iter().map(EgressProxyId).collect();
            let fitness = |id: EgressProxyId| if blocked.contains(&id.0) { Fitness::Blocked(LATER) } else { Fitness::Usable };

            let chosen = choose(&all, ProjectId(project), &[], &avoided, fitness);

            match chosen {
                Ok(id) => prop_assert!(!blocked.contains(&id.unwrap().0)),
                Err(until) => prop_assert!(until == LATER && ids.is_subset(&blocked)),
            }
        }
    }
}
