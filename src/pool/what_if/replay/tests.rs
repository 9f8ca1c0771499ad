//! Tests of the replay of logged requests.

use proptest::prelude::*;

use super::*;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKey};
use crate::pool::quota::limits::Measure;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::what_if::{KeyOrder, KnownLimit, LoggedAttempt, LoggedRequest, UsedBefore};

const START: Timestamp = Timestamp::from_millis(1_795_334_400_000);

/// One request each `gap_ms`, which takes a second.
fn input(keys: i64, requests: u32, gap_ms: u64) -> ReplayInput {
    let request = |number: u32| LoggedRequest {
        at: START + Duration::from_millis(u64::from(number) * gap_ms),
        client: ClientKeyId(1),
        model: 0,
        amount: QuotaAmount {
            requests: 1,
            tokens: 10,
        },
        wait_ms: 0,
        attempts: 1,
        service_ms: 1_000,
        end: ReplayEnd::Answered,
    };
    ReplayInput {
        models: vec!["gemini-2.5-flash".to_owned()],
        keys: (1..=keys)
            .map(|id| UpstreamKey::example(id, id, START))
            .collect(),
        requests: (0..requests).map(request).collect(),
        ..ReplayInput::default()
    }
}

fn limit(input: &mut ReplayInput, measure: Measure, limit: u64) {
    let projects = input.keys.iter().map(|key| key.project_id);
    let limits = projects.map(|project| KnownLimit {
        project,
        model: 0,
        measure,
        limit,
    });
    input.limits.extend(limits.collect::<Vec<_>>());
}

fn what_if_of(input: &ReplayInput, change: WhatIfChange) -> WhatIfResult {
    what_if(input.clone(), 0, change, |_| {})
}

#[test]
fn without_limits_everything_is_answered_at_once() {
    let input = input(1, 50, 10);

    let result = what_if_of(&input, WhatIfChange::WaitForKeySeconds(0));

    assert_eq!(result.present, result.actual);
    assert_eq!(
        (result.changed.answered, result.same_end_per_mille),
        (50, 1_000)
    );
    assert_eq!((result.requests, result.keys), (50, 1));
}

#[test]
fn a_longer_wait_answers_what_a_shorter_one_refuses() {
    let mut input = input(1, 10, 100);
    input.settings.per_key_concurrency = 1;
    input.settings.wait_for_key_seconds = 2;

    let result = what_if_of(&input, WhatIfChange::WaitForKeySeconds(60));

    // One a second, of which some end within the wait of two.
    assert!(
        result.present.refused > 0 && result.present.answered > 1,
        "{result:?}"
    );
    assert_eq!((result.changed.answered, result.changed.refused), (10, 0));
    assert_eq!(result.changed.waited, 9);
    // The last one began after 900 ms, and nine others were first.
    assert!(result.changed.p95_wait_ms > result.present.p95_wait_ms);
    let unlimited = what_if_of(&input, WhatIfChange::PerKeyConcurrency(0));
    assert_eq!(
        (unlimited.changed.answered, unlimited.changed.waited),
        (10, 0)
    );
}

#[test]
fn more_projects_answer_what_exceeds_the_quota_of_the_present_ones() {
    let mut input = input(2, 100, 5_000);
    limit(&mut input, Measure::RequestsPerDay, 20);

    let result = what_if_of(&input, WhatIfChange::MoreProjects(2));

    assert_eq!((result.present.answered, result.present.refused), (40, 60));
    assert_eq!((result.changed.answered, result.changed.refused), (80, 20));
    // Beyond the limits, the pool only probes now and then whether they still hold.
    assert!((40..=45).contains(&result.present.attempts), "{result:?}");
}

#[test]
fn requests_that_wait_for_a_minute_to_end_are_not_multiplied_events() {
    let mut input = input(1, 400, 3_000);
    limit(&mut input, Measure::RequestsPerMinute, 10);
    input.settings.wait_for_key_seconds = 3_600;
    let mut replay = Replay::new(&input);

    replay.run(&mut |_| {});

    // For each request its arrival, its attempts, its own last moment, and the moments at which a key became free.
    assert!(replay.scheduled < 400 * 8, "{}", replay.scheduled);
    let answered = replay.states.iter();
    let answered = answered.filter(|state| state.end == Some(ReplayEnd::Answered));
    assert_eq!(answered.count(), 400);
}

