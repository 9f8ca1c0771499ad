//! Authentication and authorization of a request: finds its client by credential, upload session or token, and checks
//! the scopes of the client key → `Caller`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;

use crate::app::App;
use crate::client_connections::ClientConnection;
use crate::clock;
use crate::gemini::resources::name::ResourceName;
use crate::gemini::target::{Target, is_live_path};
use crate::gemini::upload::session_id;
use crate::in_process::ActingClient;
use crate::pool::clients::client_key::ClientKey;
use crate::proxy::browsers::is_script_request;
use crate::proxy::caller::Caller;
use crate::proxy::credential::{Credential, credential, session_credential};
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::resource_lookup::{look_up, lookup_failed};
use crate::proxy::upload::{id_hash, sessions_unusable};
use crate::storage::upload_sessions::{self, UploadSession};

/// Finds the client of a request and refuses what its key does not allow, before anything of the body is read.
pub async fn authorize(
    app: &App,
    head: &Parts,
    connection: &ClientConnection,
    record: &mut Record,
) -> Result<Caller, Refusal> {
    let caller = authorize_key(app, head, record).await;
    if caller.is_ok() {
        connection.prove();
    }
    // Whatever the key allows. After it, so that authentication failures count and do not fill the log.
    if is_script_request(&head.headers) {
        return Err(Refusal::RequestedAsScript);
    }
    caller
}

async fn authorize_key(app: &App, head: &Parts, record: &mut Record) -> Result<Caller, Refusal> {
    let is_live = is_live_path(head.uri.path());
    let read_credential = if is_live {
        session_credential
    } else {
        credential
    };
    let credential = read_credential(&head.headers, head.uri.query());
    let target = read_target(head, credential.as_ref());
    if let Ok(target) = &target {
        record.target(target);
    }
    let session_id = target.as_ref().ok().and_then(session_id);
    let token = credential
        .as_ref()
        .filter(|_| is_live)
        .and_then(Credential::token);
    let acting = head.extensions.get::<ActingClient>();
    let (client, session) = if let Some(acting) = acting {
        (find_acting(app, acting, record)?, None)
    } else if let Some(id) = session_id {
        let (client, session) = find_session(app, credential.as_ref(), &id, record).await?;
        (client, Some(session))
    } else if let Some(token) = &token {
        (authenticate_token(app, token, record).await?, None)
    } else {
        (authenticate(app, credential.as_ref(), record)?, None)
    };
    record.client(client.id);
    // After the credential: paths of unauthenticated requests must not fill the log.
    let target = target?;
    check_scopes(&client, record.client_ip(), &target)?;
    check_backlog(app, record)?;
    Ok(Caller {
        client,
        target,
        token,
        session,
        upstream_key: acting.and_then(|acting| acting.upstream_key),
    })
}

/// The client key that an admin sends a request for.
fn find_acting(
    app: &App,
    acting: &ActingClient,
    record: &mut Record,
) -> Result<Arc<ClientKey>, Refusal> {
    let client = app.client_keys().find_by_id(acting.client);
    let client = client.ok_or(Refusal::WrongClientKey)?;
    record.client(client.id);
    check_enabled(&client)?;
    Ok(client)
}

fn read_target(head: &Parts, credential: Option<&Credential>) -> Result<Target, Refusal> {
    let is_bearer = credential.is_some_and(|credential| credential.is_bearer);
    let (path, query) = (head.uri.path(), head.uri.query());
    Ok(Target::read(&head.method, path, query, is_bearer)?)
}

/// The client key that a credential is.
fn authenticate(
    app: &App,
    credential: Option<&Credential>,
    record: &mut Record,
) -> Result<Arc<ClientKey>, Refusal> {
    let Some(credential) = credential else {
        return Err(count_failure(app, record, Refusal::NoClientKey));
    };
    let Some(found) = app.client_keys().find(&credential.text, clock::now) else {
        return Err(count_failure(app, record, Refusal::WrongClientKey));
    };
    let client = found.key;
    if found.is_old_secret {
        app.old_secret_uses.lock().insert(client.id, clock::now());
    }
    check_enabled(&client).inspect_err(|_| record.client(client.id))?;
    Ok(client)
}

