//! Reads how an answer begins, or an error to its end, and has it classified.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, response};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body;
use tokio::time::timeout;

use crate::gemini::connections::StreamGuard;
use crate::gemini::errors::classify::{classify, success};
use crate::gemini::errors::error_body::{ErrorBody, MAX_ERROR_BYTES};
use crate::gemini::headers::announced_length;
use crate::gemini::resources::listing::MAX_PAGE_BYTES;
use crate::gemini::response::content_decoder::decode_body;
use crate::gemini::response::events::FirstEvent;
use crate::gemini::response::reply_content::ReplyContent;
use crate::gemini::response::tap::{ResponseSummary, ResponseTap};
use crate::gemini::transport::SendError;
use crate::gemini::upload::is_upload;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Beginning, Reply};
use crate::proxy::incoming::Incoming;

/// How many bytes of a good answer are gathered as long as they have arrived already.
const GATHER_LIMIT: usize = 256 * 1024;
/// How long the rest of an error inside a 200 may take to arrive.
const ERROR_REST_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads an answer up to its first event, or an error to its end, and classifies it.
pub async fn read_answer(
    settings: &Settings,
    incoming: &Incoming,
    answer: Response<body::Incoming>,
    stream: StreamGuard,
) -> Result<(Verdict, Reply), Verdict> {
    let (head, mut body) = answer.into_parts();
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text(CONTENT_TYPE);
    let status = head.status.as_u16();
    if head.status.is_informational() {
        // 101 answers a request for another protocol, which was not sent.
        let message = format!("Gemini answered with the status {status}");
        return Err(Verdict::without_answer(Rule::MalformedAnswer, message));
    }

    if !head.status.is_success() && !acknowledges_part(incoming, &head) {
        return read_error(head, body, settings, incoming).await;
    }
    if head.status.is_success() && is_unexpected_page(incoming, &head) {
        let message = "the upstream answered with a web page".to_owned();
        return Err(Verdict {
            status: Some(200),
            ..Verdict::without_answer(Rule::FrontEndError, message)
        });
    }
    if has_no_body(&incoming.outgoing.method, &head, &body) {
        let reply = Beginning::default().into_whole(head, ResponseSummary::default());
        return Ok((success(status), reply));
    }
    let mut tap = incoming.tap(&head.headers);
    if incoming.awaits_content {
        tap = tap.with_content_reader();
    }
    let mut beginning = Beginning::default();
    while tap.first_event() == FirstEvent::Undecided && !beginning.ended {
        match next_chunk(&mut body).await? {
            Some(chunk) => {
                tap.feed(&chunk);
                beginning.push(chunk, &body);
            }
            None => beginning.ended = true,
        }
    }
    let content = hold_until_content(&mut body, &mut tap, &mut beginning).await?;
    let is_error = tap.first_event() == FirstEvent::Error || content.is_some() && tap.had_error();
    if !is_error {
        // The end of a body without an announced length is reported only after the task of its connection has run.
        let turns = if incoming.streams { 0 } else { 3 };
        take_what_is_here(&mut body, &mut tap, &mut beginning, turns).await?;
        if incoming.listing.is_some() {
            take_page(&mut body, &mut beginning).await?;
        }
        if beginning.ended && announced_length(&head.headers).is_none() && tap.lacks_end() {
            return Err(stopped_in_the_middle());
        }
        let answered = tap.summary();
        let whole = beginning.ended && answered.error.is_none();
        let reply = if whole {
            beginning.into_whole(head, answered)
        } else {
            beginning.into_streaming(head, body, stream)
        };
        let content = content.filter(|_| incoming.guards_reply);
        let why_empty = content.and_then(|content| content.why_empty());
        let verdict = why_empty.map_or_else(|| success(status), |why| empty_reply(status, why));
        return Ok((verdict, reply));
    }
    // An error inside a 200 is treated as that error.
    if !beginning.ended {
        let rest = read_some(&mut body, ERROR_REST_TIMEOUT).await;
        for chunk in &rest.chunks {
            tap.feed(chunk);
        }
        beginning.chunks.extend(rest.chunks);
        beginning.ended = rest.ended;
    }
    let answered = tap.summary();
    let error = answered.error.clone();
    let error = error.unwrap_or_else(|| error_in(&beginning.join(), &head.headers));
    let verdict = classify(status, content_type, &error, incoming.asked());
    let reply = if beginning.ended {
        beginning.into_whole(head, answered)
    } else {
        beginning.into_streaming(head, body, stream)
    };
    Ok((verdict, reply))
}

/// Reads an error answer to its end and classifies it.
pub async fn read_error(
    head: response::Parts,
    mut body: body::Incoming,
    settings: &Settings,
    incoming: &Incoming,
) -> Result<(Verdict, Reply), Verdict> {
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text(CONTENT_TYPE);
    let error = read_some(&mut body, settings.idle_timeout(incoming.model.as_deref())).await;
    let bytes = error.join();
    let Some(plain) = decode_body(&bytes, &head.headers, MAX_ERROR_BYTES) else {
        // It may contain our key, which could not be redacted.
        let unreadable = "Gemini's error came in an encoding that cannot be read".to_owned();
        return Err(Verdict::without_answer(Rule::MalformedAnswer, unreadable));
    };
    let error_body = ErrorBody::read(&plain);
    let status = head.status.as_u16();
    let verdict = classify(status, content_type, &error_body, incoming.asked());
    // The part that did not arrive was not read, and may contain our key.
    let is_too_long = !error.ended && bytes.len() >= MAX_ERROR_BYTES;
    let reply = if error.ended {
        error.into_whole(head, ResponseSummary::default())
    } else if is_too_long {
        Reply::TooLong(head.status)
    } else {
        Reply::None
    };
    Ok((verdict, reply))
}

