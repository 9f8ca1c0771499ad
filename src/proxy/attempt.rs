//! `Attempt`: one try of a request with one upstream key, and how much of an answer came.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, response};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::gemini::connections::StreamGuard;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::health::verdict::Verdict;
use crate::pool::keys::lease::Lease;
use crate::proxy::live::metered::LiveSocket;

/// One try of a request with one upstream key.
#[derive(Debug)]
pub struct Attempt {
    /// The key, held until the answer has ended; `None` once it was given back.
    pub lease: Option<Lease>,
    pub verdict: Verdict,
    pub reply: Reply,
}

/// How much of an answer came.
#[derive(Debug)]
pub enum Reply {
    None,
    /// An error with this status that is too long to be read, and so to be passed on.
    TooLong(StatusCode),
    /// A redirect to another host.
    ForeignRedirect,
    /// An answer that has arrived completely.
    Whole(Box<Whole>),
    /// An answer that has begun and continues.
    Streaming(Box<Streaming>),
    /// The upstream's side of a live session.
    Session(Box<UpstreamSession>),
    /// A live session that the upstream closed before it began; `None`: without a close frame.
    Closed(Option<CloseFrame>),
}

impl Reply {
    /// Whether the answer still has to end.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Streaming(_) | Self::Session(_))
    }
}

/// A complete answer, as it came.
#[derive(Debug)]
pub struct Whole {
    pub head: response::Parts,
    pub body: Bytes,
    /// What the answer reports of itself.
    pub answered: ResponseSummary,
}

/// An answer of which the beginning has arrived.
#[derive(Debug)]
pub struct Streaming {
    pub head: response::Parts,
    /// The chunks that were read to classify the beginning; the tap has not read them.
    pub begun: VecDeque<Bytes>,
    pub rest: Incoming,
    pub stream: StreamGuard,
}

/// The upstream's side of a live session that has begun.
#[derive(Debug)]
pub struct UpstreamSession {
    pub socket: LiveSocket,
    /// The upstream's first message; the client has yet to receive it.
    pub first: Message,
    /// Whether the client's own token opened it.
    pub by_token: bool,
}

/// The chunks of a body that were read, and whether it ended.
#[derive(Debug, Default)]
pub struct Beginning {
    pub chunks: VecDeque<Bytes>,
    pub ended: bool,
}

impl Beginning {
    /// Adds a chunk of `body`, which has ended once everything that its head announced has arrived.
    pub fn push(&mut self, chunk: Bytes, body: &impl http_body::Body) {
        self.chunks.push_back(chunk);
        self.ended = body.is_end_stream();
    }

    pub fn length(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The chunks as one; a single one is not copied.
    pub fn join(&self) -> Bytes {
        match self.chunks.front() {
            Some(only) if self.chunks.len() == 1 => only.clone(),
            _ => {
                let mut whole = BytesMut::with_capacity(self.length());
                for chunk in &self.chunks {
                    whole.extend_from_slice(chunk);
                }
                whole.freeze()
            }
        }
    }

    pub fn into_whole(self, head: response::Parts, answered: ResponseSummary) -> Reply {
        Reply::Whole(Box::new(Whole {
            head,
            body: self.join(),
            answered,
        }))
    }

    pub fn into_streaming(
        self,
        head: response::Parts,
        rest: Incoming,
        stream: StreamGuard,
    ) -> Reply {
        Reply::Streaming(Box::new(Streaming {
            head,
            begun: self.chunks,
            rest,
            stream,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_in_their_order() {
        let cases: [(&[&'static str], &str); 3] = [(&[], ""), (&["a"], "a"), (&["a", "bc"], "abc")];
        for (chunks, whole) in cases {
            let chunks = chunks
                .iter()
                .map(|chunk| Bytes::from_static(chunk.as_bytes()));
            let beginning = Beginning {
                chunks: chunks.collect(),
                ended: true,
            };
            assert_eq!(beginning.join(), whole);
        }
    }
}
