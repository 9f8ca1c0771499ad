//! A request that names a resource of one project leases only keys of that project.

use super::*;

fn in_project(project: i64) -> LeaseRequest<'static> {
    LeaseRequest {
        project: Some(ProjectId(project)),
        ..lease_request("flash")
    }
}

fn lease_in(keys: &mut KeyRegistry, project: i64, now: Timestamp) -> Result<i64, LeaseObstacle> {
    let leased = keys.lease(&in_project(project), &TriedKeys::default(), now)?;
    Ok(leased.id.0)
}

fn cooling_down(until: Timestamp) -> LeaseObstacle {
    LeaseObstacle::CoolingDown {
        until,
        for_the_day: false,
    }
}

#[test]
fn keys_of_the_project_take_turns_and_no_other_is_leased() {
    let mut keys = keys(&[1, 2, 1, 2, 1]);

    let leased: Vec<_> = (0..6)
        .map(|_| lease_in(&mut keys, 1, START).unwrap())
        .collect();

    assert_eq!(leased, [1, 3, 5, 1, 3, 5]);
    // A request for any project gets the least busy key.
    assert_eq!(lease(&mut keys, "flash", START), Some(2));
}

#[test]
fn priority_weight_and_tags_count_within_a_project() {
    let mut keys = KeyRegistry::default();
    let tagged = |id, tags: &[&str]| UpstreamKey {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..key(id, 1)
    };
    let last = UpstreamKey {
        priority: 1,
        ..tagged(1, &["team"])
    };
    let strong = UpstreamKey {
        weight: 3,
        ..tagged(2, &[])
    };
    for key in [last, strong, tagged(3, &["team"]), key(4, 2)] {
        keys.put(key, 0, START);
    }
    let team = ["team".to_owned()];
    let of_team = LeaseRequest {
        tags: &team,
        ..in_project(1)
    };
    let of_others = LeaseRequest {
        tags: &team,
        ..in_project(2)
    };

    let mut counts = HashMap::new();
    for _ in 0..40 {
        *counts
            .entry(lease_in(&mut keys, 1, START).unwrap())
            .or_insert(0) += 1;
    }
    assert_eq!(counts, HashMap::from([(2, 30), (3, 10)]));
    let leased = keys.lease(&of_team, &TriedKeys::default(), START).unwrap();
    assert_eq!(leased.id.0, 3);
    assert_eq!(
        keys.obstacle(&of_others, START),
        Some(LeaseObstacle::ProjectWithoutKeys)
    );
}

#[test]
fn another_key_of_the_project_is_tried_then_the_same_once_again() {
    let mut keys = keys(&[1, 1, 2]);
    let mut tried = TriedKeys::default();
    let mut order = Vec::new();
    while let Ok(leased) = keys.lease(&in_project(1), &tried, START) {
        tried.add(leased.id, leased.project_id, KeyReuse::Once);
        keys.release(&leased);
        order.push(leased.id.0);
    }

    assert_eq!(order, [1, 2, 2]);
    let obstacle = keys.lease(&in_project(1), &tried, START).unwrap_err();
    assert_eq!(obstacle, LeaseObstacle::AllTried);
    assert!(keys.lease(&lease_request("flash"), &tried, START).is_ok());
}

#[test]
fn the_projects_own_cooldown_is_reported_however_many_others_are_ready() {
    let mut keys = keys(&[1, 1, 2, 3]);
    attempt(&mut keys, 1, Rule::QuotaWithoutDetail, START);
    attempt_with(&mut keys, 3, &day_is_used_up(20), START);

    let until = START + Duration::from_secs(10);
    assert_eq!(lease_in(&mut keys, 1, START), Err(cooling_down(until)));
    assert_eq!(keys.obstacle(&in_project(2), START), Some(until_midnight()));
    assert_eq!(lease_in(&mut keys, 3, START), Ok(4));
    assert_eq!(lease_in(&mut keys, 1, until), Ok(2));
    let looks_up = LeaseRequest {
        amount: QuotaAmount::default(),
        ..in_project(2)
    };
    assert!(keys.lease(&looks_up, &TriedKeys::default(), START).is_ok());
}

