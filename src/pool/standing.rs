//! What holds each key back now, for whoever looks: the truth of the running server, of which the rows know only a part.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::pool::keys::{Key, Keys, Project};
use crate::pool::lease::SharedKeys;
use crate::pool::line::{ANY_MODEL, ModelNumber};
use crate::pool::quota::{Limits, Measure, ModelQuota, Own, Spent};
use crate::pool::quota_clock::end_of_google_day;
use crate::pool::upstream_key::{Billing, Condition, KeyState, UpstreamKeyId};
use crate::pool::verdict::Rule;

/// So many keys are looked at while requests wait for the lock, which is some hundred microseconds.
const AT_ONCE: usize = 1_000;

/// A key's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    Ready,
    /// Ready, but not for every model.
    PartlyResting,
    Resting,
    Trial,
    Invalid,
    Leaked,
    Suspended,
    Misconfigured,
    Disabled,
}

/// A key's state with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    pub id: UpstreamKeyId,
    pub word: Word,
    /// When the rest ends, or the first of several for some models; else when the key is looked at again. `None`: a state
    /// that does not end by itself.
    pub until: Option<Timestamp>,
}

/// All that is known of a key now.
#[derive(Debug, Clone)]
pub struct Standing {
    pub word: Word,
    pub condition: Condition,
    pub billing: Billing,
    pub in_flight: u32,
    /// The longest first.
    pub rests: Vec<Rest>,
    /// By model, the most used first.
    pub windows: Vec<Window>,
}

/// Until when a key serves nothing, or not one model, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// `None`: no model.
    pub model: Option<String>,
    /// `None`: since a count was full.
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub why: Why,
}

/// What lets a key rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Answers of Google.
    Verdict(Rule),
    /// Five soft faults in a row.
    SoftFaults,
    /// By our own count nothing is left of what Google allows.
    Used(Measure),
    /// Google allows nothing of this model, as far as is known.
    NothingAllowed,
    /// The admin's own limits for every key, or for every project.
    KeyLimit(Measure),
    ProjectLimit(Measure),
}

/// What was used of a limit, in its running minute or day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub of: WindowOf,
    pub measure: Measure,
    pub used: u64,
    /// `None`: none is known.
    pub limit: Option<u64>,
    pub source: Source,
    /// When what is used now counts no more; `None`: nothing is used.
    pub resets_at: Option<Timestamp>,
}

/// Whose use is counted in a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WindowOf {
    /// The project's, of a model.
    Model(String),
    /// The key's, of all models, because the admin limits every key.
    Key,
    /// The project's, of all models, because the admin limits every project.
    Project,
}

/// How a limit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Google named it to this project.
    Named,
    /// Google named it to another project with the same billing.
    Presumed,
    /// More went through than was presumed, or a hand doubts it.
    Contradicted,
    Unknown,
    /// A setting.
    Set,
}

impl Word {
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::PartlyResting,
        Self::Resting,
        Self::Trial,
        Self::Invalid,
        Self::Leaked,
        Self::Suspended,
        Self::Misconfigured,
        Self::Disabled,
    ];

    /// The name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::PartlyResting => "partly_resting",
            Self::Resting => "cooling_down",
            Self::Trial => "trial",
            Self::Invalid => "invalid",
            Self::Leaked => "leaked",
            Self::Suspended => "suspended",
            Self::Misconfigured => "misconfigured",
            Self::Disabled => "disabled",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == name)
    }
}

impl Standing {
    /// What each model waits for, soonest over first: of several rests the last to end, and what Google said of it
    /// before what we count.
    pub fn holding(&self) -> Vec<&Rest> {
        let mut holding: Vec<&Rest> = Vec::new();
        // The longest come first.
        for rest in &self.rests {
            let held = holding.iter_mut().find(|held| held.model == rest.model);
            match held {
                Some(held) if held.until == rest.until && rest.is_told() => *held = rest,
                Some(_) => {}
                None => holding.push(rest),
            }
        }
        holding.reverse();
        holding
    }

    /// What the state itself waits for; `None`: it does not end by a rest's end.
    pub fn holds(&self) -> Option<&Rest> {
        let holding = self.holding();
        match self.word {
            Word::PartlyResting => holding.first().copied(),
            Word::Resting => holding.into_iter().find(|rest| rest.model.is_none()),
            Word::Ready
            | Word::Trial
            | Word::Invalid
            | Word::Leaked
            | Word::Suspended
            | Word::Misconfigured
            | Word::Disabled => None,
        }
    }
}

