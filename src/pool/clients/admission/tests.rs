//! Tests of the limits of client keys.

use proptest::prelude::*;

use super::*;

const ID: ClientKeyId = ClientKeyId(1);
const START: i64 = 1_795_334_400_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn limited(
    limits: ClientLimits,
) -> impl FnMut(&SharedAdmission, Timestamp) -> Result<Permit, LimitReached> {
    move |admission, now| {
        let mut permit = admission
            .take_slot(ID, &limits, || now)?
            .expect("there are limits");
        permit.admit(&limits, 0, || now)?;
        Ok(permit)
    }
}

/// Takes a slot and counts its request.
fn admit(
    admission: &mut Admission,
    limits: &ClientLimits,
    now: Timestamp,
) -> Result<(), LimitReached> {
    admission.take_slot(ID, limits, now)?;
    let admitted = admission.admit(ID, limits, 0, now);
    admitted.inspect_err(|_| admission.release(ID, None, 0, false))
}

/// A complete request that is sent to Google.
fn spend(
    admission: &SharedAdmission,
    limits: ClientLimits,
    now: Timestamp,
    charge: ClientCharge,
) -> Result<(), LimitReached> {
    let permit = limited(limits)(admission, now)?;
    permit.settle(charge, now);
    Ok(())
}

fn tokens(tokens: u64) -> ClientCharge {
    ClientCharge {
        tokens,
        cost_nano_usd: 0,
    }
}

fn in_zone(name: &str) -> SharedAdmission {
    let admission = SharedAdmission::default();
    let zone = TimeZone::get(name).unwrap();
    assert!(admission.lock().set_limits(&zone, []).is_empty());
    admission
}

#[test]
fn a_key_without_limits_is_not_counted() {
    let admission = SharedAdmission::default();

    let permit = admission
        .take_slot(ID, &ClientLimits::default(), || at(0))
        .unwrap();

    assert!(permit.is_none());
    assert!(admission.lock().used.is_empty());
}

#[test]
fn reading_the_usage_of_a_limit_does_not_change_it() {
    let admission = SharedAdmission::default();
    let limits = ClientLimits {
        requests_per_day: Some(5),
        ..ClientLimits::default()
    };
    let used = |limit, now| admission.lock().used(ID, limit, now);

    assert_eq!(used(ClientLimit::RequestsPerDay, at(0)), 0);
    spend(&admission, limits, at(0), tokens(7)).unwrap();
    let running = limited(limits)(&admission, at(0)).unwrap();

    assert_eq!(used(ClientLimit::RequestsPerDay, at(1)), 2);
    assert_eq!(used(ClientLimit::TokensPerMinute, at(1)), 7);
    assert_eq!(used(ClientLimit::Concurrency, at(1)), 1);
    assert_eq!(used(ClientLimit::RequestsPerDay, at(24 * 3_600_000)), 0);
    drop(running);
}

#[test]
fn the_minute_of_requests_slides_and_refused_ones_do_not_count() {
    let limits = ClientLimits {
        requests_per_minute: Some(2),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let ask = |millis| spend(&admission, limits, at(millis), tokens(1));
    ask(0).unwrap();
    ask(30_000).unwrap();

    let denied = ask(30_500).unwrap_err();

    let expected = LimitReached {
        limit: ClientLimit::RequestsPerMinute,
        most: 2,
        used: 2,
        retry_after: Duration::from_millis(30_500),
    };
    assert_eq!(denied, expected);
    assert!(ask(60_999).is_err());
    ask(61_000).unwrap();
    let denied = ask(61_000).unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_secs(30));
}

