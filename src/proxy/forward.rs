//! One attempt: sends the request with a leased key and returns how the answer begins → `Attempt`.

use std::time::Duration;

use http::Response;
use hyper::body;
use tokio::time::timeout;

use crate::app::App;
use crate::gemini::connections::StreamGuard;
use crate::gemini::transport::SendError;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Attempt, Reply};
use crate::proxy::download::{Followed, follow};
use crate::proxy::incoming::Incoming;
use crate::proxy::live::upstream;
use crate::proxy::read_answer::read_answer;
use crate::proxy::refusal::Refusal;
use crate::proxy::streaming_body::{BodyProgress, Stage, StreamingBody, stall};

/// Sends the request with the lease's key; the answer must begin within `left`. A body that streams has no such limit as
/// long as it makes progress.
pub async fn forward(
    app: &App,
    settings: &Settings,
    lease: Lease,
    incoming: &mut Incoming,
    left: Duration,
) -> Result<Attempt, Refusal> {
    let Some((body, progress)) = incoming.streaming.take() else {
        return Ok(forward_held(app, settings, lease, incoming, left).await);
    };
    let answered = exchange_streaming(app, settings, &lease, incoming, body, progress).await?;
    Ok(attempt(lease, answered))
}

/// The same for a request whose body is held.
pub async fn forward_held(
    app: &App,
    settings: &Settings,
    lease: Lease,
    incoming: &Incoming,
    left: Duration,
) -> Attempt {
    let answered = exchange_held(app, settings, &lease, incoming, left).await;
    attempt(lease, answered)
}

fn attempt(lease: Lease, answered: Result<(Verdict, Reply), Verdict>) -> Attempt {
    let (verdict, reply) = answered.unwrap_or_else(|verdict| (verdict, Reply::None));
    Attempt {
        lease: Some(lease),
        verdict,
        reply,
    }
}

async fn exchange_held(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
    left: Duration,
) -> Result<(Verdict, Reply), Verdict> {
    // The client's own deadline is the limit; one second more lets Google's answer to it arrive first.
    let limit = incoming
        .deadline
        .map_or(Duration::MAX, |deadline| deadline + Duration::from_secs(1));
    let exchange = async {
        match &incoming.setup {
            None => exchange(app, settings, lease, incoming).await,
            Some(setup) => upstream::open(app, settings, lease, incoming, setup).await,
        }
    };
    match timeout(limit.min(left), exchange).await {
        Ok(answered) => answered,
        Err(_) => Err(too_late("Gemini did not answer in time")),
    }
}

/// Sends the body as it arrives, once: it cannot be sent again.
async fn exchange_streaming(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
    body: StreamingBody,
    progress: BodyProgress,
) -> Result<Result<(Verdict, Reply), Verdict>, Refusal> {
    let exchange = async {
        let secret = &lease.key.secret;
        let sent = app
            .gemini
            .send_streaming(&incoming.outgoing, body, secret, lease.key.egress)
            .await;
        let (answer, stream) = sent.map_err(Verdict::from)?;
        answer_of(app, settings, lease, incoming, answer, stream).await
    };
    let answered = tokio::select! {
        biased;
        answered = exchange => answered,
        stage = stall(progress.clone(), settings, incoming.model.as_deref(), &app.stopping) => Err(match stage {
            Stage::WaitingForClient => return Err(Refusal::BodyTooSlow),
            Stage::WaitingForUpstream => too_late("Gemini stopped taking the request's body"),
            Stage::Sent | Stage::Broken => too_late("Gemini did not answer in time"),
        }),
    };
    if answered.is_err() && progress.borrow().stage == Stage::Broken {
        return Err(Refusal::BodyBroken);
    }
    Ok(answered)
}

/// Sends a request over HTTP and reads its answer up to the first event, or to the end of an error.
async fn exchange(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
) -> Result<(Verdict, Reply), Verdict> {
    let secret = &lease.key.secret;
    let sent = app
        .gemini
        .send(&incoming.outgoing, secret, lease.key.egress);
    let (answer, stream) = sent.await?;
    answer_of(app, settings, lease, incoming, answer, stream).await
}

/// Reads an answer after redirects.
async fn answer_of(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
    answer: Response<body::Incoming>,
    stream: StreamGuard,
) -> Result<(Verdict, Reply), Verdict> {
    match follow(app, lease, incoming, answer, stream).await? {
        Followed::Here(answer, stream) => read_answer(settings, incoming, answer, stream).await,
        Followed::Foreign(status, location) => {
            // No key is at fault for the target of a redirect.
            let message = format!("Gemini redirects to {location}");
            let verdict = Verdict {
                status: Some(status.as_u16()),
                ..Verdict::without_answer(Rule::UnnamedFault, message)
            };
            Ok((verdict, Reply::ForeignRedirect))
        }
    }
}

fn too_late(message: &str) -> Verdict {
    Verdict::without_answer(Rule::AnswerTimeout, message.to_owned())
}

impl From<SendError> for Verdict {
    fn from(unsent: SendError) -> Self {
        Self::without_answer(unsent.rule, unsent.message)
    }
}