impl Rest {
    /// Whether an answer of Google has told it.
    pub fn is_told(&self) -> bool {
        matches!(self.why, Why::Verdict(_))
    }
}

impl SharedKeys {
    /// A glance at every key. Requests get the lock in between.
    pub fn glances(&self, now: Timestamp) -> HashMap<UpstreamKeyId, Glance> {
        let mut ids: Vec<_> = self.lock().by_id.keys().copied().collect();
        ids.sort_unstable();
        let mut glances = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let keys = self.lock();
            let seen = ids.iter().filter_map(|id| keys.glance(*id, now));
            glances.extend(seen.map(|glance| (glance.id, glance)));
        }
        glances
    }
}

impl Keys {
    /// A key's state and its end; `None`: the key is not known.
    pub fn glance(&self, id: UpstreamKeyId, now: Timestamp) -> Option<Glance> {
        let key = self.by_id.get(&id)?;
        let (word, until) = self.state_of(key, now);
        Some(Glance { id, word, until })
    }

    /// All that is known of a key; `None`: the key is not known.
    pub fn standing(&self, id: UpstreamKeyId, now: Timestamp) -> Option<Standing> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id);
        let mut rests = Vec::new();
        self.each_rest(key, now, |rest| rests.push(self.named(rest)));
        rests.sort_by(|a, b| b.until.cmp(&a.until).then_with(|| a.model.cmp(&b.model)));
        Some(Standing {
            word: self.state_of(key, now).0,
            condition: key.row.condition,
            billing: project.map_or(key.row.billing, |project| project.billing),
            in_flight: key.in_flight,
            rests,
            windows: self.windows_of(key, now),
        })
    }

    fn state_of(&self, key: &Key, now: Timestamp) -> (Word, Option<Timestamp>) {
        let condition = key.row.condition;
        if !key.row.enabled {
            return (Word::Disabled, None);
        }
        match condition.state {
            KeyState::Ready => self.ready_or_resting(key, now),
            KeyState::CoolingDown => match condition.until {
                Some(until) if until <= now => (Word::Trial, None),
                until => (Word::Resting, until),
            },
            KeyState::Trial => (Word::Trial, None),
            KeyState::Invalid => (Word::Invalid, condition.next_check),
            KeyState::Leaked => (Word::Leaked, None),
            KeyState::Suspended => (Word::Suspended, condition.next_check),
            KeyState::Misconfigured => (Word::Misconfigured, condition.next_check),
        }
    }

    fn ready_or_resting(&self, key: &Key, now: Timestamp) -> (Word, Option<Timestamp>) {
        let mut whole: Option<Timestamp> = None;
        // Several things may hold one model back: it serves again when the last of them ends.
        let mut parts: Vec<(ModelNumber, Timestamp)> = Vec::new();
        self.each_rest(key, now, |rest| {
            if rest.model == ANY_MODEL {
                whole = whole.max(Some(rest.until));
            } else if let Some((_, until)) = parts.iter_mut().find(|part| part.0 == rest.model) {
                *until = rest.until.max(*until);
            } else {
                parts.push((rest.model, rest.until));
            }
        });
        let first_part = parts.into_iter().map(|(_, until)| until).min();
        match (whole, first_part) {
            (Some(until), _) => (Word::Resting, Some(until)),
            (None, Some(until)) => (Word::PartlyResting, Some(until)),
            (None, None) => (Word::Ready, None),
        }
    }

    /// Calls `tell` with everything that lets a key rest now.
    pub(super) fn each_rest(&self, key: &Key, now: Timestamp, mut tell: impl FnMut(NumberedRest)) {
        let condition = key.row.condition;
        if condition.state == KeyState::CoolingDown
            && let Some(until) = condition.until.filter(|until| *until > now)
        {
            tell(NumberedRest {
                model: ANY_MODEL,
                since: Some(condition.since),
                until,
                why: condition.rule.map_or(Why::SoftFaults, Why::Verdict),
            });
        }
        let Some(project) = self.projects.get(&key.row.project_id) else {
            return;
        };
        for (model, cooldown) in &project.cooldowns {
            if cooldown.until > now {
                tell(NumberedRest {
                    model: *model,
                    since: Some(cooldown.since),
                    until: cooldown.until,
                    why: Why::Verdict(cooldown.rule),
                });
            }
        }
        let day_ends = self.running_day_ends(now);
        let mut full = |model, spent: &Spent, limits: &Limits, why: fn(Measure) -> Why| {
            if let Some(full) = spent.full(limits, now, day_ends) {
                tell(NumberedRest {
                    model,
                    since: None,
                    until: full.until,
                    why: match limits.get(full.measure) {
                        Some(0) => Why::NothingAllowed,
                        _ => why(full.measure),
                    },
                });
            }
        };
        let rules = &self.rules;
        full(ANY_MODEL, &key.spent, &rules.key_limits, Why::KeyLimit);
        full(
            ANY_MODEL,
            &project.spent,
            &rules.project_limits,
            Why::ProjectLimit,
        );
        for (model, quota) in &project.quotas {
            let limits = quota.limits(self.presumed(*model, Some(project)), now);
            full(*model, &quota.spent, &limits, Why::Used);
        }
    }

    fn named(&self, rest: NumberedRest) -> Rest {
        Rest {
            model: (rest.model != ANY_MODEL).then(|| self.name_of(rest.model)),
            since: rest.since,
            until: rest.until,
            why: rest.why,
        }
    }

    /// The windows in which something is used or limited.
    fn windows_of(&self, key: &Key, now: Timestamp) -> Vec<Window> {
        let day_ends = self.running_day_ends(now);
        let mut windows = Vec::new();
        let mut add = |of: WindowOf, spent: &Spent, limit: &dyn Fn(Measure) -> Limit| {
            for measure in Measure::ALL {
                let (limit, source) = limit(measure);
                let used = spent.used(measure, now);
                if used > 0 || limit.is_some() || source == Source::Contradicted {
                    windows.push(Window {
                        of: of.clone(),
                        measure,
                        used,
                        limit,
                        source,
                        resets_at: (used > 0).then(|| spent.resets_at(measure, now, day_ends)),
                    });
                }
            }
        };
        let set = |limits: Limits| move |measure| (limits.get(measure), Source::Set);
        if !self.rules.key_limits.is_empty() {
            add(WindowOf::Key, &key.spent, &set(self.rules.key_limits));
        }
        let Some(project) = self.projects.get(&key.row.project_id) else {
            return windows;
        };
        if !self.rules.project_limits.is_empty() {
            let limits = set(self.rules.project_limits);
            add(WindowOf::Project, &project.spent, &limits);
        }
        let mut quotas: Vec<_> = project.quotas.iter().collect();
        quotas.sort_by_cached_key(|(model, quota)| {
            let used = quota.spent.used(Measure::RequestsPerDay, now);
            (std::cmp::Reverse(used), self.name_of(**model))
        });
        for (model, quota) in quotas {
            let of = WindowOf::Model(self.name_of(*model));
            add(of, &quota.spent, &|measure| {
                self.limit_of(*model, quota, project, measure, now)
            });
        }
        windows
    }

    fn limit_of(
        &self,
        model: ModelNumber,
        quota: &ModelQuota,
        project: &Project,
        measure: Measure,
        now: Timestamp,
    ) -> Limit {
        let presumed = self.presumed(model, Some(project));
        let limit = quota.limits(presumed, now).get(measure);
        let source = match (quota.own(measure), limit) {
            (Own::Limit(_), _) => Source::Named,
            (Own::Contradicted, _) => Source::Contradicted,
            (Own::Unknown, Some(_)) => Source::Presumed,
            // More went through than was presumed, though nothing was ever refused.
            (Own::Unknown, None) if presumed.get(measure).is_some() => Source::Contradicted,
            (Own::Unknown, None) => Source::Unknown,
        };
        (limit, source)
    }

    /// When Google's day ends, also where no request has asked for that yet.
    fn running_day_ends(&self, now: Timestamp) -> Timestamp {
        let known = self.day_ends.filter(|ends| *ends > now);
        known.unwrap_or_else(|| end_of_google_day(now))
    }
}

