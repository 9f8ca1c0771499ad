//! The retry loop: leases a key, forwards, applies the verdict, until one answers or the budget is used up.

use std::time::Duration;

use crate::app::App;
use crate::clock;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::health::verdict::{Fault, Rule};
use crate::pool::keys::selection::{KeyReuse, LeaseObstacle};
use crate::pool::keys::upstream_key::KeyState;
use crate::pool::retry::{NextStep, RetryBudget, StopReason, next_step};
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Attempt, Reply};
use crate::proxy::forward::forward;
use crate::proxy::hedge::{Hedged, forward_hedged, hedge_delay};
use crate::proxy::incoming::Incoming;
use crate::proxy::lease::KeySelector;
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::route_constraint::RouteConstraint;

/// Maximum number of projects probed for a resource of unknown owner.
const PROBE_LIMIT: u32 = 20;

/// Sends the request with one key after another until one answers, and returns the attempt that the client may see.
pub async fn send_with_retry(
    app: &App,
    settings: &Settings,
    selector: &mut KeySelector<'_>,
    incoming: &mut Incoming,
    route: &RouteConstraint,
    record: &mut Record,
) -> Result<Attempt, Refusal> {
    // A body that streams cannot be sent again.
    let sends_once = incoming.streaming.is_some();
    let mut budget = if sends_once {
        RetryBudget::single()
    } else {
        RetryBudget::default()
    };
    let probe_limit = if route.is_probe() && !sends_once {
        PROBE_LIMIT
    } else {
        0
    };
    let mut probes = 0;
    let mut last: Option<Attempt> = None;
    loop {
        let lease = match (selector.lease(incoming, record).await, last.take()) {
            (Ok(lease), previous) => {
                let is_known = selector.has_tried_project(lease.key.project_id);
                if let Some(attempt) = previous.filter(|_| probes > 0 && is_known) {
                    // Every project was probed.
                    record.stop(StopReason::NoOtherKey);
                    return conclude(attempt, incoming, route, record, || None);
                }
                lease
            }
            (Err(obstacle), Some(attempt)) => {
                record.stop(StopReason::NoOtherKey);
                return conclude(attempt, incoming, route, record, || Some(obstacle));
            }
            (Err(obstacle), None) => return Err(no_key(Some(obstacle), incoming, route)),
        };
        record.begin_attempt(&lease.key);
        let hedged = if let Some(delay) = hedge_delay(app, settings, incoming, route) {
            // In a box: it has room for two attempts.
            let hedged = forward_hedged(app, settings, selector, lease, incoming, delay, record);
            Box::pin(hedged).await
        } else {
            let left = selector.time_left();
            let forwarded = forward(app, settings, lease, incoming, left).await;
            let gone = |record: &mut Record| record.client_gone(&ResponseSummary::default(), 0);
            Hedged::single(forwarded.inspect_err(|_| gone(record))?)
        };
        if let Some(failed) = hedged.failed {
            budget.add(failed.verdict.rule);
            let reuse = KeyReuse::after(failed.verdict.rule);
            set_aside(&failed, reuse, selector, incoming, record);
        }
        let mut attempt = hedged.attempt;
        let model = incoming.quota_model();
        record.apply(
            &attempt.verdict,
            attempt.lease.as_ref(),
            model,
            attempt.reply.is_open(),
        );
        let rule = attempt.verdict.rule;
        if rule == Rule::Success && settings.hedge_percent > 0 {
            let mut hedging = app.hedging.lock();
            hedging.add_time(model, record.attempt_age());
        }
        budget.add(rule);
        let in_time = !selector.time_left().is_zero();
        let step = next_step(&attempt.verdict, &budget, settings, rand::random());
        let (reuse, pause) = match step {
            _ if rule.is_miss() && probes < probe_limit && in_time => {
                probes += 1;
                selector.forget_preference();
                (KeyReuse::Never, Duration::ZERO)
            }
            NextStep::TryAgain { pause } if in_time => (KeyReuse::after(rule), pause),
            NextStep::TryAgain { .. } | NextStep::Answer(_) => {
                record.stop(match step {
                    NextStep::Answer(reason) => reason,
                    NextStep::TryAgain { .. } => StopReason::OutOfTime,
                });
                return conclude(attempt, incoming, route, record, || {
                    selector.obstacle(incoming)
                });
            }
        };
        set_aside(&attempt, reuse, selector, incoming, record);
        // An answer that had begun is not read to its end.
        record.end_open_attempts(rule.outcome());
        // The key is free while the request pauses.
        drop(attempt.lease.take());
        last = Some(attempt);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Prepares the request for another attempt in place of this one.
fn set_aside(
    attempt: &Attempt,
    reuse: KeyReuse,
    selector: &mut KeySelector<'_>,
    incoming: &mut Incoming,
    record: &mut Record,
) {
    let Some(lease) = &attempt.lease else { return };
    let rule = attempt.verdict.rule;
    if rule == Rule::EmptyReply {
        record.discard(&lease.key, rule.outcome(), &summary_of(attempt, incoming));
        // The next reply is answered as it is.
        incoming.guards_reply = false;
    }
    selector.exclude(lease.key.id, lease.key.project_id, reuse);
    if let Some(egress) = lease.key.egress.filter(|_| rule.is_of_egress()) {
        selector.avoid_egress(egress);
    }
}

/// What the answer of an attempt reports, as far as it has arrived.
fn summary_of(attempt: &Attempt, incoming: &Incoming) -> ResponseSummary {
    match &attempt.reply {
        Reply::Whole(whole) => whole.answered.clone(),
        Reply::Streaming(streaming) => {
            let mut tap = incoming.tap(&streaming.head.headers);
            for chunk in &streaming.begun {
                tap.feed(chunk);
            }
            tap.summary()
        }
        Reply::None
        | Reply::TooLong(_)
        | Reply::ForeignRedirect
        | Reply::Session(_)
        | Reply::Closed(_) => ResponseSummary::default(),
    }
}

/// The client gets Google's answer, unless none came or it concerns our key: then `obstacle` explains why no other key
/// serves.
fn conclude(
    attempt: Attempt,
    incoming: &Incoming,
    route: &RouteConstraint,
    record: &mut Record,
    obstacle: impl FnOnce() -> Option<LeaseObstacle>,
) -> Result<Attempt, Refusal> {
    let rule = attempt.verdict.rule;
    if rule.concerns_our_key() {
        // No other key answered; the obstacle is that of the keys as they are from now on.
        record.blame(false);
        let refusal = no_key(obstacle(), incoming, route);
        // The readiness of keys explains nothing if no key was at fault, or if keys at fault were not blamed: the client
        // would retry at once.
        let no_fault = rule.fault() == Fault::None;
        let was_refused = KeyState::after(rule.fault()).is_some();
        return Err(match refusal {
            Refusal::AllBusy if was_refused => Refusal::NoUsableKey,
            _ if no_fault => Refusal::NoUsableKey,
            refusal => refusal,
        });
    }
    match attempt.reply {
        Reply::None if rule == Rule::AnswerTimeout => Err(Refusal::Timeout),
        Reply::None if rule == Rule::TooManyOpenFiles => Err(Refusal::TooManyOpenFiles),
        Reply::None if attempt.verdict.status == Some(200) => Err(Refusal::WebPage),
        Reply::None => Err(Refusal::Unreachable),
        Reply::TooLong(status) => Err(Refusal::ErrorTooLong(status, rule.outcome())),
        Reply::ForeignRedirect => Err(Refusal::ForeignRedirect),
        Reply::Whole(_) | Reply::Streaming(_) | Reply::Session(_) | Reply::Closed(_) => Ok(attempt),
    }
}

fn no_key(
    obstacle: Option<LeaseObstacle>,
    incoming: &Incoming,
    route: &RouteConstraint,
) -> Refusal {
    let model = incoming.model.as_deref().unwrap_or_default();
    Refusal::no_key(obstacle, model, route.reason(), clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_reused_only_after_faults_that_are_not_its_own() {
        let cases = [
            (Rule::QuotaPerMinute, KeyReuse::AfterCooldown),
            (Rule::QuotaZero, KeyReuse::AfterCooldown),
            (Rule::ApiKeyInvalid, KeyReuse::Never),
            (Rule::ConsumerSuspended, KeyReuse::Never),
            (Rule::InternalError, KeyReuse::Once),
            (Rule::ConnectionBroken, KeyReuse::Once),
            (Rule::Overloaded, KeyReuse::Once),
            (Rule::LocationUnsupported, KeyReuse::Once),
        ];
        for (rule, expected) in cases {
            assert_eq!(KeyReuse::after(rule), expected, "{rule:?}");
        }
    }
}
