//! Looks up the projects that own named resources, recent ones in memory and all others in the database, and the
//! project that a client prefers.

use std::collections::BTreeSet;

use crate::app::App;
use crate::clock;
use crate::gemini::resources::name::ResourceKind;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::resources::affinity::ClientAffinity;
use crate::pool::resources::route_constraint::KnownResource;
use crate::proxy::refusal::Refusal;
use crate::storage::error::Error;
use crate::storage::resources;

/// What is known of these resources; the database is asked only for those that were not created a moment ago.
pub async fn look_up(app: &App, names: &BTreeSet<&str>) -> Result<Vec<KnownResource>, Error> {
    let (mut known, mut others) = (Vec::new(), Vec::new());
    {
        let (recent, keys) = (app.recent_resources.lock(), app.keys.lock());
        for name in names {
            let created = recent.get(name);
            let row = created.and_then(|created| keys.get(created.upstream_key_id));
            match created.zip(row) {
                Some((created, row)) => known.push(KnownResource {
                    name: (*name).to_owned(),
                    project_id: row.project_id,
                    maker: created.maker,
                    is_counted: recent.is_counted(name),
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

/// The project in which a client's resources are created.
pub async fn affinity_of(app: &App, client: ClientKeyId) -> Result<Option<ProjectId>, Error> {
    let affinity = app.project_affinity.lock().of(client);
    if affinity == ClientAffinity::Unknown {
        let kinds = ResourceKind::combined_collections();
        let newest =
            resources::find_newest_project(&app.db.readers, client, &kinds, clock::now()).await?;
        app.project_affinity.lock().set_from_newest(client, newest);
    }
    Ok(app.project_affinity.lock().of(client).project())
}

/// Logs a failed look-up, and refuses the request.
pub fn lookup_failed(error: Error) -> Refusal {
    tracing::error!("the resources that a request names could not be looked up: {error}");
    Refusal::LookupFailed
}
