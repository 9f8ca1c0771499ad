//! Streams the chosen answer to the client, and records how it ends.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::app::App;
use crate::clock;
use crate::gemini::connections::StreamGuard;
use crate::gemini::errors::classify::{ErrorContext, classify};
use crate::gemini::headers::{announced_length, headers_for_client};
use crate::gemini::key_mask::{KeySearch, MaskedStream};
use crate::gemini::redact::Redactor;
use crate::gemini::response::content_decoder::{decode_body, encodings_of};
use crate::gemini::response::tap::ResponseTap;
use crate::gemini::transport::SendError;
use crate::gemini::upload::{is_upload, remove_session_urls};
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::proxy::attempt::{Attempt, Reply, Streaming, Whole};
use crate::proxy::committed::Committed;
use crate::proxy::dialect::stream_error;
use crate::proxy::incoming::Incoming;
use crate::proxy::read_answer::stopped_in_the_middle;
use crate::proxy::record::Record;

/// The longest error event that is held back for redaction; Google's are shorter.
const HELD_LIMIT: usize = 1024 * 1024;

/// How much of an encoded answer is decoded to find upstream keys in it.
const MAX_DECODED_BYTES: usize = 32 * 1024 * 1024;

/// The messages of error events of the pool.
const BROKE_OFF: &str =
    "gemini-pool: the answer broke off on its way from Gemini. Please send the request again";
const CUT_OFF: &str =
    "gemini-pool: the pool is stopping. Please send the request again in a moment";

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Turns an attempt that the client may see into its response.
pub async fn answer(
    app: &Arc<App>,
    attempt: Attempt,
    incoming: &Incoming,
    mut record: Record,
) -> Response {
    let Attempt {
        lease,
        verdict,
        reply,
    } = attempt;
    match reply {
        Reply::Whole(whole) => {
            answer_whole(*whole, lease, &verdict, incoming, &app.redactor(), record).await
        }
        Reply::Streaming(streaming) => {
            let head = client_head(&streaming.head, incoming, &app.redactor());
            let streamed = is_event_stream(&streaming.head.headers);
            record.first_byte(head.status, streamed);
            record.answer_head(&streaming.head.headers, incoming.target.is_download());
            let mut response = Response::from_parts(head, Body::empty());
            record.add_headers(response.headers_mut());
            let answer = AnswerBody::new(app, *streaming, lease, verdict, incoming, record);
            *response.body_mut() = Body::new(answer);
            response
        }
        Reply::None
        | Reply::TooLong(_)
        | Reply::ForeignRedirect
        | Reply::Session(_)
        | Reply::Closed(_) => {
            unreachable!(
                "the retry loop refuses attempts without a reply, and live sessions are answered apart"
            )
        }
    }
}

/// Sends a complete answer, once its row is committed.
async fn answer_whole(
    whole: Whole,
    lease: Option<Lease>,
    verdict: &Verdict,
    incoming: &Incoming,
    redactor: &Redactor,
    mut record: Record,
) -> Response {
    // Where nothing is redacted the bytes stay as they came. The content of a file is never changed.
    let redacted = if verdict.rule == Rule::Success && incoming.target.is_download() {
        None
    } else {
        let plain = decode_body(&whole.body, &whole.head.headers, MAX_DECODED_BYTES);
        plain.and_then(|plain| match verdict.rule {
            Rule::Success => redactor.key_mask.mask(&plain),
            _ => redactor.redact(&plain),
        })
    };
    let mut head = client_head(&whole.head, incoming, redactor);
    let body = match redacted {
        Some(redacted) => {
            head.headers.remove(CONTENT_ENCODING);
            Bytes::from(redacted)
        }
        None => whole.body,
    };
    record.first_byte(head.status, false);
    record.answer_head(&head.headers, incoming.target.is_download());
    record.answer_bytes(&body);
    record.answered(
        verdict,
        &whole.answered,
        u64::try_from(body.len()).unwrap_or(u64::MAX),
    );
    // Only now: the next lease of the key must find the usage that Google counted, not our estimate.
    drop(lease);
    let body = if is_bare(&incoming.outgoing.method, head.status) {
        Body::new(NoContent)
    } else {
        Body::from(body)
    };
    let mut response = Response::from_parts(head, body);
    record.add_headers(response.headers_mut());
    record.finish().await;
    response
}

