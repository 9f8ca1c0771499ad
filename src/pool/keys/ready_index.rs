//! `ReadyIndex`: the keys that may serve one model, ordered by the rank in which they are leased.

use std::collections::BTreeSet;
use std::ops::Bound;

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// A model's number inside [`KeyRegistry`](crate::pool::keys::registry::KeyRegistry).
pub type ModelNumber = usize;
/// Stands for every model, and for models without an entry.
pub const ANY_MODEL: ModelNumber = 0;

/// A ready key's rank: the lowest is leased first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyRank {
    /// Whether a running request has a verdict against it.
    pub is_suspected: bool,
    pub priority: i64,
    /// Requests in flight times 1,000, divided by weight.
    pub load: u64,
    /// The used share of the day's known quota, in thousandths.
    pub quota_share: u16,
    /// Grows with each lease from this index, so that the least recently leased key comes first.
    pub lease_order: i64,
    pub id: UpstreamKeyId,
}

/// The readiness of a key in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready(ReadyRank),
    /// At its limit of concurrent requests; updated when one of them ends.
    Busy,
    CoolingDown(Timestamp),
    /// Only a check or the admin can make it ready.
    Unavailable,
}

/// The keys that may serve a model, for clients with some tags.
///
/// A key whose readiness worsens is updated only before it is leased or when its cooldown ends: the stored readiness
/// may be better than the real one, never worse. So the cost of a request does not depend on the number of keys and
/// indexes.
#[derive(Debug)]
pub struct ReadyIndex {
    pub model: ModelNumber,
    /// Every key has at least one of them; empty: all keys.
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
            members: HashMap::default(),
        }
    }

    /// Whether a key with these tags belongs to the index.
    pub fn accepts_tags(&self, tags: &[String]) -> bool {
        self.tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag))
    }

    /// The key's lease order in this index; `None`: not in it.
    pub fn lease_order(&self, id: UpstreamKeyId) -> Option<i64> {
        self.members.get(&id).map(|member| member.lease_order)
    }

    /// Inserts the first members at once, which costs much less than one by one.
    pub fn fill(&mut self, members: Vec<(UpstreamKeyId, Readiness, i64)>) {
        self.members.reserve(members.len());
        let (mut ready, mut cooling_down) = (Vec::new(), Vec::new());
        for (id, readiness, lease_order) in members {
            let member = IndexedKey {
                readiness,
                lease_order,
            };
            self.members.insert(id, member);
            match readiness {
                Readiness::Ready(rank) => ready.push(rank),
                Readiness::CoolingDown(until) => cooling_down.push((until, id)),
                Readiness::Busy => self.busy += 1,
                Readiness::Unavailable => {}
            }
        }
        self.ready = ready.into_iter().collect();
        self.cooling_down = cooling_down.into_iter().collect();
    }

    /// Inserts or moves a key.
    pub fn put(&mut self, id: UpstreamKeyId, readiness: Readiness, lease_order: i64) {
        let member = IndexedKey {
            readiness,
            lease_order,
        };
        if let Some(old) = self.members.insert(id, member) {
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

    /// The first ready key after `passed`.
    pub fn next_ready(&self, passed: Option<ReadyRank>) -> Option<ReadyRank> {
        let after = passed.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((after, Bound::Unbounded)).next().copied()
    }

    /// The key whose cooldown ends first.
    pub fn next_cooling_down(&self) -> Option<(Timestamp, UpstreamKeyId)> {
        self.cooling_down.first().copied()
    }

    /// The stored readiness of a key; `None`: not in the index.
    pub fn readiness(&self, id: UpstreamKeyId) -> Option<Readiness> {
        self.members.get(&id).map(|member| member.readiness)
    }

    /// Every key of the index.
    pub fn members(&self) -> impl Iterator<Item = UpstreamKeyId> {
        self.members.keys().copied()
    }

    /// All cooling keys.
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
