//! Tests of the status of keys.

use std::time::Duration;

use super::*;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::cooldown::EVERY_MODEL;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::registry::KeyPolicy;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKey};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::settings::Settings;

/// Noon in California, in winter.
const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000);
const ID: UpstreamKeyId = UpstreamKeyId(1);

fn key(id: i64) -> UpstreamKey {
    UpstreamKey {
        billing: Billing::Free,
        ..UpstreamKey::example(id, id, NOW)
    }
}

fn keys() -> KeyRegistry {
    let mut keys = KeyRegistry::default();
    for id in 1..=2 {
        keys.put(key(id), 0, NOW);
    }
    keys
}

fn in_minutes(minutes: u64) -> Timestamp {
    NOW + Duration::from_mins(minutes)
}

fn cooldown(keys: &mut KeyRegistry, model: &str, rule: Rule, minutes: u64) {
    let cooldown = Cooldown {
        rule,
        step: 0,
        since: NOW,
        until: in_minutes(minutes),
    };
    keys.set_cooldown(ProjectId(1), model, cooldown);
}

fn key_status_summary(keys: &KeyRegistry, now: Timestamp) -> (KeyStatusKind, Option<Timestamp>) {
    let summary = keys.key_status_summary(ID, now).unwrap();
    (summary.kind, summary.until)
}

#[test]
fn a_status_includes_its_end() {
    let check = Some(in_minutes(10));
    let cases = [
        (KeyState::Ready, None, None, (KeyStatusKind::Ready, None)),
        (KeyState::Trial, None, None, (KeyStatusKind::Trial, None)),
        (
            KeyState::CoolingDown,
            check,
            None,
            (KeyStatusKind::CoolingDown, check),
        ),
        (
            KeyState::CoolingDown,
            Some(NOW),
            None,
            (KeyStatusKind::Trial, None),
        ),
        (
            KeyState::Invalid,
            None,
            check,
            (KeyStatusKind::Invalid, check),
        ),
        (KeyState::Leaked, None, None, (KeyStatusKind::Leaked, None)),
        (
            KeyState::Suspended,
            None,
            check,
            (KeyStatusKind::Suspended, check),
        ),
        (
            KeyState::Misconfigured,
            None,
            check,
            (KeyStatusKind::Misconfigured, check),
        ),
    ];
    for (state, until, next_check, expected) in cases {
        let mut keys = KeyRegistry::default();
        let condition = KeyCondition {
            state,
            until,
            next_check,
            ..KeyCondition::ready(NOW)
        };
        let row = UpstreamKey {
            condition,
            ..key(1)
        };
        keys.put(row.clone(), 0, NOW);
        assert_eq!(key_status_summary(&keys, NOW), expected, "{state:?}");

        keys.put(
            UpstreamKey {
                enabled: false,
                ..row
            },
            0,
            NOW,
        );
        assert_eq!(
            key_status_summary(&keys, NOW),
            (KeyStatusKind::Disabled, None),
            "{state:?}"
        );
    }
    assert!(keys().key_status_summary(UpstreamKeyId(9), NOW).is_none());
}

#[test]
fn a_key_is_ready_without_the_models_that_its_project_never_had() {
    let mut keys = keys();
    cooldown(&mut keys, "pro", Rule::QuotaZero, 90);
    assert_eq!(key_status_summary(&keys, NOW), (KeyStatusKind::Ready, None));

    cooldown(&mut keys, "flash", Rule::QuotaPerMinute, 95);
    let part = (KeyStatusKind::PartlyCoolingDown, Some(in_minutes(95)));
    assert_eq!(key_status_summary(&keys, NOW), part);
    let key_status = keys.key_status(UpstreamKeyId(1), NOW).unwrap();
    assert_eq!(key_status.missing_models(), ["pro"]);
    let deciding = key_status.deciding_cooldown().unwrap();
    assert_eq!(deciding.model.as_deref(), Some("flash"));
}

#[test]
fn a_cooldown_for_some_models_differs_from_one_for_all() {
    let mut keys = keys();
    cooldown(&mut keys, "pro", Rule::QuotaPerDay, 90);
    cooldown(&mut keys, "flash", Rule::QuotaPerMinute, 1);
    let part = (KeyStatusKind::PartlyCoolingDown, Some(in_minutes(1)));
    assert_eq!(key_status_summary(&keys, NOW), part);
    let later = (KeyStatusKind::PartlyCoolingDown, Some(in_minutes(90)));
    assert_eq!(key_status_summary(&keys, in_minutes(1)), later);

    cooldown(&mut keys, EVERY_MODEL, Rule::QuotaPerMinute, 5);

    assert_eq!(
        key_status_summary(&keys, NOW),
        (KeyStatusKind::CoolingDown, Some(in_minutes(5)))
    );
    let cooldowns = keys.key_status(ID, NOW).unwrap().cooldowns;
    let shown: Vec<_> = cooldowns
        .iter()
        .map(|cooldown| (cooldown.model.as_deref(), cooldown.reason))
        .collect();
    let expected = [
        (Some("pro"), CooldownReason::Verdict(Rule::QuotaPerDay)),
        (None, CooldownReason::Verdict(Rule::QuotaPerMinute)),
        (Some("flash"), CooldownReason::Verdict(Rule::QuotaPerMinute)),
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        key_status_summary(&keys, in_minutes(90)),
        (KeyStatusKind::Ready, None)
    );
}

