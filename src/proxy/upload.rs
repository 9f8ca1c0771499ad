//! Uploads: sessions that clients know by an id of ours, and bodies that pass as they come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use rand::RngExt;
use rand::distr::Alphanumeric;

use crate::app::App;
use crate::clock;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::tap::ResponseSummary;
use crate::gemini::target::Target;
use crate::gemini::upload::{
    is_cancelled, pool_session_url, replace_session_urls, session_id, session_url,
};
use crate::pool::clients::client_key::ClientKey;
use crate::pool::keys::selection::TriedKeys;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::proxy::admit::{admit, check_backlog, check_scopes};
use crate::proxy::authenticate::{Credential, authenticate, check_standing, fail};
use crate::proxy::bind::Bound;
use crate::proxy::choose::{at_home, choose, settle_down};
use crate::proxy::forward::{Attempt, Reply, forward_passing};
use crate::proxy::incoming::Incoming;
use crate::proxy::passing::Passing;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;
use crate::proxy::tries::conclude;
use crate::storage::error::Error;
use crate::storage::upload_sessions::{self, IdHash, NewUploadSession, UploadSession};

/// How long a client may go on with a session; Google forgets one about as soon.
const SESSION_LIFE: Duration = Duration::from_hours(7 * 24);

/// Letters and digits of an id: 256 bits.
const ID_LENGTH: usize = 43;

/// How a message calls what only one project has.
const HELD: &str = "this upload";

/// The session with this id, and whose it is. Whoever knows the id may go on with it: Google's client for Python shows no
/// key then.
pub async fn find_session(
    app: &App,
    credential: Option<&Credential<'_>>,
    id: &str,
    record: &mut Record,
) -> Result<(Arc<ClientKey>, UploadSession), Refusal> {
    let mut shown = None;
    if credential.is_some() {
        let client = authenticate(app, credential, record)?;
        record.client(&client);
        shown = Some(client.id);
    }
    let found = upload_sessions::find(&app.db.readers, &hash_of(app, id), clock::now()).await;
    let found = found
        .map_err(|error| no_database(&error))?
        .filter(|session| shown.is_none_or(|shown| shown == session.client_key_id))
        .and_then(|session| {
            Some((
                app.client_keys().find_by_id(session.client_key_id)?,
                session,
            ))
        });
    let Some((client, session)) = found else {
        // Who has shown a key is not guessing.
        return Err(match shown {
            Some(_) => Refusal::UnknownUpload,
            None => fail(app, record, Refusal::UnknownUpload),
        });
    };
    record.client(&client);
    check_standing(&client)?;
    Ok((client, session))
}

/// Passes on a part of an upload, or a word about it.
pub async fn pass_part(
    app: &Arc<App>,
    client: &Arc<ClientKey>,
    session: &UploadSession,
    target: Target,
    request: Request,
    record: &mut Record,
) -> Result<(Attempt, Incoming), Refusal> {
    check_scopes(client, record.client_ip(), &target)?;
    check_backlog(app, record)?;
    let (mut incoming, body) = Incoming::passing(app, target, request)?;
    let url = app.gemini.url(&session.google_path);
    incoming.outgoing.url = url.ok_or(Refusal::AlteredPath)?;
    let bound = Bound {
        only: Some(session.project_id),
        name: ResourceName::of_path(&incoming.target.path_and_query).map(|name| name.to_string()),
        ..Bound::default()
    };
    let first = Some(session.upstream_key_id);
    pass(app, client, &bound, first, incoming, body, record).await
}

/// Sends a request with one key, `first` if that is ready, and its body as it comes: it cannot be sent again.
pub async fn pass(
    app: &Arc<App>,
    client: &Arc<ClientKey>,
    bound: &Bound,
    first: Option<UpstreamKeyId>,
    incoming: Incoming,
    body: Body,
    record: &mut Record,
) -> Result<(Attempt, Incoming), Refusal> {
    let settings = app.settings();
    record.incoming(&incoming);
    record.bound(bound);
    record.admitted(admit(app, client, &incoming)?);
    let lease_request = incoming.lease_request(client, bound);
    let (tried, mut home) = (TriedKeys::default(), bound.home);
    let own = first
        .and_then(|id| app.keys.lease_key(id, &lease_request, clock::now()))
        .or_else(|| at_home(app, client, &mut home, &lease_request, &tried));
    let mut lease = if let Some(lease) = own {
        lease
    } else {
        let mut patience = settings.wait_for_key();
        let chosen = choose(
            app,
            &settings,
            client,
            &lease_request,
            &tried,
            &mut patience,
            record,
        );
        let held = bound.only.map_or("", |_| HELD);
        chosen
            .await
            .map_err(|obstacle| Refusal::no_key(Some(obstacle), "", held))?
    };
    if bound.settles {
        lease = settle_down(app, client, lease, &mut home, &lease_request, &tried);
    }
    record.begin_attempt(&lease.key);
    let (body, progress) = Passing::new(body);
    record.passes(progress.clone());
    match forward_passing(app, &settings, lease, &incoming, body, progress).await {
        Ok(attempt) => {
            record.settle(&attempt, &incoming);
            let attempt = conclude(attempt, &incoming, bound, |incoming| {
                let lease_request = incoming.lease_request(client, bound);
                app.keys.lock().obstacle(&lease_request, clock::now())
            })?;
            Ok((attempt, incoming))
        }
        Err(refusal) => {
            record.client_gone(&ResponseSummary::default(), 0);
            Err(refusal)
        }
    }
}

/// Before an upload's answer goes out: where Google's session stands in it, one of ours is put, which is `base` for
/// clients; and one that was given up is forgotten.
pub async fn settle_session(
    app: &App,
    attempt: &mut Attempt,
    incoming: &Incoming,
    base: &str,
    record: &mut Record,
) -> Result<(), Refusal> {
    let head = match &mut attempt.reply {
        Reply::Whole(whole) => &mut whole.head,
        Reply::Flowing(flowing) => &mut flowing.head,
        Reply::None | Reply::Elsewhere | Reply::Session(_) | Reply::Closed(_) => return Ok(()),
    };
    let session = if let Some(session) = session_id(&incoming.target) {
        if is_cancelled(&incoming.outgoing.headers, head.status, &head.headers) {
            let hash = hash_of(app, &session);
            if let Err(error) = upload_sessions::delete(&app.db.writer, &hash).await {
                // It will expire.
                tracing::warn!("an upload that was given up could not be forgotten: {error}");
            }
        }
        session
    } else if let Some(url) = session_url(&head.headers) {
        let opened = match app.gemini.upstream_path(url) {
            Some(path) => open_session(app, &path, record).await,
            None => Err(Refusal::LedAway),
        };
        opened.inspect_err(|_| record.answered(&attempt.verdict, &ResponseSummary::default(), 0))?
    } else {
        return Ok(());
    };
    if let Some(url) = pool_session_url(base, &incoming.target, &session) {
        replace_session_urls(&mut head.headers, &url);
    }
    Ok(())
}

/// Gives a session of Google's an id of ours and writes it down: from now on it survives a restart.
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
        expires_at: now + SESSION_LIFE,
    };
    upload_sessions::insert(&app.db.writer, &hash_of(app, &id), &session)
        .await
        .map_err(|error| no_database(&error))?;
    Ok(id)
}

fn hash_of(app: &App, session: &str) -> IdHash {
    app.hash_key().hash(&format!("upload:{session}"))
}

fn no_database(error: &Error) -> Refusal {
    tracing::error!("upload sessions cannot be used: {error}");
    Refusal::NoDatabase
}
