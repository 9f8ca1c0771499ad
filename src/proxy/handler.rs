//! The story of a request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use crate::gemini::upload::{UploadRequest, is_upload_path, session_id};
use crate::peer::base_url;
use crate::proxy::admit::{admit, let_in};
use crate::proxy::answer::answer;
use crate::proxy::authenticate::{authenticate, credential};
use crate::proxy::bind::bind_incoming;
use crate::proxy::forward::Attempt;
use crate::proxy::incoming::Incoming;
use crate::proxy::lists::{Listed, MergedPage, list};
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;
use crate::proxy::tries::try_keys;
use crate::proxy::upload::{find_session, pass, pass_part, settle_session};

/// What a client gets.
enum Served {
    /// An answer of Google.
    Gemini(Box<(Attempt, Incoming)>),
    /// A page put together from several.
    List(MergedPage),
}

impl Served {
    fn gemini(answered: (Attempt, Incoming)) -> Self {
        Self::Gemini(Box::new(answered))
    }
}

/// Carries one request through the pool and records it, however it ends.
pub async fn handle(app: &Arc<App>, request: Request, peer: SocketAddr) -> Response {
    let mut record = Record::open(app, &request, peer);
    let is_upload = is_upload_path(request.uri().path());
    let base = is_upload.then(|| base_url(peer, request.headers(), &app.config));
    let mut served = serve(app, request, &mut record).await;
    if let (Ok(Served::Gemini(answered)), Some(base)) = (&mut served, base) {
        let (attempt, incoming) = &mut **answered;
        if let Err(refusal) = settle_session(app, attempt, incoming, &base, &mut record).await {
            served = Err(refusal);
        }
    }
    match served {
        Ok(Served::Gemini(answered)) => {
            let (attempt, incoming) = *answered;
            answer(app, attempt, &incoming, record).await
        }
        Ok(Served::List(page)) => page.answer(record).await,
        Err(refusal) => refusal.answer(record).await,
    }
}

/// Reads what is asked, finds where it may go, and has it answered.
async fn serve(app: &Arc<App>, request: Request, record: &mut Record) -> Result<Served, Refusal> {
    let credential = credential(request.headers(), request.uri().query());
    let target = record.target(credential.as_ref(), &request);
    let session = target.as_ref().ok().and_then(session_id);
    if let Some(session) = session {
        let (client, session) = find_session(app, credential.as_ref(), &session, record).await?;
        let passed = pass_part(app, &client, &session, target?, request, record).await?;
        return Ok(Served::gemini(passed));
    }
    let authenticated = authenticate(app, credential.as_ref(), record);
    let (client, target) = let_in(app, authenticated, target, record)?;
    if UploadRequest::of(&target, request.headers()) == Some(UploadRequest::SingleRequest) {
        let (incoming, body) = Incoming::passing(app, target, request)?;
        let bound = bind_incoming(app, client.id, &incoming).await?;
        let passed = pass(app, &client, &bound, None, incoming, body, record).await?;
        return Ok(Served::gemini(passed));
    }
    let settings = app.settings();
    let mut incoming = Incoming::read(app, &settings, target, request).await?;
    record.incoming(&incoming);
    record.admitted(admit(app, &client, &incoming)?);
    let bound = bind_incoming(app, client.id, &incoming).await?;
    record.bound(&bound);
    let attempt = match incoming.listing {
        Some(listing) => match list(app, &settings, &client, listing, &mut incoming, record).await?
        {
            Listed::Page(page) => return Ok(Served::List(page)),
            Listed::Failed(attempt) => *attempt,
        },
        None => try_keys(app, &settings, &client, &incoming, &bound, record).await?,
    };
    Ok(Served::gemini((attempt, incoming)))
}
