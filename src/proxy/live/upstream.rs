//! The upstream's side of a live session: the handshake, the setup, and the first message.

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::App;
use crate::gemini::errors::classify::success;
use crate::gemini::live::classify_close;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Reply, UpstreamSession};
use crate::proxy::incoming::Incoming;
use crate::proxy::live::metered::{self, ReceiveLimit};
use crate::proxy::read_answer::read_error;
use crate::websocket;

/// The code that stands for a close without one (RFC 6455, 7.1.5).
const NO_CODE: u16 = 1005;

/// Opens a session with the lease's key and reads Google's first message. Until then nothing was sent to the client, and
/// another key may be tried.
pub async fn open(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
    setup: &Message,
) -> Result<(Verdict, Reply), Verdict> {
    let sent = app
        .gemini
        .upgrade(
            &incoming.outgoing,
            &lease.key.secret,
            incoming.token.as_ref(),
            lease.key.egress,
        )
        .await;
    let mut answer = sent.map_err(|unsent| Verdict::without_answer(unsent.rule, unsent.message))?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS && !status.is_success() {
        let (head, body) = answer.into_parts();
        let (verdict, reply) = read_error(head, body, settings, incoming).await?;
        return Ok((blaming_client(verdict, incoming.token.is_some()), reply));
    }
    if status.is_success() || !websocket::is_accepted(&incoming.outgoing.headers, answer.headers())
    {
        let other = "Gemini did not agree to a WebSocket".to_owned();
        return Err(Verdict::without_answer(Rule::MalformedAnswer, other));
    }
    let connection = hyper::upgrade::on(&mut answer).await;
    let connection = connection.map_err(|error| broken(&error))?;
    let memory = incoming.memory.sibling();
    let mut socket = metered::open(connection, Role::Client, memory, ReceiveLimit::None).await;
    // If this fails, Google may have sent the reason.
    let sent = socket.send(setup.clone()).await;
    loop {
        match socket.next().await {
            Some(Ok(first @ (Message::Text(_) | Message::Binary(_)))) => {
                let side = Box::new(UpstreamSession {
                    socket,
                    first,
                    by_token: incoming.token.is_some(),
                });
                return Ok((success(status.as_u16()), Reply::Session(side)));
            }
            Some(Ok(Message::Close(frame))) => {
                let verdict = verdict_of(frame.as_ref(), incoming.token.is_some());
                return Ok((verdict, Reply::Closed(frame)));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => {
                return Err(
                    sent.map_or_else(|sent| connection_lost(&sent), |()| connection_lost(&error))
                );
            }
            None => return Err(connection_lost(&Error::ConnectionClosed)),
        }
    }
}

/// A fault of the client's own token is no fault of our key.
fn blaming_client(verdict: Verdict, by_token: bool) -> Verdict {
    if by_token && verdict.rule.concerns_our_key() {
        Verdict {
            rule: Rule::ClientFault,
            ..verdict
        }
    } else {
        verdict
    }
}

/// The verdict on a session that Google closed.
pub fn verdict_of(frame: Option<&CloseFrame>, by_token: bool) -> Verdict {
    let verdict = match frame {
        Some(frame) => classify_close(frame.code.into(), &frame.reason),
        None => classify_close(NO_CODE, ""),
    };
    blaming_client(verdict, by_token)
}

/// The code of a close.
pub fn code_of(frame: Option<&CloseFrame>) -> u16 {
    frame.map_or(NO_CODE, |frame| frame.code.into())
}

/// The verdict on a connection that was lost.
pub fn connection_lost(error: &Error) -> Verdict {
    let rule = match error {
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => Rule::ConnectionBroken,
        _ => Rule::MalformedAnswer,
    };
    let message = format!("the session broke off on its way from Gemini: {error}");
    Verdict::without_answer(rule, message)
}

fn broken(error: &hyper::Error) -> Verdict {
    let message = format!("the connection to Gemini broke: {error}");
    Verdict::without_answer(Rule::ConnectionBroken, message)
}