/// The status and the headers that the client gets, except the length, which is that of the body. Only the answer
/// to a HEAD keeps the announced one.
fn client_head(
    head: &response::Parts,
    incoming: &Incoming,
    redactor: &Redactor,
) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = head.status;
    parts.headers = headers_for_client(&head.headers);
    if !is_upload(&incoming.target) {
        remove_session_urls(&mut parts.headers);
    }
    if incoming.outgoing.method == Method::HEAD
        && let Some(length) = announced_length(&head.headers)
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    if incoming.streams || is_event_stream(&head.headers) {
        // nginx in front of the pool would hold events back.
        let no = HeaderValue::from_static("no");
        parts.headers.insert(X_ACCEL_BUFFERING, no);
    }
    for value in parts.headers.values_mut() {
        if let Some(redacted) = redactor.redact(value.as_bytes()) {
            *value =
                HeaderValue::from_bytes(&redacted).unwrap_or_else(|_| HeaderValue::from_static(""));
        }
    }
    parts
}

/// The body of an answer: passes Google's bytes as they come, with a tap beside them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the answer"
)]
struct AnswerBody {
    /// The upstream's side; `None` once the answer has ended.
    source: Option<Source>,
    /// Chunks that may be sent. The last one waits until it is known whether more follow.
    ready: VecDeque<Bytes>,
    /// An error event that is held back until it is whole.
    held: BytesMut,
    masked: MaskedStream,
    /// Looks for upstream keys in an encoded answer, and what of it waits until it is known that none begins there.
    search: KeySearch,
    unsearched: Vec<Bytes>,
    /// Whether the answer is the content of a file, which is never changed.
    is_file: bool,
    tap: ResponseTap,
    /// How many resource names the record has received.
    names_recorded: usize,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    /// Ready when the server cuts off what remains.
    cut_off: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether the idle timer runs.
    waits: bool,
    /// How many bytes are still expected, if the length was announced.
    left: Option<u64>,
    length: Option<u64>,
    sent: u64,
    record: Option<Record>,
    committed: Option<Committed>,
    /// Set when the connection must be cut, so that the client sees that the answer is not whole.
    aborts: bool,
    verdict: Verdict,
    asked: ErrorContext,
    model: String,
    is_event_stream: bool,
    is_plain: bool,
    redactor: Arc<Redactor>,
}

struct Source {
    body: body::Incoming,
    lease: Option<Lease>,
    _stream: StreamGuard,
}

/// How an answer ended.
enum End {
    Whole,
    Broken(Verdict),
    /// The server is stopping and waits no longer.
    CutOff,
}

impl AnswerBody {
    fn new(
        app: &App,
        streaming: Streaming,
        lease: Option<Lease>,
        verdict: Verdict,
        incoming: &Incoming,
        record: Record,
    ) -> Self {
        let headers = &streaming.head.headers;
        let begun: usize = streaming.begun.iter().map(Bytes::len).sum();
        let begun = u64::try_from(begun).unwrap_or(u64::MAX);
        let rest = streaming.rest.size_hint().exact();
        let length = rest.map(|rest| rest.saturating_add(begun));
        let idle_timeout = app.settings().idle_timeout(incoming.model.as_deref());
        let mut body = Self {
            source: Some(Source {
                body: streaming.rest,
                lease,
                _stream: streaming.stream,
            }),
            ready: VecDeque::new(),
            held: BytesMut::new(),
            masked: MaskedStream::default(),
            search: KeySearch::default(),
            unsearched: Vec::new(),
            is_file: incoming.target.is_download(),
            tap: incoming.tap(headers),
            names_recorded: 0,
            idle: Box::pin(sleep(idle_timeout)),
            idle_timeout,
            cut_off: Box::pin(app.cutting_off.clone().cancelled_owned()),
            waits: false,
            left: length,
            length,
            sent: 0,
            record: Some(record),
            committed: None,
            aborts: false,
            verdict,
            asked: incoming.asked(),
            model: incoming.quota_model().to_owned(),
            is_event_stream: is_event_stream(headers),
            is_plain: encodings_of(headers).is_some_and(|encodings| encodings.is_empty()),
            redactor: app.redactor(),
        };
        for chunk in streaming.begun {
            body.take(chunk);
        }
        body
    }

