//! Keys whose egress proxies are broken or throttled wait; the others serve.

use super::*;
use crate::pool::egress::proxy::{EgressProxy, EgressScope};
use crate::pool::keys::key_egress::KeyRemoved;

const ONE: EgressProxyId = EgressProxyId(1);
const OTHER: EgressProxyId = EgressProxyId(2);

/// Projects 1 to 5 go through one proxy, project 6 through the other, project 7 goes directly.
fn pool() -> KeyRegistry {
    let mut keys = keys(&[1, 2, 3, 4, 5, 6, 7]);
    let projects =
        |ids: std::ops::RangeInclusive<i64>| EgressScope::Projects(ids.map(ProjectId).collect());
    let rows = vec![
        EgressProxy::example(1, projects(1..=5)),
        EgressProxy::example(2, projects(6..=6)),
    ];
    keys.set_egress(rows, START);
    keys
}

fn no_connection() -> Verdict {
    Verdict::without_answer(Rule::ConnectFailed, "refused".to_owned())
}

/// Leases every key once and settles the verdict for those that go through the proxy.
fn fail_through(keys: &mut KeyRegistry, egress: EgressProxyId, verdict: &Verdict) {
    let leases: Vec<_> = (0..7)
        .filter_map(|_| try_lease(keys, "flash", START).ok())
        .collect();
    for leased in &leases {
        if leased.egress == Some(egress) {
            settle(keys, leased, verdict, START);
        }
        keys.release(leased);
    }
}

fn leased_at(keys: &mut KeyRegistry, now: Timestamp) -> Vec<(i64, Option<EgressProxyId>)> {
    let leases: Vec<_> = (0..20)
        .filter_map(|_| try_lease(keys, "flash", now).ok())
        .collect();
    let mut found: Vec<_> = leases
        .iter()
        .map(|leased| (leased.id.0, leased.egress))
        .collect();
    for leased in &leases {
        keys.release(leased);
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn each_key_is_leased_with_the_proxy_of_its_project() {
    let mut keys = pool();
    let one = (1..=5).map(|id| (id, Some(ONE)));
    let expected: Vec<_> = one.chain([(6, Some(OTHER)), (7, None)]).collect();
    assert_eq!(leased_at(&mut keys, START), expected);
}

#[test]
fn keys_behind_a_broken_proxy_wait_for_its_probe_and_are_not_blamed() {
    let mut keys = pool();
    fail_through(&mut keys, ONE, &no_connection());

    let others = [(6, Some(OTHER)), (7, None)];
    assert_eq!(leased_at(&mut keys, START), others);
    let waiting = (1..=7).filter(|id| {
        keys.egress_block(&keys.by_id[&UpstreamKeyId(*id)], START)
            .is_some()
    });
    assert_eq!(waiting.count(), 5);
    assert!((1..=7).all(|id| state(&keys, id) == KeyState::Ready));
    let later = START + Duration::from_secs(2);
    assert_eq!(keys.begin_egress_probes(later), [ONE]);
    assert_eq!(leased_at(&mut keys, later), others);
    assert!(keys.end_egress_probe(ONE, true, later).is_some());
    assert_eq!(leased_at(&mut keys, later).len(), 7);
}

#[test]
fn a_removed_key_has_no_way_to_google_rather_than_the_direct_one() {
    let mut keys = pool();
    assert_eq!(keys.egress_of(UpstreamKeyId(7)), Ok(None));

    keys.remove(UpstreamKeyId(7));

    assert_eq!(keys.egress_of(UpstreamKeyId(7)), Err(KeyRemoved));
}

#[test]
fn only_broken_proxies_are_an_obstacle_of_their_own() {
    let mut keys = keys(&[1, 2]);
    keys.set_egress(vec![EgressProxy::example(1, EgressScope::All)], START);
    fail_through(&mut keys, ONE, &no_connection());

    let obstacle = try_lease(&mut keys, "flash", START).unwrap_err();

    let LeaseObstacle::EgressBroken { until } = obstacle else {
        panic!("{obstacle:?}");
    };
    assert!(until > START + Duration::from_secs(2));
    keys.set_egress(Vec::new(), START);
    let direct = leased_at(&mut keys, START);
    assert_eq!(direct, [(1, None), (2, None)]);
}

#[test]
fn a_throttled_address_concerns_only_the_keys_behind_it() {
    let mut keys = pool();
    fail_through(&mut keys, ONE, &verdict(Rule::QuotaWithoutDetail));

    assert_eq!(leased_at(&mut keys, START), [(6, Some(OTHER)), (7, None)]);
    // The cooldowns of its projects were lifted: one request probes the throttle.
    let later = START + Duration::from_secs(3);
    let probes: Vec<_> = (0..20)
        .filter_map(|_| try_lease(&mut keys, "flash", later).ok())
        .filter(|leased| leased.egress == Some(ONE))
        .collect();
    assert_eq!(probes.len(), 1);
    settle(&mut keys, &probes[0], &verdict(Rule::Success), later);
    keys.release(&probes[0]);
    let again = leased_at(&mut keys, later);
    assert!(
        again
            .iter()
            .filter(|(_, egress)| *egress == Some(ONE))
            .count()
            > 1
    );
}

#[test]
fn the_next_attempt_prefers_another_proxy() {
    let mut keys = pool();
    let mut tried = TriedKeys::default();
    let first = try_lease(&mut keys, "flash", START).unwrap();
    assert_eq!(first.egress, Some(ONE));
    tried.add(first.id, first.project_id, KeyReuse::Once);
    tried.add_egress(ONE);

    let second = keys.lease(&lease_request("flash"), &tried, START).unwrap();

    assert_eq!(second.egress, Some(OTHER));
}