#[test]
fn each_obstacle_of_a_project_is_reported() {
    let mut policy = KeyPolicy::of(&Settings::default());
    policy.per_key_concurrency = 1;
    let mut keys = keys(&[1, 2, 2, 3, 5]);
    attempt(&mut keys, 1, Rule::ApiKeyInvalid, START);
    keys.set_policy(policy);
    let disabled = UpstreamKey {
        enabled: false,
        ..key(4, 3)
    };
    keys.put(disabled, 0, START);
    keys.remove(UpstreamKeyId(5));
    let busy: Vec<_> = (0..2)
        .map(|_| {
            keys.lease(&in_project(2), &TriedKeys::default(), START)
                .unwrap()
        })
        .collect();

    for (project, obstacle) in [
        (1, Some(LeaseObstacle::ProjectWithoutKeys)),
        (2, Some(LeaseObstacle::Busy)),
        (3, Some(LeaseObstacle::ProjectWithoutKeys)),
        (4, Some(LeaseObstacle::ProjectWithoutKeys)),
        (5, Some(LeaseObstacle::ProjectWithoutKeys)),
    ] {
        assert_eq!(
            keys.obstacle(&in_project(project), START),
            obstacle,
            "{project}"
        );
    }
    keys.release(&busy[1]);
    assert_eq!(keys.obstacle(&in_project(2), START), None);
}

#[test]
fn a_large_batch_waits_until_its_project_has_room() {
    let mut keys = keys(&[1, 2]);
    for project in [1, 2] {
        observe_limit(&mut keys, project, "flash", 1_000);
    }
    let used = QuotaAmount::requests(970);
    keys.restore_usage(UpstreamKeyId(1), "flash", used, None, START);
    let mut batch = |requests| {
        let amount = QuotaAmount::requests(requests);
        let lease_request = LeaseRequest {
            amount,
            ..in_project(1)
        };
        keys.lease(&lease_request, &TriedKeys::default(), START)
            .map(|leased| leased.id.0)
    };

    assert_eq!(batch(50), Err(until_midnight()));
    assert_eq!(batch(30), Ok(1));
}

#[test]
fn breakers_block_requests_with_a_required_project() {
    let mut keys = keys(&[1, 2]);
    for _ in 0..5 {
        let leased = try_lease(&mut keys, "flash", START).unwrap();
        settle(&mut keys, &leased, &verdict(Rule::Overloaded), START);
        keys.release(&leased);
    }

    let until = START + Duration::from_secs(2);
    let closed = LeaseObstacle::Overloaded { until };
    assert_eq!(lease_in(&mut keys, 1, START), Err(closed));
    assert_eq!(lease_in(&mut keys, 1, until), Ok(1));
    assert!(lease(&mut keys, "flash", until).is_none(), "one at a time");
}

#[test]
fn an_inherited_limit_is_probed_where_no_other_project_can_serve() {
    let mut keys = keys(&[1, 2]);
    for id in [1, 2, 1] {
        attempt(&mut keys, id, Rule::Success, START);
    }
    attempt_with(&mut keys, 1, &day_is_used_up(2), START);
    attempt(&mut keys, 2, Rule::Success, START);
    let later = START + Duration::from_mins(2);

    // A limit that Google named for the project itself is not probed.
    assert!(lease_in(&mut keys, 1, later).is_err());
    assert_eq!(lease_in(&mut keys, 2, later), Ok(2));
    assert!(lease_in(&mut keys, 2, later).is_err(), "one at a time");
}