    /// Feeds a chunk to the tap and splits it into bytes that may be sent and bytes that are held back.
    fn take(&mut self, chunk: Bytes) {
        if let Some(record) = &mut self.record {
            record.answer_bytes(&chunk);
        }
        let (search, key_mask) = (&mut self.search, &self.redactor.key_mask);
        let seen = self
            .tap
            .feed_and(&chunk, |plain| search.push(key_mask, plain));
        if self.tap.observed_count() > self.names_recorded
            && let Some(record) = &self.record
        {
            // At once: the client may use the name on another connection before this answer ends.
            record.learn(&self.tap.observed(), false);
            self.names_recorded = self.tap.observed_count();
        }
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        let Some(from) = seen.hold_from else {
            self.pass(chunk);
            return;
        };
        let until = seen.release_at.unwrap_or(chunk.len());
        if from > 0 {
            self.pass(chunk.slice(..from));
        }
        self.held.extend_from_slice(&chunk[from..until]);
        if seen.release_at.is_some() || self.held.len() > HELD_LIMIT {
            self.release();
        }
        if until < chunk.len() {
            self.pass(chunk.slice(until..));
        }
    }

    /// Lets bytes of a good answer be sent, without upstream keys.
    fn pass(&mut self, chunk: Bytes) {
        if self.is_file {
            self.ready.push_back(chunk);
        } else if self.is_plain {
            let passed = self.masked.push(&self.redactor.key_mask, chunk);
            self.ready
                .extend(Some(passed).filter(|passed| !passed.is_empty()));
        } else if self.search.has_found() {
            // Encoded bytes cannot be edited.
            self.unsearched.clear();
            self.aborts = true;
        } else {
            self.unsearched.push(chunk);
            if !self.search.has_begun() {
                self.ready.extend(self.unsearched.drain(..));
            }
        }
    }

    /// Lets the end of what passed be sent, because something else follows, or nothing.
    fn pass_rest(&mut self) {
        self.ready.extend(self.unsearched.drain(..));
        let rest = self.masked.finish();
        self.ready
            .extend(Some(rest).filter(|rest| !rest.is_empty()));
    }

