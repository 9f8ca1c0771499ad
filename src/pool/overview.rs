//! Can the pool serve now, and with how many keys which model: the running server's truth, added up.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::pool::keys::Keys;
use crate::pool::lease::SharedKeys;
use crate::pool::line::ANY_MODEL;
use crate::pool::standing::{Glance, Rest, Word};
use crate::pool::upstream_key::UpstreamKeyId;

/// So many keys are looked at while requests wait for the lock, which is some hundred microseconds.
const AT_ONCE: usize = 1_000;
/// So many of the keys that are held back are named.
const HELD: usize = 8;

/// All keys, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many keys are in each state; none where there is no key in it.
    pub words: BTreeMap<Word, usize>,
    /// How many keys may serve some model now.
    pub usable: usize,
    /// Requests under way.
    pub in_flight: u64,
    /// When the first of those that rest wholly is ready again.
    pub soonest: Option<Timestamp>,
    /// When the first of those that were set aside is looked at again.
    pub next_check: Option<Timestamp>,
    /// Of which something is known, by name.
    pub models: BTreeMap<String, ModelOverview>,
    /// Google refuses our address, and nothing is sent until then.
    pub storm_until: Option<Timestamp>,
    /// The first of the keys that do not serve everything now: those that somebody should look at, then those that are
    /// ready soonest.
    pub held: Vec<Held>,
}

/// A key that does not serve everything now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub glance: Glance,
    pub label: String,
    pub last4: String,
    /// What it rests for until then.
    pub rest: Option<Rest>,
}

/// How many keys may serve a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOverview {
    pub usable: usize,
    /// Usable for others, but resting for this one.
    pub resting: usize,
    /// When the first of the resting ones is ready again.
    pub soonest: Option<Timestamp>,
    /// The model is overloaded, and nothing is sent until then.
    pub overloaded_until: Option<Timestamp>,
}

impl Overview {
    pub fn keys(&self) -> usize {
        self.words.values().sum()
    }

    pub fn count(&self, word: Word) -> usize {
        self.words.get(&word).copied().unwrap_or(0)
    }

    /// A model of which nothing is known may use every usable key.
    pub fn model(&self, name: &str) -> ModelOverview {
        let known = self.models.get(name).cloned();
        known.unwrap_or_else(|| ModelOverview {
            usable: self.usable,
            ..ModelOverview::default()
        })
    }
}

impl SharedKeys {
    /// Adds up all keys. Requests get the lock in between.
    pub fn overview(&self, now: Timestamp) -> Overview {
        let ids: Vec<_> = self.lock().by_id.keys().copied().collect();
        let mut overview = self.lock().overview_of_ways(now);
        let mut held = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            let keys = self.lock();
            for id in ids {
                if let Some(glance) = keys.add_up(*id, now, &mut overview) {
                    hold(&mut held, glance);
                }
            }
        }
        let keys = self.lock();
        let held = held.into_iter().filter_map(|glance| keys.held(glance, now));
        overview.held = held.collect();
        drop(keys);
        for model in overview.models.values_mut() {
            model.usable = overview.usable.saturating_sub(model.resting);
        }
        overview
    }
}

impl Keys {
    /// What holds requests back whatever the key, and no key yet.
    fn overview_of_ways(&self, now: Timestamp) -> Overview {
        let mut overview = Overview {
            storm_until: self.storm.gate.and_then(|gate| gate.admits(now).err()),
            ..Overview::default()
        };
        for (number, model) in self.models.iter().enumerate() {
            let gate = model.overload.gate;
            if let Some(until) = gate.and_then(|gate| gate.admits(now).err()) {
                let model = overview.models.entry(self.name_of(number)).or_default();
                model.overloaded_until = Some(until);
            }
        }
        overview
    }

