//! Lists, adds, tests and changes upstream keys on a remote server.

use std::collections::HashSet;

use anyhow::Result;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::import_report::ImportReport;
use crate::cli::remote::RemoteServer;
use crate::cli::remote::jobs::{self, RemoteJob};
use crate::jobs::{MAX_RESULTS, TestedKey};
use crate::pool::keys::imported_keys::ImportedKey;
use crate::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId};
use crate::storage::upstream_keys::listed::ListedUpstreamKey;

const PATH: &str = "upstream-keys";
/// Keys in one request, which has room for many more.
const KEYS_PER_REQUEST: usize = 20_000;

/// The answer of an import.
#[derive(Debug, Deserialize)]
struct ImportAnswer {
    job: Option<RemoteJob>,
    new: usize,
    known: usize,
    restored: usize,
    differing: usize,
}

/// The keys that match, in the order of their ids.
pub async fn list(
    server: &RemoteServer,
    filter: &[(&str, String)],
) -> Result<Vec<ListedUpstreamKey>> {
    server.list(&[PATH], filter).await
}

/// Adds keys, and counts them in the report.
pub async fn add(
    server: &RemoteServer,
    keys: &[ImportedKey],
    update: bool,
    report: &mut ImportReport,
) -> Result<()> {
    for keys in keys.chunks(KEYS_PER_REQUEST) {
        let body = json!({ "text": text_of(keys), "update": update, "compare": true });
        let answer: ImportAnswer = server.send(Method::POST, &[PATH], Some(&body)).await?;
        let Some(job) = answer.job else { continue };
        let job = jobs::ended(server, job).await?;
        report.new += job.new;
        report.restored += job.restored;
        report.known += job.known;
        report.updated += job.changed;
        report.differing += job.differing;
    }
    Ok(())
}

/// Counts in the report what adding the keys would do.
pub async fn count(
    server: &RemoteServer,
    keys: &[ImportedKey],
    update: bool,
    report: &mut ImportReport,
) -> Result<()> {
    for keys in keys.chunks(KEYS_PER_REQUEST) {
        let body = json!({ "text": text_of(keys), "dry_run": true, "compare": true });
        let answer: ImportAnswer = server.send(Method::POST, &[PATH], Some(&body)).await?;
        report.new += answer.new;
        report.restored += answer.restored;
        report.known += answer.known;
        if update {
            report.updated += answer.differing;
        } else {
            report.differing += answer.differing;
        }
    }
    Ok(())
}

/// The keys as a text that the server reads: what else stood beside them stays here.
fn text_of(keys: &[ImportedKey]) -> String {
    let key = |key: &ImportedKey| {
        let mut members = json!({ "key": key.secret.expose(), "enabled": !key.is_disabled });
        if let (Value::Object(members), Value::Object(attributes)) =
            (&mut members, attributes_of(&key.attributes))
        {
            members.extend(attributes);
        }
        members
    };
    Value::Array(keys.iter().map(key).collect()).to_string()
}

/// The attributes that are set, with the names of the API.
fn attributes_of(attributes: &KeyAttributes) -> Value {
    let KeyAttributes {
        label,
        project,
        billing,
        priority,
        weight,
        tags,
    } = attributes;
    let mut members = json!({
        "label": label, "project": project, "billing": billing, "priority": priority, "weight": weight, "tags": tags,
    });
    if let Value::Object(members) = &mut members {
        members.retain(|_, value| !value.is_null());
    }
    members
}

/// Does the same to many keys, `enable`, `disable`, `clear` or `delete`.
pub async fn bulk(server: &RemoteServer, action: &str, ids: &[UpstreamKeyId]) -> Result<RemoteJob> {
    run_bulk(server, &json!({ "action": action, "ids": ids })).await
}

/// Changes attributes of many keys. Returns how many changed.
pub async fn update(
    server: &RemoteServer,
    ids: &[UpstreamKeyId],
    attributes: &KeyAttributes,
) -> Result<usize> {
    let attributes = attributes_of(attributes);
    let body = json!({ "action": "update", "ids": ids, "attributes": attributes });
    Ok(run_bulk(server, &body).await?.changed)
}

async fn run_bulk(server: &RemoteServer, body: &Value) -> Result<RemoteJob> {
    let job: RemoteJob = server
        .send(Method::POST, &[PATH, "bulk"], Some(body))
        .await?;
    jobs::ended(server, job).await
}

/// How many other keys share a project with one of these.
pub async fn count_keys_sharing_projects(
    server: &RemoteServer,
    ids: &[UpstreamKeyId],
) -> Result<usize> {
    let (these, others): (Vec<_>, Vec<_>) = list(server, &[])
        .await?
        .into_iter()
        .partition(|key| ids.contains(&key.id));
    // A key without a named project has one of its own.
    let projects: HashSet<_> = these
        .iter()
        .filter_map(|key| key.project.as_ref())
        .collect();
    let sharing = others.iter().filter_map(|key| key.project.as_ref());
    Ok(sharing.filter(|name| projects.contains(name)).count())
}

/// These ids, which must exist, or those of all keys, in order.
pub async fn selected(
    server: &RemoteServer,
    ids: Option<Vec<i64>>,
) -> Result<Vec<ListedUpstreamKey>> {
    let Some(ids) = ids else {
        return list(server, &[]).await;
    };
    let mut keys = Vec::new();
    for id in ids {
        keys.push(server.get(&[PATH, &id.to_string()], &[]).await?);
    }
    Ok(keys)
}

/// Tests keys, as many at a time as a job keeps results of.
pub async fn test(server: &RemoteServer, ids: &[UpstreamKeyId]) -> Result<Vec<TestedKey>> {
    let mut results = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_RESULTS) {
        let body = json!({ "ids": ids });
        let job: RemoteJob = server
            .send(Method::POST, &[PATH, "test"], Some(&body))
            .await?;
        results.extend(jobs::ended(server, job).await?.results);
    }
    Ok(results)
}
