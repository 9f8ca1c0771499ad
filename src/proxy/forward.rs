//! One attempt: send, read the head, have it classified → `Attempt`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, Method, Response, StatusCode, response};
use http_body_util::BodyExt;
use reqwest::Body;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::app::App;
use crate::gemini::errors::classify::{ErrorContext, classify, success};
use crate::gemini::errors::error_body::{ErrorBody, decode_body};
use crate::gemini::resources::listing::MAX_PAGE_BYTES;
use crate::gemini::response::events::FirstEvent;
use crate::gemini::response::tap::{ResponseSummary, ResponseTap};
use crate::gemini::transport::{SendError, StreamGuard, describe_error, rule_of_error};
use crate::gemini::upload::is_upload;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::settings::Settings;
use crate::proxy::download::{Followed, follow};
use crate::proxy::incoming::Incoming;
use crate::proxy::live;
use crate::proxy::live::google::GoogleSide;
use crate::proxy::passing::{Advance, Passing, Stage, stall};
use crate::proxy::refuse::Refusal;

/// The largest error answer that is read whole; Google's are a few kilobytes.
const ERROR_LIMIT: usize = 1024 * 1024;
/// How much of a good answer is gathered while none of it has to be waited for.
const AT_ONCE: usize = 256 * 1024;
/// How long the rest of an error inside a 200 may take to come.
const ERROR_REST: Duration = Duration::from_secs(2);

/// One try of a request with one upstream key.
#[derive(Debug)]
pub struct Attempt {
    /// The key, held until the answer has ended; `None` once it was let go.
    pub lease: Option<Lease>,
    pub verdict: Verdict,
    pub reply: Reply,
}

/// How much of an answer came.
#[derive(Debug)]
pub enum Reply {
    None,
    /// A redirect to somebody else.
    Elsewhere,
    /// An answer that is here whole.
    Whole(Box<Whole>),
    /// An answer that has begun and goes on.
    Flowing(Box<Flowing>),
    /// Google's side of a live session.
    Session(Box<GoogleSide>),
    /// A live session that Google has closed before it began; `None`: without a word.
    Closed(Option<CloseFrame>),
}

/// A whole answer, as it came.
#[derive(Debug)]
pub struct Whole {
    pub head: response::Parts,
    pub body: Bytes,
    /// What the answer said of itself.
    pub answered: ResponseSummary,
}

/// An answer of which some is here and the rest comes.
#[derive(Debug)]
pub struct Flowing {
    pub head: response::Parts,
    /// What was read to look at its beginning; the tap has not seen it.
    pub begun: VecDeque<Bytes>,
    pub rest: Body,
    pub stream: StreamGuard,
}

/// What was read of a body, and whether it ended.
struct Beginning {
    chunks: VecDeque<Bytes>,
    ended: bool,
}

/// Sends the request with the lease's key and looks at how the answer begins, which must be within `left`.
pub async fn forward(
    app: &App,
    settings: &Settings,
    lease: Lease,
    incoming: &Incoming,
    left: Duration,
) -> Attempt {
    // What the client will wait for is the upper bound; a second more lets Google's own word come first.
    let patience = incoming
        .deadline
        .map_or(Duration::MAX, |deadline| deadline + Duration::from_secs(1));
    let patience = patience.min(left);
    let exchanged = async {
        match &incoming.setup {
            None => exchange(app, settings, &lease, incoming).await,
            Some(setup) => live::google::open(app, settings, &lease, incoming, setup).await,
        }
    };
    let (verdict, reply) = match timeout(patience, exchanged).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(verdict)) => (verdict, Reply::None),
        Err(_) => (
            Verdict::without_answer(
                Rule::AnswerTimeout,
                "Gemini did not answer in time".to_owned(),
            ),
            Reply::None,
        ),
    };
    Attempt {
        lease: Some(lease),
        verdict,
        reply,
    }
}

