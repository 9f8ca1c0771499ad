//! Tests of due checks and of their results.

use super::*;

const START: Timestamp = Timestamp::from_millis(1_795_334_400_000);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn row(id: i64, project: i64) -> UpstreamKey {
    UpstreamKey {
        last_used_at: Some(START),
        ..UpstreamKey::example(id, project, START)
    }
}

fn refused(state: KeyState, rule: Rule, since: Timestamp, next_check: Timestamp) -> KeyCondition {
    KeyCondition {
        state,
        rule: Some(rule),
        next_check: Some(next_check),
        failed_checks: 1,
        ..KeyCondition::ready(since)
    }
}

fn invalid(id: i64, project: i64, next_check: Timestamp) -> UpstreamKey {
    UpstreamKey {
        condition: refused(KeyState::Invalid, Rule::ApiKeyInvalid, START, next_check),
        ..row(id, project)
    }
}

fn suspended(id: i64, project: i64, next_check: Timestamp) -> UpstreamKey {
    UpstreamKey {
        condition: refused(
            KeyState::Suspended,
            Rule::ConsumerSuspended,
            START,
            next_check,
        ),
        ..row(id, project)
    }
}

fn pool(rows: impl IntoIterator<Item = UpstreamKey>) -> KeyRegistry {
    let mut keys = KeyRegistry::default();
    for row in rows {
        keys.put(row, 0, START);
    }
    keys
}

fn verdict(rule: Rule) -> Verdict {
    Verdict::without_answer(rule, String::new())
}

fn due(keys: &mut KeyRegistry, now: Timestamp) -> Vec<i64> {
    let due = keys.due_checks(now, true, 100);
    due.iter().map(|due| due.id.0).collect()
}

fn check(keys: &mut KeyRegistry, id: i64, rule: Rule, now: Timestamp) -> Vec<StateChange> {
    keys.settle_check(UpstreamKeyId(id), &verdict(rule), None, None, (now, now))
}

fn condition(keys: &KeyRegistry, id: i64) -> KeyCondition {
    keys.get(UpstreamKeyId(id)).unwrap().condition
}

#[test]
fn keys_are_checked_when_due_and_only_if_a_check_can_help() {
    let at = START + 10 * MINUTE;
    let leaked = UpstreamKey {
        condition: KeyCondition {
            next_check: None,
            ..refused(KeyState::Leaked, Rule::KeyLeaked, START, at)
        },
        ..row(4, 4)
    };
    let cooling_down = UpstreamKey {
        condition: KeyCondition {
            state: KeyState::CoolingDown,
            until: Some(at),
            ..KeyCondition::ready(START)
        },
        ..row(5, 5)
    };
    let disabled = UpstreamKey {
        enabled: false,
        ..invalid(6, 6, at)
    };
    let later = invalid(2, 2, at + HOUR);
    let mut keys = pool([
        row(1, 1),
        later,
        invalid(3, 3, at),
        leaked,
        cooling_down,
        disabled,
    ]);

    assert!(due(&mut keys, START).is_empty());
    assert_eq!(due(&mut keys, at), [3]);
    assert_eq!(due(&mut keys, at + HOUR), [3, 2]);
    assert_eq!(keys.due_checks(at + HOUR, true, 1).len(), 1);
}

#[test]
fn an_accepted_key_is_on_trial_and_checked_more_slowly_when_it_fails_again() {
    let mut now = START + 10 * MINUTE;
    let mut keys = pool([invalid(1, 1, now)]);
    let evidence = condition(&keys, 1).rule;

    for wait in [HOUR, 6 * HOUR, 24 * HOUR, 24 * HOUR] {
        assert_eq!(due(&mut keys, now), [1]);
        let changes = check(&mut keys, 1, Rule::ApiKeyInvalid, now);
        let condition = condition(&keys, 1);
        assert!(matches!(changes[..], [StateChange::Key { .. }]));
        assert_eq!(
            (condition.state, condition.since, condition.next_check),
            (KeyState::Invalid, START, Some(now + wait))
        );
        assert!(due(&mut keys, now + wait - MINUTE).is_empty());
        now = now + wait;
    }

    let failed_checks = condition(&keys, 1).failed_checks;
    let changes = check(&mut keys, 1, Rule::QuotaWithoutDetail, now);
    let trial = KeyCondition {
        state: KeyState::Trial,
        rule: evidence,
        failed_checks,
        ..KeyCondition::ready(now)
    };
    let id = UpstreamKeyId(1);
    assert_eq!(
        changes,
        [StateChange::Checked {
            id,
            condition: trial
        }]
    );
    assert_eq!(condition(&keys, 1), trial);
    assert!(due(&mut keys, now + 100 * HOUR).is_empty());
}

#[test]
fn an_inconclusive_check_changes_only_the_time_of_the_next_one() {
    for rule in [
        Rule::ConnectFailed,
        Rule::InternalError,
        Rule::Overloaded,
        Rule::LocationUnsupported,
        Rule::AnswerTimeout,
        Rule::UnnamedFault,
        Rule::FrontEndForbidden,
    ] {
        let now = START + 10 * MINUTE;
        let mut keys = pool([invalid(1, 1, now)]);
        let before = condition(&keys, 1);

        let changes = check(&mut keys, 1, rule, now);

        let next_check = Some(now + 10 * MINUTE);
        let after = KeyCondition {
            next_check,
            ..before
        };
        assert_eq!(condition(&keys, 1), after, "{rule:?}");
        assert!(
            matches!(changes[..], [StateChange::Checked { .. }]),
            "{rule:?}"
        );
    }
}

