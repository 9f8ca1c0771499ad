//! Live sessions at the fake: who may open one, and what is said in it.

mod script;
mod talk;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::belongings::sent::Sent;
use super::body::AnswerBody;
use super::call::{BadCredentials, Call, Form, Operation, credential};
use super::errors::GoogleError;
use super::fate::Fate;
use super::google::{Google, locked};
use super::journal::OpenAnswer;
use super::keys::KeyState;
use super::replay::RawAnswer;
use super::respond::NoAnswer;
use super::wire::{Ruin, RuinCell};
use crate::websocket::{self, Socket};

pub use script::Step;

/// What the fake knows of its sessions.
#[derive(Default)]
pub struct Sessions {
    scripts: Mutex<VecDeque<Vec<Step>>>,
    held: Mutex<Vec<Held>>,
}

/// A session as it was held.
#[derive(Debug, Clone)]
pub struct Held {
    /// With whose key.
    pub key: String,
    /// What the client has said, closes and pings included.
    pub heard: Vec<Message>,
    pub ended: Option<Ended>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    ClientClosed,
    ClientVanished,
    FakeClosed,
    FakeVanished,
}

/// One session, from the setup on.
struct Session {
    google: Arc<Google>,
    key: Arc<KeyState>,
    fate: Fate,
    /// `v1beta`, as the path has it.
    version: String,
    /// Where it stands among all that were held.
    place: usize,
    socket: Socket,
}

impl Sessions {
    /// Has the next session say and hear exactly this.
    pub fn script(&self, steps: Vec<Step>) {
        locked(&self.scripts).push_back(steps);
    }

    pub fn held(&self) -> Vec<Held> {
        locked(&self.held).clone()
    }
}

/// Whether a request asks for a live session.
pub fn is_asked<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/ws/")
}

/// Lets a client in, or refuses it as any other request is refused.
pub async fn respond(
    google: Arc<Google>,
    ruin: RuinCell,
    cut_off: CancellationToken,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, NoAnswer> {
    let mut open = OpenAnswer::begin(google.clone(), cut_off.clone());
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (head, body) = request.into_parts();
    let mut call = Call::read(&head);
    let sent = Sent::read(&google.belongings, &call, &head, body).await;
    let sent = sent.map_err(|_| NoAnswer)?;
    let secret = match token(&head) {
        Some(token) => google.secret_behind(&token).ok_or(BadCredentials::Missing),
        None => credential(&head, Form::Json),
    };
    let (now_ms, secret_text) = ((google.clock)(), secret.as_deref().ok());
    google
        .journal
        .record(google.recording, now_ms, &head, &sent, secret_text);
    // What quotas and fates go by: a session uses a model.
    call.operation = Operation::Generate;
    call.version = version_of(head.uri.path()).to_owned();
    let key = match secret {
        Ok(secret) => google.key(&secret).ok_or_else(GoogleError::unknown_key),
        Err(bad) => Err(GoogleError::bad_credentials(bad, &call)),
    };
    let fate = google.fate(key.as_deref().ok(), true);
    match fate {
        Fate::Hang => return std::future::pending().await,
        Fate::HangUp => {
            open.finish();
            return Err(NoAnswer);
        }
        Fate::Reset => {
            let _ = ruin.set(Ruin::Reset);
        }
        _ => {}
    }
    let struck = GoogleError::of_fate(&fate, &call, &[], key.as_deref().ok());
    let key = match (struck, key) {
        (Some(error), _) | (None, Err(error)) => return Ok(refuse(&error, open)),
        (None, Ok(key)) => key,
    };
    let (Some(agreed), Some(upgrade)) = (websocket::agreement(&head), upgrade) else {
        return Ok(refuse(&GoogleError::bad_argument(), open));
    };
    open.belongs_to(key.clone());
    open.is_stream();
    key.answered();
    let mut entrance = OpenAnswer::begin(google.clone(), cut_off.clone());
    entrance.finish();
    let mut response = RawAnswer::new(101, &[], "").into_response(entrance);
    response.headers_mut().extend(agreed);
    let version = call.version;
    google.tasks.clone().spawn(async move {
        let session = hold(google, key, fate, version, upgrade, open);
        cut_off.run_until_cancelled(session).await;
    });
    Ok(response)
}

/// Holds a session to its end.
async fn hold(
    google: Arc<Google>,
    key: Arc<KeyState>,
    fate: Fate,
    version: String,
    upgrade: OnUpgrade,
    mut open: OpenAnswer,
) {
    let Ok(connection) = upgrade.await else {
        return;
    };
    let place = {
        let mut held = locked(&google.live.held);
        held.push(Held {
            key: key.secret.clone(),
            heard: Vec::new(),
            ended: None,
        });
        held.len() - 1
    };
    let script = locked(&google.live.scripts).pop_front();
    let mut session = Session {
        socket: websocket::speak(connection, Role::Server).await,
        google,
        key,
        fate,
        version,
        place,
    };
    let ended = match script {
        Some(steps) => session.play(steps).await,
        None => session.talk().await,
    };
    if ended != Ended::ClientVanished {
        open.finish();
    }
    let mut held = locked(&session.google.live.held);
    held[session.place].ended = Some(ended);
}

impl Session {
    /// The client's next message that is no control frame, or how it has ended the session.
    async fn hear(&mut self) -> Result<Message, Ended> {
        loop {
            let Some(Ok(message)) = self.socket.next().await else {
                return Err(Ended::ClientVanished);
            };
            locked(&self.google.live.held)[self.place]
                .heard
                .push(message.clone());
            match message {
                Message::Text(_) | Message::Binary(_) => return Ok(message),
                Message::Close(_) => {
                    // Its own close is answered while the end is waited for.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    return Err(Ended::ClientClosed);
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Hears whatever comes until the client ends the session.
    async fn listen(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.hear().await {
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

fn refuse(error: &GoogleError, open: OpenAnswer) -> Response<AnswerBody> {
    let content_type = error.content_type(Form::Json);
    let headers = [("content-type", content_type)];
    RawAnswer::new(error.status, &headers, error.body_for(Form::Json)).into_response(open)
}
