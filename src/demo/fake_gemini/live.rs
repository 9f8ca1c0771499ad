//! Live sessions at the fake: who may open one, and what is said in it.

mod dialogue;
mod script;

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::behaviour::Behaviour;
use super::connection::{WireFault, WireFaultCell};
use super::errors::GoogleError;
use super::journal::OpenResponse;
use super::keys::FakeKeyState;
use super::replay::ReplayedResponse;
use super::request_target::{BadCredentials, Operation, RequestTarget, ResponseFormat, credential};
use super::resources::received_body::ReceivedBody;
use super::respond::ConnectionClosed;
use super::response_body::FakeResponseBody;
use super::state::{FakeState, locked};
use crate::websocket::{self, Socket};

/// What the fake does next in a session that is given word for word.
#[derive(Debug, Clone)]
pub enum SessionStep {
    /// Waits for one message of the client's, whatever it says.
    Receive,
    Send(Message),
    /// Closes with a code and a reason.
    Close(u16, String),
    /// Closes without either.
    CloseWithoutCode,
    /// Closes the connection without a word.
    DropConnection,
}

/// What the fake knows of its sessions.
#[derive(Default)]
pub struct LiveSessions {
    scripts: Mutex<VecDeque<Vec<SessionStep>>>,
    recorded: Mutex<Vec<RecordedSession>>,
}

/// A session as it was held.
#[derive(Debug, Clone)]
pub struct RecordedSession {
    /// With whose key.
    pub key: String,
    /// What the client has said, closes and pings included.
    pub received: Vec<Message>,
    pub ended: Option<SessionEnd>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    ClientClosed,
    ClientDropped,
    FakeClosed,
    FakeDropped,
}

/// One session, from the setup on.
struct LiveSession {
    state: Arc<FakeState>,
    key: Arc<FakeKeyState>,
    behaviour: Behaviour,
    /// `v1beta`, as the path has it.
    version: String,
    /// Where it stands among all that were held.
    index: usize,
    socket: Socket,
}

impl LiveSessions {
    /// Has the next session say and hear exactly this.
    pub fn add_script(&self, steps: Vec<SessionStep>) {
        locked(&self.scripts).push_back(steps);
    }

    pub fn recorded(&self) -> Vec<RecordedSession> {
        locked(&self.recorded).clone()
    }
}

/// Whether a request asks for a live session.
pub fn is_live_request<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/ws/")
}

/// Lets a client in, or refuses it as any other request is refused.
pub async fn respond(
    state: Arc<FakeState>,
    wire_fault: WireFaultCell,
    cut_off: CancellationToken,
    mut request: Request<Incoming>,
) -> Result<Response<FakeResponseBody>, ConnectionClosed> {
    let mut open = OpenResponse::begin(state.clone(), cut_off.clone());
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (head, body) = request.into_parts();
    let mut request_target = RequestTarget::parse(&head);
    let received_body = ReceivedBody::read(&state.resources, &request_target, &head, body).await;
    let received_body = received_body.map_err(|_| ConnectionClosed)?;
    let secret = match token(&head) {
        Some(token) => state
            .secret_for_token(&token)
            .ok_or(BadCredentials::Missing),
        None => credential(&head, ResponseFormat::Json),
    };
    let (now_ms, secret_text) = ((state.clock)(), secret.as_deref().ok());
    state
        .journal
        .record(state.recording, now_ms, &head, &received_body, secret_text);
    // What quotas and behaviours go by: a session uses a model.
    request_target.operation = Operation::Generate;
    request_target.version = version_of(head.uri.path()).to_owned();
    let key = match secret {
        Ok(secret) => state.key(&secret).ok_or_else(GoogleError::unknown_key),
        Err(bad) => Err(GoogleError::bad_credentials(bad, &request_target)),
    };
    let behaviour = state.behaviour_for(key.as_deref().ok(), true);
    match behaviour {
        Behaviour::NeverRespond => return std::future::pending().await,
        Behaviour::CloseConnection => {
            open.finish();
            return Err(ConnectionClosed);
        }
        Behaviour::ResetConnection => {
            let _ = wire_fault.set(WireFault::Reset);
        }
        _ => {}
    }
    let error_response =
        GoogleError::of_behaviour(&behaviour, &request_target, &[], key.as_deref().ok());
    let key = match (error_response, key) {
        (Some(error), _) | (None, Err(error)) => return Ok(refuse(&error, open)),
        (None, Ok(key)) => key,
    };
    let (Some(handshake_headers), Some(upgrade)) = (websocket::accept_headers(&head), upgrade)
    else {
        return Ok(refuse(&GoogleError::bad_argument(), open));
    };
    open.set_key(key.clone());
    open.mark_stream();
    key.answered();
    let mut upgrade_response = OpenResponse::begin(state.clone(), cut_off.clone());
    upgrade_response.finish();
    let mut response = ReplayedResponse::new(101, &[], "").into_response(upgrade_response);
    response.headers_mut().extend(handshake_headers);
    let version = request_target.version;
    state.tasks.clone().spawn(async move {
        let session = run_session(state, key, behaviour, version, upgrade, open);
        cut_off.run_until_cancelled(session).await;
    });
    Ok(response)
}