#[test]
fn a_request_not_sent_to_google_is_subtracted() {
    let limits = ClientLimits {
        requests_per_minute: Some(1),
        requests_per_day: Some(1),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let mut ask = limited(limits);

    drop(ask(&admission, at(0)).unwrap());
    drop(ask(&admission, at(0)).unwrap());
    ask(&admission, at(0)).unwrap().settle(tokens(0), at(0));

    assert_eq!(ask(&admission, at(0)).unwrap_err().used, 1);
}

#[test]
fn a_request_subtracted_tomorrow_does_not_change_tomorrows_count() {
    let limits = ClientLimits {
        requests_per_day: Some(1),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let mut ask = limited(limits);
    let (today, tomorrow) = (time("2026-11-22T23:59:59Z"), time("2026-11-23T00:00:00Z"));
    let early = ask(&admission, today).unwrap();
    ask(&admission, tomorrow)
        .unwrap()
        .settle(tokens(0), tomorrow);

    drop(early);

    assert!(ask(&admission, tomorrow).is_err());
}

#[test]
fn a_slot_is_held_until_the_permit_is_dropped() {
    let limits = ClientLimits {
        concurrency: Some(2),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let mut ask = limited(limits);
    let first = ask(&admission, at(0)).unwrap();
    let _second = ask(&admission, at(0)).unwrap();

    let denied = ask(&admission, at(10)).unwrap_err();
    first.settle(tokens(1_000_000), at(20));

    assert_eq!(denied.limit, ClientLimit::Concurrency);
    assert_eq!(denied.retry_after, Duration::from_secs(1));
    assert!(ask(&admission, at(30)).is_ok());
}

#[test]
fn tokens_exceed_the_limit_by_the_requests_in_flight() {
    let limits = ClientLimits {
        tokens_per_minute: Some(100),
        tokens_per_day: Some(250),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let mut ask = limited(limits);
    let (first, second) = (
        ask(&admission, at(0)).unwrap(),
        ask(&admission, at(0)).unwrap(),
    );
    first.settle(tokens(99), at(1_000));
    let third = ask(&admission, at(1_000)).unwrap();
    second.settle(tokens(50), at(2_000));

    let denied = ask(&admission, at(2_000)).unwrap_err();
    assert_eq!(
        (denied.limit, denied.used),
        (ClientLimit::TokensPerMinute, 149)
    );
    // The first second's tokens no longer count.
    assert_eq!(denied.retry_after, Duration::from_mins(1));

    third.settle(tokens(200), at(3_000));
    let denied = ask(&admission, at(3_000)).unwrap_err();
    assert_eq!(
        (denied.limit, denied.used),
        (ClientLimit::TokensPerDay, 349)
    );
}

#[test]
fn the_limit_with_the_longest_wait_is_reported() {
    let limits = ClientLimits {
        requests_per_minute: Some(1),
        requests_per_day: Some(1),
        concurrency: Some(1),
        ..ClientLimits::default()
    };
    let mut ask = limited(limits);
    let cases = [
        ("2026-11-22T23:59:30Z", ClientLimit::RequestsPerMinute, 61),
        (
            "2026-11-22T12:00:00Z",
            ClientLimit::RequestsPerDay,
            12 * 3_600,
        ),
    ];
    for (now, limit, seconds) in cases {
        let admission = SharedAdmission::default();
        let _permit = ask(&admission, time(now)).unwrap();
        let denied = ask(&admission, time(now)).unwrap_err();
        assert_eq!(
            (denied.limit, denied.retry_after.as_secs()),
            (limit, seconds),
            "{now}"
        );
    }
}

#[test]
fn days_and_months_end_in_the_configured_zone() {
    let limits = ClientLimits {
        requests_per_day: Some(1),
        ..ClientLimits::default()
    };
    let budget = ClientLimits {
        cost_per_month_nano_usd: Some(1_000_000_000),
        ..ClientLimits::default()
    };
    let dear = ClientCharge {
        tokens: 0,
        cost_nano_usd: 1_500_000_000,
    };
    let cases = [
        ("UTC", "2026-11-30T12:00:00Z", 12, 12),
        ("Asia/Taipei", "2026-11-30T12:00:00Z", 4, 4),
        ("Asia/Taipei", "2026-11-30T17:00:00Z", 23, 31 * 24 - 1),
        // The longest day of the year there, and its month is an hour longer too.
        ("Europe/Berlin", "2026-10-24T22:00:00Z", 25, 7 * 24 + 1),
    ];
    for (zone, now, day, month) in cases {
        let now = time(now);
        for (limits, limit, hours) in [
            (limits, ClientLimit::RequestsPerDay, day),
            (budget, ClientLimit::CostPerMonth, month),
        ] {
            let admission = in_zone(zone);
            spend(&admission, limits, now, dear).unwrap();

            let denied = spend(&admission, limits, now, dear).unwrap_err();

            let wait = Duration::from_secs(hours * 3_600);
            assert_eq!(
                (denied.limit, denied.retry_after),
                (limit, wait),
                "{now} in {zone}"
            );
            let just_before = now + wait - Duration::from_millis(1);
            assert!(spend(&admission, limits, just_before, dear).is_err());
            assert!(spend(&admission, limits, now + wait, dear).is_ok());
        }
    }
}

#[test]
fn usage_is_restored_once_for_each_limit_and_again_for_another_zone() {
    let (other, per_minute) = (
        ClientKeyId(2),
        ClientLimits {
            requests_per_minute: Some(5),
            ..ClientLimits::default()
        },
    );
    let per_day = ClientLimits {
        requests_per_day: Some(10),
        ..per_minute
    };
    let none = ClientLimits::default();
    let mut admission = Admission::default();
    let unknown = |admission: &mut Admission, zone: &TimeZone, limits: &ClientLimits| {
        admission.set_limits(zone, [(ID, limits), (other, &none)])
    };

    let utc = TimeZone::UTC;
    assert_eq!(
        unknown(&mut admission, &utc, &per_minute),
        [(ID, per_minute)]
    );
    admission.restore(ID, per_minute, LoggedUsage::default(), at(0));
    assert_eq!(unknown(&mut admission, &utc, &per_minute), []);
    assert_eq!(unknown(&mut admission, &utc, &per_day), [(ID, per_day)]);
    admit(&mut admission, &per_day, at(0)).unwrap();
    let past = LoggedUsage {
        requests_of_the_day: Some(8),
        ..LoggedUsage::default()
    };
    admission.restore(ID, per_day, past, at(0));
    assert_eq!(unknown(&mut admission, &utc, &per_minute), []);
    let taipei = TimeZone::get("Asia/Taipei").unwrap();
    assert_eq!(unknown(&mut admission, &taipei, &per_day), [(ID, per_day)]);

    // Eight in the log, one in flight.
    admission.restore(
        ID,
        per_day,
        LoggedUsage {
            requests_of_the_day: Some(8),
            ..LoggedUsage::default()
        },
        at(0),
    );
    admit(&mut admission, &per_day, at(0)).unwrap();
    assert_eq!(admit(&mut admission, &per_day, at(0)).unwrap_err().used, 10);

    unknown(&mut admission, &taipei, &none);
    assert_eq!(admission.used.len(), 1, "two requests run");
    for _ in 0..2 {
        admission.release(ID, Some(at(0)), 0, true);
    }
    unknown(&mut admission, &taipei, &none);
    assert!(admission.used.is_empty());
}

#[test]
fn a_limit_removed_during_a_request_is_restored_again() {
    let per_day = ClientLimits {
        requests_per_day: Some(10),
        ..ClientLimits::default()
    };
    let none = ClientLimits::default();
    let mut admission = Admission::default();
    admission.set_limits(&TimeZone::UTC, [(ID, &per_day)]);
    admission.restore(ID, per_day, LoggedUsage::default(), at(0));
    admit(&mut admission, &per_day, at(0)).unwrap();

    admission.set_limits(&TimeZone::UTC, [(ID, &none)]);

    // A request without a limit is only in the log.
    let unknown = admission.set_limits(&TimeZone::UTC, [(ID, &per_day)]);
    assert_eq!(unknown, [(ID, per_day)]);
}

#[test]
fn another_limit_keeps_the_count_of_the_first() {
    let per_day = ClientLimits {
        requests_per_day: Some(10),
        ..ClientLimits::default()
    };
    let both = ClientLimits {
        tokens_per_day: Some(100),
        ..per_day
    };
    let mut admission = Admission::default();
    admission.set_limits(&TimeZone::UTC, [(ID, &per_day)]);
    admission.restore(ID, per_day, LoggedUsage::default(), at(0));
    for _ in 0..10 {
        admit(&mut admission, &per_day, at(0)).unwrap();
        admission.release(ID, Some(at(0)), 0, true);
    }

    // Three of the rows are not yet in the log.
    let past = LoggedUsage {
        requests_of_the_day: Some(7),
        tokens_of_the_day: Some(70),
        ..LoggedUsage::default()
    };
    admission.restore(ID, both, past, at(1));

    let denied = admit(&mut admission, &both, at(1)).unwrap_err();
    assert_eq!(
        (denied.limit, denied.used),
        (ClientLimit::RequestsPerDay, 10)
    );
    assert_eq!(admission.used[&ID].tokens_of_the_day, 70);
}

#[test]
fn parallel_requests_are_admitted_exactly_up_to_the_limits() {
    let limits = ClientLimits {
        requests_per_minute: Some(100),
        concurrency: Some(150),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let ask = || {
        let permits = (0..100).map(|_| limited(limits)(&admission, at(0)));
        permits.filter_map(Result::ok).collect::<Vec<_>>()
    };

    let permits: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.flatten().collect()
    });

    assert_eq!(permits.len(), 100);
    drop(permits);
    let used = &admission.lock().used[&ID];
    assert_eq!((used.in_flight, used.requests_of_the_day), (0, 0));
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_and_every_wait_is_correct(
        (per_minute, per_day, at_once) in (1..6_u64, 3..20_u64, 1..4_u64),
        steps in prop::collection::vec((0..40_000_i64, 0..3_u8, any::<bool>()), 1..150),
    ) {
        let limits = ClientLimits {
            requests_per_minute: Some(per_minute),
            requests_per_day: Some(per_day),
            concurrency: Some(at_once),
            ..ClientLimits::default()
        };
        let mut admission = Admission::default();
        // Counted requests, and running ones.
        let (mut sent, mut running): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut now = 0;
        for (gap, act, was_sent) in steps {
            now += gap;
            if act == 0 {
                if let Some(since) = running.pop() {
                    admission.release(ID, Some(at(since)), 0, was_sent);
                    if !was_sent {
                        let position = sent.iter().rposition(|then| *then == since).unwrap();
                        sent.remove(position);
                    }
                }
                continue;
            }
            match admit(&mut admission, &limits, at(now)) {
                Ok(()) => {
                    sent.push(now);
                    running.push(now);
                }
                Err(denied) if denied.limit != ClientLimit::Concurrency => {
                    let wait = i64::try_from(denied.retry_after.as_millis()).unwrap();
                    let too_early = admission.used.get_mut(&ID).unwrap().denied(&limits, &COUNTED, at(now + wait - 1));
                    prop_assert!(too_early.is_some());
                    for since in running.drain(..) {
                        admission.release(ID, Some(at(since)), 0, true);
                    }
                    now += wait;
                    prop_assert_eq!(admit(&mut admission, &limits, at(now)), Ok(()));
                    sent.push(now);
                    running.push(now);
                }
                Err(_) => {}
            }
            let within = |span: i64| sent.iter().filter(|then| **then > now - span).count() as u64;
            let day = day_of(at(now), &TimeZone::UTC);
            let today = sent.iter().filter(|then| day.contains(at(**then))).count() as u64;
            prop_assert!(within(60_000) <= per_minute);
            prop_assert!(today <= per_day);
            prop_assert!(running.len() as u64 <= at_once);
        }
    }
}

#[test]
fn the_estimated_tokens_of_requests_in_flight_are_reserved() {
    let limits = ClientLimits {
        tokens_per_day: Some(3_000),
        ..ClientLimits::default()
    };
    let admission = SharedAdmission::default();
    let admit = || {
        let mut permit = admission.take_slot(ID, &limits, || at(0)).ok()??;
        permit.admit(&limits, 2_000, || at(0)).ok()?;
        Some(permit)
    };
    let permits: Vec<_> = std::iter::repeat_with(admit).take(12).flatten().collect();

    assert_eq!(permits.len(), 2);
    drop(permits);
    assert!(admit().is_some());
}
