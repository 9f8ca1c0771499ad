//! Lists and changes client keys on a remote server.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::remote::RemoteServer;
use crate::pool::clients::client_key::{ClientKeyId, ClientLimit, ClientLimits};
use crate::pool::secret::Secret;
use crate::storage::client_keys::change::{ClientKeyChange, TermChange};
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

/// Gives a key another name.
pub async fn rename(server: &RemoteServer, id: ClientKeyId, name: &str) -> Result<()> {
    let path = [PATH, &id.0.to_string()];
    let body = json!({ "name": name });
    let _: ListedClientKey = server.send(Method::PATCH, &path, Some(&body)).await?;
    Ok(())
}

/// Changes keys in one act.
pub async fn change(
    server: &RemoteServer,
    keys: &[ListedClientKey],
    change: &ClientKeyChange,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    let mut body = match change {
        ClientKeyChange::Enable => json!({ "action": "enable" }),
        ClientKeyChange::Disable => json!({ "action": "disable" }),
        ClientKeyChange::Delete => json!({ "action": "delete" }),
        ClientKeyChange::Update(changes) => {
            let mut body = json!({ "action": "update" });
            for change in changes {
                match change {
                    TermChange::Expiry(at) => body["expires_at"] = json!(at),
                    TermChange::Limit(ClientLimit::CostPerMonth, most) => {
                        let mut limits = ClientLimits::default();
                        limits.set(ClientLimit::CostPerMonth, *most);
                        body["limits"]["cost_per_month"] = json!(limits)["cost_per_month"].take();
                    }
                    TermChange::Limit(limit, most) => body["limits"][limit.name()] = json!(most),
                    TermChange::Note(note) => body["note"] = json!(note),
                    TermChange::Models(models) => body["models"] = json!(models),
                    TermChange::Paths(paths) => body["paths"] = json!(paths),
                    TermChange::Addresses(addresses) => body["addresses"] = json!(addresses),
                    TermChange::Tags(tags) => body["tags"] = json!(tags),
                    TermChange::DirectAccess(direct) => body["direct_access"] = json!(direct),
                    TermChange::Fallback(chains) => body["model_fallback"] = json!(chains),
                    TermChange::AddTags(tags) => body["add_tags"] = json!(tags),
                    TermChange::RemoveTags(tags) => body["remove_tags"] = json!(tags),
                }
            }
            body
        }
    };
    body["ids"] = json!(ids);
    let _: Value = server
        .send(Method::POST, &[PATH, "bulk"], Some(&body))
        .await?;
    Ok(())
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
        model_fallback,
    } = terms;
    json!({
        "name": name, "note": note, "expires_at": expires_at, "limits": limits, "models": models, "paths": paths,
        "addresses": addresses, "tags": tags, "direct_access": direct_access,
        "model_fallback": model_fallback,
    })
}
