//! A live session that Google has answered: relays its messages and records how it ends.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::app::App;
use crate::gemini::errors::classify::success;
use crate::gemini::live::is_normal_close;
use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::client_key::{ClientKey, ClientKeyId};
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::outcome::Outcome;
use crate::proxy::admit::{check_content, depends_on_reading};
use crate::proxy::attempt::{Attempt, Reply, UpstreamSession};
use crate::proxy::authorize::check_enabled;
use crate::proxy::caller::Caller;
use crate::proxy::dialect::live::{close_code, close_of};
use crate::proxy::live::metered::LiveSocket;
use crate::proxy::live::relay::{End, Sides, Traffic, close, payload, relay};
use crate::proxy::live::upstream::{code_of, connection_lost, verdict_of};
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::route::resolve;
use crate::websocket::close_frame;

const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const INTERNAL_ERROR: u16 = 1011;

/// How often a session checks its client key.
const CLIENT_KEY_INTERVAL: Duration = Duration::from_secs(1);
const KEY_ENDED: &str = "gemini-pool: the client key was disabled or deleted, or has expired";

/// The client's side of a live session, whose WebSocket was accepted.
#[derive(Debug)]
pub struct ClientSession {
    pub app: Arc<App>,
    pub caller: Caller,
    pub socket: LiveSocket,
    /// A message that arrived before the upstream's side was open.
    pub early: Option<Message>,
    /// How long neither side may send anything.
    pub idle_timeout: Duration,
    pub record: Record,
}

/// The close frame that a client receives; `None`: one without a code.
#[derive(Debug)]
pub struct CloseReply(pub Option<CloseFrame>);

/// Relays the messages of both sides and records the result. Returns the close for the client, if it is connected.
pub async fn run_session(
    session: &mut ClientSession,
    attempt: Attempt,
    model: &str,
) -> Option<CloseReply> {
    let Attempt {
        lease,
        verdict,
        reply,
    } = attempt;
    session
        .record
        .first_byte(StatusCode::SWITCHING_PROTOCOLS, true);
    let frame = match reply {
        Reply::Session(side) => return relay_session(session, *side, lease, model).await,
        Reply::Closed(frame) => frame.map(|frame| redacted(&session.app, frame)),
        Reply::Whole(whole) => {
            let frame = close_frame(close_code(whole.head.status), &verdict.message);
            Some(redacted(&session.app, frame))
        }
        Reply::None | Reply::TooLong(_) | Reply::ForeignRedirect | Reply::Streaming(_) => {
            unreachable!(
                "the retry loop refuses attempts without a reply, and live sessions have no body"
            )
        }
    };
    session
        .record
        .answered(&verdict, &ResponseSummary::default(), 0);
    session.record.session(0, Some(code_of(frame.as_ref())), 0);
    Some(CloseReply(frame))
}

async fn relay_session(
    session: &mut ClientSession,
    upstream: UpstreamSession,
    lease: Option<Lease>,
    model: &str,
) -> Option<CloseReply> {
    let ClientSession {
        app,
        caller,
        socket: client,
        early,
        idle_timeout,
        record,
    } = session;
    let UpstreamSession {
        mut socket,
        first,
        by_token,
    } = upstream;
    let mut traffic = Traffic::default();
    let sides = Sides {
        client,
        google: &mut socket,
        from_google: first,
        from_client: early.take(),
    };
    let (app, caller): (&App, &Caller) = (app, caller);
    let project = lease.as_ref().map(|lease| lease.key.project_id);
    let interrupted = async {
        tokio::select! {
            () = app.stopping.cancelled() => End::Stopping,
            () = client_key_ended(app, caller.client.id) => End::ClientKeyEnded,
        }
    };
    let end = relay(
        sides,
        *idle_timeout,
        interrupted,
        &app.redactor().key_mask,
        &mut traffic,
        |content, unread| async move {
            let checked = check_message(app, &caller.client, project, content, unread).await;
            checked.map_err(|refusal| close_of(&refusal))
        },
        |handle| record.handle(handle),
    )
    .await;
    let counts = &mut traffic.session;
    let read = |message: &Message| drop(payload(message).map(|payload| counts.read_frame(payload)));
    match &end {
        End::ClientClosed(frame) => close(&mut socket, frame.clone(), read).await,
        End::Stopping => close(&mut socket, Some(stopping()), read).await,
        End::ClientKeyEnded | End::GoogleClosed(_) => close(&mut socket, None, read).await,
        End::ClientGone | End::ClientBroke(_) | End::GoogleBroke(_) | End::Silent => {}
    }
    // The upstream's side is closed before anything waits for the row.
    drop(socket);
    record_end(&end, &traffic, lease.as_ref(), model, by_token, record);
    drop(lease);
    close_reply(app, end)
}

