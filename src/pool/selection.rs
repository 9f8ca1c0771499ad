//! Which key to lend next.

use crate::clock::Timestamp;
use crate::pool::cooldown::EVERY_MODEL;
use crate::pool::keys::{Keys, Lent};
use crate::pool::upstream_key::{ProjectId, UpstreamKeyId};

/// The keys a request has been tried with.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    keys: Vec<UpstreamKeyId>,
    projects: Vec<ProjectId>,
    /// The key that may be tried once more because its failure said nothing about it.
    again: Option<UpstreamKeyId>,
}

impl Tried {
    /// Notes an attempt; `may_come_again` when another try with the same key could well succeed.
    pub fn add(&mut self, id: UpstreamKeyId, project_id: ProjectId, may_come_again: bool) {
        let first_time = !self.keys.contains(&id);
        self.keys.push(id);
        self.projects.push(project_id);
        if self.again == Some(id) {
            self.again = None;
        } else if may_come_again && first_time {
            self.again = Some(id);
        }
    }

    fn has_key(&self, id: UpstreamKeyId) -> bool {
        self.keys.contains(&id)
    }

    fn has_project(&self, id: ProjectId) -> bool {
        self.projects.contains(&id)
    }
}

impl Keys {
    /// Lends the best ready key: lowest priority, then least busy for its weight, then longest rested.
    ///
    /// A key of a project not yet tried comes before any other, another key of a tried project before the same key
    /// again. `None` when none is ready.
    pub fn lend(&mut self, model: &str, tried: &Tried, now: Timestamp) -> Option<Lent> {
        self.wake(now);
        let id = self.select(model, tried)?;
        self.take(id, now);
        let key = self.get(id)?;
        Some(Lent {
            id,
            project_id: key.project_id,
            secret: key.secret.clone(),
        })
    }

