//! `KeyState`: a key at run time, its fate and its counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::fate::{FakeKey, Fate};

pub struct KeyState {
    pub secret: String,
    pub project: String,
    fate: Mutex<Fate>,
    /// How many requests with this fate used a model: the step of a sequence.
    steps: AtomicU64,
    requests: AtomicU64,
    answered: AtomicU64,
    in_flight: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// How often a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCounts {
    pub requests: u64,
    /// Those that got a 200, however it ended.
    pub answered: u64,
    pub in_flight: usize,
    pub most_at_once: usize,
}

impl KeyState {
    pub fn new(key: FakeKey) -> Self {
        Self {
            secret: key.secret,
            project: key.project,
            fate: Mutex::new(key.fate),
            steps: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }

    /// Gives the key a new fate, begun at its first step.
    pub fn set_fate(&self, fate: Fate) {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate;
        self.steps.store(0, Ordering::Relaxed);
    }

    /// The fate of one request; those that use a model go a step on.
    pub fn meet(&self, spends: bool) -> Fate {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.steps.fetch_add(u64::from(spends), Ordering::Relaxed);
        fate.at(step).clone()
    }

    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub fn enter(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> KeyCounts {
        KeyCounts {
            requests: self.requests.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            most_at_once: self.most_at_once.load(Ordering::Relaxed),
        }
    }

    pub fn reset_counts(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.answered.store(0, Ordering::Relaxed);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.most_at_once.store(in_flight, Ordering::Relaxed);
    }
}
