//! Replays logged requests with the real rules for selection, waiting, retries and cooldowns, on a clock of its own.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::health::settle::AttemptTiming;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::fair_queue::{DispatchResult, FairQueue};
use crate::pool::keys::registry::{KeyPolicy, KeyRegistry, LeasedKey};
use crate::pool::keys::selection::{KeyReuse, LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::outcome::Outcome;
use crate::pool::quota::limits::ObservedLimit;
use crate::pool::retry::{NextStep, RetryBudget, next_step};
use crate::pool::what_if::upstream::ReplayedUpstream;
use crate::pool::what_if::{
    LoggedRequest, ReplayEnd, ReplayInput, WhatIfChange, WhatIfFigures, WhatIfResult,
};

/// How long Google takes to refuse an attempt.
const REFUSAL: Duration = Duration::from_millis(200);
/// In place of chance: replays of the same input have the same result.
const CHANCE: f64 = 0.5;

/// Replays with the present settings and with the change. `progress` gets the events processed so far, of which there are
/// some for each request.
pub fn what_if(
    mut input: ReplayInput,
    left_out: u64,
    change: WhatIfChange,
    mut progress: impl FnMut(usize),
) -> WhatIfResult {
    let actual = WhatIfFigures::actual(&input.requests);
    let present = replay(&input, &mut progress);
    let same = input.requests.iter().zip(&present);
    let same = same
        .filter(|(request, ended)| request.end == ended.end)
        .count();
    let keys = input.keys.len();
    let present = figures(&present);
    change.apply(&mut input);
    let changed = figures(&replay(&input, &mut progress));
    let requests = input.requests.len();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let at = |request: Option<&LoggedRequest>| {
        request.map_or(Timestamp::from_millis(0), |request| request.at)
    };
    WhatIfResult {
        from: at(input.requests.first()),
        to: at(input.requests.last()),
        requests: count(requests),
        left_out,
        keys: count(keys),
        actual,
        present,
        changed,
        same_end_per_mille: count(same * 1_000 / requests.max(1)),
    }
}

fn figures(ended: &[EndedRequest]) -> WhatIfFigures {
    let ends = ended.iter();
    WhatIfFigures::of(ends.map(|ended| (ended.end, ended.waited, ended.attempts)))
}

/// How a request ended in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRequest {
    pub end: ReplayEnd,
    pub waited: Duration,
    pub attempts: u32,
}

/// Replays all requests; the results are in their order.
pub fn replay(input: &ReplayInput, progress: &mut impl FnMut(usize)) -> Vec<EndedRequest> {
    let mut replay = Replay::new(input);
    replay.run(progress);
    let states = replay.states.into_iter();
    let ended = states.map(|state| EndedRequest {
        // A request that waits for ever at the end of all events has no key.
        end: state.end.unwrap_or(ReplayEnd::Refused),
        waited: state.waited,
        attempts: state.budget.attempts,
    });
    ended.collect()
}

struct Replay<'a> {
    input: &'a ReplayInput,
    keys: KeyRegistry,
    upstream: ReplayedUpstream,
    states: Vec<RequestState>,
    queue: FairQueue<usize>,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    /// The times of the dispatches to come: one for each, however many requests wait for it.
    dispatches: BTreeSet<Timestamp>,
    scheduled: u64,
    now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    /// The next attempt of a request, after a pause.
    Attempt(usize),
    AttemptEnd(usize),
    /// A cooldown may have ended.
    Dispatch,
}

#[derive(Debug, Default)]
struct RequestState {
    tried: TriedKeys,
    budget: RetryBudget,
    running: Option<(LeasedKey, Verdict, Timestamp)>,
    waits_since: Option<Timestamp>,
    waited: Duration,
    last_rule: Option<Rule>,
    end: Option<ReplayEnd>,
}

impl<'a> Replay<'a> {
    fn new(input: &'a ReplayInput) -> Self {
        let start = input.requests.first().map(|request| request.at);
        let start = start.unwrap_or(Timestamp::from_millis(0));
        let mut keys = KeyRegistry::default();
        keys.set_policy(KeyPolicy::of(&input.settings));
        for key in &input.keys {
            keys.put(key.clone(), key.id.0, start);
        }
        for known in &input.limits {
            let (model, limit) = (
                &input.models[known.model],
                ObservedLimit::Limit(known.limit),
            );
            keys.restore_limit(known.project, model, known.measure, limit, start);
        }
        for used in &input.used {
            keys.restore_usage(
                used.key,
                &input.models[used.model],
                used.amount,
                None,
                start,
            );
        }
        let mut replay = Self {
            keys,
            upstream: ReplayedUpstream::new(input),
            states: Vec::new(),
            queue: FairQueue::default(),
            events: BinaryHeap::new(),
            dispatches: BTreeSet::new(),
            scheduled: 0,
            now: start,
            input,
        };
        for (number, request) in input.requests.iter().enumerate() {
            replay.states.push(RequestState::default());
            replay.schedule(request.at, Event::Arrival(number));
        }
        replay
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn schedule_dispatch(&mut self, at: Timestamp) {
        if self.dispatches.insert(at) {
            self.schedule(at, Event::Dispatch);
        }
    }

    fn run(&mut self, progress: &mut impl FnMut(usize)) {
        let mut processed = 0;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at.max(self.now);
            match event {
                Event::Arrival(number) => {
                    processed += 1;
                    progress(processed);
                    self.select(number);
                }
                Event::Attempt(number) => self.select(number),
                Event::AttemptEnd(number) => self.end_attempt(number),
                Event::Dispatch => {
                    self.dispatches.remove(&at);
                    self.dispatch();
                }
            }
        }
    }

