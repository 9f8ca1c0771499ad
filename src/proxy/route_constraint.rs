//! `RouteConstraint`: the project or key that must or should serve a request, as `route.rs` found it by the rule of
//! [`route_constraint`](crate::pool::resources::route_constraint).

use crate::gemini::resources::name::ResourceName;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};

/// In which project a request must or should be served, because of the resources that it names or creates.
#[derive(Debug, Clone, Default)]
pub struct RouteConstraint {
    /// The only project that may serve it.
    pub required: Option<ProjectId>,
    /// The project that serves it if one of its keys is ready.
    pub preferred: Option<ProjectId>,
    /// The key that serves it if it is ready: the one that opened the upload session.
    pub key: Option<UpstreamKeyId>,
    /// The only key that may serve it: the admin who sends it chose it.
    pub only: Option<UpstreamKeyId>,
    /// Whether the project that serves it becomes the one for all resources of its client.
    pub claims_affinity: bool,
    /// The resource that the constraint comes from.
    pub name: Option<String>,
    /// Named resources of unknown owner; after a success the project that answered owns them.
    pub unknown: Vec<ResourceName>,
    /// Named jobs whose usage is in a row already.
    pub counted: Vec<String>,
}

impl RouteConstraint {
    /// Requires a project, for a reason that needs no name.
    pub fn requiring(project: Option<ProjectId>) -> Self {
        Self {
            required: project,
            ..Self::default()
        }
    }

    /// What messages name as the reason; empty: there is no constraint.
    pub fn reason(&self) -> &str {
        match self.key {
            Some(_) => "this upload",
            None => self.name.as_deref().unwrap_or_default(),
        }
    }

    /// Whether one project or key must or should serve the request.
    pub fn is_bound(&self) -> bool {
        let is_bound_to_project = self.required.or(self.preferred).is_some();
        is_bound_to_project || self.key.or(self.only).is_some()
    }

    /// Whether projects are probed one after another for a resource of unknown owner.
    pub fn is_probe(&self) -> bool {
        self.required.is_none() && !self.unknown.is_empty()
    }
}