#[test]
fn one_key_is_checked_for_all_of_a_refused_project() {
    let now = START + HOUR;
    let keys_of_same_project = || {
        pool(
            (1..=100)
                .map(|id| suspended(id, 7, now))
                .chain([invalid(101, 7, now)]),
        )
    };

    let mut keys = keys_of_same_project();
    let checked = due(&mut keys, now);
    assert_eq!(checked.len(), 2);
    let first = checked[0];
    assert_eq!(check(&mut keys, first, Rule::Overloaded, now).len(), 100);
    assert_eq!(due(&mut keys, now), [101]);

    let mut keys = keys_of_same_project();
    let changes = check(&mut keys, 1, Rule::BillingEmpty, now);
    // After a failure of the project every key has the project's state.
    assert_eq!(changes.len(), 101);
    assert_eq!(condition(&keys, 50).next_check, Some(now + 6 * HOUR));
    assert!(due(&mut keys, now).is_empty());

    let mut keys = keys_of_same_project();
    assert_eq!(check(&mut keys, 1, Rule::Success, now).len(), 100);
    assert_eq!(condition(&keys, 50).state, KeyState::Trial);
    assert_eq!(condition(&keys, 101).state, KeyState::Invalid);

    // An invalid key is no evidence about its project: the next key is checked.
    let mut keys = keys_of_same_project();
    assert_eq!(check(&mut keys, 1, Rule::ApiKeyInvalid, now).len(), 1);
    assert_eq!(due(&mut keys, now), [2, 101]);
}

#[test]
fn a_key_that_has_generated_is_ready_and_the_projects_other_keys_are_on_trial() {
    let now = START + HOUR;
    let mut keys = pool([suspended(1, 7, now), suspended(2, 7, now), row(3, 8)]);

    for id in [1, 3] {
        let id = UpstreamKeyId(id);
        let amount = QuotaAmount {
            requests: 1,
            tokens: 1,
        };
        let generated = Some(("flash", amount));
        keys.settle_check(id, &verdict(Rule::Success), generated, None, (now, now));
    }

    let states = [1, 2, 3].map(|id| condition(&keys, id).state);
    assert_eq!(states, [KeyState::Ready, KeyState::Trial, KeyState::Ready]);
    assert_eq!(condition(&keys, 3).since, START);
}

#[test]
fn new_keys_are_checked_once_before_their_first_use() {
    let new = |id| UpstreamKey {
        last_used_at: None,
        ..row(id, id)
    };
    let known = UpstreamKey {
        checked_at: Some(START),
        ..new(3)
    };
    let mut keys = pool([new(1), new(2), known, row(4, 4)]);

    assert_eq!(keys.due_checks(START, false, 100).len(), 0);
    assert_eq!(due(&mut keys, START), [1, 2]);
    assert!(due(&mut keys, START).is_empty());
    assert_eq!(check(&mut keys, 1, Rule::ModelNotFound, START), []);
    let changes = check(&mut keys, 2, Rule::KeyLeaked, START);

    assert_eq!(condition(&keys, 1), KeyCondition::ready(START));
    let leaked = condition(&keys, 2);
    assert_eq!((leaked.state, leaked.next_check), (KeyState::Leaked, None));
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_new_key_counts_as_unchecked_until_its_check_ends_or_is_cancelled() {
    let new = |id| UpstreamKey {
        last_used_at: None,
        ..row(id, id)
    };
    let mut keys = pool([new(1), new(2), new(3), row(4, 4)]);
    assert_eq!(keys.unchecked_keys(), 3);

    assert_eq!(due(&mut keys, START), [1, 2, 3]);
    assert_eq!(keys.unchecked_keys(), 3);
    check(&mut keys, 1, Rule::ModelNotFound, START);
    assert_eq!(keys.unchecked_keys(), 2);
    let disabled = UpstreamKey {
        enabled: false,
        ..new(2)
    };
    keys.put(disabled, 0, START);
    assert_eq!(keys.unchecked_keys(), 1);
    keys.remove(UpstreamKeyId(3));
    assert_eq!(keys.unchecked_keys(), 0);
    keys.put(new(2), 0, START);
    assert_eq!(keys.unchecked_keys(), 1);
    assert_eq!(due(&mut keys, START), [2]);
}

#[test]
fn evidence_found_during_a_check_is_kept() {
    let (began, now) = (START + HOUR, START + HOUR + MINUTE);
    let mut keys = pool([invalid(1, 1, began)]);
    let cleared = UpstreamKey {
        condition: KeyCondition::ready(now),
        state_reset_revision: 1,
        ..row(1, 1)
    };
    keys.put(cleared, 0, now);

    let refused = verdict(Rule::ApiKeyInvalid);
    let changes = keys.settle_check(UpstreamKeyId(1), &refused, None, None, (began, now));

    assert_eq!(changes, []);
    assert_eq!(condition(&keys, 1).state, KeyState::Ready);
    let gone = keys.settle_check(UpstreamKeyId(9), &refused, None, None, (began, now));
    assert_eq!(gone, []);
}
