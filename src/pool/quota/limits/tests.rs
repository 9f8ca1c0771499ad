//! Tests of observed and inherited limits.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
const ONE: QuotaAmount = QuotaAmount {
    requests: 1,
    tokens: 100,
};

fn midnight() -> Timestamp {
    NOW + Duration::from_hours(5)
}

fn limits(per_minute: u64, tokens: u64, per_day: u64) -> QuotaLimits {
    QuotaLimits::of_settings(per_minute, tokens, per_day, 0)
}

#[test]
fn a_violation_names_its_measure() {
    let cases = [
        (
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            QuotaWindow::Minute,
            Some(Measure::RequestsPerMinute),
        ),
        (
            "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            QuotaWindow::Minute,
            Some(Measure::TokensPerMinute),
        ),
        (
            "GenerateContentPaidTierInputTokensPerModelPerMinute",
            QuotaWindow::Minute,
            Some(Measure::TokensPerMinute),
        ),
        (
            "GenerateRequestsPerDayPerProjectPerModel",
            QuotaWindow::Day,
            Some(Measure::RequestsPerDay),
        ),
        (
            "GenerateContentInputTokensPerModelPerDay-FreeTier",
            QuotaWindow::Day,
            Some(Measure::TokensPerDay),
        ),
        (
            "EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier",
            QuotaWindow::Day,
            Some(Measure::RequestsPerDay),
        ),
        ("Something", QuotaWindow::Unknown, None),
    ];
    for (quota_id, window, expected) in cases {
        let violation = Violation {
            quota_id: quota_id.to_owned(),
            metric: String::new(),
            model: None,
            window,
            limit: None,
        };
        assert_eq!(Measure::of(&violation), expected, "{quota_id}");
    }
}

#[test]
fn the_exhausted_limit_with_the_latest_end_decides() {
    let mut usage = QuotaUsage::default();
    let limits = limits(2, 1_000, 3);
    let mut full = Vec::new();
    for _ in 0..3 {
        full.push(
            usage
                .exhausted(&limits, NOW, midnight())
                .map(|full| full.measure),
        );
        usage.add(ONE, NOW, midnight());
    }

    assert_eq!(full, [None, None, Some(Measure::RequestsPerMinute)]);
    let day = ExhaustedLimit {
        until: midnight(),
        measure: Measure::RequestsPerDay,
    };
    assert_eq!(usage.exhausted(&limits, NOW, midnight()), Some(day));
    assert_eq!(usage.share_of_day(&limits, NOW), 1_000);
    assert_eq!(
        usage.exhausted(&limits, midnight(), midnight() + Duration::from_hours(24)),
        None
    );
}

#[test]
fn a_batch_needs_room_for_all_of_it_or_no_usage_at_all() {
    let limits = limits(0, 0, 1_000);
    let texts = |requests| QuotaAmount::requests(requests);
    let mut usage = QuotaUsage::default();

    assert_eq!(
        usage.limit_without_room(&limits, texts(2_000), NOW, midnight()),
        None
    );
    usage.add(texts(960), NOW, midnight());
    assert_eq!(
        usage.limit_without_room(&limits, texts(40), NOW, midnight()),
        None
    );
    assert!(
        usage
            .limit_without_room(&limits, texts(41), NOW, midnight())
            .is_some()
    );
}

#[test]
fn a_limit_of_another_project_is_inherited_until_contradicted() {
    let mut quota = ModelQuota::default();
    let inherited = limits(0, 0, 2);
    let limit = |quota: &ModelQuota| quota.limits(&inherited, NOW).get(Measure::RequestsPerDay);

    assert_eq!(limit(&quota), Some(2));
    for _ in 0..3 {
        quota.usage.add(ONE, NOW, midnight());
        quota.in_flight += 1;
    }
    assert_eq!(
        limit(&quota),
        Some(2),
        "requests in flight may still be refused"
    );
    quota.in_flight = 0;
    assert_eq!(limit(&quota), None, "three succeeded");
    quota.learn(Measure::RequestsPerDay, ObservedLimit::Limit(3));
    assert_eq!(limit(&quota), Some(3));
    quota.learn(Measure::RequestsPerDay, ObservedLimit::Contradicted);
    assert_eq!(limit(&quota), None);
}

#[test]
fn an_inherited_limit_is_probed_more_rarely_with_each_confirmation() {
    let mut inherited = InheritedLimits::default();
    assert!(
        !inherited.may_be_probed(Billing::Free, NOW),
        "there is no limit to probe"
    );

    let mut now = NOW;
    let waits: Vec<_> = (0..9)
        .map(|_| {
            inherited.learn(Billing::Free, Measure::RequestsPerDay, 20, now);
            let minutes = (0..1_000).find(|minutes| {
                inherited.may_be_probed(Billing::Free, now + Duration::from_mins(*minutes))
            });
            now = now + Duration::from_mins(minutes.unwrap());
            minutes.unwrap()
        })
        .collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128]);
    assert_eq!(inherited.limits(Billing::Paid), &QuotaLimits::default());

    inherited.contradicted(Billing::Free, Measure::RequestsPerDay);
    assert!(inherited.may_be_probed(Billing::Free, NOW));
}

#[test]
fn the_largest_of_different_limits_is_inherited() {
    let mut inherited = InheritedLimits::default();
    for limit in [20, 500, 20] {
        inherited.learn(Billing::Unknown, Measure::RequestsPerDay, limit, NOW);
    }

    assert_eq!(
        inherited
            .limits(Billing::Unknown)
            .get(Measure::RequestsPerDay),
        Some(500)
    );
}
