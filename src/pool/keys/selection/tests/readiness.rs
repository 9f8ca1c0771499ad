//! In any sequence of events, the stored readiness is never worse than the real one.

use super::*;
use crate::pool::keys::ready_index::Readiness;

const MODELS: [&str; 2] = ["flash", "pro"];

/// An event in a small pool.
#[derive(Debug, Clone)]
enum Event {
    Lease {
        model: usize,
        requests: u64,
        tokens: u64,
        tag: Option<&'static str>,
        project: Option<i64>,
    },
    /// A request ends; without a verdict it was dropped.
    End {
        which: usize,
        verdict: Option<usize>,
        tokens: Option<u64>,
        counted_late: bool,
    },
    Pass(u64),
    SetBack(u64),
    Put {
        id: i64,
        project: i64,
        enabled: bool,
        tag: Option<&'static str>,
        billing: Billing,
        is_cleared: bool,
    },
    Remove(i64),
    Clear(i64),
    Check {
        id: i64,
        verdict: usize,
        has_generated: bool,
    },
    SetPolicy(KeyPolicy),
}

fn events() -> impl Strategy<Value = Event> {
    let tag = || prop_oneof![3 => Just(None), 1 => Just(Some("a"))];
    let verdict = || 0..verdicts().len();
    prop_oneof![
        8 => (0..2_usize, 0..4_u64, 0..200_u64, tag(), prop::option::weighted(0.3, 1..6_i64))
            .prop_map(|(model, requests, tokens, tag, project)| {
                Event::Lease { model, requests, tokens, tag, project }
            }),
        8 => (any::<usize>(), prop::option::weighted(0.9, verdict()), prop::option::of(0..50_u64), any::<bool>())
            .prop_map(|(which, verdict, tokens, counted_late)| Event::End { which, verdict, tokens, counted_late }),
        4 => prop_oneof![Just(1), Just(1_000), Just(20_000), Just(61_000), Just(3_600_000), Just(86_400_000)]
            .prop_map(Event::Pass),
        1 => prop_oneof![Just(1), Just(7_200_000), Just(864_000_000)].prop_map(Event::SetBack),
        2 => (1..7_i64, 1..5_i64, prop::bool::weighted(0.9), tag(), any_billing(), prop::bool::weighted(0.2))
            .prop_map(|(id, project, enabled, tag, billing, is_cleared)| {
                Event::Put { id, project, enabled, tag, billing, is_cleared }
            }),
        1 => (1..7_i64).prop_map(Event::Remove),
        1 => (1..5_i64).prop_map(Event::Clear),
        1 => (1..7_i64, verdict(), any::<bool>())
            .prop_map(|(id, verdict, has_generated)| Event::Check { id, verdict, has_generated }),
        1 => (0..3_u32, 0..4_u64, 0..4_u64, prop_oneof![Just(0_u64), Just(100)])
            .prop_map(|(per_key_concurrency, per_day, by_project, tokens)| Event::SetPolicy(KeyPolicy {
                per_key_concurrency,
                key_limits: QuotaLimits::of_settings(0, 0, per_day, tokens),
                project_limits: QuotaLimits::of_settings(by_project, 0, 0, 2 * tokens),
                ..KeyPolicy::of(&Settings::default())
            })),
    ]
}

fn any_billing() -> impl Strategy<Value = Billing> {
    prop_oneof![
        Just(Billing::Unknown),
        Just(Billing::Free),
        Just(Billing::Paid)
    ]
}

/// The verdicts of attempts.
fn verdicts() -> Vec<Verdict> {
    let names = |rule, id: &str, window, limit| Verdict {
        violations: vec![Violation {
            quota_id: id.into(),
            metric: String::new(),
            model: None,
            window,
            limit: Some(limit),
        }],
        ..verdict(rule)
    };
    let per_day = "GenerateRequestsPerDayPerProjectPerModel";
    let free_per_day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
    let per_minute = "GenerateRequestsPerMinutePerProjectPerModel";
    let mut verdicts = vec![
        names(Rule::QuotaPerDay, per_day, QuotaWindow::Day, 2),
        names(Rule::QuotaPerDay, per_day, QuotaWindow::Day, 5),
        names(Rule::QuotaPerDay, free_per_day, QuotaWindow::Day, 3),
        names(Rule::QuotaPerMinute, per_minute, QuotaWindow::Minute, 2),
        names(Rule::QuotaPerMinute, per_minute, QuotaWindow::Minute, 4),
        names(Rule::QuotaZero, free_per_day, QuotaWindow::Day, 0),
        Verdict {
            status: None,
            ..verdict(Rule::ConnectFailed)
        },
    ];
    let rules = [
        Rule::Success,
        Rule::Success,
        Rule::Success,
        Rule::InternalError,
        Rule::Overloaded,
        Rule::QuotaWithoutDetail,
        Rule::ApiKeyInvalid,
        Rule::ConsumerSuspended,
        Rule::InvalidRequest,
    ];
    verdicts.extend(rules.map(verdict));
    verdicts
}

