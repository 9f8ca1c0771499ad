//! The story of a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use crate::clock;
use crate::pool::next_step::{NextStep, Tries, next_step};
use crate::pool::outcome::Outcome;
use crate::pool::selection::{Again, Obstacle, Tried};
use crate::pool::verdict::{Fault, Retry, Rule};
use crate::proxy::admit::{admit, check_scopes};
use crate::proxy::answer::answer;
use crate::proxy::authenticate::{authenticate, credential};
use crate::proxy::bind::{Bound, bind};
use crate::proxy::choose::{at_home, choose};
use crate::proxy::forward::{Attempt, Reply, forward};
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;

/// So many projects are asked for what nobody is known to have made.
const MOST_GUESSES: u32 = 20;

/// Carries one request through the pool and records it, however it ends.
pub async fn handle(app: &Arc<App>, request: Request, peer: SocketAddr) -> Response {
    let mut record = Record::open(app, &request, peer);
    match serve(app, request, &mut record).await {
        Ok((attempt, incoming)) => answer(app, attempt, &incoming, record).await,
        Err(refusal) => refusal.answer(record).await,
    }
}

/// Tries upstream keys until one answers.
async fn serve(
    app: &Arc<App>,
    request: Request,
    record: &mut Record,
) -> Result<(Attempt, Incoming), Refusal> {
    let credential = credential(request.headers(), request.uri().query());
    let target = record.target(credential.as_ref(), &request);
    // Strangers first: their bad paths must not fill the log.
    let client = authenticate(app, credential.as_ref(), record)?;
    record.client(&client);
    let target = target?;
    check_scopes(&client, record.client_ip(), &target)?;
    if target.needs_binding {
        return Err(Refusal::NotYet);
    }
    let settings = app.settings();
    if app.recorder.pending() >= usize::try_from(settings.max_pending_rows).unwrap_or(usize::MAX) {
        // A row for each refusal would go on filling the memory that is full; one will tell how many there were.
        record.leave_out();
        app.turned_away.fetch_add(1, Ordering::Relaxed);
        return Err(Refusal::TooManyPendingRows);
    }
    let incoming = Incoming::read(app, &settings, target, request).await?;
    record.incoming(&incoming);
    record.admitted(admit(app, &client, &incoming)?);
    let bound = bind(app, client.id, &incoming.names, incoming.makes()).await?;
    record.bound(&bound);

    let began = clock::instant();
    let mut home = bound.home;
    let mut guesses = 0;
    let (mut tried, mut spent) = (Tried::default(), Tries::default());
    let mut patience = settings.wait_for_key();
    let mut last: Option<Attempt> = None;
    loop {
        let wanted = incoming.wanted(&client, &bound);
        let left = settings
            .first_byte_timeout()
            .saturating_sub(began.elapsed());
        patience = patience.min(left);
        let chosen = match at_home(app, &client, &mut home, &wanted, &tried) {
            Some(lease) => Ok(lease),
            None => {
                choose(
                    app,
                    &settings,
                    &client,
                    &wanted,
                    &tried,
                    &mut patience,
                    record,
                )
                .await
            }
        };
        let lease = match chosen {
            Ok(lease) => lease,
            Err(obstacle) => {
                return match last {
                    Some(attempt) => conclude(attempt, incoming, &bound, |_| Some(obstacle)),
                    None => Err(Refusal::no_key(
                        Some(obstacle),
                        wanted.model,
                        bound.because(),
                    )),
                };
            }
        };
        let (key, project) = (lease.lent.id, lease.lent.project_id);
        if let Some(attempt) = last.take_if(|_| guesses > 0 && tried.has_project(project)) {
            // Every project was asked for what nobody is known to have made.
            return conclude(attempt, incoming, &bound, |_| None);
        }
        record.begin_attempt(&lease.lent);
        let left = settings
            .first_byte_timeout()
            .saturating_sub(began.elapsed());
        let mut attempt = forward(app, &settings, lease, &incoming, left).await;
        record.settle(&attempt, &incoming);
        let rule = attempt.verdict.rule;
        spent.add(rule);
        let late = began.elapsed() >= settings.first_byte_timeout();
        if bound.is_guess() && rule.is_miss() && guesses < MOST_GUESSES && !late {
            guesses += 1;
            tried.add(key, project, Again::Never);
            home = None;
            drop(attempt.lease.take());
            last = Some(attempt);
            continue;
        }
        match next_step(&attempt.verdict, &spent, &settings, rand::random()) {
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
                return conclude(attempt, incoming, &bound, |incoming| {
                    let wanted = incoming.wanted(&client, &bound);
                    app.keys.lock().obstacle(&wanted, clock::now())
                });
            }
        }
    }
}

/// Whether the same key may be tried again in this request.
fn again_after(rule: Rule) -> Again {
    match (rule.outcome(), rule.retry()) {
        (Outcome::Quota, _) => Again::AfterRest,
        (_, Retry::Free) => Again::Never,
        (_, Retry::No | Retry::OneOther | Retry::Once | Retry::TwiceAfterPause) => Again::Once,
    }
}

/// The client gets Google's answer, unless there is none or it speaks of our key: then `obstacle` says what is in the way
/// of another.
fn conclude(
    attempt: Attempt,
    incoming: Incoming,
    bound: &Bound,
    obstacle: impl FnOnce(&Incoming) -> Option<Obstacle>,
) -> Result<(Attempt, Incoming), Refusal> {
    let rule = attempt.verdict.rule;
    if rule.speaks_of_our_key() {
        // With no key at fault, when they are ready says nothing: the client would be told to come back at once.
        let nobody = rule.fault() == Fault::Nobody;
        return Err(if nobody {
            Refusal::NoneUsable
        } else {
            let model = incoming.model.as_deref().unwrap_or_default();
            Refusal::no_key(obstacle(&incoming), model, bound.because())
        });
    }
    match attempt.reply {
        Reply::None if rule == Rule::AnswerTimeout => Err(Refusal::Timeout),
        Reply::None => Err(Refusal::Unreachable),
        Reply::Whole(_) | Reply::Flowing(_) => Ok((attempt, incoming)),
    }
}
