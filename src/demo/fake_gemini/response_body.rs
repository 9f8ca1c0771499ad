//! `FakeResponseBody`: the pieces of an answer, their pace, and its end.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::journal::OpenResponse;

/// The end of a body, after its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    Complete,
    /// The connection is aborted, without the last chunk.
    Aborted,
    /// The body stalls for ever.
    Stalled,
}

/// The pieces of an answer and how they are sent.
#[derive(Debug, Clone)]
pub struct BodyChunks {
    pub chunks: Vec<Bytes>,
    pub chunk_delay: Duration,
    pub ending: BodyEnd,
    /// Send `content-length`; Google mostly sends chunks.
    pub has_content_length: bool,
}

impl BodyChunks {
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self {
            chunks: vec![body.into()],
            chunk_delay: Duration::ZERO,
            ending: BodyEnd::Complete,
            has_content_length: false,
        }
    }

    /// The same pieces as one gzip stream, flushed after each.
    pub fn gzipped(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let last = self.chunks.len().saturating_sub(1);
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            encoder.write_all(chunk).expect("a Vec takes every write");
            if index == last && self.ending == BodyEnd::Complete {
                encoder.try_finish().expect("a Vec takes every write");
            } else {
                encoder.flush().expect("a Vec takes every write");
            }
            *chunk = std::mem::take(encoder.get_mut()).into();
        }
        self
    }
}

/// A body that records a disconnected client if it is dropped before its end.
pub struct FakeResponseBody {
    chunks: std::vec::IntoIter<Bytes>,
    chunk_delay: Duration,
    ending: BodyEnd,
    pause: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
    open: OpenResponse,
}

impl FakeResponseBody {
    pub fn new(mut body_chunks: BodyChunks, mut open: OpenResponse) -> Self {
        // A chunk without bytes would read as the end.
        body_chunks.chunks.retain(|chunk| !chunk.is_empty());
        if body_chunks.chunks.is_empty() && body_chunks.ending == BodyEnd::Complete {
            // A body at its end is not polled again.
            open.finish();
        }
        let length = body_chunks
            .chunks
            .iter()
            .map(|chunk| chunk.len() as u64)
            .sum();
        let mut body = Self {
            chunks: body_chunks.chunks.into_iter(),
            chunk_delay: body_chunks.chunk_delay,
            ending: body_chunks.ending,
            pause: None,
            length: body_chunks.has_content_length.then_some(length),
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
            (0, BodyEnd::Aborted) => self.chunk_delay.max(Duration::from_millis(1)),
            (0, BodyEnd::Complete | BodyEnd::Stalled) => Duration::ZERO,
            _ => self.chunk_delay,
        };
        if !pause.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(pause)));
        }
    }
}

impl Body for FakeResponseBody {
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
            BodyEnd::Stalled => Poll::Pending,
            BodyEnd::Complete => {
                self.open.finish();
                Poll::Ready(None)
            }
            BodyEnd::Aborted => {
                self.open.finish();
                Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.len() == 0 && self.ending == BodyEnd::Complete
    }

    fn size_hint(&self) -> SizeHint {
        // The whole length, not the rest: hyper asks once, before the first piece.
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
