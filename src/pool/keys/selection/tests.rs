//! Tests of the selection of keys.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::settle::AttemptTiming;
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::{QuotaWindow, Rule, Verdict, Violation};
use crate::pool::keys::registry::KeyPolicy;
use crate::pool::keys::upstream_key::UpstreamKey;
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::{ObservedLimit, QuotaLimits};
use crate::pool::settings::Settings;

mod egress;
mod limits_and_breakers;
mod project_selection;
mod readiness;

/// Noon in California, in winter.
const START: Timestamp = Timestamp::from_millis(1_764_014_400_000);

fn key(id: i64, project: i64) -> UpstreamKey {
    UpstreamKey::example(id, project, START)
}

fn keys(projects: &[i64]) -> KeyRegistry {
    let mut keys = KeyRegistry::default();
    for (id, project) in (1..).zip(projects) {
        keys.put(key(id, *project), 0, START);
    }
    keys
}

fn verdict(rule: Rule) -> Verdict {
    Verdict {
        status: Some(429),
        ..Verdict::without_answer(rule, String::new())
    }
}

/// A refusal that names a daily limit.
fn day_is_used_up(limit: u64) -> Verdict {
    Verdict {
        violations: vec![Violation {
            quota_id: "GenerateRequestsPerDayPerProjectPerModel".into(),
            metric: String::new(),
            model: None,
            window: QuotaWindow::Day,
            limit: Some(limit),
        }],
        ..verdict(Rule::QuotaPerDay)
    }
}

fn observe_limit(keys: &mut KeyRegistry, project: i64, model: &str, limit: u64) {
    let (id, measure) = (ProjectId(project), Measure::RequestsPerDay);
    keys.restore_limit(id, model, measure, ObservedLimit::Limit(limit), START);
}

/// No request is served before the next midnight.
fn until_midnight() -> LeaseObstacle {
    LeaseObstacle::CoolingDown {
        until: end_of_google_day(START),
        for_the_day: true,
    }
}

fn state(keys: &KeyRegistry, id: i64) -> KeyState {
    keys.get(UpstreamKeyId(id)).unwrap().condition.state
}

fn lease_request(model: &str) -> LeaseRequest<'_> {
    LeaseRequest {
        model,
        amount: QuotaAmount {
            requests: 1,
            tokens: 10,
        },
        tags: &[],
        project: None,
    }
}

fn try_lease(
    keys: &mut KeyRegistry,
    model: &str,
    now: Timestamp,
) -> Result<LeasedKey, LeaseObstacle> {
    keys.lease(&lease_request(model), &TriedKeys::default(), now)
}

fn lease(keys: &mut KeyRegistry, model: &str, now: Timestamp) -> Option<i64> {
    try_lease(keys, model, now).ok().map(|leased| leased.id.0)
}

fn timing(now: Timestamp) -> AttemptTiming {
    AttemptTiming {
        began: now,
        now,
        chance: 0.5,
        answer_had_begun: false,
        client: None,
    }
}

