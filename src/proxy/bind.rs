//! Which project may serve a request, because of what it names or makes: names → what is known of them → `Bound`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::app::App;
use crate::clock;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::resources::affinity::ClientAffinity;
use crate::pool::resources::route_constraint::{KnownResource, Placement, RequestingClient, place};
use crate::proxy::incoming::Incoming;
use crate::proxy::refuse::Refusal;
use crate::storage::error::Error;
use crate::storage::resources;

/// Where a request may go.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// The one project that may serve it.
    pub only: Option<ProjectId>,
    /// The project that shall serve it if it can.
    pub home: Option<ProjectId>,
    /// Whether it makes the first of the things that its client will use together.
    pub settles: bool,
    /// Because of what it is bound.
    pub name: Option<String>,
    /// What it names that nobody is known to have made; where an answer succeeds, it is.
    pub unknown: Vec<ResourceName>,
    /// What it names whose use is in a row already.
    pub counted: Vec<String>,
}

impl Bound {
    /// The name because of which it is bound; empty: it is not.
    pub fn because(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Whether what it names may turn out to be in any project.
    pub fn is_guess(&self) -> bool {
        self.only.is_none() && !self.unknown.is_empty()
    }
}

/// Looks up where a request may go because of all that it names or makes.
pub async fn bind_incoming(
    app: &App,
    client: ClientKeyId,
    incoming: &Incoming,
) -> Result<Bound, Refusal> {
    if !incoming.is_read && app.settings().client_isolation {
        return Err(Refusal::NamesUnread);
    }
    bind(app, client, &incoming.names, incoming.makes()).await
}

/// Looks up where a request may go that names these things, and makes something of a kind or nothing.
pub async fn bind(
    app: &App,
    client: ClientKeyId,
    names: &BTreeSet<ResourceName>,
    makes: Option<ResourceKind>,
) -> Result<Bound, Refusal> {
    if names.is_empty() && makes.is_none() {
        return Ok(Bound::default());
    }
    let lineages: Vec<Vec<ResourceName>> =
        names.iter().map(|name| name.lineage().collect()).collect();
    let all: BTreeSet<&str> = lineages
        .iter()
        .flatten()
        .map(ResourceName::as_str)
        .collect();
    let known = look_up(app, &all).await.map_err(not_looked_up)?;
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
    let home = if unknown.is_empty() && (makes.is_none() || !names.is_empty()) {
        None
    } else {
        home_of(app, client).await.map_err(not_looked_up)?
    };
    let requesting_client = RequestingClient {
        client,
        preferred_project: home,
        is_isolated: app.settings().client_isolation,
    };
    let counted = known.iter().filter(|known| known.is_counted);
    let bound = Bound {
        unknown,
        counted: counted.map(|known| known.name.clone()).collect(),
        ..Bound::default()
    };
    match place(&names, &known, requesting_client, makes.is_some()) {
        Placement::Anywhere => Ok(Bound {
            settles: makes.is_some_and(ResourceKind::is_combined),
            ..bound
        }),
        Placement::Preferred(home) => Ok(Bound {
            home: Some(home),
            ..bound
        }),
        Placement::Required { project_id, name } => Ok(Bound {
            only: Some(project_id),
            name: Some(ResourceName::without_secret(name).into_owned()),
            ..bound
        }),
        Placement::DifferentProjects(groups) => Err(Refusal::Apart(
            groups
                .into_iter()
                .map(|group| {
                    let shown = group.into_iter().map(ResourceName::without_secret);
                    shown.map(Cow::into_owned).collect()
                })
                .collect(),
        )),
        Placement::NotFound(name) => Err(Refusal::NotFound(
            ResourceName::without_secret(name).into_owned(),
        )),
    }
}

/// What is known of these names: what was made lately without asking the database.
pub async fn look_up(app: &App, names: &BTreeSet<&str>) -> Result<Vec<KnownResource>, Error> {
    let (mut known, mut others) = (Vec::new(), Vec::new());
    {
        let (recent_resources, keys) = (app.recent_resources(), app.keys.lock());
        for name in names {
            let resource = recent_resources.get(name);
            let row = resource.and_then(|resource| keys.get(resource.upstream_key_id));
            match resource.zip(row) {
                Some((resource, row)) => known.push(KnownResource {
                    name: (*name).to_owned(),
                    project_id: row.project_id,
                    maker: resource.maker,
                    is_counted: recent_resources.is_counted(name),
                }),
                None => others.push(*name),
            }
        }
    }
    if !others.is_empty() {
        known.extend(resources::list_named(&app.db.readers, &others).await?);
    }
    Ok(known)
}

/// Where a client's things are made.
async fn home_of(app: &App, client: ClientKeyId) -> Result<Option<ProjectId>, Error> {
    let home = app.project_affinity().of(client);
    if home == ClientAffinity::Unknown {
        let kinds = ResourceKind::combined_collections();
        let newest =
            resources::find_newest_project(&app.db.readers, client, &kinds, clock::now()).await?;
        app.project_affinity().set_from_newest(client, newest);
    }
    Ok(app.project_affinity().of(client).project())
}

pub fn not_looked_up(error: Error) -> Refusal {
    tracing::error!("what a request names could not be looked up: {error}");
    Refusal::NotLookedUp
}