    fn select(&self, model: &str, tried: &Tried) -> Option<UpstreamKeyId> {
        let resting = [self.known_model(model), self.known_model(EVERY_MODEL)];
        let shelves = || {
            let rests =
                |models: &Vec<_>| resting.iter().flatten().any(|model| models.contains(model));
            self.shelves
                .iter()
                .filter(move |(models, _)| !rests(models))
                .map(|(_, shelf)| shelf)
        };
        let first = |allowed: &dyn Fn(UpstreamKeyId) -> bool| {
            let heads = shelves().filter_map(|shelf| shelf.iter().find(|rank| allowed(rank.id)));
            heads.min().map(|rank| rank.id)
        };
        let project_of = |id| self.by_id.get(&id).map(|key| key.row.project_id);
        first(&|id| {
            tried.keys.is_empty()
                || project_of(id).is_some_and(|project| !tried.has_project(project))
        })
        .or_else(|| first(&|id| !tried.has_key(id)))
        .or_else(|| tried.again.and_then(|again| first(&|id| id == again)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::keys::Change;
    use crate::pool::secret::Secret;
    use crate::pool::upstream_key::{Billing, Condition, KeyState, UpstreamKey};
    use crate::pool::verdict::{Rule, Verdict, Violation, Window};

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn key(id: i64, project: i64) -> UpstreamKey {
        UpstreamKey {
            id: UpstreamKeyId(id),
            project_id: ProjectId(project),
            project: None,
            project_number: None,
            billing: Billing::Unknown,
            tags: vec![],
            label: format!("key {id}"),
            secret: Secret::new(&format!("secret-of-key-{id}")),
            enabled: true,
            priority: 0,
            weight: 1,
            condition: Condition::ready(START),
            state_reset_revision: 0,
            last_used_at: None,
            checked_at: None,
        }
    }

    fn keys(projects: &[i64]) -> Keys {
        let mut keys = Keys::default();
        for (id, project) in (1..).zip(projects) {
            keys.put(key(id, *project), 0);
        }
        keys
    }

    fn verdict(rule: Rule) -> Verdict {
        Verdict {
            rule,
            status: None,
            message: String::new(),
            retry_delay: None,
            violations: vec![],
            project: None,
        }
    }

    fn lend(keys: &mut Keys, model: &str, now: Timestamp) -> Option<i64> {
        keys.lend(model, &Tried::default(), now)
            .map(|lent| lent.id.0)
    }

    fn settle(keys: &mut Keys, id: i64, rule: Rule, now: Timestamp) -> Vec<Change> {
        keys.settle(UpstreamKeyId(id), "flash", &verdict(rule), now, now)
    }

    #[test]
    fn the_least_busy_comes_first_then_the_longest_rested() {
        let mut keys = keys(&[1, 2, 3]);

        let lent: Vec<_> = (0..4)
            .map(|_| lend(&mut keys, "flash", START).unwrap())
            .collect();
        assert_eq!(lent, [1, 2, 3, 1]);

        keys.give_back(UpstreamKeyId(3));
        assert_eq!(lend(&mut keys, "flash", START), Some(3));
    }

    #[test]
    fn priority_and_weight_decide_before_rest() {
        let mut keys = Keys::default();
        keys.put(
            UpstreamKey {
                priority: 1,
                ..key(1, 1)
            },
            0,
        );
        keys.put(
            UpstreamKey {
                weight: 3,
                ..key(2, 2)
            },
            0,
        );
        keys.put(key(3, 3), 0);

        let mut counts = HashMap::new();
        for _ in 0..40 {
            *counts
                .entry(lend(&mut keys, "flash", START).unwrap())
                .or_insert(0) += 1;
        }

        assert_eq!(counts, HashMap::from([(2, 30), (3, 10)]));
    }

    #[test]
    fn another_project_comes_first_then_another_key_then_the_same_key_once() {
        let mut keys = keys(&[1, 1, 2]);
        let mut tried = Tried::default();
        let mut order = Vec::new();
        while let Some(lent) = keys.lend("flash", &tried, START) {
            tried.add(lent.id, lent.project_id, true);
            keys.give_back(lent.id);
            order.push(lent.id.0);
        }

        assert_eq!(order, [1, 3, 2, 2]);
    }

    #[test]
    fn a_project_that_rests_for_one_model_serves_the_others() {
        let mut keys = keys(&[1, 1, 2]);

        let changes = settle(&mut keys, 1, Rule::QuotaWithoutDetail, START);
        assert_eq!(changes.len(), 1);

        assert_eq!(
            (0..2)
                .filter_map(|_| lend(&mut keys, "flash", START))
                .collect::<Vec<_>>(),
            [3, 3]
        );
        assert_eq!(lend(&mut keys, "pro", START), Some(1));
        assert_eq!(keys.soonest("flash", START), Some((START, None)));
        assert_eq!(
            lend(&mut keys, "flash", START + Duration::from_secs(10)),
            Some(2)
        );
    }

    #[test]
    fn why_no_key_is_ready_is_told_by_the_one_that_is_ready_first() {
        let mut keys = keys(&[1, 2]);
        // The first rested for a minute, long ago, and was revoked since.
        let long_ago = START - Duration::from_mins(10);
        settle(&mut keys, 1, Rule::QuotaPerMinute, long_ago);
        settle(&mut keys, 1, Rule::ApiKeyInvalid, START);
        // Google names no model: the project rests for all.
        let whole_project = Verdict {
            violations: vec![Violation {
                quota_id: "GenerateRequestsPerDayPerProject".into(),
                metric: String::new(),
                model: None,
                window: Window::Day,
                limit: Some(1_000),
            }],
            ..verdict(Rule::QuotaPerDay)
        };
        keys.settle(UpstreamKeyId(2), "flash", &whole_project, START, START);

        for model in ["flash", "pro"] {
            let (at, rule) = keys.soonest(model, START).unwrap();
            assert_eq!(rule, Some(Rule::QuotaPerDay), "{model}");
            assert!(at > START);
        }
    }

    #[test]
    fn a_revoked_key_comes_back_on_trial_and_is_looked_at_slower_each_time() {
        let mut keys = keys(&[1]);
        settle(&mut keys, 1, Rule::ApiKeyInvalid, START);

        assert_eq!(
            lend(&mut keys, "flash", START + Duration::from_secs(599)),
            None
        );
        let later = START + Duration::from_mins(10);
        assert_eq!(lend(&mut keys, "flash", later), None, "a check comes first");
        let passed = verdict(Rule::Success);
        keys.settle_check(UpstreamKeyId(1), &passed, false, later, later);
        assert_eq!(lend(&mut keys, "flash", later), Some(1));
        assert_eq!(
            lend(&mut keys, "flash", later),
            None,
            "one request at a time on trial"
        );

        settle(&mut keys, 1, Rule::ApiKeyInvalid, later);
        keys.give_back(UpstreamKeyId(1));
        assert_eq!(
            lend(&mut keys, "flash", later + Duration::from_secs(3_599)),
            None
        );
        let much_later = later + Duration::from_hours(1);
        keys.settle_check(UpstreamKeyId(1), &passed, false, much_later, much_later);
        assert_eq!(lend(&mut keys, "flash", much_later), Some(1));

        settle(&mut keys, 1, Rule::Success, much_later);
        assert_eq!(
            keys.get(UpstreamKeyId(1)).unwrap().condition.state,
            KeyState::Ready
        );
        assert_eq!(
            lend(&mut keys, "flash", much_later),
            Some(1),
            "no longer one at a time"
        );
    }

    #[test]
    fn soft_faults_count_only_while_others_succeed() {
        let mut keys = keys(&[1, 2]);
        let alone: Vec<_> = (0..9)
            .flat_map(|_| settle(&mut keys, 1, Rule::InternalError, START))
            .collect();
        assert_eq!(alone, []);

        settle(&mut keys, 2, Rule::Success, START);
        assert_eq!(settle(&mut keys, 1, Rule::InternalError, START).len(), 1);
        assert_eq!(
            keys.get(UpstreamKeyId(1)).unwrap().condition.state,
            KeyState::CoolingDown
        );

        let later = START + Duration::from_mins(1);
        keys.wake(later);
        assert_eq!(
            keys.get(UpstreamKeyId(1)).unwrap().condition.state,
            KeyState::Trial
        );
    }

    #[test]
    fn a_hand_clears_a_state_and_a_mere_change_does_not() {
        let mut keys = keys(&[1]);
        settle(&mut keys, 1, Rule::KeyLeaked, START);

        keys.put(
            UpstreamKey {
                label: "renamed".into(),
                ..key(1, 1)
            },
            0,
        );
        assert_eq!(lend(&mut keys, "flash", START), None);

        keys.put(
            UpstreamKey {
                state_reset_revision: 1,
                ..key(1, 1)
            },
            0,
        );
        assert_eq!(lend(&mut keys, "flash", START), Some(1));
    }

    proptest! {
        /// Whatever happens, a lent key is enabled, usable, and its project does not rest for the model.
        #[test]
        fn a_resting_key_is_never_lent(steps in prop::collection::vec((0..6_u8, 1..9_i64, 0..3_usize, 0..90_u64), 1..200)) {
            let models = ["flash", "pro", "lite"];
            let rules = [Rule::QuotaWithoutDetail, Rule::QuotaPerMinute, Rule::ApiKeyInvalid, Rule::InternalError];
            let mut keys = keys(&[1, 1, 2, 3, 4, 5, 5, 6]);
            let mut now = START;
            let mut resting: HashMap<(i64, &str), Timestamp> = HashMap::new();
            let mut invalid: HashMap<i64, Timestamp> = HashMap::new();
            let project_of = |id: i64| [1, 1, 2, 3, 4, 5, 5, 6][usize::try_from(id - 1).unwrap()];
            for (action, id, model, seconds) in steps {
                now = now + Duration::from_secs(seconds);
                let model = models[model];
                if let Some(rule) = rules.get(usize::from(action)) {
                    for change in keys.settle(UpstreamKeyId(id), model, &verdict(*rule), now, now) {
                        match change {
                            Change::Cooldown { project_id, cooldown, .. } => {
                                resting.insert((project_id.0, model), cooldown.until);
                            }
                            Change::Key { id, condition } if condition.state == KeyState::Invalid => {
                                invalid.insert(id.0, condition.next_check.unwrap());
                            }
                            Change::Key { .. } | Change::Checked { .. } | Change::Project { .. } => {}
                        }
                    }
                } else if let Some(lent) = keys.lend(model, &Tried::default(), now) {
                    let rests = resting.get(&(project_of(lent.id.0), model)).is_some_and(|until| *until > now);
                    prop_assert!(!rests, "key {} rests for {model}", lent.id.0);
                    prop_assert!(invalid.get(&lent.id.0).is_none_or(|until| *until <= now));
                    keys.give_back(lent.id);
                }
            }
        }
    }
}