/// Sends the request with the lease's key and this body as it comes, once. The body may take as long as it likes, as long
/// as it goes on.
pub async fn forward_passing(
    app: &App,
    settings: &Settings,
    lease: Lease,
    incoming: &Incoming,
    body: Passing,
    progress: Advance,
) -> Result<Attempt, Refusal> {
    let exchange = async {
        let secret = &lease.key.secret;
        let sent = app
            .gemini
            .send_with(&incoming.outgoing, Some(Body::wrap(body)), secret)
            .await;
        let (answer, stream) = sent.map_err(Verdict::from)?;
        read_answer(settings, incoming, answer, stream).await
    };
    let too_late = |message: &str| Verdict::without_answer(Rule::AnswerTimeout, message.to_owned());
    let answered = tokio::select! {
        biased;
        answered = exchange => answered,
        stage = stall(progress.clone(), settings) => Err(match stage {
            Stage::ToBeSent => return Err(Refusal::BodyTooSlow),
            Stage::ToBeTaken => too_late("Gemini stopped taking the request's body"),
            Stage::Whole | Stage::Broken => too_late("Gemini did not answer in time"),
        }),
    };
    if answered.is_err() && progress.borrow().stage == Stage::Broken {
        return Err(Refusal::BodyBroken);
    }
    let (verdict, reply) = answered.unwrap_or_else(|verdict| (verdict, Reply::None));
    Ok(Attempt {
        lease: Some(lease),
        verdict,
        reply,
    })
}

/// Everything up to the first event, or to the end of an error.
async fn exchange(
    app: &App,
    settings: &Settings,
    lease: &Lease,
    incoming: &Incoming,
) -> Result<(Verdict, Reply), Verdict> {
    let secret = &lease.key.secret;
    let (answer, stream) = app.gemini.send(&incoming.outgoing, secret).await?;
    match follow(app, lease, incoming, answer, stream).await? {
        Followed::Here(answer, stream) => read_answer(settings, incoming, answer, stream).await,
        Followed::Elsewhere(status) => {
            // No key is to blame for where Google leads.
            let message = "Gemini redirects to another host".to_owned();
            let verdict = Verdict {
                status: Some(status.as_u16()),
                ..Verdict::without_answer(Rule::UnnamedFault, message)
            };
            Ok((verdict, Reply::Elsewhere))
        }
    }
}

/// An answer whose head has come, up to the first event, or to the end of an error.
async fn read_answer(
    settings: &Settings,
    incoming: &Incoming,
    answer: Response<Body>,
    stream: StreamGuard,
) -> Result<(Verdict, Reply), Verdict> {
    let (head, mut body) = answer.into_parts();
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (content_type, encoding) = (text(CONTENT_TYPE), text(CONTENT_ENCODING));
    let status = head.status.as_u16();

    if !head.status.is_success() && !asks_for_more(incoming, &head) {
        return refusal(head, body, settings, incoming).await;
    }
    if has_no_body(&incoming.outgoing.method, &head) {
        return Ok((
            success(status),
            whole(head, &VecDeque::new(), ResponseSummary::default()),
        ));
    }
    let mut tap = incoming.tap(content_type, encoding);
    let mut beginning = Beginning {
        chunks: VecDeque::new(),
        ended: false,
    };
    while tap.first_event() == FirstEvent::Undecided && !beginning.ended {
        match next_chunk(&mut body).await? {
            Some(chunk) => {
                tap.feed(&chunk);
                beginning.chunks.push_back(chunk);
            }
            None => beginning.ended = true,
        }
    }
    if tap.first_event() != FirstEvent::Error {
        // The end of a body that is here is seen only once the task of its connection has had its turn.
        let turns = if incoming.streams { 0 } else { 3 };
        take_what_is_here(&mut body, &mut tap, &mut beginning, turns).await?;
        if incoming.listing.is_some() {
            take_page(&mut body, &mut beginning).await?;
        }
        let answered = tap.summary();
        let whole = beginning.ended && answered.error.is_none();
        let reply = if whole {
            self::whole(head, &beginning.chunks, answered)
        } else {
            flowing(head, beginning, body, stream)
        };
        return Ok((success(status), reply));
    }
    // An error inside a 200 is treated as that error.
    if !beginning.ended {
        let rest = read_some(&mut body, ERROR_REST).await;
        for chunk in &rest.chunks {
            tap.feed(chunk);
        }
        beginning.chunks.extend(rest.chunks);
        beginning.ended = rest.ended;
    }
    let answered = tap.summary();
    let error = answered.error.clone();
    let error = error.unwrap_or_else(|| read_error(&join(&beginning.chunks), encoding));
    let verdict = classify(status, content_type, &error, asked_by(incoming));
    let reply = if beginning.ended {
        whole(head, &beginning.chunks, answered)
    } else {
        flowing(head, beginning, body, stream)
    };
    Ok((verdict, reply))
}

