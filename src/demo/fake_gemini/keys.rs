//! `FakeKeyState`: a key at run time, its behaviour and its counts.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::behaviour::{Behaviour, FakeKey};

pub struct FakeKeyState {
    pub secret: String,
    pub project: String,
    behaviour: Mutex<Behaviour>,
    /// How many requests with this behaviour used a model: the step of a sequence.
    steps: AtomicU64,
    requests: AtomicU64,
    answered: AtomicU64,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

/// How often a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCounts {
    pub requests: u64,
    /// Requests answered with 200, whatever their end.
    pub answered: u64,
    pub in_flight: usize,
    pub max_in_flight: usize,
}

impl FakeKeyState {
    pub fn new(key: FakeKey) -> Self {
        Self {
            secret: key.secret,
            project: key.project,
            behaviour: Mutex::new(key.behaviour),
            steps: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
        }
    }

    /// Gives the key a new behaviour, at its first step.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
        self.steps.store(0, Ordering::Relaxed);
    }

    /// The behaviour of one request; one that uses a model advances it by a step.
    pub fn next_behaviour(&self, uses_quota: bool) -> Behaviour {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.behaviour.lock();
        let step = self
            .steps
            .fetch_add(u64::from(uses_quota), Ordering::Relaxed);
        behaviour.for_request(step).clone()
    }

    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub fn begin_request(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_in_flight.fetch_max(now, Ordering::Relaxed);
    }

    pub fn end_request(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> KeyCounts {
        KeyCounts {
            requests: self.requests.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            max_in_flight: self.max_in_flight.load(Ordering::Relaxed),
        }
    }

    pub fn reset_counts(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.answered.store(0, Ordering::Relaxed);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.max_in_flight.store(in_flight, Ordering::Relaxed);
    }
}
