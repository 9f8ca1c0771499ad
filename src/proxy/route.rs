//! Routing: finds the project that must or should serve a request, because of the resources it names or creates →
//! `RouteConstraint`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::app::App;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::resources::route_constraint::{Placement, RequestingClient, place};
use crate::proxy::caller::Caller;
use crate::proxy::incoming::Incoming;
use crate::proxy::refusal::Refusal;
use crate::proxy::resource_lookup::{affinity_of, look_up, lookup_failed};
use crate::proxy::route_constraint::RouteConstraint;

/// The constraint of a request whose body has been read.
pub async fn resolve_resources(
    app: &App,
    caller: &Caller,
    incoming: &Incoming,
) -> Result<RouteConstraint, Refusal> {
    if let Some(session) = &caller.session {
        let name = ResourceName::of_path(&incoming.target.path_and_query);
        return Ok(RouteConstraint {
            key: Some(session.upstream_key_id),
            name: name.map(|name| name.to_string()),
            ..RouteConstraint::requiring(Some(session.project_id))
        });
    }
    resolve(
        app,
        caller.client.id,
        &incoming.content.names,
        incoming.creates(),
    )
    .await
}

/// The constraint of whatever names these resources and creates one of a kind, or none.
pub async fn resolve(
    app: &App,
    client: ClientKeyId,
    names: &BTreeSet<ResourceName>,
    creates: Option<ResourceKind>,
) -> Result<RouteConstraint, Refusal> {
    if names.is_empty() && creates.is_none() {
        return Ok(RouteConstraint::default());
    }
    let lineages: Vec<Vec<ResourceName>> =
        names.iter().map(|name| name.lineage().collect()).collect();
    let all: BTreeSet<&str> = lineages
        .iter()
        .flatten()
        .map(ResourceName::as_str)
        .collect();
    let known = look_up(app, &all).await;
    let known = known.map_err(lookup_failed)?;
    let known_names: HashSet<&str> = known.iter().map(|known| known.name.as_str()).collect();
    let (mut names, mut unknown) = (Vec::new(), Vec::new());
    for lineage in &lineages {
        let is_known = |name: &&ResourceName| known_names.contains(name.as_str());
        match (lineage.iter().find(is_known), lineage.first()) {
            (Some(name), _) => names.push(name.as_str()),
            (None, Some(name)) if name.kind().always_has_owner() => {
                names.push(name.as_str());
                unknown.push(name.clone());
            }
            (None, _) => {}
        }
    }
    let affinity = if unknown.is_empty() && (creates.is_none() || !names.is_empty()) {
        None
    } else {
        let affinity = affinity_of(app, client).await;
        affinity.map_err(lookup_failed)?
    };
    let requester = RequestingClient {
        client,
        preferred_project: affinity,
        is_isolated: app.settings().client_isolation,
    };
    let counted = known.iter().filter(|known| known.is_counted);
    let constraint = RouteConstraint {
        unknown,
        counted: counted.map(|known| known.name.clone()).collect(),
        ..RouteConstraint::default()
    };
    let shown = |name| ResourceName::without_secret(name).into_owned();
    match place(&names, &known, requester, creates.is_some()) {
        Placement::Anywhere => Ok(RouteConstraint {
            claims_affinity: creates.is_some_and(ResourceKind::is_combined),
            ..constraint
        }),
        Placement::Preferred(preferred) => Ok(RouteConstraint {
            preferred: Some(preferred),
            ..constraint
        }),
        Placement::Required { project_id, name } => Ok(RouteConstraint {
            required: Some(project_id),
            name: Some(shown(name)),
            ..constraint
        }),
        Placement::DifferentProjects(groups) => {
            let group_shown = |group: Vec<&str>| {
                let shown = group.into_iter().map(ResourceName::without_secret);
                shown.map(Cow::into_owned).collect()
            };
            let groups = groups.into_iter().map(group_shown).collect();
            Err(Refusal::ResourcesInDifferentProjects(groups))
        }
        Placement::NotFound(name) => Err(Refusal::NotFound(shown(name))),
    }
}
