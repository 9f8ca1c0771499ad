//! `AnswerBody`: the pieces of an answer, sent at their pace, and how it ends.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::journal::OpenAnswer;

/// How a body ends once its pieces are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// The connection is aborted, without the last chunk.
    Cut,
    /// Nothing more comes, for ever.
    Stall,
}

/// The pieces of an answer and how they go out.
#[derive(Debug, Clone)]
pub struct Pieces {
    pub chunks: Vec<Bytes>,
    pub between: Duration,
    pub ending: Ending,
    /// Send `content-length`; Google mostly sends chunks.
    pub known_length: bool,
}

impl Pieces {
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self {
            chunks: vec![body.into()],
            between: Duration::ZERO,
            ending: Ending::Complete,
            known_length: false,
        }
    }

    /// The same pieces as one gzip stream, flushed after each.
    pub fn gzipped(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let last = self.chunks.len().saturating_sub(1);
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            encoder.write_all(chunk).expect("a Vec takes every write");
            if index == last && self.ending == Ending::Complete {
                encoder.try_finish().expect("a Vec takes every write");
            } else {
                encoder.flush().expect("a Vec takes every write");
            }
            *chunk = std::mem::take(encoder.get_mut()).into();
        }
        self
    }
}

/// A body that counts as a hang-up if it is dropped before its end.
pub struct AnswerBody {
    chunks: std::vec::IntoIter<Bytes>,
    between: Duration,
    ending: Ending,
    pause: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
    open: OpenAnswer,
}

impl AnswerBody {
    pub fn new(mut pieces: Pieces, mut open: OpenAnswer) -> Self {
        // A chunk without bytes would read as the end.
        pieces.chunks.retain(|chunk| !chunk.is_empty());
        if pieces.chunks.is_empty() && pieces.ending == Ending::Complete {
            // Nobody polls a body that is at its end already.
            open.finish();
        }
        let length = pieces.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut body = Self {
            chunks: pieces.chunks.into_iter(),
            between: pieces.between,
            ending: pieces.ending,
            pause: None,
            length: pieces.known_length.then_some(length),
            open,
        };
        if body.chunks.len() == 0 {
            body.pause_if_due();
        }
        body
    }

    fn pause_if_due(&mut self) {
        let pause = match (self.chunks.len(), self.ending) {
            // Gives the server the time to send what it holds before the connection is aborted.
            (0, Ending::Cut) => self.between.max(Duration::from_millis(1)),
            (0, Ending::Complete | Ending::Stall) => Duration::ZERO,
            _ => self.between,
        };
        if !pause.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(pause)));
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if let Some(chunk) = self.chunks.next() {
            self.open.chunks_sent += 1;
            self.pause_if_due();
            if self.is_end_stream() {
                self.open.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match self.ending {
            Ending::Stall => Poll::Pending,
            Ending::Complete => {
                self.open.finish();
                Poll::Ready(None)
            }
            Ending::Cut => {
                self.open.finish();
                Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.len() == 0 && self.ending == Ending::Complete
    }

    fn size_hint(&self) -> SizeHint {
        // The whole length, not the rest: hyper asks once, before the first piece.
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
