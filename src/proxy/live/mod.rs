//! Live sessions: a WebSocket of the client, one of Google, and the messages between them.

pub mod metered;
mod relay;
mod session;
pub mod upstream;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::app::App;
use crate::body_memory::HeldMemory;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::admission::Permit;
use crate::pool::settings::Settings;
use crate::proxy::attempt::Attempt;
use crate::proxy::caller::Caller;
use crate::proxy::dialect::live::close_of;
use crate::proxy::incoming::Incoming;
use crate::proxy::live::metered::{LiveSocket, ReceiveLimit};
use crate::proxy::live::relay::{End, close, end_of_client, length_of, payload, setup_too_large};
use crate::proxy::live::session::{ClientSession, CloseReply, run_session, stopping};
use crate::proxy::live::upstream::code_of;
use crate::proxy::pipeline::{Sent, send};
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::websocket;

/// An authorized request for a live session.
#[derive(Debug)]
pub struct Opening {
    caller: Caller,
    permit: Option<Permit>,
    headers: HeaderMap,
    /// The headers that accept the WebSocket.
    accepted: HeaderMap,
    upgrade: OnUpgrade,
}

/// How a session ended before it began.
enum Unopened {
    Refused(Refusal),
    Client(End),
    Stopping,
}

impl From<Refusal> for Unopened {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Opening {
    /// Refuses a request that cannot become a WebSocket.
    pub fn read(caller: Caller, permit: Option<Permit>, mut head: Parts) -> Result<Self, Refusal> {
        let upgrade = head.extensions.remove::<OnUpgrade>();
        let accepted = websocket::accept_headers(&head).zip(upgrade);
        let (accepted, upgrade) = accepted.ok_or(Refusal::NotAWebSocket)?;
        Ok(Self {
            caller,
            permit,
            headers: head.headers,
            accepted,
            upgrade,
        })
    }
}

/// Accepts the client's WebSocket; a task of its own runs the session.
pub fn accept(app: &Arc<App>, opening: Opening, record: Record) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = opening.accepted;
    record.add_headers(response.headers_mut());
    let app = app.clone();
    app.live_sessions.clone().spawn(async move {
        if let Ok(connection) = opening.upgrade.await {
            let memory = HeldMemory::new(&app.body_memory, opening.caller.client.id);
            let settings = app.settings();
            let limit = setup_limit(&settings);
            let session = ClientSession {
                socket: metered::open(connection, Role::Server, memory, limit).await,
                app,
                caller: opening.caller,
                early: None,
                idle_timeout: settings.idle_timeout(None),
                record,
            };
            serve(session, opening.permit, opening.headers).await;
        }
    });
    response
}

/// Opens a session at Google and runs it to its end.
async fn serve(mut session: ClientSession, permit: Option<Permit>, headers: HeaderMap) {
    let app = session.app.clone();
    let opened = tokio::select! {
        opened = open(&mut session, permit, &headers) => opened,
        () = app.stopping.cancelled() => Err(Unopened::Stopping),
    };
    let reply = match opened {
        Ok((attempt, model)) => run_session(&mut session, attempt, &model).await,
        Err(unopened) => record_unopened(unopened, &mut session.record),
    };
    session.record.finish().await;
    if let Some(CloseReply(frame)) = reply {
        close(&mut session.socket, frame, |_| ()).await;
    }
}

/// Reads the first message and sends it with one key after another until Google answers. Returns the answer, and the model
/// whose quota it uses.
async fn open(
    session: &mut ClientSession,
    permit: Option<Permit>,
    headers: &HeaderMap,
) -> Result<(Attempt, String), Unopened> {
    let ClientSession {
        app,
        caller,
        socket,
        early,
        idle_timeout,
        record,
    } = session;
    let settings = app.settings();
    let setup = timeout(settings.idle_timeout(None), next_payload(socket)).await;
    let setup = setup
        .map_err(|_| Refusal::SetupTooSlow)?
        .map_err(Unopened::Client)?;
    if payload(&setup).is_some_and(|setup| length_of(setup) > settings.live_setup_max_bytes) {
        return Err(Unopened::Client(End::ClientBroke(setup_too_large())));
    }
    socket.get_ref().meter.end_setup();
    let mut incoming = Incoming::of_session(app, caller, headers, setup)?;
    *idle_timeout = settings.idle_timeout(incoming.model.as_deref());
    let disconnected = async {
        match next_payload(socket).await {
            Ok(message) => {
                // No further message is read before the upstream can take it.
                *early = Some(message);
                std::future::pending().await
            }
            Err(end) => end,
        }
    };
    let sent = tokio::select! {
        sent = send(app, &settings, caller, permit, &mut incoming, record) => sent?,
        end = disconnected => return Err(Unopened::Client(end)),
    };
    match sent {
        Sent::Attempt(attempt) => Ok((*attempt, incoming.quota_model().to_owned())),
        Sent::Page(_) => unreachable!("a live session lists nothing"),
    }
}

/// How much a client may send before its first message is complete: the message, its frames, and what is read ahead.
fn setup_limit(settings: &Settings) -> ReceiveLimit {
    let read_ahead = u64::try_from(websocket::BUFFER_BYTES).unwrap_or_default();
    ReceiveLimit::Setup(settings.live_setup_max_bytes + read_ahead)
}

/// The client's next message that is no control frame, or how its side ended.
async fn next_payload(client: &mut LiveSocket) -> Result<Message, End> {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(frame))) => return Err(End::ClientClosed(frame)),
            Some(Ok(message)) if payload(&message).is_some() => return Ok(message),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(end_of_client(&error)),
            None => return Err(End::ClientGone),
        }
    }
}

/// Records that no session began. Returns the close for the client, if it is connected.
fn record_unopened(unopened: Unopened, record: &mut Record) -> Option<CloseReply> {
    let nothing = ResponseSummary::default();
    let frame = match unopened {
        Unopened::Refused(refusal) => {
            let description = refusal.describe();
            let status = StatusCode::SWITCHING_PROTOCOLS;
            record.refused(status, description.outcome, &description.message);
            Some(close_of(&refusal))
        }
        Unopened::Stopping => {
            record.interrupted(&nothing, 0);
            Some(stopping())
        }
        Unopened::Client(end) => {
            record.client_gone(&nothing, 0);
            match end {
                End::ClientClosed(frame) => frame,
                End::ClientBroke(frame) => Some(frame),
                _ => return None,
            }
        }
    };
    record.session(0, Some(code_of(frame.as_ref())), 0);
    Some(CloseReply(frame))
}
