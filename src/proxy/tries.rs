//! Tries upstream keys, one after another, until one answers.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::health::verdict::{Fault, Retry, Rule};
use crate::pool::keys::selection::{KeyReuse, LeaseObstacle, TriedKeys};
use crate::pool::outcome::Outcome;
use crate::pool::retry::{NextStep, RetryBudget, next_step};
use crate::pool::settings::Settings;
use crate::proxy::bind::Bound;
use crate::proxy::choose::{at_home, choose, settle_down};
use crate::proxy::forward::{Attempt, Reply, forward};
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;

/// So many projects are asked for what nobody is known to have made.
const MOST_GUESSES: u32 = 20;

/// Tries the keys that may serve the request until one answers, and returns what the client may see of that.
pub async fn try_keys(
    app: &App,
    settings: &Settings,
    client: &Arc<ClientKey>,
    incoming: &Incoming,
    bound: &Bound,
    record: &mut Record,
) -> Result<Attempt, Refusal> {
    let began = clock::instant();
    let (mut home, mut settles) = (bound.home, bound.settles);
    let mut guesses = 0;
    let (mut tried, mut spent) = (TriedKeys::default(), RetryBudget::default());
    let mut patience = settings.wait_for_key();
    let mut last: Option<Attempt> = None;
    loop {
        let lease_request = incoming.lease_request(client, bound);
        let left = settings
            .first_byte_timeout()
            .saturating_sub(began.elapsed());
        patience = patience.min(left);
        let chosen = match at_home(app, client, &mut home, &lease_request, &tried) {
            Some(lease) => Ok(lease),
            None => {
                choose(
                    app,
                    settings,
                    client,
                    &lease_request,
                    &tried,
                    &mut patience,
                    record,
                )
                .await
            }
        };
        let lease = match chosen {
            Ok(lease) if std::mem::take(&mut settles) => {
                settle_down(app, client, lease, &mut home, &lease_request, &tried)
            }
            Ok(lease) => lease,
            Err(obstacle) => {
                return match last {
                    Some(attempt) => conclude(attempt, incoming, bound, |_| Some(obstacle)),
                    None => Err(Refusal::no_key(
                        Some(obstacle),
                        lease_request.model,
                        bound.because(),
                    )),
                };
            }
        };
        let (key, project) = (lease.key.id, lease.key.project_id);
        if let Some(attempt) = last.take_if(|_| guesses > 0 && tried.has_project(project)) {
            // Every project was asked for what nobody is known to have made.
            return conclude(attempt, incoming, bound, |_| None);
        }
        record.begin_attempt(&lease.key);
        let left = settings
            .first_byte_timeout()
            .saturating_sub(began.elapsed());
        let mut attempt = forward(app, settings, lease, incoming, left).await;
        record.settle(&attempt, incoming);
        let rule = attempt.verdict.rule;
        spent.add(rule);
        let late = began.elapsed() >= settings.first_byte_timeout();
        if bound.is_guess() && rule.is_miss() && guesses < MOST_GUESSES && !late {
            guesses += 1;
            tried.add(key, project, KeyReuse::Never);
            home = None;
            drop(attempt.lease.take());
            last = Some(attempt);
            continue;
        }
        match next_step(&attempt.verdict, &spent, settings, rand::random()) {
            NextStep::TryAgain { pause } if !late => {
                tried.add(key, project, again_after(rule));
                // The key is free while the request pauses.
                drop(attempt.lease.take());
                last = Some(attempt);
                if pause > Duration::ZERO {
                    tokio::time::sleep(pause).await;
                }
            }
            NextStep::TryAgain { .. } | NextStep::Answer => {
                return conclude(attempt, incoming, bound, |incoming| {
                    let lease_request = incoming.lease_request(client, bound);
                    app.keys.lock().obstacle(&lease_request, clock::now())
                });
            }
        }
    }
}

/// Whether the same key may be tried again in this request.
fn again_after(rule: Rule) -> KeyReuse {
    match (rule.outcome(), rule.retry()) {
        (Outcome::Quota, _) => KeyReuse::AfterCooldown,
        (_, Retry::FreeWithOtherKey) => KeyReuse::Never,
        (_, Retry::No | Retry::OneOtherKey | Retry::Once | Retry::TwiceAfterPause) => {
            KeyReuse::Once
        }
    }
}

/// The client gets Google's answer, unless there is none or it speaks of our key: then `obstacle` says what is in the way
/// of another.
pub fn conclude(
    attempt: Attempt,
    incoming: &Incoming,
    bound: &Bound,
    obstacle: impl FnOnce(&Incoming) -> Option<LeaseObstacle>,
) -> Result<Attempt, Refusal> {
    let rule = attempt.verdict.rule;
    if rule.concerns_our_key() {
        // With no key at fault, when they are ready says nothing: the client would be told to come back at once.
        let nobody = rule.fault() == Fault::None;
        return Err(if nobody {
            Refusal::NoneUsable
        } else {
            let model = incoming.model.as_deref().unwrap_or_default();
            Refusal::no_key(obstacle(incoming), model, bound.because())
        });
    }
    match attempt.reply {
        Reply::None if rule == Rule::AnswerTimeout => Err(Refusal::Timeout),
        Reply::None => Err(Refusal::Unreachable),
        Reply::Elsewhere => Err(Refusal::LedAway),
        Reply::Whole(_) | Reply::Flowing(_) | Reply::Session(_) | Reply::Closed(_) => Ok(attempt),
    }
}
