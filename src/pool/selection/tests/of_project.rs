//! What names something of one project goes to a key of that project, or nowhere.

use super::*;

fn bound(project: i64) -> Wanted<'static> {
    Wanted {
        project: Some(ProjectId(project)),
        ..wanted("flash")
    }
}

fn lend_bound(keys: &mut Keys, project: i64, now: Timestamp) -> Result<i64, Obstacle> {
    let lent = keys.lend(&bound(project), &Tried::default(), now)?;
    Ok(lent.id.0)
}

fn rests(until: Timestamp) -> Obstacle {
    Obstacle::Resting {
        until,
        for_the_day: false,
    }
}

#[test]
fn keys_of_the_project_take_turns_and_no_other_is_lent() {
    let mut keys = keys(&[1, 2, 1, 2, 1]);

    let lent: Vec<_> = (0..6)
        .map(|_| lend_bound(&mut keys, 1, START).unwrap())
        .collect();

    assert_eq!(lent, [1, 3, 5, 1, 3, 5]);
    // Whoever may have any key gets the least busy.
    assert_eq!(lend(&mut keys, "flash", START), Some(2));
}

#[test]
fn priority_weight_and_tags_count_within_a_project() {
    let mut keys = Keys::default();
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
    let of_team = Wanted {
        tags: &team,
        ..bound(1)
    };
    let of_others = Wanted {
        tags: &team,
        ..bound(2)
    };

    let mut counts = HashMap::new();
    for _ in 0..40 {
        *counts
            .entry(lend_bound(&mut keys, 1, START).unwrap())
            .or_insert(0) += 1;
    }
    assert_eq!(counts, HashMap::from([(2, 30), (3, 10)]));
    let lent = keys.lend(&of_team, &Tried::default(), START).unwrap();
    assert_eq!(lent.id.0, 3);
    assert_eq!(keys.obstacle(&of_others, START), Some(Obstacle::OwnerGone));
}

#[test]
fn another_key_of_the_project_is_tried_then_the_same_once_more() {
    let mut keys = keys(&[1, 1, 2]);
    let mut tried = Tried::default();
    let mut order = Vec::new();
    while let Ok(lent) = keys.lend(&bound(1), &tried, START) {
        tried.add(lent.id, lent.project_id, Again::Once);
        keys.give_back(&lent);
        order.push(lent.id.0);
    }

    assert_eq!(order, [1, 2, 2]);
    let obstacle = keys.lend(&bound(1), &tried, START).unwrap_err();
    assert_eq!(obstacle, Obstacle::AllTried);
    assert!(keys.lend(&wanted("flash"), &tried, START).is_ok());
}

#[test]
fn the_projects_own_rest_is_told_however_many_others_are_ready() {
    let mut keys = keys(&[1, 1, 2, 3]);
    attempt(&mut keys, 1, Rule::QuotaWithoutDetail, START);
    attempt_with(&mut keys, 3, &day_is_used_up(20), START);

    let until = START + Duration::from_secs(10);
    assert_eq!(lend_bound(&mut keys, 1, START), Err(rests(until)));
    let day = Obstacle::Resting {
        until: end_of_google_day(START),
        for_the_day: true,
    };
    assert_eq!(keys.obstacle(&bound(2), START), Some(day));
    assert_eq!(lend_bound(&mut keys, 3, START), Ok(4));
    assert_eq!(lend_bound(&mut keys, 1, until), Ok(2));
    let looks_up = Wanted {
        amount: Amount::default(),
        ..bound(2)
    };
    assert!(keys.lend(&looks_up, &Tried::default(), START).is_ok());
}

#[test]
fn what_is_in_the_way_is_told_apart() {
    let mut rules = Rules::of(&Settings::default());
    rules.per_key_concurrency = 1;
    let mut keys = keys(&[1, 2, 2, 3, 5]);
    attempt(&mut keys, 1, Rule::ApiKeyInvalid, START);
    keys.set_rules(rules);
    let disabled = UpstreamKey {
        enabled: false,
        ..key(4, 3)
    };
    keys.put(disabled, 0, START);
    keys.remove(UpstreamKeyId(5));
    let busy: Vec<_> = (0..2)
        .map(|_| keys.lend(&bound(2), &Tried::default(), START).unwrap())
        .collect();

    for (project, obstacle) in [
        (1, Some(Obstacle::OwnerGone)),
        (2, Some(Obstacle::Busy)),
        (3, Some(Obstacle::OwnerGone)),
        (4, Some(Obstacle::OwnerGone)),
        (5, Some(Obstacle::OwnerGone)),
    ] {
        assert_eq!(keys.obstacle(&bound(project), START), obstacle, "{project}");
    }
    keys.give_back(&busy[1]);
    assert_eq!(keys.obstacle(&bound(2), START), None);
}

