//! Lists, tests and changes egress proxies on a remote server.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use crate::cli::egress_proxies::selected;
use crate::cli::remote::RemoteServer;
use crate::egress_list::EgressTest;
use crate::pool::egress::proxy::{EgressProxyId, EgressScope};
use crate::pool::keys::project_number;
use crate::pool::keys::upstream_key::ProjectId;
use crate::storage::egress_proxies::EgressProxyTerms;
use crate::storage::egress_proxies::listed::ListedEgressProxy;
use crate::storage::projects::ListedProject;

const PATH: &str = "egress-proxies";

pub async fn list(server: &RemoteServer) -> Result<Vec<ListedEgressProxy>> {
    server.list(&[PATH], &[]).await
}

pub async fn projects(server: &RemoteServer) -> Result<Vec<ListedProject>> {
    server.list(&["projects"], &[]).await
}

/// The project with this name of an admin's or number of Google's.
pub fn find_project(projects: &[ListedProject], name: &str) -> Option<ProjectId> {
    let number = project_number::parse(name);
    let is_it = |project: &&ListedProject| {
        project.name.as_deref() == Some(name)
            || number.is_some() && project.number.as_deref() == number.as_deref()
    };
    projects.iter().find(is_it).map(|project| project.id)
}

pub async fn create(server: &RemoteServer, terms: &EgressProxyTerms) -> Result<ListedEgressProxy> {
    let mut body = json!({ "label": terms.label, "url": terms.address.with_credential().expose() });
    match &terms.scope {
        EgressScope::All => {}
        EgressScope::Tags(tags) => body["tags"] = json!(tags),
        EgressScope::Projects(ids) => body["project_ids"] = json!(ids),
    }
    server.send(Method::POST, &[PATH], Some(&body)).await
}

/// Tests the proxies with these ids, or all.
pub async fn test(
    server: &RemoteServer,
    ids: &[i64],
) -> Result<Vec<(ListedEgressProxy, EgressTest)>> {
    let mut tested = Vec::new();
    for proxy in selected(list(server).await?, ids)? {
        let path = [PATH, &proxy.id.to_string(), "test"];
        let test = server.send(Method::POST, &path, None::<&Value>).await?;
        tested.push((proxy, test));
    }
    Ok(tested)
}

pub async fn update_enabled(server: &RemoteServer, id: EgressProxyId, enabled: bool) -> Result<()> {
    let body = json!({ "enabled": enabled });
    let path = [PATH, &id.to_string()];
    let _: ListedEgressProxy = server.send(Method::PATCH, &path, Some(&body)).await?;
    Ok(())
}

pub async fn delete(server: &RemoteServer, id: EgressProxyId) -> Result<()> {
    server.delete(&[PATH, &id.to_string()]).await
}
