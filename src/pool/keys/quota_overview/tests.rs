//! Tests of the overview of quota.

use std::time::Duration;

use super::*;
use crate::pool::keys::upstream_key::{KeyCondition, UpstreamKey, UpstreamKeyId};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::ObservedLimit;
use crate::pool::quota::windows::QuotaAmount;

/// Noon in California, in winter.
const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000);
const FLASH: &str = "flash";
const PRO: &str = "pro";

/// Four free projects with one key each. The last key is refused by Google.
fn keys() -> SharedKeyRegistry {
    let shared = SharedKeyRegistry::default();
    let mut keys = shared.lock();
    for id in 1..=4 {
        let mut key = UpstreamKey {
            billing: Billing::Free,
            ..UpstreamKey::example(id, id, NOW)
        };
        if id == 4 {
            key.condition = KeyCondition {
                state: KeyState::Invalid,
                ..KeyCondition::ready(NOW)
            };
        }
        keys.put(key, 0, NOW);
    }
    let day = Measure::RequestsPerDay;
    let limit = ObservedLimit::Limit(100);
    keys.restore_limit(ProjectId(1), FLASH, day, limit, NOW);
    for (id, requests) in [(1, 90), (2, 100), (3, 10)] {
        let amount = QuotaAmount {
            requests,
            tokens: 1_000,
        };
        keys.restore_usage(UpstreamKeyId(id), FLASH, amount, None, NOW);
    }
    let zero = Cooldown {
        rule: Rule::QuotaZero,
        step: 0,
        since: NOW,
        until: NOW + Duration::from_hours(24),
    };
    keys.set_cooldown(ProjectId(3), PRO, zero);
    drop(keys);
    shared
}

#[test]
fn totals_count_what_is_left_where_it_can_be_used() {
    let overview = keys().quota_overview(None, None, NOW);

    let day_ends = end_of_google_day(NOW);
    assert_eq!(overview.day_ends, Some(day_ends));
    let flash = ModelQuotaTotals {
        projects: 3,
        used: 200,
        limit: 300,
        remaining: 100,
        limited_projects: 3,
        largest_limit: 100,
        held_back: 1,
        missing: 0,
        next_ready_at: Some(day_ends),
    };
    assert_eq!(overview.models[FLASH], flash);
    let pro = ModelQuotaTotals {
        projects: 1,
        missing: 1,
        ..ModelQuotaTotals::default()
    };
    assert_eq!(overview.models[PRO], pro);
}

#[test]
fn projects_with_the_least_left_come_first() {
    let shared = keys();
    let order = |model, only: Option<&[i64]>| {
        let only = only.map(|ids| ids.iter().copied().map(ProjectId).collect());
        let overview = shared.quota_overview(model, only.as_ref(), NOW);
        let ids = overview.projects.into_iter();
        ids.map(|id| id.0).collect::<Vec<_>>()
    };

    assert_eq!(order(None, None), [2, 1, 3, 4]);
    assert_eq!(order(Some(FLASH), None), [2, 1, 3, 4]);
    assert_eq!(order(Some(PRO), None), [3]);
    assert_eq!(order(Some("unknown"), None), [0_i64; 0]);
    assert_eq!(order(None, Some(&[3, 1])), [1, 3]);
}

#[test]
fn a_project_has_the_source_of_each_limit_and_what_is_held_back() {
    let shared = keys();
    let ids = [2, 1, 3, 9].map(ProjectId);

    let quotas = shared.project_quotas(&ids, NOW);

    let found: Vec<_> = quotas.iter().map(|project| project.id.0).collect();
    assert_eq!(found, [2, 1, 3]);
    let day = |project: &ProjectQuota| *project.models[FLASH].window(Measure::RequestsPerDay);
    let inherited = QuotaMeasure {
        used: 100,
        limit: Some(100),
        source: LimitSource::Inherited,
        inherited_since: Some(NOW),
        resets_at: Some(end_of_google_day(NOW)),
    };
    assert_eq!(day(&quotas[0]), inherited);
    assert_eq!(day(&quotas[1]).source, LimitSource::Named);
    assert_eq!(quotas[0].models[FLASH].share(), 1_000);
    let used_up = quotas[0].models[FLASH].held_back.unwrap();
    let reason = CooldownReason::QuotaUsed(Measure::RequestsPerDay);
    assert_eq!((used_up.since, used_up.reason), (None, reason));
    assert_eq!(quotas[1].models[FLASH].held_back, None);
    assert!(quotas[2].models[PRO].is_missing());
    assert_eq!((quotas[2].keys, quotas[2].working_keys), (1, 1));
}