    /// Releases the held bytes, redacted.
    fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.pass_rest();
        let held = self.held.split().freeze();
        let redacted = if self.is_plain {
            self.redactor.redact(&held)
        } else {
            let is_secret = |raw: &[u8]| self.redactor.redact(raw).is_some();
            let has_secret = self.search.has_found() || self.tap.error_contains(is_secret);
            has_secret.then(Vec::new)
        };
        match redacted {
            None => self.ready.push_back(held),
            // An announced length must stay true, and compressed bytes cannot be edited.
            Some(_) if self.length.is_some() || !self.is_plain => self.aborts = true,
            Some(redacted) => self.ready.push_back(redacted.into()),
        }
    }

    /// Records how the answer ended, submits its row and gives the key back.
    fn end(&mut self, end: End) {
        self.release();
        self.pass_rest();
        let end = match end {
            End::Whole if self.length.is_none() && self.tap.lacks_end() => {
                End::Broken(stopped_in_the_middle())
            }
            end => end,
        };
        let source = self.source.take();
        let Some(mut record) = self.record.take() else {
            return;
        };
        let answered = self.tap.summary();
        let inner = answered
            .error
            .as_ref()
            .filter(|_| self.verdict.rule == Rule::Success);
        let inner = inner.map(|error| classify(200, None, error, self.asked));
        let broken = match end {
            End::Whole if self.aborts => Some(inner.unwrap_or_else(|| {
                let withheld = "its end was withheld, because it may contain an upstream key";
                Verdict::without_answer(Rule::MalformedAnswer, withheld.to_owned())
            })),
            End::Whole => inner,
            End::Broken(why) => {
                self.end_early(inner.is_some(), BROKE_OFF);
                Some(inner.unwrap_or(why))
            }
            End::CutOff => {
                self.end_early(inner.is_some(), CUT_OFF);
                drop(source);
                record.interrupted(&answered, self.sent + self.ready_bytes());
                self.committed = Some(record.finish());
                return;
            }
        };
        let sent = self.sent + self.ready_bytes();
        if let Some(lease) = source.as_ref().and_then(|source| source.lease.as_ref()) {
            record.settle(
                &lease.key,
                &self.model,
                broken.as_ref().unwrap_or(&self.verdict),
            );
        }
        match &broken {
            None => record.answered(&self.verdict, &answered, sent),
            Some(why) => record.broken_off(why, &answered, sent),
        }
        self.committed = Some(record.finish());
    }

    /// Lets the client see that the answer is not whole: by an error event, or by a cut connection.
    fn end_early(&mut self, has_error: bool, message: &str) {
        if self.is_event_stream && self.is_plain && !has_error {
            let half_event = !self.tap.can_end_here();
            let event = stream_error(self.asked.surface, half_event, message);
            self.ready.push_back(event.into());
        } else if !has_error || !self.is_event_stream {
            self.aborts = true;
        }
    }

    fn ready_bytes(&self) -> u64 {
        let bytes: usize = self.ready.iter().map(Bytes::len).sum();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.ready.pop_front()?;
        self.sent += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        Some(chunk)
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(committed) = &mut this.committed {
                ready!(Pin::new(committed).poll(context));
                this.committed = None;
            }
            // A chunk with another behind it is not the last.
            if this.ready.len() > 1 || this.source.is_none() {
                let chunk = this.next().map(Frame::data).map(Ok);
                if chunk.is_none() && std::mem::take(&mut this.aborts) {
                    return Poll::Ready(Some(Err(std::io::Error::other("the answer broke off"))));
                }
                return Poll::Ready(chunk);
            }
            if this.left == Some(0) {
                this.end(End::Whole);
                continue;
            }
            let Some(source) = &mut this.source else {
                continue;
            };
            match Pin::new(&mut source.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        this.waits = false;
                        this.take(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.end(End::Broken(SendError::from(&error).into()));
                }
                Poll::Ready(None) => this.end(End::Whole),
                Poll::Pending => {
                    if let Some(chunk) = this.next() {
                        this.waits = false;
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                    if this.cut_off.as_mut().poll(context).is_ready() {
                        this.end(End::CutOff);
                        continue;
                    }
                    // Counted from here: before, the client may not have taken the chunks that were ready.
                    if !std::mem::replace(&mut this.waits, true) {
                        let deadline = clock::timer_instant() + this.idle_timeout;
                        this.idle.as_mut().reset(deadline);
                    }
                    ready!(this.idle.as_mut().poll(context));
                    let silent = "Gemini's answer stopped coming".to_owned();
                    this.end(End::Broken(Verdict::without_answer(
                        Rule::AnswerTimeout,
                        silent,
                    )));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |length| {
            SizeHint::with_exact(length - self.sent.min(length))
        })
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Not submitted yet: the client disconnected. The upstream request is dropped with it, at once.
        if let Some(mut record) = self.record.take() {
            self.source = None;
            record.client_gone(&self.tap.summary(), self.sent);
            record.finish();
        }
    }
}

/// An empty body whose length is not announced. Of a known length of 0 the server would make `content-length: 0`, which is
/// wrong for a HEAD and not allowed in a 204 or 304.
struct NoContent;

impl http_body::Body for NoContent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// Whether an answer consists of its head alone.
fn is_bare(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_head_and_answers_without_content_are_bare() {
        for (method, status, expected) in [
            (Method::HEAD, 200, true),
            (Method::GET, 204, true),
            (Method::GET, 304, true),
            (Method::GET, 200, false),
            (Method::POST, 308, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_bare(&method, status), expected, "{method} {status}");
        }
    }

    #[test]
    fn an_event_stream_is_recognized_by_its_type() {
        for (kind, expected) in [
            ("text/event-stream", true),
            ("text/event-stream; charset=utf-8", true),
            ("application/json", false),
        ] {
            let kind = HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
            assert_eq!(is_event_stream(&headers), expected, "{headers:?}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