/// Returns when the client key may not be used any more.
async fn client_key_ended(app: &App, id: ClientKeyId) {
    loop {
        sleep(CLIENT_KEY_INTERVAL).await;
        let client = app.client_keys().find_by_id(id);
        if client.is_none_or(|client| check_enabled(&client).is_err()) {
            return;
        }
    }
}

/// Refuses a later message that begins another session, cannot be read although a rule depends on it, or names resources
/// that are not the client's or not in the session's project.
async fn check_message(
    app: &App,
    client: &ClientKey,
    project: Option<ProjectId>,
    content: BodyContent,
    unread: Option<UnreadBody>,
) -> Result<(), Refusal> {
    let settings = app.settings();
    check_content(client, &settings, &content, unread.as_ref())?;
    if (content.has_setup || !content.models.is_empty()) && depends_on_reading(client, &settings) {
        return Err(Refusal::SecondSetup);
    }
    let route = resolve(app, client.id, &content.names, None).await?;
    if route.required.is_none() || route.required == project {
        return Ok(());
    }
    Err(Refusal::OtherSession(route.reason().to_owned()))
}

/// Records how a session ended, and its usage.
fn record_end(
    end: &End,
    traffic: &Traffic,
    lease: Option<&Lease>,
    model: &str,
    by_token: bool,
    record: &mut Record,
) {
    let usage = traffic.session.usage();
    let answered = ResponseSummary {
        is_charged: usage.is_some(),
        usage: usage.unwrap_or_default(),
        ..ResponseSummary::default()
    };
    let bytes = traffic.to_client_bytes;
    let (close_code, verdict) = match end {
        End::ClientClosed(frame) => (Some(code_of(frame.as_ref())), None),
        End::GoogleClosed(frame) => {
            let code = code_of(frame.as_ref());
            let verdict = (!is_normal_close(code)).then(|| verdict_of(frame.as_ref(), by_token));
            (Some(code), verdict)
        }
        End::ClientBroke(frame) => {
            let message = frame.reason.to_string();
            let verdict = Verdict::without_answer(Rule::ClientFault, message);
            (Some(frame.code.into()), Some(verdict))
        }
        End::GoogleBroke(error) => (Some(INTERNAL_ERROR), Some(connection_lost(error))),
        End::Silent => {
            let message = "neither side sent anything".to_owned();
            let verdict = Verdict::without_answer(Rule::AnswerTimeout, message);
            (Some(GOING_AWAY), Some(verdict))
        }
        End::ClientKeyEnded => {
            let message = KEY_ENDED.to_owned();
            let verdict = Verdict::without_answer(Rule::ClientFault, message);
            (Some(POLICY), Some(verdict))
        }
        End::Stopping => (Some(GOING_AWAY), None),
        End::ClientGone => (None, None),
    };
    record.session(
        traffic.session.turns(),
        close_code,
        traffic.from_client_bytes,
    );
    match (end, verdict) {
        (End::ClientGone, _) => record.client_gone(&answered, bytes),
        (End::Stopping, _) => record.interrupted(&answered, bytes),
        (_, verdict) => {
            let verdict =
                verdict.unwrap_or_else(|| success(StatusCode::SWITCHING_PROTOCOLS.as_u16()));
            if let Some(lease) = lease {
                record.settle(&lease.key, model, &verdict);
            }
            if matches!(
                verdict.rule.outcome(),
                Outcome::Success | Outcome::ClientError
            ) {
                record.answered(&verdict, &answered, bytes);
            } else {
                record.broken_off(&verdict, &answered, bytes);
            }
        }
    }
}

/// The close for the client; `None` if it has disconnected.
fn close_reply(app: &App, end: End) -> Option<CloseReply> {
    let frame = match end {
        End::ClientGone => return None,
        End::ClientClosed(frame) => frame,
        End::GoogleClosed(frame) => frame.map(|frame| redacted(app, frame)),
        End::ClientBroke(frame) => Some(frame),
        End::GoogleBroke(_) => {
            let message = "gemini-pool: the session broke off on its way from Gemini. Resume it, or open another";
            Some(close_frame(INTERNAL_ERROR, message))
        }
        End::Silent => {
            let message = "gemini-pool: neither side sent anything for too long";
            Some(close_frame(GOING_AWAY, message))
        }
        End::ClientKeyEnded => Some(close_frame(POLICY, KEY_ENDED)),
        End::Stopping => Some(stopping()),
    };
    Some(CloseReply(frame))
}

pub fn stopping() -> CloseFrame {
    let message =
        "gemini-pool: the pool is stopping. Resume the session in a moment, or open another";
    close_frame(GOING_AWAY, message)
}

/// The close frame without secrets.
fn redacted(app: &App, frame: CloseFrame) -> CloseFrame {
    match app.redactor().redact(frame.reason.as_bytes()) {
        Some(reason) => close_frame(frame.code.into(), &String::from_utf8_lossy(&reason)),
        None => frame,
    }
}