/// Holds a session to its end.
async fn run_session(
    state: Arc<FakeState>,
    key: Arc<FakeKeyState>,
    behaviour: Behaviour,
    version: String,
    upgrade: OnUpgrade,
    mut open: OpenResponse,
) {
    let Ok(connection) = upgrade.await else {
        return;
    };
    let index = {
        let mut recorded = locked(&state.live.recorded);
        recorded.push(RecordedSession {
            key: key.secret.clone(),
            received: Vec::new(),
            ended: None,
        });
        recorded.len() - 1
    };
    let script = locked(&state.live.scripts).pop_front();
    let mut session = LiveSession {
        socket: websocket::open(TokioIo::new(connection), Role::Server).await,
        state,
        key,
        behaviour,
        version,
        index,
    };
    let ended = match script {
        Some(steps) => session.play(steps).await,
        None => session.run_by_rules().await,
    };
    if ended != SessionEnd::ClientDropped {
        open.finish();
    }
    let mut recorded = locked(&session.state.live.recorded);
    recorded[session.index].ended = Some(ended);
}

impl LiveSession {
    /// The client's next message that is no control frame, or how it has ended the session.
    async fn receive(&mut self) -> Result<Message, SessionEnd> {
        loop {
            let Some(Ok(message)) = self.socket.next().await else {
                return Err(SessionEnd::ClientDropped);
            };
            locked(&self.state.live.recorded)[self.index]
                .received
                .push(message.clone());
            match message {
                Message::Text(_) | Message::Binary(_) => return Ok(message),
                Message::Close(_) => {
                    // Its own close is answered while the end is waited for.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    return Err(SessionEnd::ClientClosed);
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Hears whatever comes until the client ends the session.
    async fn receive_until_end(&mut self) -> SessionEnd {
        loop {
            if let Err(ended) = self.receive().await {
                return ended;
            }
        }
    }
}

/// The ephemeral token that a request shows in place of a key.
fn token(head: &Parts) -> Option<String> {
    let value = head.headers.get("authorization")?.to_str().ok()?;
    let token = value.strip_prefix("Token ")?;
    token.starts_with("auth_tokens/").then(|| token.to_owned())
}

/// The version in a method's full name.
fn version_of(path: &str) -> &str {
    let words = path.split('.');
    let mut versions = words.filter(|word| word.starts_with("v1"));
    versions.next().unwrap_or("v1beta")
}

fn refuse(error: &GoogleError, open: OpenResponse) -> Response<FakeResponseBody> {
    let content_type = error.content_type(ResponseFormat::Json);
    let headers = [("content-type", content_type)];
    ReplayedResponse::new(error.status, &headers, error.body_for(ResponseFormat::Json))
        .into_response(open)
}