    fn lease(&mut self, number: usize) -> Result<LeasedKey, LeaseObstacle> {
        let request = &self.input.requests[number];
        let lease_request = LeaseRequest {
            model: &self.input.models[request.model],
            amount: request.amount,
            tags: &[],
            project: None,
        };
        let tried = &self.states[number].tried;
        self.keys.lease(&lease_request, tried, self.now)
    }

    /// Whether another request waits for the same model, which a new one must not overtake.
    fn is_queued_for(&self, number: usize) -> bool {
        let model = self.input.requests[number].model;
        let mut queued = self.queue.iter();
        queued.any(|other| self.input.requests[*other].model == model)
    }

    fn select(&mut self, number: usize) {
        let leased = if self.wait_left(number).is_zero() || !self.is_queued_for(number) {
            self.lease(number)
        } else {
            Err(LeaseObstacle::Busy)
        };
        match leased {
            Ok(leased) => self.send(number, leased),
            Err(obstacle) => self.wait_or_end(number, obstacle),
        }
    }

    fn wait_left(&self, number: usize) -> Duration {
        let wait = self.input.settings.wait_for_key();
        wait.saturating_sub(self.states[number].waited)
    }

    fn wait_or_end(&mut self, number: usize, obstacle: LeaseObstacle) {
        let wait_left = self.wait_left(number);
        let last_moment = self.now + wait_left;
        let until = obstacle.until(self.now);
        let most = usize::try_from(self.input.settings.wait_queue_limit).unwrap_or(usize::MAX);
        match until.filter(|until| *until <= last_moment) {
            Some(until) if !wait_left.is_zero() && self.queue.len() < most => {
                self.states[number].waits_since = Some(self.now);
                self.queue.push(self.input.requests[number].client, number);
                // Of a busy key the release is the next event.
                if until > self.now {
                    self.schedule_dispatch(until);
                }
                self.schedule_dispatch(last_moment);
            }
            _ => self.end(number),
        }
    }

    /// Gives keys to requests that wait, and ends the waits that are over.
    fn dispatch(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        let mut next: Option<Timestamp> = None;
        queue.dispatch(|number| {
            let number = *number;
            let since = self.states[number].waits_since.unwrap_or(self.now);
            let last_moment = since + self.wait_left(number);
            match self.lease(number) {
                Ok(leased) => {
                    self.end_wait(number);
                    self.send(number, leased);
                    DispatchResult::Dispatched
                }
                Err(obstacle) => {
                    let until = obstacle.until(self.now);
                    let may_come = until.is_some_and(|until| until <= last_moment);
                    if may_come && self.now < last_moment {
                        let until = until.filter(|until| *until > self.now);
                        next = until.into_iter().chain(next).min();
                        return DispatchResult::StillQueued;
                    }
                    self.end_wait(number);
                    self.end(number);
                    DispatchResult::Removed
                }
            }
        });
        self.queue = queue;
        if let Some(next) = next {
            self.schedule_dispatch(next);
        }
    }

    fn end_wait(&mut self, number: usize) {
        let state = &mut self.states[number];
        if let Some(since) = state.waits_since.take() {
            state.waited += self.now - since;
        }
    }

    fn send(&mut self, number: usize, leased: LeasedKey) {
        let request = &self.input.requests[number];
        let (project, model) = (leased.project_id, request.model);
        let verdict = self
            .upstream
            .answer(project, model, request.amount, self.now);
        let took = if verdict.rule == Rule::Success {
            Duration::from_millis(request.service_ms)
        } else {
            REFUSAL
        };
        self.states[number].running = Some((leased, verdict, self.now));
        self.schedule(self.now + took, Event::AttemptEnd(number));
    }

    fn end_attempt(&mut self, number: usize) {
        let Some((leased, verdict, began)) = self.states[number].running.take() else {
            return;
        };
        let request = &self.input.requests[number];
        let model = &self.input.models[request.model];
        let timing = AttemptTiming {
            began,
            now: self.now,
            chance: CHANCE,
            answer_had_begun: false,
            client: Some(request.client),
        };
        drop(self.keys.settle(&leased, model, &verdict, timing));
        self.keys.release(&leased);
        let state = &mut self.states[number];
        state.budget.add(verdict.rule);
        state.last_rule = Some(verdict.rule);
        match next_step(&verdict, &state.budget, &self.input.settings, CHANCE) {
            NextStep::Answer(_) => self.end(number),
            NextStep::TryAgain { pause } => {
                let reuse = KeyReuse::after(verdict.rule);
                state.tried.add(leased.id, leased.project_id, reuse);
                if pause.is_zero() {
                    self.select(number);
                } else {
                    self.schedule(self.now + pause, Event::Attempt(number));
                }
            }
        }
        if !self.queue.is_empty() {
            self.dispatch();
        }
    }

    fn end(&mut self, number: usize) {
        let state = &mut self.states[number];
        state.end = Some(match state.last_rule.map(Rule::outcome) {
            Some(Outcome::Success) => ReplayEnd::Answered,
            None | Some(Outcome::Quota) => ReplayEnd::Refused,
            Some(_) => ReplayEnd::Failed,
        });
    }
}

#[cfg(test)]
mod tests;
