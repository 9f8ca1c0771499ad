//! Resumable uploads: stores Google's upload session, and gives the client a URL with an id of the pool in place of
//! Google's.

use std::time::Duration;

use rand::RngExt;
use rand::distr::Alphanumeric;

use crate::app::App;
use crate::clock;
use crate::gemini::response::tap::ResponseSummary;
use crate::gemini::upload::{
    is_cancelled, pool_session_url, remove_session_urls, replace_session_urls, session_id,
    session_url,
};
use crate::proxy::attempt::{Attempt, Reply};
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::storage::error::Error;
use crate::storage::upload_sessions::{self, IdHash, NewUploadSession};

/// How long a client may continue a session; Google's expire about as soon.
const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Letters and digits of an id: 256 bits.
const ID_LENGTH: usize = 43;

/// Replaces the URL of Google's session in an upload's answer by one of ours, which begins with `base`. A session that was
/// cancelled is deleted.
pub async fn rewrite_session(
    app: &App,
    attempt: &mut Attempt,
    incoming: &Incoming,
    base: &str,
    record: &mut Record,
) -> Result<(), Refusal> {
    let head = match &mut attempt.reply {
        Reply::Whole(whole) => &mut whole.head,
        Reply::Streaming(streaming) => &mut streaming.head,
        Reply::None
        | Reply::TooLong(_)
        | Reply::ForeignRedirect
        | Reply::Session(_)
        | Reply::Closed(_) => {
            return Ok(());
        }
    };
    let session = if let Some(session) = session_id(&incoming.target) {
        if is_cancelled(&incoming.outgoing.headers, head.status, &head.headers) {
            let hash = id_hash(app, &session);
            if let Err(error) = upload_sessions::delete(&app.db.writer, &hash).await {
                // It will expire.
                tracing::warn!("a cancelled upload session could not be deleted: {error}");
            }
        }
        session
    } else if let Some(url) = session_url(&head.headers) {
        let opened = match app.gemini.upstream_path(url) {
            Some(path) => open_session(app, &path, record).await,
            None => Err(Refusal::ForeignRedirect),
        };
        opened.inspect_err(|_| record.answered(&attempt.verdict, &ResponseSummary::default(), 0))?
    } else {
        remove_session_urls(&mut head.headers);
        return Ok(());
    };
    if let Some(url) = pool_session_url(base, &incoming.target, &session) {
        replace_session_urls(&mut head.headers, &url);
    }
    Ok(())
}

/// Gives a session of Google's an id of ours and stores it, so that it survives a restart.
async fn open_session(app: &App, google_path: &str, record: &Record) -> Result<String, Refusal> {
    let (upstream_key_id, client_key_id) = record.maker().ok_or(Refusal::NoDatabase)?;
    let random = rand::rng().sample_iter(Alphanumeric).take(ID_LENGTH);
    let id: String = random.map(char::from).collect();
    let now = clock::now();
    let session = NewUploadSession {
        google_path,
        upstream_key_id,
        client_key_id,
        created_at: now,
        expires_at: now + SESSION_LIFETIME,
    };
    upload_sessions::insert(&app.db.writer, &id_hash(app, &id), &session)
        .await
        .map_err(sessions_unusable)?;
    Ok(id)
}

/// The hash under which a session of ours is stored.
pub fn id_hash(app: &App, session: &str) -> IdHash {
    app.hash_key.hash(&format!("upload:{session}"))
}

/// Logs that the table of upload sessions cannot be used, and refuses the request.
pub fn sessions_unusable(error: Error) -> Refusal {
    tracing::error!("upload sessions cannot be used: {error}");
    Refusal::NoDatabase
}
