//! Hedging: sends a slow request to a second project at the same time, and cancels the attempt that is later.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::clock;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::Lease;
use crate::pool::settings::Settings;
use crate::proxy::attempt::Attempt;
use crate::proxy::forward::forward_held;
use crate::proxy::incoming::Incoming;
use crate::proxy::lease::KeySelector;
use crate::proxy::record::Record;
use crate::proxy::route_constraint::RouteConstraint;

/// What came of one or two attempts at the same time.
pub struct Hedged {
    /// The one that answered, or ended last.
    pub attempt: Attempt,
    /// The one that had failed before.
    pub failed: Option<Attempt>,
}

/// Whether the request may be hedged: the setting allows it, and any project may serve it.
fn is_possible(settings: &Settings, incoming: &Incoming, route: &RouteConstraint) -> bool {
    let is_wanted = settings.hedge_percent > 0 && !incoming.quota_model().is_empty();
    is_wanted && !route.is_bound() && !incoming.is_bound()
}

/// Counts a request, once for all its attempts, if it may be hedged: a share of those may be.
pub fn count_request(app: &App, settings: &Settings, incoming: &Incoming, route: &RouteConstraint) {
    if is_possible(settings, incoming, route) {
        let mut hedging = app.hedging.lock();
        hedging.count_request(settings.hedge_percent);
    }
}

/// After how long an attempt is hedged; `None`: it is not.
pub fn hedge_delay(
    app: &App,
    settings: &Settings,
    incoming: &Incoming,
    route: &RouteConstraint,
) -> Option<Duration> {
    if !is_possible(settings, incoming, route) {
        return None;
    }
    app.hedging.lock().slow_after(incoming.quota_model())
}

/// Sends the request with the lease's key and, if its answer has not begun after `delay`, with one of another project too.
/// The first good answer cancels the other attempt.
pub async fn forward_hedged(
    app: &App,
    settings: &Settings,
    selector: &KeySelector<'_>,
    lease: Lease,
    incoming: &Incoming,
    delay: Duration,
    record: &mut Record,
) -> Hedged {
    let (key, project, began) = (lease.key.id, lease.key.project_id, clock::instant());
    let left = selector.time_left();
    let mut first = pin!(forward_held(app, settings, lease, incoming, left));
    tokio::select! {
        biased;
        attempt = &mut first => return Hedged::single(attempt),
        () = sleep(delay) => {}
    }
    // A lease that is not used would count as a request of its project.
    let is_allowed = app.hedging.lock().take();
    let twin = is_allowed.then(|| selector.lease_twin(key, project, incoming));
    let Some(twin) = twin.flatten() else {
        if is_allowed {
            app.hedging.lock().give_back();
        }
        return Hedged::single(first.await);
    };
    record.begin_twin(&twin.key);
    let left = selector.time_left();
    let mut second = pin!(forward_held(app, settings, twin, incoming, left));
    let (ended, is_first) = tokio::select! {
        biased;
        attempt = &mut first => (attempt, true),
        attempt = &mut second => (attempt, false),
    };
    if is_first {
        record.switch_attempt();
    }
    // Now the attempt that has ended is the current one.
    let model = incoming.quota_model();
    if ended.verdict.rule == Rule::Success {
        record.switch_attempt();
        record.cancel_attempt();
        record.switch_attempt();
        if !is_first {
            // Its time counts as the least that it would have taken, or the slow ones would be forgotten.
            let mut hedging = app.hedging.lock();
            hedging.add_time(model, began.elapsed());
        }
        return Hedged::single(ended);
    }
    record.apply(&ended.verdict, ended.lease.as_ref(), model, false);
    record.switch_attempt();
    let attempt = if is_first { second.await } else { first.await };
    Hedged {
        attempt,
        failed: Some(ended),
    }
}

impl Hedged {
    pub fn single(attempt: Attempt) -> Self {
        Self {
            attempt,
            failed: None,
        }
    }
}
