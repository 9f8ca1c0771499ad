//! The story of a live session: a WebSocket of the client's, one of Google's, and all that passes between them.

mod conversation;
pub mod google;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::app::App;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::tap::ResponseSummary;
use crate::gemini::target::Target;
use crate::pool::clients::client_key::ClientKey;
use crate::proxy::admit::{admit, let_in};
use crate::proxy::authenticate::{
    Credential, authenticate, authenticate_token, session_credential,
};
use crate::proxy::bind::bind_incoming;
use crate::proxy::forward::Attempt;
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;
use crate::proxy::tries::try_keys;
use crate::websocket::{self, Socket};

use conversation::{converse, stopping};
use google::code_of;
use relay::{End, close, of_client, payload};

/// A client whose WebSocket was agreed to.
#[derive(Debug)]
pub struct Guest {
    pub app: Arc<App>,
    pub key: Arc<ClientKey>,
    pub socket: Socket,
    /// What the client has said before there was anybody to pass it on to.
    pub early: Option<Message>,
    pub record: Record,
}

/// The close that a client gets; `None`: one without a code.
#[derive(Debug)]
pub struct Farewell(pub Option<CloseFrame>);

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

/// Agrees to a client's WebSocket and has it served, unless the client may not have one.
pub async fn handle(app: &Arc<App>, mut request: Request, peer: SocketAddr) -> Response {
    let mut record = Record::open(app, &request, peer);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (asked, _) = request.into_parts();
    let request = Request::from_parts(asked, Body::empty());
    let credential = session_credential(request.headers(), request.uri().query());
    let target = record.target(credential.as_ref(), &request);
    let token = credential.as_ref().and_then(Credential::token);
    let authenticated = match &token {
        Some(token) => authenticate_token(app, token, &mut record).await,
        None => authenticate(app, credential.as_ref(), &mut record),
    };
    let let_in = let_in(app, authenticated, target, &mut record);
    drop(credential);
    let (key, target) = match let_in {
        Ok(let_in) => let_in,
        Err(refusal) => return refusal.answer(record).await,
    };
    let (asked, _) = request.into_parts();
    let (Some(agreed), Some(upgrade)) = (websocket::accept_headers(&asked), upgrade) else {
        return Refusal::NotAWebSocket.answer(record).await;
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreed;
    record.id_header(response.headers_mut());
    let app = app.clone();
    app.live_sessions.clone().spawn(async move {
        if let Ok(connection) = upgrade.await {
            let guest = Guest {
                app,
                key,
                socket: websocket::open(connection, Role::Server).await,
                early: None,
                record,
            };
            serve(guest, target, asked.headers, token).await;
        }
    });
    response
}

/// Opens a session for a client and stays with it to its end.
async fn serve(mut guest: Guest, target: Target, headers: HeaderMap, token: Option<ResourceName>) {
    let app = guest.app.clone();
    let opened = tokio::select! {
        opened = open(&mut guest, target, &headers, token) => opened,
        () = app.stopping.cancelled() => Err(Unopened::Stopping),
    };
    let farewell = match opened {
        Ok((attempt, model)) => converse(&mut guest, attempt, &model).await,
        Err(unopened) => note_unopened(unopened, &mut guest.record),
    };
    guest.record.finish().await;
    if let Some(Farewell(frame)) = farewell {
        close(&mut guest.socket, frame, |_| ()).await;
    }
}

/// Reads the setup and tries keys until Google has answered it. Returns the answer, and the model whose quota it uses.
async fn open(
    guest: &mut Guest,
    target: Target,
    headers: &HeaderMap,
    token: Option<ResourceName>,
) -> Result<(Attempt, String), Unopened> {
    let Guest {
        app,
        key,
        socket,
        early,
        record,
    } = guest;
    let settings = app.settings();
    let setup = timeout(settings.idle_timeout(), next_payload(socket)).await;
    let setup = setup
        .map_err(|_| Refusal::SetupTooSlow)?
        .map_err(Unopened::Client)?;
    let incoming = Incoming::of_session(app, &settings, target, headers, setup, token)?;
    record.incoming(&incoming);
    record.admitted(admit(app, key, &incoming)?);
    let bound = bind_incoming(app, key.id, &incoming).await?;
    record.bound(&bound);
    let gone = async {
        match next_payload(socket).await {
            Ok(message) => {
                // More is not read before there is a side that takes it.
                *early = Some(message);
                std::future::pending().await
            }
            Err(end) => end,
        }
    };
    tokio::select! {
        tried = try_keys(app, &settings, key, &incoming, &bound, record) => {
            Ok((tried?, incoming.quota_model().to_owned()))
        }
        end = gone => Err(Unopened::Client(end)),
    }
}

/// The client's next message that is no control frame, or how it ended instead.
async fn next_payload(client: &mut Socket) -> Result<Message, End> {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(frame))) => return Err(End::ClientClosed(frame)),
            Some(Ok(message)) if payload(&message).is_some() => return Ok(message),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(of_client(&error)),
            None => return Err(End::ClientGone),
        }
    }
}

/// Notes that no session came of it. Returns with what the client is closed, if it is there.
fn note_unopened(unopened: Unopened, record: &mut Record) -> Option<Farewell> {
    let nothing = ResponseSummary::default();
    let frame = match unopened {
        Unopened::Refused(refusal) => Some(refusal.close(record)),
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
    Some(Farewell(frame))
}
