//! `ReadyIndex`: the keys that may serve one model, in the order in which they are lent.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// A model's short name inside [`KeyRegistry`](crate::pool::keys::registry::KeyRegistry).
pub type ModelNumber = usize;
/// The model that stands for every model, and for those of which nothing is known.
pub const ANY_MODEL: ModelNumber = 0;

/// A key's place among those that are ready: lower is lent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyRank {
    pub priority: i64,
    /// Requests under way, a thousandfold, by weight.
    pub load: u64,
    /// How much of the day's quota is used, in thousandths, as far as is known.
    pub quota_share: u16,
    /// Grows each time a key is lent from this line, so that the longest rested comes first.
    pub lease_order: i64,
    pub id: UpstreamKeyId,
}

/// Where a key stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready(ReadyRank),
    /// It carries as much as it may; it is placed anew when one of its requests ends.
    Busy,
    CoolingDown(Timestamp),
    /// Only a check or a hand can bring it back.
    Unavailable,
}

/// The keys that may serve a model, for clients that may spend them.
///
/// What worsens a key's place is noticed only when it is about to be lent, or to wake: a place that is written down may be
/// better than the true one, never worse. So a request costs a few steps, however many keys and lines there are.
#[derive(Debug)]
pub struct ReadyIndex {
    pub model: ModelNumber,
    /// The tags of which its keys have one; none: all keys.
    pub tags: Box<[String]>,
    ready: BTreeSet<ReadyRank>,
    cooling_down: BTreeSet<(Timestamp, UpstreamKeyId)>,
    busy: usize,
    members: HashMap<UpstreamKeyId, IndexedKey>,
}

#[derive(Debug, Clone, Copy)]
struct IndexedKey {
    readiness: Readiness,
    lease_order: i64,
}

impl ReadyIndex {
    pub fn new(model: ModelNumber, tags: &[String]) -> Self {
        Self {
            model,
            tags: tags.into(),
            ready: BTreeSet::new(),
            cooling_down: BTreeSet::new(),
            busy: 0,
            members: HashMap::new(),
        }
    }

    /// Whether a key with these tags belongs here.
    pub fn accepts_tags(&self, tags: &[String]) -> bool {
        self.tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag))
    }

    /// The key's turn in this line; `None`: it does not stand here.
    pub fn lease_order(&self, id: UpstreamKeyId) -> Option<i64> {
        self.members.get(&id).map(|member| member.lease_order)
    }

    /// Takes in the first members all at once, which costs much less than one by one.
    pub fn fill(&mut self, members: Vec<(UpstreamKeyId, Readiness, i64)>) {
        self.members.reserve(members.len());
        let (mut ready, mut cooling_down) = (Vec::new(), Vec::new());
        for (id, readiness, lease_order) in members {
            self.members.insert(
                id,
                IndexedKey {
                    readiness,
                    lease_order,
                },
            );
            match readiness {
                Readiness::Ready(rank) => ready.push(rank),
                Readiness::CoolingDown(until) => cooling_down.push((until, id)),
                Readiness::Busy => self.busy += 1,
                Readiness::Unavailable => {}
            }
        }
        // A set is made of a list in one go.
        self.ready = ready.into_iter().collect();
        self.cooling_down = cooling_down.into_iter().collect();
    }

    /// Puts a key where it belongs, whether or not it stood elsewhere.
    pub fn put(&mut self, id: UpstreamKeyId, readiness: Readiness, lease_order: i64) {
        if let Some(old) = self.members.insert(
            id,
            IndexedKey {
                readiness,
                lease_order,
            },
        ) {
            self.unlink(id, old.readiness);
        }
        match readiness {
            Readiness::Ready(rank) => drop(self.ready.insert(rank)),
            Readiness::CoolingDown(until) => drop(self.cooling_down.insert((until, id))),
            Readiness::Busy => self.busy += 1,
            Readiness::Unavailable => {}
        }
    }

    pub fn remove(&mut self, id: UpstreamKeyId) {
        if let Some(old) = self.members.remove(&id) {
            self.unlink(id, old.readiness);
        }
    }

    /// The first that is ready and comes after `passed`.
    pub fn next_ready(&self, passed: Option<ReadyRank>) -> Option<ReadyRank> {
        match passed {
            None => self.ready.first().copied(),
            Some(passed) => {
                let after = (
                    std::ops::Bound::Excluded(passed),
                    std::ops::Bound::Unbounded,
                );
                self.ready.range(after).next().copied()
            }
        }
    }

    /// The one that wakes first.
    pub fn next_cooling_down(&self) -> Option<(Timestamp, UpstreamKeyId)> {
        self.cooling_down.first().copied()
    }

    /// Where the key is written down; `None`: nowhere.
    #[cfg(test)]
    pub fn readiness(&self, id: UpstreamKeyId) -> Option<Readiness> {
        self.members.get(&id).map(|member| member.readiness)
    }

    /// All that rest.
    pub fn all_cooling_down(&self) -> Vec<UpstreamKeyId> {
        self.cooling_down.iter().map(|(_, id)| *id).collect()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn has_busy(&self) -> bool {
        self.busy > 0
    }

    fn unlink(&mut self, id: UpstreamKeyId, readiness: Readiness) {
        match readiness {
            Readiness::Ready(rank) => drop(self.ready.remove(&rank)),
            Readiness::CoolingDown(until) => drop(self.cooling_down.remove(&(until, id))),
            Readiness::Busy => self.busy -= 1,
            Readiness::Unavailable => {}
        }
    }
}