proptest! {
    /// In any sequence of events, only the project's own keys are leased, and only while it does not cool down.
    #[test]
    fn no_key_of_another_project_is_leased_and_no_cooldown_is_broken(
        steps in prop::collection::vec((0..6_u8, 1..8_i64, 0..90_u64), 1..150),
    ) {
        let rules = [
            Rule::QuotaWithoutDetail,
            Rule::QuotaPerMinute,
            Rule::ApiKeyInvalid,
            Rule::Success,
        ];
        let mut keys = keys(&[1, 1, 2, 3, 4, 5, 5, 6]);
        let mut per_key = KeyPolicy::of(&Settings::default());
        per_key.per_key_concurrency = 2;
        keys.set_policy(per_key);
        let mut now = START;
        let mut cooling_down: HashMap<ProjectId, Timestamp> = HashMap::new();
        let mut invalid: HashSet<UpstreamKeyId> = HashSet::new();
        let mut leases: Vec<LeasedKey> = Vec::new();
        for (action, project, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            if action == 5 {
                if let Some(leased) = leases.pop() {
                    keys.release(&leased);
                }
                continue;
            }
            let obstacle = keys.obstacle(&in_project(project), now);
            let leased = match keys.lease(&in_project(project), &TriedKeys::default(), now) {
                Ok(leased) => leased,
                Err(refused) => {
                    prop_assert_eq!(obstacle, Some(refused));
                    if let LeaseObstacle::CoolingDown { until, .. } = refused {
                        prop_assert_eq!(cooling_down.get(&ProjectId(project)), Some(&until));
                    }
                    continue;
                }
            };
            prop_assert_eq!(leased.project_id, ProjectId(project));
            prop_assert!(cooling_down.get(&leased.project_id).is_none_or(|until| *until <= now));
            prop_assert!(!invalid.contains(&leased.id));
            let in_flight = leases.iter().filter(|other| other.id == leased.id).count();
            prop_assert!(in_flight < 2);
            let Some(rule) = rules.get(usize::from(action)) else {
                leases.push(leased);
                continue;
            };
            for change in settle_and_blame(&mut keys, &leased, "flash", &verdict(*rule), timing(now)) {
                match change {
                    StateChange::Cooldown { project_id, cooldown, .. } => {
                        cooling_down.insert(project_id, cooldown.until);
                    }
                    StateChange::CooldownLifted { project_id, .. } => {
                        cooling_down.remove(&project_id);
                    }
                    StateChange::Key { id, condition } => {
                        if condition.state == KeyState::Invalid {
                            invalid.insert(id);
                        }
                    }
                    StateChange::Checked { .. } | StateChange::Limit { .. } | StateChange::Billing { .. } | StateChange::Project { .. } | StateChange::Egress { .. } => {}
                }
            }
            keys.release(&leased);
        }
    }
}

#[test]
fn no_key_of_a_tried_project_counts_a_request_that_is_not_sent() {
    let mut keys = keys(&[1, 1, 2]);
    observe_limit(&mut keys, 1, "flash", 2);
    let mut tried = TriedKeys::default();
    tried.add(UpstreamKeyId(1), ProjectId(1), KeyReuse::Never);
    let request = lease_request("flash");

    let other = keys.lease_untried_project(&request, &tried, START);
    assert_eq!(other.map(|key| key.id), Some(UpstreamKeyId(3)));
    tried.add(UpstreamKeyId(3), ProjectId(2), KeyReuse::Never);
    for _ in 0..3 {
        let none = keys.lease_untried_project(&request, &tried, START);
        assert!(none.is_none(), "{none:?}");
    }

    // Both requests of the first project's day are left.
    for _ in 0..2 {
        let leased = keys.lease(&in_project(1), &TriedKeys::default(), START);
        assert_eq!(leased.unwrap().project_id, ProjectId(1));
    }
    let third = keys.lease(&in_project(1), &TriedKeys::default(), START);
    assert_eq!(third.unwrap_err(), until_midnight());
}