#[test]
fn a_large_batch_waits_until_its_project_has_room() {
    let mut keys = keys(&[1, 2]);
    for project in [1, 2] {
        let own = Own::Limit(1_000);
        let id = ProjectId(project);
        keys.put_limit(id, "flash", Measure::RequestsPerDay, own, START);
    }
    let used = Amount {
        requests: 970,
        tokens: 0,
    };
    keys.put_spent(UpstreamKeyId(1), "flash", used, None, START);
    let mut batch = |requests| {
        let amount = Amount {
            requests,
            tokens: 0,
        };
        let wanted = Wanted { amount, ..bound(1) };
        keys.lend(&wanted, &Tried::default(), START)
            .map(|lent| lent.id.0)
    };

    let day = Obstacle::Resting {
        until: end_of_google_day(START),
        for_the_day: true,
    };
    assert_eq!(batch(50), Err(day));
    assert_eq!(batch(30), Ok(1));
}

#[test]
fn gates_hold_back_what_is_bound_too() {
    let mut keys = keys(&[1, 2]);
    for _ in 0..5 {
        let lent = try_lend(&mut keys, "flash", START).unwrap();
        settle(&mut keys, &lent, &verdict(Rule::Overloaded), START);
        keys.give_back(&lent);
    }

    let until = START + Duration::from_secs(2);
    let closed = Obstacle::Overloaded { until };
    assert_eq!(lend_bound(&mut keys, 1, START), Err(closed));
    assert_eq!(lend_bound(&mut keys, 1, until), Ok(1));
    assert!(lend(&mut keys, "flash", until).is_none(), "one at a time");
}

#[test]
fn a_presumed_limit_is_put_to_the_test_where_nobody_else_can_serve() {
    let mut keys = keys(&[1, 2]);
    for id in [1, 2, 1] {
        attempt(&mut keys, id, Rule::Success, START);
    }
    attempt_with(&mut keys, 1, &day_is_used_up(2), START);
    attempt(&mut keys, 2, Rule::Success, START);
    let later = START + Duration::from_mins(2);

    // What Google has told of a project itself is not doubted.
    assert!(lend_bound(&mut keys, 1, later).is_err());
    assert_eq!(lend_bound(&mut keys, 2, later), Ok(2));
    assert!(lend_bound(&mut keys, 2, later).is_err(), "one at a time");
}

proptest! {
    /// Whatever happens, only the project's own keys are lent, and only while it does not rest.
    #[test]
    fn no_key_of_another_project_is_lent_and_no_rest_is_broken(
        steps in prop::collection::vec((0..6_u8, 1..8_i64, 0..90_u64), 1..150),
    ) {
        let rules = [
            Rule::QuotaWithoutDetail,
            Rule::QuotaPerMinute,
            Rule::ApiKeyInvalid,
            Rule::Success,
        ];
        let mut keys = keys(&[1, 1, 2, 3, 4, 5, 5, 6]);
        let mut per_key = Rules::of(&Settings::default());
        per_key.per_key_concurrency = 2;
        keys.set_rules(per_key);
        let mut now = START;
        let mut resting: HashMap<ProjectId, Timestamp> = HashMap::new();
        let mut invalid: HashSet<UpstreamKeyId> = HashSet::new();
        let mut held: Vec<Lent> = Vec::new();
        for (action, project, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            if action == 5 {
                if let Some(lent) = held.pop() {
                    keys.give_back(&lent);
                }
                continue;
            }
            let obstacle = keys.obstacle(&bound(project), now);
            let lent = match keys.lend(&bound(project), &Tried::default(), now) {
                Ok(lent) => lent,
                Err(refused) => {
                    prop_assert_eq!(obstacle, Some(refused));
                    if let Obstacle::Resting { until, .. } = refused {
                        prop_assert_eq!(resting.get(&ProjectId(project)), Some(&until));
                    }
                    continue;
                }
            };
            prop_assert_eq!(lent.project_id, ProjectId(project));
            prop_assert!(resting.get(&lent.project_id).is_none_or(|until| *until <= now));
            prop_assert!(!invalid.contains(&lent.id));
            let under_way = held.iter().filter(|other| other.id == lent.id).count();
            prop_assert!(under_way < 2);
            let Some(rule) = rules.get(usize::from(action)) else {
                held.push(lent);
                continue;
            };
            for change in keys.settle(&lent, "flash", &verdict(*rule), moment(now)) {
                match change {
                    Change::Cooldown { project_id, cooldown, .. } => {
                        resting.insert(project_id, cooldown.until);
                    }
                    Change::CooldownLifted { project_id, .. } => {
                        resting.remove(&project_id);
                    }
                    Change::Key { id, condition } => {
                        if condition.state == KeyState::Invalid {
                            invalid.insert(id);
                        }
                    }
                    Change::Checked { .. } | Change::Limit { .. } | Change::Billing { .. } | Change::Project { .. } => {}
                }
            }
            keys.give_back(&lent);
        }
    }
}
