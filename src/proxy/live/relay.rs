//! Passes a session's messages both ways until either side ends it.

use std::collections::BTreeSet;
use std::future::{Future, Ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use crate::gemini::live::LiveSessionState;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::resources::references::ResourceReferences;
use crate::websocket::{Socket, close_frame};

/// How long a side may take to answer a close; and Google, to say why it no longer listens.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub enum End {
    ClientClosed(Option<CloseFrame>),
    /// The client is gone without a word.
    ClientGone,
    /// The client sent what is no WebSocket, or too large, or names what it may not: it gets this close.
    ClientBroke(CloseFrame),
    GoogleClosed(Option<CloseFrame>),
    GoogleBroke(Error),
    /// Nothing came from either side for too long.
    Silent,
    /// The program is about to end.
    Stopping,
}

/// What has passed.
#[derive(Debug, Default)]
pub struct Tally {
    pub from_client_bytes: u64,
    pub to_client_bytes: u64,
    pub session: LiveSessionState,
}

/// Both sides of a session.
#[derive(Debug)]
pub struct Sides<'a> {
    pub client: &'a mut Socket,
    pub google: &'a mut Socket,
    /// What Google has said already.
    pub from_google: Message,
    /// What the client has said already.
    pub from_client: Option<Message>,
}

/// Passes on what comes, each message whole and in its turn: a side that does not listen holds up the other. Pings go
/// through, so that neither side takes the other for silent; each is answered where it arrives.
pub async fn relay<Checked>(
    sides: Sides<'_>,
    idle_timeout: Duration,
    stopping: &CancellationToken,
    tally: &mut Tally,
    may_name: impl Fn(BTreeSet<ResourceName>) -> Checked,
    on_handle: impl Fn(ResourceName),
) -> End
where
    Checked: Future<Output = Result<(), CloseFrame>>,
{
    let (mut to_client, from_client) = sides.client.split();
    let (mut to_google, from_google) = sides.google.split();
    let mut from_client = stream::iter(sides.from_client.map(Ok)).chain(from_client);
    let mut from_google = stream::iter([Ok(sides.from_google)]).chain(from_google);
    let heard = AtomicBool::new(true);
    let Tally {
        from_client_bytes,
        to_client_bytes,
        session,
    } = tally;

    let upwards = pass(&mut from_client, &mut to_google, |said| {
        heard.store(true, Ordering::Relaxed);
        *from_client_bytes += length_of(said);
        let names: BTreeSet<_> = ResourceReferences::from_body(said)
            .names()
            .cloned()
            .collect();
        (!names.is_empty()).then(|| may_name(names))
    });
    let downwards = pass(&mut from_google, &mut to_client, |said| {
        heard.store(true, Ordering::Relaxed);
        *to_client_bytes += length_of(said);
        if let Some(handle) = session.read_frame(said) {
            on_handle(handle);
        }
        None::<Ready<_>>
    });
    let client_ends = async {
        match upwards.await {
            Stop::Closed(frame) => End::ClientClosed(frame),
            Stop::Forbidden(frame) => End::ClientBroke(frame),
            Stop::Lost(error) => of_client(&error),
            Stop::Deaf(error) => {
                // What Google says in its defence comes on the other way.
                sleep(GOODBYE).await;
                End::GoogleBroke(error)
            }
        }
    };
    let google_ends = async {
        match downwards.await {
            Stop::Closed(frame) => End::GoogleClosed(frame),
            Stop::Forbidden(frame) => End::GoogleClosed(Some(frame)),
            Stop::Lost(error) => End::GoogleBroke(error),
            Stop::Deaf(_) => End::ClientGone,
        }
    };
    let silence = async {
        while heard.swap(false, Ordering::Relaxed) {
            sleep(idle_timeout).await;
        }
        End::Silent
    };
    tokio::select! {
        end = client_ends => end,
        end = google_ends => end,
        end = silence => end,
        () = stopping.cancelled() => End::Stopping,
    }
}

/// Why nothing more is passed one way.
enum Stop {
    Closed(Option<CloseFrame>),
    /// What was said may not be passed on.
    Forbidden(CloseFrame),
    /// Where it comes from is gone.
    Lost(Error),
    /// Where it goes takes no more.
    Deaf(Error),
}

/// Passes on what comes; `see` may ask for time to look whether a message may go.
async fn pass<Checked>(
    from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
    mut see: impl FnMut(&[u8]) -> Option<Checked>,
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
        // A ping too is a sign of life.
        if let Some(checked) = see(payload(&message).unwrap_or_default())
            && let Err(frame) = checked.await
        {
            return Stop::Forbidden(frame);
        }
        match message {
            Message::Close(frame) => return Stop::Closed(frame),
            // The answer to a ping that was answered here already.
            Message::Pong(_) | Message::Frame(_) => {}
            Message::Text(_) | Message::Binary(_) | Message::Ping(_) => {
                if let Err(error) = to.send(message).await {
                    return Stop::Deaf(error);
                }
            }
        }
    }
}

/// What became of a client that cannot be read any more.
pub fn of_client(error: &Error) -> End {
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

/// Closes a side that is still there, and waits a moment for its answer. What it has still said is seen, and not passed on.
pub async fn close(socket: &mut Socket, frame: Option<CloseFrame>, mut see: impl FnMut(&Message)) {
    let goodbye = async {
        // Where it has closed first, this sends what answers it.
        let _ = socket.send(Message::Close(frame)).await;
        let _ = socket.flush().await;
        while let Some(Ok(message)) = socket.next().await {
            see(&message);
        }
    };
    // A side that does not answer is left without.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// The bytes of what is no control frame.
pub fn payload(message: &Message) -> Option<&[u8]> {
    match message {
        Message::Text(text) => Some(text.as_bytes()),
        Message::Binary(bytes) => Some(bytes),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
    }
}

fn length_of(said: &[u8]) -> u64 {
    u64::try_from(said.len()).unwrap_or(u64::MAX)
}