    /// Counts a key in, and tells how it is.
    fn add_up(&self, id: UpstreamKeyId, now: Timestamp, overview: &mut Overview) -> Option<Glance> {
        let (key, glance) = (self.by_id.get(&id)?, self.glance(id, now)?);
        *overview.words.entry(glance.word).or_default() += 1;
        overview.in_flight += u64::from(key.in_flight);
        match glance.word {
            Word::Ready | Word::Trial => overview.usable += 1,
            Word::PartlyResting => {
                overview.usable += 1;
                let mut counted = Vec::new();
                self.each_rest(key, now, |rest| {
                    if rest.model == ANY_MODEL {
                        return;
                    }
                    let model = overview.models.entry(self.name_of(rest.model)).or_default();
                    // A key may rest for a model by a cooldown and by a full count at once.
                    if !counted.contains(&rest.model) {
                        counted.push(rest.model);
                        model.resting += 1;
                    }
                    model.soonest = earlier(model.soonest, Some(rest.until));
                });
            }
            Word::Resting => overview.soonest = earlier(overview.soonest, glance.until),
            Word::Invalid | Word::Suspended | Word::Misconfigured => {
                overview.next_check = earlier(overview.next_check, glance.until);
            }
            Word::Leaked | Word::Disabled => {}
        }
        Some(glance)
    }

    fn held(&self, glance: Glance, now: Timestamp) -> Option<Held> {
        let row = &self.by_id.get(&glance.id)?.row;
        let standing = self.standing(glance.id, now)?;
        let mut rests = standing.rests.into_iter().rev();
        Some(Held {
            glance,
            label: row.label.clone(),
            last4: row.secret.last4(),
            rest: rests.find(|rest| Some(rest.until) == glance.until),
        })
    }
}

/// Keeps the first few of those that serve nothing, or not everything.
fn hold(held: &mut Vec<Glance>, glance: Glance) {
    let rank = |glance: &Glance| match glance.word {
        Word::Leaked | Word::Invalid | Word::Suspended | Word::Misconfigured => (0, glance.until),
        Word::Resting => (1, glance.until),
        _ => (2, glance.until),
    };
    if matches!(glance.word, Word::Ready | Word::Trial | Word::Disabled) {
        return;
    }
    let place = held.partition_point(|other| rank(other) <= rank(&glance));
    if place < HELD {
        held.insert(place, glance);
        held.truncate(HELD);
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::keys::Cooldown;
    use crate::pool::upstream_key::{Billing, Condition, KeyState, ProjectId, UpstreamKey};
    use crate::pool::verdict::Rule;

    const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000);

    fn key(id: i64, project: i64, state: KeyState, enabled: bool) -> UpstreamKey {
        UpstreamKey {
            billing: Billing::Free,
            enabled,
            condition: Condition {
                state,
                next_check: Some(NOW + Duration::from_mins(9)),
                ..Condition::ready(NOW)
            },
            ..UpstreamKey::example(id, project, NOW)
        }
    }

    #[test]
    fn keys_are_counted_by_what_they_may_serve() {
        let shared = SharedKeys::default();
        let mut keys = shared.lock();
        let states = [
            (1, 1, KeyState::Ready, true),
            (2, 1, KeyState::Ready, true),
            (3, 2, KeyState::Ready, true),
            (4, 3, KeyState::Ready, true),
            (5, 4, KeyState::Invalid, true),
            (6, 5, KeyState::Ready, false),
        ];
        for (id, project, state, enabled) in states {
            keys.put(key(id, project, state, enabled), 0, NOW);
        }
        let cooldown = |minutes| Cooldown {
            rule: Rule::QuotaPerMinute,
            step: 0,
            since: NOW,
            until: NOW + Duration::from_mins(minutes),
        };
        keys.put_cooldown(ProjectId(1), "pro", cooldown(2));
        keys.put_cooldown(ProjectId(2), "pro", cooldown(1));
        keys.put_cooldown(ProjectId(3), "*", cooldown(5));
        drop(keys);

        let overview = shared.overview(NOW);

        assert_eq!((overview.keys(), overview.usable), (6, 3));
        assert_eq!(overview.soonest, Some(NOW + Duration::from_mins(5)));
        assert_eq!(overview.next_check, Some(NOW + Duration::from_mins(9)));
        let pro = overview.model("pro");
        assert_eq!((pro.usable, pro.resting), (0, 3));
        assert_eq!(pro.soonest, Some(NOW + Duration::from_mins(1)));
        assert_eq!(overview.model("flash").usable, 3);
        assert_eq!(overview.count(Word::Disabled), 1);
    }
}
