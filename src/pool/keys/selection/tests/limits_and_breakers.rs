//! Limits, circuit breakers and the address throttle decide when a key is leased.

use super::*;

#[test]
fn the_smallest_share_of_the_day_precedes_the_lease_order() {
    let mut keys = keys(&[1, 2]);
    for (project, limit) in [(1, 100), (2, 300)] {
        observe_limit(&mut keys, project, "flash", limit);
    }

    let mut counts = HashMap::new();
    for _ in 0..200 {
        let leased = try_lease(&mut keys, "flash", START).unwrap();
        settle(&mut keys, &leased, &verdict(Rule::Success), START);
        keys.release(&leased);
        *counts.entry(leased.id.0).or_insert(0) += 1;
    }

    assert_eq!(counts, HashMap::from([(1, 50), (2, 150)]));
}

#[test]
fn the_admins_limits_apply_before_google_refuses() {
    let mut keys = keys(&[1, 1]);
    let mut policy = KeyPolicy::of(&Settings::default());
    policy.key_limits = QuotaLimits::of_settings(2, 0, 0, 0);
    policy.project_limits = QuotaLimits::of_settings(3, 0, 0, 0);
    keys.set_policy(policy);

    let leased: Vec<_> = (0..4).map(|_| lease(&mut keys, "flash", START)).collect();

    assert_eq!(leased, [Some(1), Some(2), Some(1), None]);
    let in_a_minute = START + Duration::from_secs(61);
    assert!(lease(&mut keys, "flash", in_a_minute).is_some());
}

#[test]
fn a_shortened_cooldown_ends_earlier() {
    let mut keys = keys(&[1]);
    let cooldown_of = |minutes| Cooldown {
        rule: Rule::QuotaPerMinute,
        step: 0,
        since: START,
        until: START + Duration::from_mins(minutes),
    };
    keys.set_cooldown(ProjectId(1), "flash", cooldown_of(60));
    assert_eq!(lease(&mut keys, "flash", START), None);

    keys.set_cooldown(ProjectId(1), "flash", cooldown_of(1));

    let in_a_minute = START + Duration::from_mins(1);
    assert_eq!(lease(&mut keys, "flash", in_a_minute), Some(1));
}

#[test]
fn a_batch_waits_until_all_of_it_has_room() {
    let mut keys = keys(&[1, 2]);
    for (project, used) in [(1, 970), (2, 940)] {
        observe_limit(&mut keys, project, "embedding", 1_000);
        let amount = QuotaAmount::requests(used);
        keys.restore_usage(UpstreamKeyId(project), "embedding", amount, None, START);
    }
    let mut batch = |requests| {
        let lease_request = LeaseRequest {
            amount: QuotaAmount::requests(requests),
            ..lease_request("embedding")
        };
        let leased = keys.lease(&lease_request, &TriedKeys::default(), START);
        leased.map(|leased| leased.id.0).ok()
    };

    assert_eq!(batch(50), Some(2));
    assert_eq!(batch(50), None);
    assert_eq!(batch(30), Some(1));
}

#[test]
fn five_overloads_in_a_row_open_the_breaker_until_one_request_succeeds() {
    let mut keys = keys(&[1, 2]);
    let overloaded = Verdict {
        status: Some(503),
        ..verdict(Rule::Overloaded)
    };
    for _ in 0..5 {
        let leased = try_lease(&mut keys, "flash", START).unwrap();
        assert_eq!(settle(&mut keys, &leased, &overloaded, START), []);
        keys.release(&leased);
    }

    let until = START + Duration::from_secs(2);
    let closed = LeaseObstacle::Overloaded { until };
    assert_eq!(try_lease(&mut keys, "flash", START).unwrap_err(), closed);
    assert!(lease(&mut keys, "pro", START).is_some());
    let probe = try_lease(&mut keys, "flash", until).unwrap();
    assert!(lease(&mut keys, "flash", until).is_none());
    settle(&mut keys, &probe, &overloaded, until);
    keys.release(&probe);
    let twice = until + Duration::from_secs(4);
    let closed = LeaseObstacle::Overloaded { until: twice };
    assert_eq!(try_lease(&mut keys, "flash", until).unwrap_err(), closed);

    let probe = try_lease(&mut keys, "flash", twice).unwrap();
    settle(&mut keys, &probe, &verdict(Rule::Success), twice);
    keys.release(&probe);
    assert!(lease(&mut keys, "flash", twice).is_some());
}