#[test]
fn a_limit_used_up_by_our_own_count_is_shown_with_its_window() {
    let mut keys = keys();
    let amount = QuotaAmount {
        requests: 20,
        tokens: 500,
    };
    keys.restore_usage(ID, "flash", amount, None, NOW);
    // Google named the limit for another project.
    keys.restore_limit(
        ProjectId(2),
        "flash",
        Measure::RequestsPerDay,
        ObservedLimit::Limit(20),
        NOW,
    );

    let key_status = keys.key_status(ID, NOW).unwrap();

    assert_eq!(key_status.kind, KeyStatusKind::PartlyCoolingDown);
    let midnight = end_of_google_day(NOW);
    let expected = KeyCooldown {
        model: Some("flash".to_owned()),
        since: None,
        until: midnight,
        reason: CooldownReason::QuotaUsed(Measure::RequestsPerDay),
    };
    assert_eq!(key_status.cooldowns, [expected]);
    let of = QuotaWindowScope::Model("flash".to_owned());
    let window = |measure, used, limit, source| QuotaWindowStatus {
        of: of.clone(),
        measure,
        used,
        limit,
        source,
        resets_at: Some(midnight),
    };
    let expected = [
        window(
            Measure::RequestsPerDay,
            20,
            Some(20),
            LimitSource::Inherited,
        ),
        window(Measure::TokensPerDay, 500, None, LimitSource::Unknown),
    ];
    assert_eq!(key_status.windows, expected);
    let named = keys.key_status(UpstreamKeyId(2), NOW).unwrap().windows;
    assert_eq!((named[0].source, named[0].used), (LimitSource::Named, 0));
    assert_eq!(named[0].resets_at, None);
}

#[test]
fn the_admins_limits_are_shown_as_windows() {
    let mut keys = keys();
    keys.set_policy(KeyPolicy::of(&Settings {
        key_requests_per_minute: 2,
        ..Settings::default()
    }));
    let amount = QuotaAmount::requests(2);
    keys.restore_usage(ID, "flash", amount, Some(NOW), NOW);

    let key_status = keys.key_status(ID, NOW).unwrap();

    assert_eq!(key_status.kind, KeyStatusKind::CoolingDown);
    let limit = CooldownReason::KeyLimit(Measure::RequestsPerMinute);
    assert_eq!(key_status.cooldowns[0].reason, limit);
    let window = &key_status.windows[0];
    assert_eq!(
        (&window.of, window.limit),
        (&QuotaWindowScope::Key, Some(2))
    );
    assert_eq!(window.resets_at, Some(key_status.cooldowns[0].until));
}

#[test]
fn the_last_cooldown_to_end_decides_and_googles_answer_precedes_our_count() {
    let mut keys = keys();
    let day_ends = end_of_google_day(NOW);
    let amount = QuotaAmount::requests(20);
    for model in ["flash", "pro"] {
        keys.restore_usage(ID, model, amount, None, NOW);
        let observed = ObservedLimit::Limit(20);
        keys.restore_limit(ProjectId(1), model, Measure::RequestsPerDay, observed, NOW);
    }
    cooldown(&mut keys, "flash", Rule::QuotaPerMinute, 1);
    let from_google = Cooldown {
        rule: Rule::QuotaPerDay,
        step: 0,
        since: NOW,
        until: day_ends,
    };
    keys.set_cooldown(ProjectId(1), "pro", from_google);
    cooldown(&mut keys, "lite", Rule::QuotaPerMinute, 2);

    let key_status = keys.key_status(ID, NOW).unwrap();

    let effective_cooldowns: Vec<_> = key_status
        .effective_cooldowns()
        .iter()
        .map(|cooldown| cooldown.until)
        .collect();
    assert_eq!(effective_cooldowns, [in_minutes(2), day_ends, day_ends]);
    let whys: Vec<_> = key_status.effective_cooldowns()[1..]
        .iter()
        .map(|cooldown| (cooldown.model.as_deref(), cooldown.reason))
        .collect();
    assert!(whys.contains(&(
        Some("flash"),
        CooldownReason::QuotaUsed(Measure::RequestsPerDay)
    )));
    assert!(whys.contains(&(Some("pro"), CooldownReason::Verdict(Rule::QuotaPerDay))));
    assert_eq!(
        key_status
            .deciding_cooldown()
            .map(|cooldown| cooldown.until),
        Some(in_minutes(2))
    );
    assert_eq!(
        keys.key_status_summary(ID, NOW).unwrap().until,
        Some(in_minutes(2))
    );
}

#[test]
fn summaries_contain_every_key() {
    let shared = SharedKeyRegistry::default();
    for id in 1..=2_500 {
        shared.lock().put(key(id), 0, NOW);
    }

    let summaries = shared.key_status_summaries(NOW);

    let mut ids: Vec<_> = summaries.values().map(|summary| summary.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=2_500).collect::<Vec<_>>());
}
