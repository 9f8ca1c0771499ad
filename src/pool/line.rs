//! `Line`: the keys that may serve one model, in the order in which they are lent.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::pool::upstream_key::UpstreamKeyId;

/// A model's short name inside [`Keys`](crate::pool::keys::Keys).
pub type ModelNumber = usize;
/// The model that stands for every model, and for those of which nothing is known.
pub const ANY_MODEL: ModelNumber = 0;

/// A key's place among those that are ready: lower is lent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub priority: i64,
    /// Requests under way, a thousandfold, by weight.
    pub busyness: u64,
    /// How much of the day's quota is used, in thousandths, as far as is known.
    pub share: u16,
    /// Grows each time a key is lent from this line, so that the longest rested comes first.
    pub turn: i64,
    pub id: UpstreamKeyId,
}

/// Where a key stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Ready(Rank),
    /// It carries as much as it may; it is placed anew when one of its requests ends.
    Busy,
    Resting(Timestamp),
    /// Only a check or a hand can bring it back.
    Out,
}

/// The keys that may serve a model, for clients that may spend them.
///
/// What worsens a key's place is noticed only when it is about to be lent, or to wake: a place that is written down may be
/// better than the true one, never worse. So a request costs a few steps, however many keys and lines there are.
#[derive(Debug)]
pub struct Line {
    pub model: ModelNumber,
    /// The tags of which its keys have one; none: all keys.
    pub tags: Box<[String]>,
    ready: BTreeSet<Rank>,
    resting: BTreeSet<(Timestamp, UpstreamKeyId)>,
    busy: usize,
    members: HashMap<UpstreamKeyId, Member>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    place: Place,
    turn: i64,
}

impl Line {
    pub fn new(model: ModelNumber, tags: &[String]) -> Self {
        Self {
            model,
            tags: tags.into(),
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            busy: 0,
            members: HashMap::new(),
        }
    }

    /// Whether a key with these tags belongs here.
    pub fn takes(&self, tags: &[String]) -> bool {
        self.tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag))
    }

    /// The key's turn in this line; `None`: it does not stand here.
    pub fn turn(&self, id: UpstreamKeyId) -> Option<i64> {
        self.members.get(&id).map(|member| member.turn)
    }

    /// Takes in the first members all at once, which costs much less than one by one.
    pub fn fill(&mut self, members: Vec<(UpstreamKeyId, Place, i64)>) {
        self.members.reserve(members.len());
        let (mut ready, mut resting) = (Vec::new(), Vec::new());
        for (id, place, turn) in members {
            self.members.insert(id, Member { place, turn });
            match place {
                Place::Ready(rank) => ready.push(rank),
                Place::Resting(until) => resting.push((until, id)),
                Place::Busy => self.busy += 1,
                Place::Out => {}
            }
        }
        // A set is made of a list in one go.
        self.ready = ready.into_iter().collect();
        self.resting = resting.into_iter().collect();
    }

    /// Puts a key where it belongs, whether or not it stood elsewhere.
    pub fn put(&mut self, id: UpstreamKeyId, place: Place, turn: i64) {
        if let Some(old) = self.members.insert(id, Member { place, turn }) {
            self.leave(id, old.place);
        }
        match place {
            Place::Ready(rank) => drop(self.ready.insert(rank)),
            Place::Resting(until) => drop(self.resting.insert((until, id))),
            Place::Busy => self.busy += 1,
            Place::Out => {}
        }
    }

    pub fn remove(&mut self, id: UpstreamKeyId) {
        if let Some(old) = self.members.remove(&id) {
            self.leave(id, old.place);
        }
    }

    /// The first that is ready and comes after `passed`.
    pub fn next_ready(&self, passed: Option<Rank>) -> Option<Rank> {
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
    pub fn next_resting(&self) -> Option<(Timestamp, UpstreamKeyId)> {
        self.resting.first().copied()
    }

    /// Where the key is written down; `None`: nowhere.
    #[cfg(test)]
    pub fn place(&self, id: UpstreamKeyId) -> Option<Place> {
        self.members.get(&id).map(|member| member.place)
    }

    /// All that rest.
    pub fn all_resting(&self) -> Vec<UpstreamKeyId> {
        self.resting.iter().map(|(_, id)| *id).collect()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn has_busy(&self) -> bool {
        self.busy > 0
    }

    fn leave(&mut self, id: UpstreamKeyId, place: Place) {
        match place {
            Place::Ready(rank) => drop(self.ready.remove(&rank)),
            Place::Resting(until) => drop(self.resting.remove(&(until, id))),
            Place::Busy => self.busy -= 1,
            Place::Out => {}
        }
    }
}