type Limit = (Option<u64>, Source);

/// A [`Rest`] before its model is named.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberedRest {
    pub model: ModelNumber,
    since: Option<Timestamp>,
    pub until: Timestamp,
    why: Why,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::cooldown::EVERY_MODEL;
    use crate::pool::keys::{Cooldown, Rules};
    use crate::pool::settings::Settings;
    use crate::pool::upstream_key::{ProjectId, UpstreamKey};
    use crate::pool::window::Amount;

    /// Noon in California, in winter.
    const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000);
    const ID: UpstreamKeyId = UpstreamKeyId(1);

    fn key(id: i64) -> UpstreamKey {
        UpstreamKey {
            billing: Billing::Free,
            ..UpstreamKey::example(id, id, NOW)
        }
    }

    fn keys() -> Keys {
        let mut keys = Keys::default();
        for id in 1..=2 {
            keys.put(key(id), 0, NOW);
        }
        keys
    }

    fn in_minutes(minutes: u64) -> Timestamp {
        NOW + Duration::from_mins(minutes)
    }

    fn rest(keys: &mut Keys, model: &str, rule: Rule, minutes: u64) {
        let cooldown = Cooldown {
            rule,
            step: 0,
            since: NOW,
            until: in_minutes(minutes),
        };
        keys.put_cooldown(ProjectId(1), model, cooldown);
    }

    fn glance(keys: &Keys, now: Timestamp) -> (Word, Option<Timestamp>) {
        let glance = keys.glance(ID, now).unwrap();
        (glance.word, glance.until)
    }

    #[test]
    fn a_state_is_told_with_what_ends_it() {
        let check = Some(in_minutes(10));
        let cases = [
            (KeyState::Ready, None, None, (Word::Ready, None)),
            (KeyState::Trial, None, None, (Word::Trial, None)),
            (KeyState::CoolingDown, check, None, (Word::Resting, check)),
            (KeyState::CoolingDown, Some(NOW), None, (Word::Trial, None)),
            (KeyState::Invalid, None, check, (Word::Invalid, check)),
            (KeyState::Leaked, None, None, (Word::Leaked, None)),
            (KeyState::Suspended, None, check, (Word::Suspended, check)),
            (
                KeyState::Misconfigured,
                None,
                check,
                (Word::Misconfigured, check),
            ),
        ];
        for (state, until, next_check, expected) in cases {
            let mut keys = Keys::default();
            let condition = Condition {
                state,
                until,
                next_check,
                ..Condition::ready(NOW)
            };
            let row = UpstreamKey {
                condition,
                ..key(1)
            };
            keys.put(row.clone(), 0, NOW);
            assert_eq!(glance(&keys, NOW), expected, "{state:?}");

            keys.put(
                UpstreamKey {
                    enabled: false,
                    ..row
                },
                0,
                NOW,
            );
            assert_eq!(glance(&keys, NOW), (Word::Disabled, None), "{state:?}");
        }
        assert!(keys().glance(UpstreamKeyId(9), NOW).is_none());
    }

    #[test]
    fn a_rest_for_some_models_is_told_apart_from_one_for_all() {
        let mut keys = keys();
        rest(&mut keys, "pro", Rule::QuotaPerDay, 90);
        rest(&mut keys, "flash", Rule::QuotaPerMinute, 1);
        let part = (Word::PartlyResting, Some(in_minutes(1)));
        assert_eq!(glance(&keys, NOW), part);
        let later = (Word::PartlyResting, Some(in_minutes(90)));
        assert_eq!(glance(&keys, in_minutes(1)), later);

        rest(&mut keys, EVERY_MODEL, Rule::QuotaPerMinute, 5);

        assert_eq!(glance(&keys, NOW), (Word::Resting, Some(in_minutes(5))));
        let rests = keys.standing(ID, NOW).unwrap().rests;
        let told: Vec<_> = rests
            .iter()
            .map(|rest| (rest.model.as_deref(), rest.why))
            .collect();
        let expected = [
            (Some("pro"), Why::Verdict(Rule::QuotaPerDay)),
            (None, Why::Verdict(Rule::QuotaPerMinute)),
            (Some("flash"), Why::Verdict(Rule::QuotaPerMinute)),
        ];
        assert_eq!(told, expected);
        assert_eq!(glance(&keys, in_minutes(90)), (Word::Ready, None));
    }

    #[test]
    fn what_is_used_up_by_our_own_count_is_told_with_its_window() {
        let mut keys = keys();
        let amount = Amount {
            requests: 20,
            tokens: 500,
        };
        keys.put_spent(ID, "flash", amount, None, NOW);
        // Another project was told the limit.
        keys.put_limit(
            ProjectId(2),
            "flash",
            Measure::RequestsPerDay,
            Own::Limit(20),
            NOW,
        );

        let standing = keys.standing(ID, NOW).unwrap();

        assert_eq!(standing.word, Word::PartlyResting);
        let midnight = end_of_google_day(NOW);
        let expected = Rest {
            model: Some("flash".to_owned()),
            since: None,
            until: midnight,
            why: Why::Used(Measure::RequestsPerDay),
        };
        assert_eq!(standing.rests, [expected]);
        let of = WindowOf::Model("flash".to_owned());
        let window = |measure, used, limit, source| Window {
            of: of.clone(),
            measure,
            used,
            limit,
            source,
            resets_at: Some(midnight),
        };
        let expected = [
            window(Measure::RequestsPerDay, 20, Some(20), Source::Presumed),
            window(Measure::TokensPerDay, 500, None, Source::Unknown),
        ];
        assert_eq!(standing.windows, expected);
        let named = keys.standing(UpstreamKeyId(2), NOW).unwrap().windows;
        assert_eq!((named[0].source, named[0].used), (Source::Named, 0));
        assert_eq!(named[0].resets_at, None);
    }

    #[test]
    fn the_admins_limits_are_windows_too() {
        let mut keys = keys();
        keys.set_rules(Rules::of(&Settings {
            key_requests_per_minute: 2,
            ..Settings::default()
        }));
        let amount = Amount {
            requests: 2,
            tokens: 0,
        };
        keys.put_spent(ID, "flash", amount, Some(NOW), NOW);

        let standing = keys.standing(ID, NOW).unwrap();

        assert_eq!(standing.word, Word::Resting);
        let limit = Why::KeyLimit(Measure::RequestsPerMinute);
        assert_eq!(standing.rests[0].why, limit);
        let window = &standing.windows[0];
        assert_eq!((&window.of, window.limit), (&WindowOf::Key, Some(2)));
        assert_eq!(window.resets_at, Some(standing.rests[0].until));
    }

    #[test]
    fn of_several_rests_of_a_model_the_last_to_end_counts_and_googles_word_before_ours() {
        let mut keys = keys();
        let day_ends = end_of_google_day(NOW);
        let amount = Amount {
            requests: 20,
            tokens: 0,
        };
        for model in ["flash", "pro"] {
            keys.put_spent(ID, model, amount, None, NOW);
            let own = Own::Limit(20);
            keys.put_limit(ProjectId(1), model, Measure::RequestsPerDay, own, NOW);
        }
        rest(&mut keys, "flash", Rule::QuotaPerMinute, 1);
        let told = Cooldown {
            rule: Rule::QuotaPerDay,
            step: 0,
            since: NOW,
            until: day_ends,
        };
        keys.put_cooldown(ProjectId(1), "pro", told);
        rest(&mut keys, "lite", Rule::QuotaPerMinute, 2);

        let standing = keys.standing(ID, NOW).unwrap();

        let holding: Vec<_> = standing.holding().iter().map(|rest| rest.until).collect();
        assert_eq!(holding, [in_minutes(2), day_ends, day_ends]);
        let whys: Vec<_> = standing.holding()[1..]
            .iter()
            .map(|rest| (rest.model.as_deref(), rest.why))
            .collect();
        assert!(whys.contains(&(Some("flash"), Why::Used(Measure::RequestsPerDay))));
        assert!(whys.contains(&(Some("pro"), Why::Verdict(Rule::QuotaPerDay))));
        assert_eq!(standing.holds().map(|rest| rest.until), Some(in_minutes(2)));
        assert_eq!(keys.glance(ID, NOW).unwrap().until, Some(in_minutes(2)));
    }

    #[test]
    fn every_key_is_glanced_at() {
        let shared = SharedKeys::default();
        for id in 1..=2_500 {
            shared.lock().put(key(id), 0, NOW);
        }

        let glances = shared.glances(NOW);

        let mut seen: Vec<_> = glances.values().map(|glance| glance.id.0).collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=2_500).collect::<Vec<_>>());
    }
}