/// The client key that made an ephemeral token through this pool. The key must still be allowed to make tokens.
async fn authenticate_token(
    app: &App,
    token: &ResourceName,
    record: &mut Record,
) -> Result<Arc<ClientKey>, Refusal> {
    let known = look_up(app, &[token.as_str()].into()).await;
    let known = known.map_err(lookup_failed)?.pop();
    let maker = known.and_then(|known| app.client_keys().find_by_id(known.maker?));
    let Some(client) = maker else {
        return Err(count_failure(app, record, Refusal::UnknownToken));
    };
    record.client(client.id);
    check_enabled(&client)?;
    if !client.direct_access {
        return Err(Refusal::DirectAccess);
    }
    Ok(client)
}

/// The upload session with this id, and the client that opened it. A request without a credential may continue a session
/// whose id it names: Google's SDK for Python sends no key then.
async fn find_session(
    app: &App,
    credential: Option<&Credential<'_>>,
    id: &str,
    record: &mut Record,
) -> Result<(Arc<ClientKey>, UploadSession), Refusal> {
    let mut sender = None;
    if credential.is_some() {
        let client = authenticate(app, credential, record)?;
        record.client(client.id);
        sender = Some(client.id);
    }
    let found = upload_sessions::find(&app.db.readers, &id_hash(app, id), clock::now()).await;
    let found = found
        .map_err(sessions_unusable)?
        .filter(|session| sender.is_none_or(|sender| sender == session.client_key_id))
        .and_then(|session| {
            let client = app.client_keys().find_by_id(session.client_key_id)?;
            Some((client, session))
        });
    let Some((client, session)) = found else {
        // A request with a valid client key does not guess ids.
        return Err(match sender {
            Some(_) => Refusal::UnknownUpload,
            None => count_failure(app, record, Refusal::UnknownUpload),
        });
    };
    record.client(client.id);
    check_enabled(&client)?;
    Ok((client, session))
}

/// Refuses a client key that is disabled or has expired.
pub fn check_enabled(client: &ClientKey) -> Result<(), Refusal> {
    if !client.enabled {
        return Err(Refusal::DisabledClientKey);
    }
    if client.expires_at.is_some_and(|at| at <= clock::now()) {
        return Err(Refusal::ExpiredClientKey);
    }
    Ok(())
}

/// Refuses an address or a path that the client key may not use.
fn check_scopes(client: &ClientKey, address: IpAddr, target: &Target) -> Result<(), Refusal> {
    let scopes = client.scopes.as_ref().ok_or(Refusal::ScopesUnreadable)?;
    if !scopes.allows_address(address) {
        return Err(Refusal::AddressOutOfScope(address));
    }
    if target.grants_direct_access() && !client.direct_access {
        return Err(Refusal::DirectAccess);
    }
    // Google's own path, which an alias stands for.
    let path = target.path_and_query.split('?').next().unwrap_or_default();
    if !scopes.paths.matches(path) {
        return Err(Refusal::PathOutOfScope {
            allowed: scopes.paths.patterns().join(", "),
        });
    }
    Ok(())
}

/// Refuses a request while too many rows wait to be written.
fn check_backlog(app: &App, record: &mut Record) -> Result<(), Refusal> {
    if app.has_too_many_pending_rows() {
        // A row for each refusal would fill the memory further; one row counts them all.
        record.leave_out();
        app.unrecorded_refusals.fetch_add(1, Ordering::Relaxed);
        return Err(Refusal::TooManyPendingRows);
    }
    Ok(())
}

/// Counts an authentication failure of the client's address; above a limit the refusal is a 429.
fn count_failure(app: &App, record: &mut Record, refusal: Refusal) -> Refusal {
    let mut failures = app.auth_failures.lock();
    let answer = failures.record(record.client_ip(), clock::now());
    if !answer.is_recorded {
        record.leave_out();
    }
    answer
        .retry_after
        .map_or(refusal, Refusal::TooManyAuthFailures)
}