#[test]
fn quota_that_was_used_before_is_not_there() {
    let mut input = input(1, 10, 1_000);
    limit(&mut input, Measure::RequestsPerDay, 20);
    let used = UsedBefore {
        key: input.keys[0].id,
        model: 0,
        amount: QuotaAmount {
            requests: 15,
            tokens: 0,
        },
    };
    input.used.push(used);

    let result = what_if_of(&input, WhatIfChange::MaxAttempts(1));

    assert_eq!((result.present.answered, result.present.refused), (5, 5));
}

#[test]
fn a_model_fails_as_often_as_it_did_and_more_attempts_help() {
    let mut input = input(4, 60, 500);
    for number in 0..60 {
        input.attempts.push(LoggedAttempt {
            at: START + Duration::from_millis(number * 500),
            project: ProjectId(1),
            model: 0,
            // Half of them.
            rule: if number % 2 == 0 {
                Rule::InternalError
            } else {
                Rule::Success
            },
        });
    }
    input.settings.max_attempts = 1;

    let result = what_if_of(&input, WhatIfChange::MaxAttempts(4));

    assert_eq!((result.present.answered, result.present.failed), (30, 30));
    assert!(result.changed.answered > 45, "{result:?}");
    assert!(result.changed.attempts > result.present.attempts);
}

#[test]
fn the_order_of_keys_decides_which_quota_is_used() {
    let mut input = input(2, 10, 5_000);
    input.keys[1].priority = 1;
    let leased = |input: &ReplayInput| {
        let mut replay = Replay::new(input);
        replay.run(&mut |_| {});
        let usage = |id: usize| {
            let project = input.keys[id].project_id;
            replay.keys.projects[&project]
                .usage
                .used(Measure::RequestsPerDay, replay.now)
        };
        [usage(0), usage(1)]
    };
    assert_eq!(leased(&input), [10, 0]);

    WhatIfChange::KeyOrder(KeyOrder::OnePriority).apply(&mut input);

    assert_eq!(leased(&input), [5, 5]);
}

proptest! {
    #[test]
    fn every_request_ends_once_within_its_wait_and_its_attempts(
        keys in 0_i64..4,
        gaps in prop::collection::vec(0_u64..3_000, 1..60),
        wait in 0_u64..20,
        concurrency in 0_u32..3,
        daily in 0_u64..40,
        failing in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut input = input(keys, u32::try_from(gaps.len()).unwrap(), 0);
        let mut at = START;
        for (number, gap) in gaps.iter().enumerate() {
            at = at + Duration::from_millis(*gap);
            input.requests[number].at = at;
            let rule = if failing[number] { Rule::Overloaded } else { Rule::Success };
            input.attempts.push(LoggedAttempt { at, project: ProjectId(1), model: 0, rule });
        }
        if daily > 0 {
            limit(&mut input, Measure::RequestsPerDay, daily);
        }
        input.settings.wait_for_key_seconds = wait;
        input.settings.per_key_concurrency = concurrency;

        let ended = replay(&input, &mut |_| {});

        prop_assert_eq!(ended.len(), gaps.len());
        let answered = ended.iter().filter(|ended| ended.end == ReplayEnd::Answered).count();
        if daily > 0 {
            let most = daily * u64::try_from(keys).unwrap();
            prop_assert!(u64::try_from(answered).unwrap() <= most, "{} of {}", answered, most);
        }
        for one in &ended {
            prop_assert!(one.waited <= Duration::from_secs(wait), "{:?}", one);
            prop_assert!(one.attempts <= input.settings.max_keys_per_request, "{:?}", one);
        }
        prop_assert_eq!(replay(&input, &mut |_| {}), ended);
    }
}