#[test]
fn an_address_throttle_faults_no_project_and_ends_with_the_first_success() {
    let projects: Vec<_> = (1..=100).collect();
    let mut keys = keys(&projects);
    let mut cooling_down = HashSet::new();
    for _ in 0..5 {
        let leased = try_lease(&mut keys, "flash", START).unwrap();
        for change in settle(
            &mut keys,
            &leased,
            &verdict(Rule::QuotaWithoutDetail),
            START,
        ) {
            match change {
                StateChange::Cooldown { project_id, .. } => drop(cooling_down.insert(project_id)),
                StateChange::CooldownLifted { project_id, .. } => {
                    cooling_down.remove(&project_id);
                }
                other => panic!("{other}"),
            }
        }
        keys.release(&leased);
    }
    assert_eq!(cooling_down.len(), 0);

    let until = START + Duration::from_secs(2);
    let throttled = LeaseObstacle::AddressThrottled { until };
    assert_eq!(try_lease(&mut keys, "pro", START).unwrap_err(), throttled);
    let probe = try_lease(&mut keys, "flash", until).unwrap();
    assert!(lease(&mut keys, "flash", until).is_none(), "one at a time");
    settle(&mut keys, &probe, &verdict(Rule::Success), until);
    keys.release(&probe);
    let leased = (0..100).filter(|_| lease(&mut keys, "flash", until).is_some());
    assert_eq!(leased.count(), 100);
}

#[test]
fn the_start_of_an_answer_is_enough_evidence_of_success() {
    let mut keys = keys(&[1, 2, 3, 4, 5, 6]);
    for id in 1..=5 {
        attempt(&mut keys, id, Rule::QuotaWithoutDetail, START);
    }
    let later = START + Duration::from_mins(2);
    let probe = try_lease(&mut keys, "flash", later).unwrap();
    assert!(lease(&mut keys, "flash", later).is_none(), "one at a time");

    keys.record_answer_start(&probe, "flash", timing(later));

    assert!(lease(&mut keys, "flash", later).is_some());
}

#[test]
fn cooldowns_and_breakers_follow_a_clock_set_back() {
    let wrong = START + Duration::from_hours(24 * 365);
    let mut keys = keys(&[1, 2]);
    attempt(&mut keys, 1, Rule::QuotaPerDay, wrong);
    attempt(&mut keys, 2, Rule::ApiKeyInvalid, wrong);
    for _ in 0..5 {
        let sixth = key(6, 6);
        keys.put(sixth, 0, wrong);
        attempt(&mut keys, 6, Rule::Overloaded, wrong);
    }
    assert!(try_lease(&mut keys, "flash", wrong).is_err());

    assert_eq!(lease(&mut keys, "flash", START), Some(6));
    keys.remove(UpstreamKeyId(6));
    let obstacle = try_lease(&mut keys, "flash", START).unwrap_err();
    assert_eq!(obstacle, until_midnight());
    let soon = START + Duration::from_hours(24);
    assert_eq!(keys.due_checks(soon, false, 9).len(), 1);
}

#[test]
fn a_limit_is_news_once() {
    let mut keys = keys(&[1]);
    let mut refuse = |limit, at| {
        let leased = try_lease(&mut keys, "flash", at).unwrap();
        let changes = settle(&mut keys, &leased, &day_is_used_up(limit), at);
        keys.release(&leased);
        let limits = changes
            .iter()
            .filter(|change| matches!(change, StateChange::Limit { .. }));
        limits.map(StateChange::is_news).collect::<Vec<_>>()
    };
    let midnight = end_of_google_day(START);

    assert_eq!(refuse(20, START), [true]);
    assert_eq!(refuse(20, midnight), [false]);
    assert_eq!(refuse(30, end_of_google_day(midnight)), [true]);
}
