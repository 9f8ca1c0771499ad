//! What is said in a session that Google has answered, and what is noted of it.

use std::collections::BTreeSet;

use http::StatusCode;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::app::App;
use crate::gemini::errors::classify::success;
use crate::gemini::live::is_normal_close;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::lease::Lease;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::outcome::Outcome;
use crate::proxy::bind::bind;
use crate::proxy::forward::{Attempt, Reply};
use crate::proxy::live::google::{GoogleSide, code_of, lost, verdict_of};
use crate::proxy::live::relay::{End, Sides, Tally, close, payload, relay};
use crate::proxy::live::{Farewell, Guest};
use crate::proxy::record::Record;
use crate::proxy::refuse::close_code;
use crate::websocket::close_frame;

const GOING_AWAY: u16 = 1001;
const INTERNAL_ERROR: u16 = 1011;

/// Passes on what both sides say, and notes what came of it. Returns with what the client is closed, if it is there.
pub async fn converse(guest: &mut Guest, attempt: Attempt, model: &str) -> Option<Farewell> {
    let Attempt {
        lease,
        verdict,
        reply,
    } = attempt;
    guest
        .record
        .first_byte(StatusCode::SWITCHING_PROTOCOLS, true);
    let frame = match reply {
        Reply::Session(side) => return relayed(guest, *side, lease, model).await,
        Reply::Closed(frame) => frame.map(|frame| redacted(&guest.app, frame)),
        Reply::Whole(whole) => {
            let frame = close_frame(close_code(whole.head.status), &verdict.message);
            Some(redacted(&guest.app, frame))
        }
        Reply::None | Reply::Elsewhere | Reply::Flowing(_) => {
            unreachable!("the handler refuses where there is no reply, and sessions do not flow")
        }
    };
    guest
        .record
        .answered(&verdict, &ResponseSummary::default(), 0);
    guest.record.session(0, Some(code_of(frame.as_ref())), 0);
    Some(Farewell(frame))
}

/// Stays with a session that has begun.
async fn relayed(
    guest: &mut Guest,
    google: GoogleSide,
    lease: Option<Lease>,
    model: &str,
) -> Option<Farewell> {
    let Guest {
        app,
        key,
        socket: client,
        early,
        record,
    } = guest;
    let GoogleSide {
        mut socket,
        first,
        by_token,
    } = google;
    let mut tally = Tally::default();
    let sides = Sides {
        client,
        google: &mut socket,
        from_google: first,
        from_client: early.take(),
    };
    let idle_timeout = app.settings().idle_timeout();
    let project = lease.as_ref().map(|lease| lease.key.project_id);
    let end = relay(
        sides,
        idle_timeout,
        &app.stopping,
        &mut tally,
        |names| may_name(app, key.id, project, names),
        |handle| record.handle(handle),
    )
    .await;
    let session = &mut tally.session;
    let see = |message: &Message| drop(payload(message).map(|payload| session.read_frame(payload)));
    match &end {
        End::ClientClosed(frame) => close(&mut socket, frame.clone(), see).await,
        End::Stopping => close(&mut socket, Some(stopping()), see).await,
        End::GoogleClosed(_) => close(&mut socket, None, see).await,
        End::ClientGone | End::ClientBroke(_) | End::GoogleBroke(_) | End::Silent => {}
    }
    // Google's side is gone before anything waits for the row.
    drop(socket);
    note(&end, &tally, lease.as_ref(), model, by_token, record);
    drop(lease);
    farewell(app, end)
}

/// Refuses to name a thing that is not this client's, or not in the project that holds the session.
async fn may_name(
    app: &App,
    client: ClientKeyId,
    project: Option<ProjectId>,
    names: BTreeSet<ResourceName>,
) -> Result<(), CloseFrame> {
    let bound = bind(app, client, &names, None).await;
    let bound = bound.map_err(|refusal| refusal.as_close())?;
    if bound.only.is_none() || bound.only == project {
        return Ok(());
    }
    let why = format!(
        "gemini-pool: {} is not in the project that holds this session. Begin another with it",
        bound.because()
    );
    Err(close_frame(1008, &why))
}

/// Notes how a session ended, and what it has used.
fn note(
    end: &End,
    tally: &Tally,
    lease: Option<&Lease>,
    model: &str,
    by_token: bool,
    record: &mut Record,
) {
    let usage = tally.session.usage();
    let answered = ResponseSummary {
        is_charged: usage.is_some(),
        usage: usage.unwrap_or_default(),
        ..ResponseSummary::default()
    };
    let bytes = tally.to_client_bytes;
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
        End::GoogleBroke(error) => (Some(INTERNAL_ERROR), Some(lost(error))),
        End::Silent => {
            let message = "nothing came from either side".to_owned();
            let verdict = Verdict::without_answer(Rule::AnswerTimeout, message);
            (Some(GOING_AWAY), Some(verdict))
        }
        End::Stopping => (Some(GOING_AWAY), None),
        End::ClientGone => (None, None),
    };
    record.session(tally.session.turns(), close_code, tally.from_client_bytes);
    match (end, verdict) {
        (End::ClientGone, _) => record.client_gone(&answered, bytes),
        (End::Stopping, _) => record.interrupted(&answered, bytes),
        (_, verdict) => {
            let verdict =
                verdict.unwrap_or_else(|| success(StatusCode::SWITCHING_PROTOCOLS.as_u16()));
            if let Some(lease) = lease {
                record.blame(&lease.key, model, &verdict);
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

/// What the client is told; `None` where it is gone.
fn farewell(app: &App, end: End) -> Option<Farewell> {
    let frame = match end {
        End::ClientGone => return None,
        End::ClientClosed(frame) => frame,
        End::GoogleClosed(frame) => frame.map(|frame| redacted(app, frame)),
        End::ClientBroke(frame) => Some(frame),
        End::GoogleBroke(_) => {
            let message = "gemini-pool: the session broke off on its way from Gemini. Resume it, or begin anew";
            Some(close_frame(INTERNAL_ERROR, message))
        }
        End::Silent => {
            let message = "gemini-pool: nothing was said for too long";
            Some(close_frame(GOING_AWAY, message))
        }
        End::Stopping => Some(stopping()),
    };
    Some(Farewell(frame))
}

pub fn stopping() -> CloseFrame {
    let message =
        "gemini-pool: the pool is stopping. Resume the session in a moment, or begin anew";
    close_frame(GOING_AWAY, message)
}

/// The close without what must not leave.
fn redacted(app: &App, frame: CloseFrame) -> CloseFrame {
    match app.redactor().redact(frame.reason.as_bytes()) {
        Some(reason) => close_frame(frame.code.into(), &String::from_utf8_lossy(&reason)),
        None => frame,
    }
}
