//! Relays a session's messages both ways until either side ends it.

use std::future::{Future, Ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::gemini::key_mask::KeyMask;
use crate::gemini::live::LiveSessionState;
use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::reader::read_message;
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::resources::name::ResourceName;
use crate::proxy::dialect::live::close_of;
use crate::proxy::live::metered::{LiveSocket, Meter, ReceiveError};
use crate::proxy::refusal::Refusal;
use crate::websocket::close_frame;

/// How long a side may take to answer a close, and Google to send the reason of a failure.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub enum End {
    ClientClosed(Option<CloseFrame>),
    /// The client disconnected without a close frame.
    ClientGone,
    /// The client sent an invalid or too large frame, or a name that it may not use: it receives this close.
    ClientBroke(CloseFrame),
    GoogleClosed(Option<CloseFrame>),
    GoogleBroke(Error),
    /// Neither side sent anything for too long.
    Silent,
    /// The client key was disabled, deleted or has expired.
    ClientKeyEnded,
    /// The server is stopping.
    Stopping,
}

/// The messages that were relayed.
#[derive(Debug, Default)]
pub struct Traffic {
    pub from_client_bytes: u64,
    pub to_client_bytes: u64,
    pub session: LiveSessionState,
}

/// Both sides of a session.
#[derive(Debug)]
pub struct Sides<'a> {
    pub client: &'a mut LiveSocket,
    pub google: &'a mut LiveSocket,
    /// Google's first message.
    pub from_google: Message,
    /// The client's second message, if it has arrived.
    pub from_client: Option<Message>,
}

/// Relays until a side ends or `interrupted` returns, each message completely and in order: a side that does not read
/// delays the other. Pings are relayed, so that neither side takes the other for silent, and answered where they arrive.
pub async fn relay<Checked>(
    sides: Sides<'_>,
    idle_timeout: Duration,
    interrupted: impl Future<Output = End>,
    key_mask: &KeyMask,
    traffic: &mut Traffic,
    may_send: impl Fn(BodyContent, Option<UnreadBody>) -> Checked,
    on_handle: impl Fn(ResourceName),
) -> End
where
    Checked: Future<Output = Result<(), CloseFrame>>,
{
    let (client_meter, google_meter) = (
        sides.client.get_ref().meter.clone(),
        sides.google.get_ref().meter.clone(),
    );
    // The first message was passed on when Google answered it.
    client_meter.passed_on();
    let (mut to_client, from_client) = sides.client.split();
    let (mut to_google, from_google) = sides.google.split();
    let mut from_client = stream::iter(sides.from_client.map(Ok)).chain(from_client);
    let mut from_google = stream::iter([Ok(sides.from_google)])
        .chain(from_google)
        .map(|message| message.map(|message| masked(message, key_mask)));
    let active = AtomicBool::new(true);
    let Traffic {
        from_client_bytes,
        to_client_bytes,
        session,
    } = traffic;

    let upwards = pass(&mut from_client, &mut to_google, &client_meter, |payload| {
        active.store(true, Ordering::Relaxed);
        *from_client_bytes += length_of(payload);
        let (content, unread) = read_message(payload);
        let has_rule = unread.is_some() || content.may_be_refused();
        has_rule.then(|| may_send(content, unread))
    });
    let downwards = pass(&mut from_google, &mut to_client, &google_meter, |payload| {
        active.store(true, Ordering::Relaxed);
        *to_client_bytes += length_of(payload);
        if let Some(handle) = session.read_frame(payload) {
            on_handle(handle);
        }
        None::<Ready<_>>
    });
    let client_ends = async {
        match upwards.await {
            Stop::Closed(frame) => End::ClientClosed(frame),
            Stop::Forbidden(frame) => End::ClientBroke(frame),
            Stop::Lost(error) => end_of_client(&error),
            Stop::Blocked(error) => {
                // Google's reason arrives on the other direction.
                sleep(CLOSE_TIMEOUT).await;
                End::GoogleBroke(error)
            }
        }
    };
    let google_ends = async {
        match downwards.await {
            Stop::Closed(frame) => End::GoogleClosed(frame),
            Stop::Forbidden(frame) => End::GoogleClosed(Some(frame)),
            Stop::Lost(error) => End::GoogleBroke(error),
            Stop::Blocked(_) => End::ClientGone,
        }
    };
    let silence = async {
        while active.swap(false, Ordering::Relaxed) {
            sleep(idle_timeout).await;
        }
        End::Silent
    };
    tokio::select! {
        end = client_ends => end,
        end = google_ends => end,
        end = silence => end,
        end = interrupted => end,
    }
}

