//! The client keys of a server.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::remote::RemoteServer;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::secret::Secret;
use crate::storage::audit;
use crate::storage::client_keys::{ClientKeyTerms, ListedClientKey};

const PATH: &str = "client-keys";

/// A client key with its new secret, which is shown only once.
#[derive(Debug)]
pub struct NewSecret {
    pub key: ListedClientKey,
    pub secret: Secret,
}

/// The only answer that contains the secret.
#[derive(Deserialize)]
struct CreatedAnswer {
    #[serde(flatten)]
    key: ListedClientKey,
    secret: String,
}

impl From<CreatedAnswer> for NewSecret {
    fn from(answer: CreatedAnswer) -> Self {
        Self {
            key: answer.key,
            secret: Secret::new(&answer.secret),
        }
    }
}

/// These keys, which must exist, or all of them.
pub async fn selected(
    server: &RemoteServer,
    ids: Option<Vec<i64>>,
) -> Result<Vec<ListedClientKey>> {
    let Some(ids) = ids else {
        return server.list(&[PATH], &[]).await;
    };
    let mut keys = Vec::new();
    for id in ids {
        keys.push(server.get(&[PATH, &id.to_string()], &[]).await?);
    }
    Ok(keys)
}

/// Creates a key with a random secret.
pub async fn create(server: &RemoteServer, terms: &ClientKeyTerms) -> Result<NewSecret> {
    let body = body_of(terms);
    let answer: CreatedAnswer = server.send(Method::POST, &[PATH], Some(&body)).await?;
    Ok(answer.into())
}

/// Gives a key a new secret.
pub async fn rotate(
    server: &RemoteServer,
    id: ClientKeyId,
    keep_old: Duration,
) -> Result<NewSecret> {
    let path = [PATH, &id.0.to_string(), "rotate"];
    let body = json!({ "keep_old_seconds": keep_old.as_secs() });
    let answer: CreatedAnswer = server.send(Method::POST, &path, Some(&body)).await?;
    Ok(answer.into())
}

/// Changes the attributes of a key that differ: the server refuses some values that a key may have, as a past expiry.
pub async fn update(
    server: &RemoteServer,
    key: &ListedClientKey,
    terms: &ClientKeyTerms,
) -> Result<()> {
    let (before, after) = (body_of(&terms_of(key)), body_of(terms));
    if let Some((_, changed)) = audit::difference(before, after) {
        patch(server, key.id, &changed).await?;
    }
    Ok(())
}

pub async fn update_enabled(server: &RemoteServer, id: ClientKeyId, enabled: bool) -> Result<()> {
    patch(server, id, &json!({ "enabled": enabled })).await
}

async fn patch(server: &RemoteServer, id: ClientKeyId, body: &Value) -> Result<()> {
    let path = [PATH, &id.0.to_string()];
    let _: ListedClientKey = server.send(Method::PATCH, &path, Some(body)).await?;
    Ok(())
}

/// The attributes of a key that can be changed.
pub fn terms_of(key: &ListedClientKey) -> ClientKeyTerms {
    ClientKeyTerms {
        name: key.name.clone(),
        note: key.note.clone(),
        expires_at: key.expires_at,
        limits: key.limits,
        models: key.models.clone(),
        paths: key.paths.clone(),
        addresses: key.addresses.clone(),
        tags: key.tags.clone(),
        direct_access: key.direct_access,
    }
}

/// All attributes, with the names of the API.
fn body_of(terms: &ClientKeyTerms) -> Value {
    let ClientKeyTerms {
        name,
        note,
        expires_at,
        limits,
        models,
        paths,
        addresses,
        tags,
        direct_access,
    } = terms;
    json!({
        "name": name, "note": note, "expires_at": expires_at, "limits": limits, "models": models, "paths": paths,
        "addresses": addresses, "tags": tags, "direct_access": direct_access,
    })
}
