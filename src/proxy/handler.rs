//! Serves one request: calls the steps of the request path in their order, and sends the answer or the refusal.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;

use crate::app::App;
use crate::client_connections::ClientConnection;
use crate::clock;
use crate::gemini::target::TargetError;
use crate::gemini::upload::is_upload;
use crate::gemini::wrong_base::{self, WrongBase};
use crate::peer::base_url;
use crate::proxy::admit::take_slot;
use crate::proxy::answer::answer;
use crate::proxy::attempt::Attempt;
use crate::proxy::authorize::authorize;
use crate::proxy::credential::is_bearer;
use crate::proxy::incoming::Incoming;
use crate::proxy::list::MergedPage;
use crate::proxy::live::{self, Opening};
use crate::proxy::pipeline::{Sent, send};
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::refuse::refuse;
use crate::proxy::upload::rewrite_session;

/// What a client gets.
enum Answer {
    /// An answer of Google.
    Gemini(Box<(Attempt, Incoming)>),
    /// A page merged from several.
    Page(MergedPage),
    /// A live session, which goes on when the request has been answered.
    Session(Box<Opening>),
}

/// Carries one request through the pool and records it, however it ends.
pub async fn handle(app: &Arc<App>, request: Request, connection: &ClientConnection) -> Response {
    let mut record = Record::open(app, &request, connection.peer());
    match serve(app, request, connection, &mut record).await {
        Ok(Answer::Gemini(answered)) => {
            let (attempt, incoming) = *answered;
            answer(app, attempt, &incoming, record).await
        }
        Ok(Answer::Page(page)) => page.answer(record).await,
        Ok(Answer::Session(opening)) => live::accept(app, *opening, record),
        Err(refusal) => refuse(&refusal, record).await,
    }
}

/// Refuses a request below a wrong base URL, without looking at its credential, and names the right one.
pub async fn refuse_wrong_base(
    app: &Arc<App>,
    request: Request,
    peer: SocketAddr,
    wrong_base: WrongBase,
) -> Response {
    let mut record = Record::open(app, &request, peer);
    // Anyone can send them.
    let counted = app
        .wrong_bases
        .lock()
        .record(record.client_ip(), clock::now());
    if !counted.is_recorded {
        record.leave_out();
    }
    let base = base_url(peer, request.headers(), &app.config);
    drop(request);
    refuse(&Refusal::WrongBase { base, wrong_base }, record).await
}

/// Adds the right base URL to the refusal of an ambiguous path.
fn with_right_base(app: &App, refusal: Refusal, head: &Parts, peer: SocketAddr) -> Refusal {
    let is_ambiguous = matches!(refusal, Refusal::BadTarget(TargetError::UnsafePath));
    let is_bearer = || is_bearer(&head.headers, head.uri.query());
    let wrong_base = is_ambiguous.then(|| wrong_base::find(head.uri.path(), is_bearer));
    match wrong_base.flatten() {
        Some(wrong_base) => {
            let base = base_url(peer, &head.headers, &app.config);
            Refusal::WrongBase { base, wrong_base }
        }
        None => refusal,
    }
}

/// Authorizes a request, takes its client's slot, reads it, and has it answered.
async fn serve(
    app: &Arc<App>,
    request: Request,
    connection: &ClientConnection,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    let settings = app.settings();
    let peer = connection.peer();
    let (head, body) = request.into_parts();
    let authorized = authorize(app, &head, connection, record).await;
    let caller = authorized.map_err(|refusal| with_right_base(app, refusal, &head, peer))?;
    let permit = take_slot(app, &caller.client)?;
    if caller.is_live() {
        let opening = Opening::read(caller, permit, head)?;
        return Ok(Answer::Session(Box::new(opening)));
    }
    record.capture_bodies(&settings, caller.client.id, &head);
    let base = is_upload(&caller.target).then(|| base_url(peer, &head.headers, &app.config));
    let mut incoming = Incoming::read(app, &settings, &caller, head, body).await?;
    let (sent, is_streaming) = (&incoming.outgoing, incoming.streaming.is_some());
    record.request_body(&sent.headers, &sent.body, is_streaming);
    match send(app, &settings, &caller, permit, &mut incoming, record).await? {
        Sent::Page(page) => Ok(Answer::Page(page)),
        Sent::Attempt(mut attempt) => {
            if let Some(base) = base {
                rewrite_session(app, &mut attempt, &incoming, &base, record).await?;
            }
            Ok(Answer::Gemini(Box::new((*attempt, incoming))))
        }
    }
}
