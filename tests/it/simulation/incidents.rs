//! A simulated month with every kind of incident: at its end every key of a healthy project is usable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use gemini_pool::clock::Timestamp;
use gemini_pool::gemini::errors::classify::success;
use gemini_pool::pool::health::settle::AttemptTiming;
use gemini_pool::pool::health::state_change::StateChange;
use gemini_pool::pool::health::verdict::{QuotaWindow, Rule, Verdict, Violation};
use gemini_pool::pool::keys::registry::KeyRegistry;
use gemini_pool::pool::keys::selection::{KeyReuse, LeaseRequest, TriedKeys};
use gemini_pool::pool::keys::upstream_key::{KeyCondition, KeyState, ProjectId, UpstreamKeyId};
use gemini_pool::pool::quota::windows::QuotaAmount;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::simulator::{key, start};

/// Three keys in each of the first ten projects, one in each of the others.
const KEYS: i64 = 60;
const MODELS: [&str; 3] = [
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-3.1-flash-lite",
];

/// The incidents in progress, and their ends.
struct Incidents {
    random: StdRng,
    revoked: HashMap<UpstreamKeyId, Timestamp>,
    leaked: BTreeSet<UpstreamKeyId>,
    suspended: HashMap<ProjectId, (Rule, Timestamp)>,
    overloaded: HashMap<&'static str, Timestamp>,
    throttled_until: Timestamp,
    /// Number of verdicts by rule.
    rule_counts: BTreeMap<&'static str, u64>,
}

impl Incidents {
    /// Starts an incident at random times.
    fn start_incident(&mut self, projects: &HashMap<UpstreamKeyId, ProjectId>, now: Timestamp) {
        let for_hours = |random: &mut StdRng, most: u64| {
            now + Duration::from_mins(random.random_range(10..most * 60))
        };
        let key = UpstreamKeyId(self.random.random_range(1..=KEYS));
        match self.random.random_range(0..2_000) {
            0..6 => drop(self.revoked.insert(key, for_hours(&mut self.random, 60))),
            6..10 => {
                let rules = [
                    Rule::ConsumerSuspended,
                    Rule::ServiceDisabled,
                    Rule::BillingEmpty,
                ];
                let rule = rules[self.random.random_range(0..rules.len())];
                let until = for_hours(&mut self.random, 100);
                self.suspended.insert(projects[&key], (rule, until));
            }
            10 if self.leaked.len() < 5 => drop(self.leaked.insert(key)),
            11..14 => {
                let model = MODELS[self.random.random_range(0..MODELS.len())];
                self.overloaded
                    .insert(model, for_hours(&mut self.random, 3));
            }
            14..16 => self.throttled_until = for_hours(&mut self.random, 2),
            _ => {}
        }
    }

    /// Google's answer to a request or a check with this key.
    fn answer(
        &mut self,
        key: UpstreamKeyId,
        project: ProjectId,
        model: Option<&'static str>,
        now: Timestamp,
    ) -> Verdict {
        let is_active = |until: Option<&Timestamp>| until.is_some_and(|until| *until > now);
        let suspended = self
            .suspended
            .get(&project)
            .filter(|(_, until)| *until > now);
        let chance = self.random.random_range(0..1_000);
        let rule = if self.throttled_until > now {
            Rule::QuotaWithoutDetail
        } else if self.leaked.contains(&key) {
            Rule::KeyLeaked
        } else if is_active(self.revoked.get(&key)) {
            Rule::ApiKeyInvalid
        } else if let Some((rule, _)) = suspended {
            *rule
        } else if model.is_some_and(|model| is_active(self.overloaded.get(model))) {
            Rule::Overloaded
        } else {
            match chance {
                0..20 => Rule::InternalError,
                20..30 => Rule::ConnectionBroken,
                30..35 => Rule::AnswerTimeout,
                35..45 if model.is_some() => Rule::QuotaPerMinute,
                45..48 if model.is_some() => Rule::QuotaPerDay,
                48..53 if model.is_some() => Rule::QuotaWithoutDetail,
                53 if model.is_some() => Rule::ModelRetired,
                60 if model.is_some() => Rule::QuotaZero,
                54..60 => Rule::InvalidRequest,
                _ => Rule::Success,
            }
        };
        *self.rule_counts.entry(rule.name()).or_default() += 1;
        verdict(rule)
    }
}

fn verdict(rule: Rule) -> Verdict {
    let window = match rule {
        Rule::QuotaPerMinute => Some((
            QuotaWindow::Minute,
            "GenerateRequestsPerMinutePerProjectPerModel",
            5,
        )),
        Rule::QuotaPerDay => Some((
            QuotaWindow::Day,
            "GenerateRequestsPerDayPerProjectPerModel",
            20,
        )),
        Rule::QuotaZero => Some((
            QuotaWindow::Day,
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            0,
        )),
        _ => None,
    };
    let violations = window.map(|(window, quota_id, limit)| Violation {
        quota_id: quota_id.to_owned(),
        metric: String::new(),
        model: None,
        window,
        limit: Some(limit),
    });
    Verdict {
        rule,
        status: (rule != Rule::ConnectionBroken && rule != Rule::AnswerTimeout).then_some(400),
        violations: violations.into_iter().collect(),
        ..success(200)
    }
}

