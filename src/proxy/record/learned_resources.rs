//! Records the resources that an answer names.

use std::collections::HashSet;

use crate::clock;
use crate::gemini::resources::created::{ObservedResource, ObservedResources};
use crate::gemini::resources::name::ResourceName;
use crate::pool::resources::recent_resources::RecentResource;
use crate::proxy::record::Record;
use crate::storage::request_logs::CreatedResource;

/// Maximum number of resources of unknown owner that one request assigns to a project.
const ASSIGNED_LIMIT: usize = 1_000;

impl Record {
    /// Stores a session handle at once: clients resume with it after a broken connection.
    pub fn handle(&self, name: ResourceName) {
        let handle = ObservedResource {
            name,
            is_created: true,
            expires_at: None,
        };
        let observed = ObservedResources {
            resources: vec![handle],
            job: None,
        };
        self.learn(&observed, true);
        let mut row = self.row();
        // Under the lock: the final row is submitted after this one.
        self.app.recorder.record_running(Box::new(row.clone()));
        row.created_resources.clear();
    }

    /// Records the resources that an answer has named so far. Once it `succeeded`, the deleted resource is removed, and
    /// named resources of unknown owner belong to the project that answered.
    pub fn learn(&self, observed: &ObservedResources, succeeded: bool) {
        let Some(key) = &self.key else { return };
        let mut row = self.row();
        let gone = self.deletes.as_ref().filter(|_| succeeded);
        if let Some(name) = gone {
            self.app.recent_resources.lock().remove(name.as_str());
            row.deleted_resources = vec![name.to_string()];
            return;
        }
        let assigned = self.unknown.iter().filter(|_| succeeded);
        let assigned = assigned.take(ASSIGNED_LIMIT);
        let assigned = assigned.map(|name| (name, true, None));
        let named = observed.resources.iter();
        let named =
            named.map(|resource| (&resource.name, resource.is_created, resource.expires_at));
        let now = clock::now();
        let (mut created, mut seen) = (Vec::new(), HashSet::new());
        for (name, is_new, expires_at) in named.chain(assigned) {
            let kind = name.kind();
            // Reading one of Google's own agents makes it no client's resource.
            let may_be_googles = !is_new && !kind.always_has_owner();
            if may_be_googles || !seen.insert(name.as_str()) {
                continue;
            }
            created.push(CreatedResource {
                name: name.to_string(),
                kind: kind.collection().into(),
                expires_at: expires_at.or_else(|| kind.default_lifetime().map(|time| now + time)),
                is_counted: self.app.recent_resources.lock().is_counted(name.as_str()),
            });
            if !is_new {
                continue;
            }
            let resource = RecentResource {
                upstream_key_id: key.id,
                maker: row.client_key_id,
            };
            self.app
                .recent_resources
                .lock()
                .record_created(name.as_str(), resource);
            if let Some(client) = row.client_key_id
                && kind.is_combined()
            {
                self.app
                    .project_affinity
                    .lock()
                    .record_created(client, key.project_id);
            }
        }
        row.created_resources = created;
    }
}
