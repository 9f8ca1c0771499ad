//! `Metered`: a connection whose received bytes count as memory until their message was passed on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::body_memory::HeldMemory;
use crate::websocket;

/// A live session's WebSocket, of the client or of Google.
pub type LiveSocket = WebSocketStream<Metered>;

/// The upgraded connection of a WebSocket and its meter.
#[derive(Debug)]
pub struct Metered {
    connection: TokioIo<Upgraded>,
    pub meter: Meter,
}

/// Counts what a connection has received. Clones count together.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Mutex<Received>>);

#[derive(Debug)]
struct Received {
    memory: HeldMemory,
    limit: ReceiveLimit,
}

/// How much a connection may receive before its message was passed on.
#[derive(Debug, Clone, Copy)]
pub enum ReceiveLimit {
    /// The client's first message, of at most so many bytes.
    Setup(u64),
    /// A client's later messages: as much as the client's share of the memory allows.
    Share,
    /// Google's messages are counted, and never refused.
    None,
}

/// Why nothing more is received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error("the first message is too large")]
    SetupTooLarge,
    #[error("there is no memory for the message")]
    NoMemory,
}

/// Opens a WebSocket on an upgraded connection.
pub async fn open(
    connection: Upgraded,
    role: Role,
    memory: HeldMemory,
    limit: ReceiveLimit,
) -> LiveSocket {
    let received = Received { memory, limit };
    let metered = Metered {
        connection: TokioIo::new(connection),
        meter: Meter(Arc::new(Mutex::new(received))),
    };
    websocket::open(metered, role).await
}

impl Meter {
    /// The first message has arrived: its limit ends.
    pub fn end_setup(&self) {
        self.0.lock().limit = ReceiveLimit::Share;
    }

    /// The message was passed on, and its memory is free.
    pub fn passed_on(&self) {
        self.0.lock().memory.clear();
    }

    fn receive(&self, bytes: usize) -> Result<(), ReceiveError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let Received { memory, limit } = &mut *self.0.lock();
        match *limit {
            ReceiveLimit::Setup(most) if memory.bytes() + bytes > most => {
                return Err(ReceiveError::SetupTooLarge);
            }
            ReceiveLimit::Setup(_) | ReceiveLimit::Share => {
                memory.take(bytes).map_err(|_| ReceiveError::NoMemory)?;
            }
            ReceiveLimit::None => memory.count(bytes),
        }
        Ok(())
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(context, buffer);
        let received = buffer.filled().len() - before;
        if received > 0 {
            self.meter.receive(received).map_err(io::Error::other)?;
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