/// Every state has an end, a next check or a request that ends it, or requires the admin.
fn assert_has_an_end(condition: &KeyCondition) {
    match condition.state {
        KeyState::CoolingDown => assert!(condition.until.is_some(), "{condition:?}"),
        KeyState::Invalid | KeyState::Suspended | KeyState::Misconfigured => {
            assert!(condition.next_check.is_some(), "{condition:?}");
        }
        KeyState::Ready | KeyState::Trial | KeyState::Leaked => {}
    }
}

fn assert_bounded(changes: Vec<StateChange>, now: Timestamp) {
    for change in changes {
        match change {
            StateChange::Key { condition, .. } | StateChange::Checked { condition, .. } => {
                assert_has_an_end(&condition);
            }
            StateChange::Cooldown { cooldown, .. } => {
                let longest = Duration::from_hours(25);
                assert!(
                    cooldown.until > now && cooldown.until <= now + longest,
                    "{cooldown:?}"
                );
            }
            _ => {}
        }
    }
}

fn run_due_checks(keys: &mut KeyRegistry, incidents: &mut Incidents, now: Timestamp) {
    for due in keys.due_checks(now, false, 8) {
        let verdict = incidents.answer(due.id, due.project_id, None, now);
        assert_bounded(
            keys.settle_check(due.id, &verdict, None, None, (now, now)),
            now,
        );
    }
}

/// A request of one client, with a few attempts.
fn request(
    keys: &mut KeyRegistry,
    incidents: &mut Incidents,
    now: Timestamp,
) -> Option<UpstreamKeyId> {
    let model = MODELS[incidents.random.random_range(0..MODELS.len())];
    let amount = QuotaAmount {
        requests: 1,
        tokens: 100,
    };
    let lease_request = LeaseRequest {
        model,
        amount,
        tags: &[],
        project: None,
    };
    let mut tried = TriedKeys::default();
    let mut suspicions = Vec::new();
    let mut served_by = None;
    for _ in 0..4 {
        let Ok(leased) = keys.lease(&lease_request, &tried, now) else {
            break;
        };
        // Sometimes the client disconnects before the answer.
        if incidents.random.random_range(0..100) == 0 {
            keys.release(&leased);
            break;
        }
        let verdict = incidents.answer(leased.id, leased.project_id, Some(model), now);
        let chance = incidents.random.random();
        let timing = AttemptTiming {
            began: now,
            now,
            chance,
            answer_had_begun: false,
            client: None,
        };
        assert_bounded(keys.settle(&leased, model, &verdict, timing), now);
        suspicions.extend(keys.suspect(&leased, verdict.rule, now, now));
        keys.release(&leased);
        if verdict.rule == Rule::Success {
            served_by = Some(leased.id);
            break;
        }
        tried.add(leased.id, leased.project_id, KeyReuse::Once);
    }
    let blamed = keys.blame(&suspicions, served_by.is_some(), None, now);
    assert_bounded(blamed.into_iter().map(|(_, change)| change).collect(), now);
    served_by
}

#[test]
fn after_a_month_every_key_of_a_healthy_project_is_usable() {
    let mut keys = KeyRegistry::default();
    let mut projects = HashMap::new();
    for number in 1..=KEYS {
        let project_id = ProjectId(if number <= 30 {
            (number + 2) / 3
        } else {
            number
        });
        let row = key(number);
        projects.insert(row.id, project_id);
        keys.put(
            gemini_pool::pool::keys::upstream_key::UpstreamKey { project_id, ..row },
            number,
            start(),
        );
    }
    let mut now = start();
    let mut incidents = Incidents {
        random: StdRng::seed_from_u64(3),
        revoked: HashMap::new(),
        leaked: BTreeSet::new(),
        suspended: HashMap::new(),
        overloaded: HashMap::new(),
        throttled_until: now,
        rule_counts: BTreeMap::new(),
    };

    let end = now + Duration::from_hours(30 * 24);
    let mut served = 0;
    while now < end {
        now = now + Duration::from_millis(incidents.random.random_range(100..60_000));
        incidents.start_incident(&projects, now);
        run_due_checks(&mut keys, &mut incidents, now);
        served += u64::from(request(&mut keys, &mut incidents, now).is_some());
    }
    // Every incident is over; the slowest checks run daily.
    incidents.revoked.clear();
    incidents.suspended.clear();
    incidents.overloaded.clear();
    incidents.throttled_until = now;
    let calm = now + Duration::from_hours(50);
    let mut in_use = BTreeSet::new();
    while now < calm {
        now = now + Duration::from_secs(20);
        run_due_checks(&mut keys, &mut incidents, now);
        in_use.extend(request(&mut keys, &mut incidents, now));
    }

    let rule_counts = &incidents.rule_counts;
    assert!(served > 50_000, "{served}: {rule_counts:?}");
    assert!(
        incidents.leaked.len() == 5 && rule_counts.len() > 12,
        "{rule_counts:?}"
    );
    for id in projects.keys() {
        let condition = keys.get(*id).unwrap().condition;
        assert_has_an_end(&condition);
        let is_out = !in_use.contains(id);
        assert_eq!(
            is_out,
            incidents.leaked.contains(id),
            "{id:?}: {condition:?} {rule_counts:?}"
        );
    }
}