struct Life {
    keys: KeyRegistry,
    now: Timestamp,
    in_flight: Vec<(LeasedKey, &'static str, Timestamp)>,
    revision: i64,
}

impl Life {
    fn happen(&mut self, event: &Event) {
        let (keys, now) = (&mut self.keys, self.now);
        match event.clone() {
            Event::Lease {
                model,
                requests,
                tokens,
                tag,
                project,
            } => {
                let tags: Vec<_> = tag.iter().map(ToString::to_string).collect();
                let lease_request = LeaseRequest {
                    model: MODELS[model],
                    amount: QuotaAmount { requests, tokens },
                    tags: &tags,
                    project: project.map(ProjectId),
                };
                if let Ok(leased) = keys.lease(&lease_request, &TriedKeys::default(), now) {
                    let model = if requests > 0 { MODELS[model] } else { "" };
                    self.in_flight.push((leased, model, now));
                }
            }
            Event::End {
                which,
                verdict,
                tokens,
                counted_late,
            } if !self.in_flight.is_empty() => {
                let which = which % self.in_flight.len();
                let (leased, model, began) = self.in_flight.swap_remove(which);
                if let Some(verdict) = verdict {
                    let timing = AttemptTiming {
                        began,
                        ..timing(now)
                    };
                    settle_and_blame(keys, &leased, model, &verdicts()[verdict], timing);
                }
                if counted_late {
                    keys.release(&leased);
                }
                if let Some(tokens) = tokens.filter(|_| !model.is_empty()) {
                    keys.count_tokens(&leased, model, tokens, now);
                }
                if !counted_late {
                    keys.release(&leased);
                }
            }
            Event::End { .. } => {}
            Event::Pass(ms) => self.now = now + Duration::from_millis(ms),
            Event::SetBack(ms) => self.now = now - Duration::from_millis(ms),
            Event::Put {
                id,
                project,
                enabled,
                tag,
                billing,
                is_cleared,
            } => {
                self.revision += i64::from(is_cleared);
                let key = UpstreamKey {
                    enabled,
                    billing,
                    tags: tag.iter().map(ToString::to_string).collect(),
                    state_reset_revision: self.revision,
                    ..key(id, project)
                };
                keys.put(key, 0, now);
            }
            Event::Remove(id) => keys.remove(UpstreamKeyId(id)),
            Event::Clear(project) => keys.clear_cooldowns(ProjectId(project), now),
            Event::Check {
                id,
                verdict,
                has_generated,
            } => {
                let amount = QuotaAmount {
                    requests: 1,
                    tokens: 1,
                };
                let generated = has_generated.then_some(("flash", amount));
                let verdict = &verdicts()[verdict];
                keys.settle_check(UpstreamKeyId(id), verdict, generated, None, (now, now));
            }
            Event::SetPolicy(policy) => keys.set_policy(policy),
        }
    }

    /// Keys whose stored readiness is worse than the real one, and wrong counts.
    fn faults(&mut self) -> Vec<String> {
        let now = self.now;
        self.keys.day_ends(now);
        let keys = &self.keys;
        let mut faults = Vec::new();
        for index in &keys.ready_indexes {
            let members = keys
                .by_id
                .iter()
                .filter(|(_, key)| index.accepts_tags(&key.row.tags));
            for (id, _) in members {
                let truth = keys.readiness_of(*id, index.model, 0, now);
                let written = index.readiness(*id);
                let is_found_in_time = match (written, truth) {
                    (_, Readiness::Unavailable) | (Some(Readiness::Ready(_)), _) => true,
                    (Some(Readiness::Busy), truth) => !matches!(truth, Readiness::Ready(_)),
                    (Some(Readiness::CoolingDown(until)), Readiness::CoolingDown(true_until)) => {
                        until <= now || until <= true_until
                    }
                    (
                        Some(Readiness::CoolingDown(until)),
                        Readiness::Ready(_) | Readiness::Busy,
                    ) => until <= now,
                    (Some(Readiness::Unavailable) | None, _) => false,
                };
                if !is_found_in_time {
                    faults.push(format!(
                        "key {} stands as {written:?} for {}, and is {truth:?} at {now}",
                        id.0, index.model
                    ));
                }
            }
        }
        faults
    }
}

proptest! {
    #[test]
    fn stored_readiness_is_never_worse_than_the_real_one(
        events in prop::collection::vec(events(), 1..60),
    ) {
        let mut life = Life {
            keys: keys(&[1, 1, 2, 2, 3, 4]),
            now: START,
            in_flight: Vec::new(),
            revision: 0,
        };
        for event in &events {
            life.happen(event);
            prop_assert_eq!(life.faults(), Vec::<String>::new(), "after {:?}", event);
        }
        for (leased, ..) in std::mem::take(&mut life.in_flight) {
            life.keys.release(&leased);
        }
        prop_assert_eq!(life.faults(), Vec::<String>::new());
        let quotas = life.keys.projects.values().flat_map(|project| project.quotas.values());
        prop_assert!(quotas.clone().all(|quota| quota.in_flight == 0), "no request is in flight");
        prop_assert_eq!(life.keys.in_flight(), 0);
    }
}