/// Reads an error to its end.
pub async fn refusal(
    head: response::Parts,
    mut body: Body,
    settings: &Settings,
    incoming: &Incoming,
) -> Result<(Verdict, Reply), Verdict> {
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (content_type, encoding) = (text(CONTENT_TYPE), text(CONTENT_ENCODING));
    let error = read_some(&mut body, settings.idle_timeout()).await;
    let bytes = join(&error.chunks);
    let Some(plain) = decode_body(&bytes, encoding) else {
        // It may hold our key, and nobody could take it out.
        let unreadable = "Gemini's error came in an encoding that cannot be read".to_owned();
        return Err(Verdict::without_answer(Rule::MalformedAnswer, unreadable));
    };
    let error_body = ErrorBody::read(&plain);
    let status = head.status.as_u16();
    let verdict = classify(status, content_type, &error_body, asked_by(incoming));
    // What is not here whole was not looked at whole, and may hold our key.
    let reply = if error.ended {
        whole(head, &error.chunks, ResponseSummary::default())
    } else {
        Reply::None
    };
    Ok((verdict, reply))
}

fn asked_by(incoming: &Incoming) -> ErrorContext {
    ErrorContext {
        surface: incoming.target.surface,
        client_deadline: incoming.deadline.is_some(),
    }
}

impl From<SendError> for Verdict {
    fn from(unsent: SendError) -> Self {
        Self::without_answer(unsent.rule, unsent.message)
    }
}

fn whole(head: response::Parts, chunks: &VecDeque<Bytes>, answered: ResponseSummary) -> Reply {
    Reply::Whole(Box::new(Whole {
        head,
        body: join(chunks),
        answered,
    }))
}

fn flowing(head: response::Parts, beginning: Beginning, rest: Body, stream: StreamGuard) -> Reply {
    Reply::Flowing(Box::new(Flowing {
        head,
        begun: beginning.chunks,
        rest,
        stream,
    }))
}

/// Reads on as long as nothing has to be waited for but `turns` of other tasks: most answers without a stream are here
/// whole by now, and go out in one piece.
async fn take_what_is_here(
    body: &mut Body,
    tap: &mut ResponseTap,
    beginning: &mut Beginning,
    mut turns: u32,
) -> Result<(), Verdict> {
    let mut read: usize = beginning.chunks.iter().map(Bytes::len).sum();
    while !beginning.ended && read < AT_ONCE {
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
                beginning.chunks.push_back(chunk);
            }
        }
    }
    Ok(())
}

/// Reads a page of a list until its end, which is put together with others before it is answered.
async fn take_page(body: &mut Body, beginning: &mut Beginning) -> Result<(), Verdict> {
    let mut read: usize = beginning.chunks.iter().map(Bytes::len).sum();
    while !beginning.ended && read < MAX_PAGE_BYTES {
        match next_chunk(body).await? {
            Some(chunk) => {
                read += chunk.len();
                beginning.chunks.push_back(chunk);
            }
            None => beginning.ended = true,
        }
    }
    Ok(())
}

/// Reads an error until its end, until there is more than errors have, or until it breaks or is silent for too long.
async fn read_some(body: &mut Body, idle: Duration) -> Beginning {
    let mut beginning = Beginning {
        chunks: VecDeque::new(),
        ended: false,
    };
    let mut read = 0;
    while read < ERROR_LIMIT {
        match timeout(idle, next_chunk(body)).await {
            Ok(Ok(Some(chunk))) => {
                read += chunk.len();
                beginning.chunks.push_back(chunk);
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

async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, Verdict> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Verdict::without_answer(rule_of_error(&error), describe_error(&error))
        })?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn read_error(bytes: &[u8], encoding: Option<&str>) -> ErrorBody {
    decode_body(bytes, encoding)
        .map_or_else(|| ErrorBody::read(b""), |plain| ErrorBody::read(&plain))
}

/// The older of Google's upload protocols says so when it has a part of a file.
fn asks_for_more(incoming: &Incoming, head: &response::Parts) -> bool {
    head.status == StatusCode::PERMANENT_REDIRECT && is_upload(&incoming.target)
}

fn has_no_body(method: &Method, head: &response::Parts) -> bool {
    let empty = head
        .headers
        .get(CONTENT_LENGTH)
        .is_some_and(|length| length == "0");
    empty
        || method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
        )
}

/// The chunks as one; the usual single one is not copied.
fn join(chunks: &VecDeque<Bytes>) -> Bytes {
    match chunks.front() {
        Some(only) if chunks.len() == 1 => only.clone(),
        _ => {
            let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
            for chunk in chunks {
                whole.extend_from_slice(chunk);
            }
            whole.freeze()
        }
    }
}