/// The message without upstream keys.
fn masked(message: Message, key_mask: &KeyMask) -> Message {
    let clean = payload(&message).and_then(|payload| key_mask.mask(payload));
    match (clean, &message) {
        (Some(clean), Message::Text(_)) => {
            Message::text(String::from_utf8_lossy(&clean).into_owned())
        }
        (Some(clean), _) => Message::binary(clean),
        (None, _) => message,
    }
}

/// Why one direction ended.
enum Stop {
    Closed(Option<CloseFrame>),
    /// A message may not be relayed.
    Forbidden(CloseFrame),
    /// The sender's connection is lost.
    Lost(Error),
    /// The receiver takes no more.
    Blocked(Error),
}

/// Relays one direction; `check` may return a future that decides whether a message is relayed.
async fn pass<Checked>(
    from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
    meter: &Meter,
    mut check: impl FnMut(&[u8]) -> Option<Checked>,
) -> Stop
where
    Checked: Future<Output = Result<(), CloseFrame>>,
{
    loop {
        let message = match from.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Stop::Lost(error),
            None => return Stop::Lost(Error::ConnectionClosed),
        };
        // A ping counts as activity.
        if let Some(checked) = check(payload(&message).unwrap_or_default())
            && let Err(frame) = checked.await
        {
            return Stop::Forbidden(frame);
        }
        match message {
            Message::Close(frame) => return Stop::Closed(frame),
            // The ping was answered here already.
            Message::Pong(_) | Message::Frame(_) => {}
            Message::Text(_) | Message::Binary(_) | Message::Ping(_) => {
                if let Err(error) = to.send(message).await {
                    return Stop::Blocked(error);
                }
                meter.passed_on();
            }
        }
    }
}

/// How the client's side ended, if it cannot be read any more.
pub fn end_of_client(error: &Error) -> End {
    if let Error::Io(error) = error
        && let Some(error) = error.get_ref().and_then(|error| error.downcast_ref())
    {
        return match error {
            ReceiveError::SetupTooLarge => End::ClientBroke(setup_too_large()),
            ReceiveError::NoMemory => End::ClientBroke(close_of(&Refusal::TooMuchHeld)),
        };
    }
    match error {
        Error::Capacity(_) => {
            End::ClientBroke(close_frame(1009, "gemini-pool: the message is too large"))
        }
        Error::Utf8(_) => End::ClientBroke(close_frame(1007, "gemini-pool: the text is not UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::ClientGone,
        Error::Protocol(_) => {
            End::ClientBroke(close_frame(1002, "gemini-pool: this is no WebSocket"))
        }
        _ => End::ClientGone,
    }
}

/// The close for a first message above `live_setup_max_bytes`.
pub fn setup_too_large() -> CloseFrame {
    let message = "gemini-pool: the first message is larger than live_setup_max_bytes";
    close_frame(1009, message)
}

/// Closes a side that is connected and waits a moment for its answer. Its last messages are read, and not relayed.
pub async fn close(
    socket: &mut LiveSocket,
    frame: Option<CloseFrame>,
    mut read: impl FnMut(&Message),
) {
    let closing = async {
        // If the other side closed first, this sends the answer.
        let _ = socket.send(Message::Close(frame)).await;
        let _ = socket.flush().await;
        while let Some(Ok(message)) = socket.next().await {
            read(&message);
        }
    };
    // A side that does not answer is dropped.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// The bytes of a message that is no control frame.
pub fn payload(message: &Message) -> Option<&[u8]> {
    match message {
        Message::Text(text) => Some(text.as_bytes()),
        Message::Binary(bytes) => Some(bytes),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
    }
}

/// The length of a payload in bytes.
pub fn length_of(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX)
}