/// The verdict on an answer without an announced length that ends before its JSON does.
pub fn stopped_in_the_middle() -> Verdict {
    let message = "Gemini's answer stopped in the middle".to_owned();
    Verdict::without_answer(Rule::ConnectionBroken, message)
}

/// Reads on until the reply has content, or a reason why it has none; `None`: it is not read for its content.
async fn hold_until_content(
    body: &mut body::Incoming,
    tap: &mut ResponseTap,
    beginning: &mut Beginning,
) -> Result<Option<ReplyContent>, Verdict> {
    let mut read = beginning.length();
    loop {
        let content = tap.reply_content();
        let is_undecided = content == Some(ReplyContent::Nothing) && !tap.had_error();
        if !is_undecided || beginning.ended {
            return Ok(content);
        }
        if read > GATHER_LIMIT {
            return Ok(None);
        }
        match next_chunk(body).await? {
            Some(chunk) => {
                tap.feed(&chunk);
                read += chunk.len();
                beginning.push(chunk, body);
            }
            None => beginning.ended = true,
        }
    }
}

/// The verdict on a good answer without content.
fn empty_reply(status: u16, why: String) -> Verdict {
    Verdict {
        rule: Rule::EmptyReply,
        message: why,
        ..success(status)
    }
}

/// Reads the chunks that have arrived already, letting other tasks run `turns` times: most answers without a stream are
/// complete by then and are sent in one piece.
async fn take_what_is_here(
    body: &mut body::Incoming,
    tap: &mut ResponseTap,
    beginning: &mut Beginning,
    mut turns: u32,
) -> Result<(), Verdict> {
    let mut read = beginning.length();
    while !beginning.ended && read < GATHER_LIMIT {
        match next_chunk(body).now_or_never() {
            None if turns == 0 => break,
            None => {
                turns -= 1;
                tokio::task::yield_now().await;
            }
            Some(Err(broken)) => return Err(broken),
            Some(Ok(None)) => beginning.ended = true,
            Some(Ok(Some(chunk))) => {
                tap.feed(&chunk);
                read += chunk.len();
                beginning.push(chunk, body);
            }
        }
    }
    Ok(())
}

/// Reads a page of a list to its end: it is merged with other pages before it is answered.
async fn take_page(body: &mut body::Incoming, beginning: &mut Beginning) -> Result<(), Verdict> {
    let mut read = beginning.length();
    while !beginning.ended && read < MAX_PAGE_BYTES {
        match next_chunk(body).await? {
            Some(chunk) => {
                read += chunk.len();
                beginning.push(chunk, body);
            }
            None => beginning.ended = true,
        }
    }
    Ok(())
}

/// Reads an error until it ends, exceeds [`MAX_ERROR_BYTES`], breaks, or pauses for longer than `idle`.
async fn read_some(body: &mut body::Incoming, idle: Duration) -> Beginning {
    let mut beginning = Beginning::default();
    let mut read = 0;
    while read < MAX_ERROR_BYTES && !beginning.ended {
        match timeout(idle, next_chunk(body)).await {
            Ok(Ok(Some(chunk))) => {
                read += chunk.len();
                beginning.push(chunk, body);
            }
            Ok(Ok(None)) => {
                beginning.ended = true;
                break;
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    beginning
}

async fn next_chunk(body: &mut body::Incoming) -> Result<Option<Bytes>, Verdict> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SendError::from(&error))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn error_in(bytes: &[u8], headers: &HeaderMap) -> ErrorBody {
    decode_body(bytes, headers, MAX_ERROR_BYTES)
        .map_or_else(|| ErrorBody::read(b""), |plain| ErrorBody::read(&plain))
}

/// Whether the answer is a 308 of the older upload protocol, which acknowledges a part of a file.
fn acknowledges_part(incoming: &Incoming, head: &response::Parts) -> bool {
    head.status == StatusCode::PERMANENT_REDIRECT && is_upload(&incoming.target)
}

/// Whether a good answer is HTML although that of its operation is JSON or a stream of events: it is not Google's.
fn is_unexpected_page(incoming: &Incoming, head: &response::Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE);
    let is_page = kind.is_some_and(|kind| {
        let kind = kind.as_bytes().trim_ascii_start();
        kind.get(..9)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
    });
    is_page && incoming.target.operation.is_some() && !incoming.target.is_download()
}

/// Whether nothing follows the head. What the head announces does not count: beside chunks it means nothing.
fn has_no_body(method: &Method, head: &response::Parts, body: &body::Incoming) -> bool {
    body.size_hint().exact() == Some(0)
        || method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
        )
}