fn settle(
    keys: &mut KeyRegistry,
    leased: &LeasedKey,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<StateChange> {
    settle_and_blame(keys, leased, "flash", verdict, timing(now))
}

/// Settles the only attempt of a request that another key answers well.
fn settle_and_blame(
    keys: &mut KeyRegistry,
    leased: &LeasedKey,
    model: &str,
    verdict: &Verdict,
    timing: AttemptTiming,
) -> Vec<StateChange> {
    let mut changes = keys.settle(leased, model, verdict, timing);
    let suspicion = keys.suspect(leased, verdict.rule, timing.began, timing.now);
    let blamed = keys.blame(suspicion.as_slice(), true, None, timing.now);
    changes.extend(blamed.into_iter().map(|(_, change)| change));
    changes
}

/// Leases a certain key for flash, settles and releases it at once.
fn attempt(keys: &mut KeyRegistry, id: i64, rule: Rule, now: Timestamp) -> Vec<StateChange> {
    attempt_with(keys, id, &verdict(rule), now)
}

fn attempt_with(
    keys: &mut KeyRegistry,
    id: i64,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<StateChange> {
    let mut tried = TriedKeys::default();
    for (other, key) in &keys.by_id {
        if other.0 != id {
            tried.add(*other, key.row.project_id, KeyReuse::Never);
        }
    }
    let leased = keys.lease(&lease_request("flash"), &tried, now).unwrap();
    assert_eq!(leased.id.0, id);
    let changes = settle(keys, &leased, verdict, now);
    keys.release(&leased);
    changes
}

fn count(keys: &mut KeyRegistry, leases: usize) -> HashMap<i64, usize> {
    let mut counts = HashMap::new();
    for _ in 0..leases {
        let id = lease(keys, "flash", START).unwrap();
        *counts.entry(id).or_insert(0) += 1;
    }
    counts
}

#[test]
fn the_lowest_load_comes_first_then_the_least_recently_leased() {
    let mut keys = keys(&[1, 2, 3]);

    let leased: Vec<_> = (0..4)
        .map(|_| try_lease(&mut keys, "flash", START).unwrap())
        .collect();
    assert_eq!(
        leased.iter().map(|leased| leased.id.0).collect::<Vec<_>>(),
        [1, 2, 3, 1]
    );

    keys.release(&leased[2]);
    assert_eq!(lease(&mut keys, "flash", START), Some(3));
}

#[test]
fn priority_and_weight_decide_before_lease_order() {
    let mut keys = KeyRegistry::default();
    let last = UpstreamKey {
        priority: 1,
        ..key(1, 1)
    };
    let strong = UpstreamKey {
        weight: 3,
        ..key(2, 2)
    };
    for key in [last, strong, key(3, 3)] {
        keys.put(key, 0, START);
    }

    assert_eq!(count(&mut keys, 40), HashMap::from([(2, 30), (3, 10)]));
}

#[test]
fn another_project_comes_first_then_another_key_then_the_same_key_once() {
    let mut keys = keys(&[1, 1, 2]);
    let mut tried = TriedKeys::default();
    let mut order = Vec::new();
    while let Ok(leased) = keys.lease(&lease_request("flash"), &tried, START) {
        tried.add(leased.id, leased.project_id, KeyReuse::Once);
        keys.release(&leased);
        order.push(leased.id.0);
    }

    assert_eq!(order, [1, 3, 2, 2]);
    let obstacle = keys
        .lease(&lease_request("flash"), &tried, START)
        .unwrap_err();
    assert_eq!(obstacle, LeaseObstacle::AllTried);
}

#[test]
fn a_key_may_be_tried_again_after_its_quota_cooldown() {
    let mut keys = keys(&[1]);
    let mut tried = TriedKeys::default();
    let leased = keys.lease(&lease_request("flash"), &tried, START).unwrap();
    settle(
        &mut keys,
        &leased,
        &verdict(Rule::QuotaWithoutDetail),
        START,
    );
    keys.release(&leased);
    tried.add(leased.id, leased.project_id, KeyReuse::AfterCooldown);

    let until = START + Duration::from_secs(10);
    let cooling_down = LeaseObstacle::CoolingDown {
        until,
        for_the_day: false,
    };
    assert_eq!(
        keys.lease(&lease_request("flash"), &tried, START)
            .unwrap_err(),
        cooling_down
    );
    assert!(keys.lease(&lease_request("flash"), &tried, until).is_ok());
}

#[test]
fn a_project_that_cools_down_for_one_model_serves_others() {
    let mut keys = keys(&[1, 1, 2]);

    assert_eq!(
        attempt(&mut keys, 1, Rule::QuotaWithoutDetail, START).len(),
        1
    );

    assert_eq!(
        (0..2)
            .filter_map(|_| lease(&mut keys, "flash", START))
            .collect::<Vec<_>>(),
        [3, 3]
    );
    assert_eq!(lease(&mut keys, "pro", START), Some(2));
    assert_eq!(keys.obstacle(&lease_request("flash"), START), None);
    let later = START + Duration::from_secs(10);
    assert_eq!(lease(&mut keys, "flash", later), Some(1));
}

#[test]
fn requests_without_quota_use_are_served_by_keys_without_quota() {
    let mut keys = keys(&[1]);
    attempt_with(&mut keys, 1, &day_is_used_up(20), START);

    assert_eq!(lease(&mut keys, "flash", START), None);
    let counting = LeaseRequest {
        amount: QuotaAmount::default(),
        ..lease_request("flash")
    };
    assert!(keys.lease(&counting, &TriedKeys::default(), START).is_ok());
}

#[test]
fn the_obstacle_is_that_of_the_key_that_is_ready_first() {
    let mut keys = keys(&[1, 2]);
    // The first is revoked; Google names no model to the second, so its project cools down for all models.
    attempt(&mut keys, 1, Rule::ApiKeyInvalid, START);
    let mut whole_project = day_is_used_up(1_000);
    whole_project.violations[0].quota_id = "RequestsPerDayPerProject".into();
    attempt_with(&mut keys, 2, &whole_project, START);

    for model in ["flash", "pro"] {
        let obstacle = try_lease(&mut keys, model, START).unwrap_err();
        assert_eq!(obstacle, until_midnight(), "{model}");
    }
}

#[test]
fn each_obstacle_is_reported() {
    let mut none = KeyRegistry::default();
    let mut leaked = keys(&[1]);
    attempt(&mut leaked, 1, Rule::KeyLeaked, START);
    let mut busy = keys(&[1]);
    let mut policy = KeyPolicy::of(&Settings::default());
    policy.per_key_concurrency = 1;
    busy.set_policy(policy);
    let busy_key = try_lease(&mut busy, "flash", START).unwrap();

    let obstacles = [&mut none, &mut leaked, &mut busy]
        .map(|keys| keys.obstacle(&lease_request("flash"), START));

    let expected = [
        LeaseObstacle::NoKeys,
        LeaseObstacle::NoUsableKey,
        LeaseObstacle::Busy,
    ];
    assert_eq!(obstacles, expected.map(Some));
    busy.release(&busy_key);
    assert_eq!(busy.obstacle(&lease_request("flash"), START), None);
}

#[test]
fn only_a_check_or_the_admin_restores_a_revoked_key_and_a_trial_is_one_request_at_a_time() {
    let mut keys = keys(&[1]);
    attempt(&mut keys, 1, Rule::ApiKeyInvalid, START);
    let much_later = START + Duration::from_hours(999);
    assert_eq!(lease(&mut keys, "flash", much_later), None);

    let on_trial = KeyCondition {
        state: KeyState::Trial,
        failed_checks: 1,
        ..KeyCondition::ready(START)
    };
    keys.set_condition(UpstreamKeyId(1), on_trial);
    let leased = try_lease(&mut keys, "flash", much_later).unwrap();
    assert_eq!(
        try_lease(&mut keys, "flash", much_later).unwrap_err(),
        LeaseObstacle::Busy
    );
    settle(
        &mut keys,
        &leased,
        &verdict(Rule::ApiKeyInvalid),
        much_later,
    );
    keys.release(&leased);
    let condition = keys.get(UpstreamKeyId(1)).unwrap().condition;
    assert_eq!(
        (condition.state, condition.failed_checks),
        (KeyState::Invalid, 2)
    );

    keys.set_condition(UpstreamKeyId(1), on_trial);
    attempt(&mut keys, 1, Rule::Success, much_later);
    assert_eq!(state(&keys, 1), KeyState::Ready);
    let both: Vec<_> = (0..2)
        .map(|_| lease(&mut keys, "flash", much_later))
        .collect();
    assert_eq!(both, [Some(1), Some(1)], "no longer one at a time");
}

#[test]
fn soft_faults_count_only_while_others_succeed() {
    let mut keys = keys(&[1, 2]);
    let alone: Vec<_> = (0..9)
        .flat_map(|_| attempt(&mut keys, 1, Rule::InternalError, START))
        .collect();
    assert_eq!(alone, []);

    attempt(&mut keys, 2, Rule::Success, START);
    assert_eq!(attempt(&mut keys, 1, Rule::InternalError, START).len(), 1);
    assert_eq!(state(&keys, 1), KeyState::CoolingDown);
    assert_eq!(count(&mut keys, 3), HashMap::from([(2, 3)]));

    let later = START + Duration::from_mins(1);
    assert_eq!(lease(&mut keys, "flash", later), Some(1));
    assert_eq!(state(&keys, 1), KeyState::Trial);
}

#[test]
fn an_admin_reset_clears_a_state_and_other_changes_do_not() {
    let mut keys = keys(&[1]);
    attempt(&mut keys, 1, Rule::KeyLeaked, START);

    let renamed = UpstreamKey {
        label: "renamed".into(),
        ..key(1, 1)
    };
    keys.put(renamed, 0, START);
    assert_eq!(lease(&mut keys, "flash", START), None);

    let cleared = UpstreamKey {
        state_reset_revision: 1,
        ..key(1, 1)
    };
    keys.put(cleared, 0, START);
    assert_eq!(lease(&mut keys, "flash", START), Some(1));
}

#[test]
fn an_admin_reset_of_cooldowns_makes_a_used_up_day_available_again() {
    let mut keys = keys(&[1]);
    attempt_with(&mut keys, 1, &day_is_used_up(0), START);
    assert_eq!(lease(&mut keys, "flash", START), None);

    keys.clear_cooldowns(ProjectId(1), START);

    assert_eq!(lease(&mut keys, "flash", START), Some(1));
}

#[test]
fn keys_that_move_to_another_project_keep_their_cooldowns() {
    let mut keys = keys(&[1, 2]);
    attempt_with(&mut keys, 1, &day_is_used_up(20), START);

    keys.put(key(1, 2), 0, START);
    assert_eq!(lease(&mut keys, "flash", START), None);
    assert_eq!(lease(&mut keys, "pro", START), Some(2));

    keys.clear_cooldowns(ProjectId(2), START);
    assert!(lease(&mut keys, "flash", START).is_some());
}

#[test]
fn a_client_with_tags_leases_only_keys_with_one_of_them() {
    let mut keys = KeyRegistry::default();
    for (id, tags) in [(1, &[][..]), (2, &["team"]), (3, &["paid", "team"])] {
        let tags = tags.iter().map(|tag: &&str| (*tag).to_owned()).collect();
        keys.put(
            UpstreamKey {
                tags,
                ..key(id, id)
            },
            0,
            START,
        );
    }
    let leased = |keys: &mut KeyRegistry, tags: &[&str]| -> Vec<i64> {
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let lease_request = LeaseRequest {
            tags: &tags,
            ..lease_request("flash")
        };
        let leased = (0..4).filter_map(|_| {
            let leased = keys
                .lease(&lease_request, &TriedKeys::default(), START)
                .ok()?;
            keys.release(&leased);
            Some(leased.id.0)
        });
        let mut leased: Vec<_> = leased.collect();
        leased.sort_unstable();
        leased.dedup();
        leased
    };

    assert_eq!(leased(&mut keys, &["team"]), [2, 3]);
    assert_eq!(leased(&mut keys, &["paid", "other"]), [3]);
    assert_eq!(leased(&mut keys, &["other"]), [0; 0]);
    assert_eq!(leased(&mut keys, &[]), [1, 2, 3]);

    // The removal of a tag takes effect at once.
    keys.put(key(3, 3), 0, START);
    assert_eq!(leased(&mut keys, &["team"]), [2]);
}

#[test]
fn a_named_limit_is_inherited_by_other_projects() {
    let mut keys = keys(&[1, 2]);
    for id in [1, 2, 1] {
        attempt(&mut keys, id, Rule::Success, START);
    }
    // One more of the first is refused: its limit is two. The second has used one of the inherited two.
    attempt_with(&mut keys, 1, &day_is_used_up(2), START);

    attempt(&mut keys, 2, Rule::Success, START);
    // The inherited limit is probed with one request.
    let later = START + Duration::from_mins(2);
    let test = try_lease(&mut keys, "flash", later).unwrap();
    assert_eq!(test.id.0, 2);
    let obstacle = try_lease(&mut keys, "flash", later).unwrap_err();
    assert_eq!(obstacle, until_midnight());
    let changes = settle(&mut keys, &test, &verdict(Rule::Success), later);
    let contradicted = StateChange::Limit {
        is_known: false,
        project_id: ProjectId(2),
        model: "flash".into(),
        measure: Measure::RequestsPerDay,
        limit: None,
        at: later,
    };
    assert_eq!(changes, [contradicted]);
    keys.release(&test);
    assert_eq!(lease(&mut keys, "flash", later), Some(2));
}

#[test]
fn after_midnight_one_request_probes_the_reset() {
    let mut keys = keys(&[1]);
    attempt_with(&mut keys, 1, &day_is_used_up(20), START);
    let midnight = end_of_google_day(START);

    assert_eq!(
        lease(&mut keys, "flash", midnight - Duration::from_millis(1)),
        None
    );
    let first = try_lease(&mut keys, "flash", midnight).unwrap();
    assert_eq!(
        try_lease(&mut keys, "flash", midnight).unwrap_err(),
        LeaseObstacle::Busy
    );
    settle(&mut keys, &first, &verdict(Rule::Success), midnight);
    keys.release(&first);
    assert_eq!(lease(&mut keys, "flash", midnight), Some(1));
    assert_eq!(lease(&mut keys, "flash", midnight), Some(1));
}

#[test]
fn the_number_of_model_entries_is_bounded() {
    let mut keys = keys(&[1]);
    for n in 0..5_000 {
        let model = format!("made-up-{n}");
        let leased = try_lease(&mut keys, &model, START).unwrap();
        let names = [model, "long".repeat(1_000)];
        for name in names {
            keys.settle(
                &leased,
                &name,
                &verdict(Rule::QuotaWithoutDetail),
                timing(START),
            );
        }
        keys.release(&leased);
        let _ = try_lease(&mut keys, &format!("made-up-{n}"), START);
    }

    assert!(keys.models.len() <= 1_000);
    assert!(keys.ready_indexes.len() <= MAX_READY_INDEXES);
}

proptest! {
    /// In any sequence of events, a leased key is enabled, usable, and its project does not cool down for the model.
    #[test]
    fn a_cooling_key_is_never_leased(
        steps in prop::collection::vec((0..7_u8, 0..3_usize, 0..90_u64), 1..200),
    ) {
        let models = ["flash", "pro", "lite"];
        let rules = [
            Rule::QuotaWithoutDetail,
            Rule::QuotaPerMinute,
            Rule::ApiKeyInvalid,
            Rule::InternalError,
            Rule::Success,
        ];
        let mut keys = keys(&[1, 1, 2, 3, 4, 5, 5, 6]);
        let mut now = START;
        let mut cooling_down: HashMap<(i64, String), Timestamp> = HashMap::new();
        let mut states: HashMap<i64, KeyCondition> = HashMap::new();
        let mut leases: Vec<LeasedKey> = Vec::new();
        for (action, model, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            let model = models[model];
            if action == 6 {
                if let Some(leased) = leases.pop() {
                    keys.release(&leased);
                }
                continue;
            }
            let Ok(leased) = try_lease(&mut keys, model, now) else { continue };
            let cooling_until = cooling_down.get(&(leased.project_id.0, model.to_owned()));
            prop_assert!(cooling_until.is_none_or(|until| *until <= now), "key {} rests for {model}", leased.id.0);
            let state = states.get(&leased.id.0);
            prop_assert!(state.is_none_or(|known| known.state != KeyState::Invalid));
            prop_assert!(state.and_then(|known| known.until).is_none_or(|until| until <= now));
            let Some(rule) = rules.get(usize::from(action)) else {
                leases.push(leased);
                continue;
            };
            for change in settle_and_blame(&mut keys, &leased, model, &verdict(*rule), timing(now)) {
                match change {
                    StateChange::Cooldown { project_id, model, cooldown: Cooldown { until, .. } } => {
                        cooling_down.insert((project_id.0, model), until);
                    }
                    StateChange::CooldownLifted { project_id, model } => {
                        cooling_down.remove(&(project_id.0, model));
                    }
                    StateChange::Key { id, condition } => drop(states.insert(id.0, condition)),
                    StateChange::Checked { .. } | StateChange::Limit { .. } | StateChange::Billing { .. } | StateChange::Project { .. } | StateChange::Egress { .. } => {}
                }
            }
            keys.release(&leased);
        }
        prop_assert_eq!(keys.in_flight(), u32::try_from(leases.len()).unwrap());
    }
}
