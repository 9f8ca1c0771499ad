//! Leases an upstream key for each attempt of a request: from the preferred project, by selection, or after a wait in
//! the queue → `Lease`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::app::App;
use crate::clock;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::lease::Lease;
use crate::pool::keys::selection::{KeyReuse, LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::settings::Settings;
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::route_constraint::RouteConstraint;

/// Leases the keys of one request, one after another.
pub struct KeySelector<'a> {
    app: &'a App,
    settings: &'a Settings,
    client: &'a Arc<ClientKey>,
    required: Option<ProjectId>,
    /// Cleared once no key of that project was ready.
    preferred: Option<ProjectId>,
    /// Cleared once the first attempt has begun.
    key: Option<UpstreamKeyId>,
    claims_affinity: bool,
    /// The only key that may serve the request, in one attempt.
    only: Option<UpstreamKeyId>,
    tried: TriedKeys,
    began: Instant,
    /// How long its answer may take to begin, over all attempts and models.
    first_byte_timeout: Duration,
    /// How long the request may still wait in the queue.
    wait_left: Duration,
}

impl<'a> KeySelector<'a> {
    pub fn new(
        app: &'a App,
        settings: &'a Settings,
        client: &'a Arc<ClientKey>,
        route: &RouteConstraint,
        model: Option<&str>,
    ) -> Self {
        Self {
            app,
            settings,
            client,
            required: route.required,
            preferred: route.preferred,
            key: route.key,
            claims_affinity: route.claims_affinity,
            only: route.only,
            tried: TriedKeys::default(),
            began: clock::instant(),
            first_byte_timeout: settings.first_byte_timeout(model),
            wait_left: settings.wait_for_key(),
        }
    }

    /// The same request goes on in another project, or with another model: what is left of its time and of its wait stays.
    pub fn go_on_in(&mut self, project: Option<ProjectId>) {
        self.required = project;
        self.preferred = None;
        self.key = None;
        self.claims_affinity = false;
        self.tried = TriedKeys::default();
    }

    /// How long the answer may still take to begin.
    pub fn time_left(&self) -> Duration {
        self.first_byte_timeout.saturating_sub(self.began.elapsed())
    }

    /// Excludes a key that was tried, or lets it be tried again as `reuse` says.
    pub fn exclude(&mut self, key: UpstreamKeyId, project: ProjectId, reuse: KeyReuse) {
        self.tried.add(key, project, reuse);
    }

    /// Prefers another proxy than this one, which failed.
    pub fn avoid_egress(&mut self, egress: EgressProxyId) {
        self.tried.add_egress(egress);
    }

    /// Leaves the choice of the next project to selection.
    pub fn forget_preference(&mut self) {
        self.preferred = None;
    }

    pub fn has_tried_project(&self, project: ProjectId) -> bool {
        self.tried.has_project(project)
    }

    /// Why no key can be leased now; `None`: one can.
    pub fn obstacle(&self, incoming: &Incoming) -> Option<LeaseObstacle> {
        let request = incoming.lease_request(&self.client.tags, self.required);
        self.app.keys.lock().obstacle(&request, clock::now())
    }

    /// Leases the best key, after a wait in the queue where none is ready but one soon will be.
    pub async fn lease(
        &mut self,
        incoming: &Incoming,
        record: &mut Record,
    ) -> Result<Lease, LeaseObstacle> {
        let request = incoming.lease_request(&self.client.tags, self.required);
        if let Some(id) = self.only {
            return self.lease_only(id, &request);
        }
        self.wait_left = self.wait_left.min(self.time_left());
        let own = self.key.take();
        let own = own.and_then(|id| self.app.keys.lease_key(id, &request, clock::now()));
        let lease = match own.or_else(|| self.lease_preferred(&request)) {
            Some(lease) => lease,
            None => self.lease_any(&request, record).await?,
        };
        if std::mem::take(&mut self.claims_affinity) {
            return Ok(self.claim_affinity(lease, &request));
        }
        Ok(lease)
    }

    /// The one key that may serve the request, once and without a wait.
    fn lease_only(
        &self,
        id: UpstreamKeyId,
        request: &LeaseRequest<'_>,
    ) -> Result<Lease, LeaseObstacle> {
        let now = clock::now();
        let project = self.app.keys.lock().get(id).map(|key| key.project_id);
        let is_possible = request.project.is_none_or(|of| project == Some(of));
        let Some(project) = project.filter(|_| is_possible) else {
            return Err(LeaseObstacle::NoUsableKey);
        };
        let request = LeaseRequest {
            project: Some(project),
            ..*request
        };
        let lease = Some(id).filter(|_| self.tried.is_empty());
        let lease = lease.and_then(|id| self.app.keys.lease_key(id, &request, now));
        lease.ok_or_else(|| match self.app.keys.lock().obstacle(&request, now) {
            // Another key of the project is ready, or none of it is usable.
            None | Some(LeaseObstacle::ProjectWithoutKeys) => LeaseObstacle::NoUsableKey,
            Some(obstacle) => obstacle,
        })
    }

    /// A ready key of another project, for a second attempt beside that with `key`; `None`: there is none, or requests
    /// queue for it.
    pub fn lease_twin(
        &self,
        key: UpstreamKeyId,
        project: ProjectId,
        incoming: &Incoming,
    ) -> Option<Lease> {
        let request = incoming.lease_request(&self.client.tags, self.required);
        if self.app.key_queue.is_queued_for(&request) {
            return None;
        }
        let mut tried = self.tried.clone();
        tried.add(key, project, KeyReuse::Never);
        let keys = &self.app.keys;
        keys.lease_untried_project(&request, &tried, clock::now())
    }

    /// A key of the preferred project, if one is ready. If none is, the project is no longer preferred.
    fn lease_preferred(&mut self, request: &LeaseRequest<'_>) -> Option<Lease> {
        let project_id = self.preferred?;
        let request = LeaseRequest {
            project: Some(project_id),
            ..*request
        };
        match self.app.keys.lease(&request, &self.tried, clock::now()) {
            Ok(lease) => Some(lease),
            Err(obstacle) => {
                let mut affinity = self.app.project_affinity.lock();
                affinity.record_obstacle(self.client.id, project_id, obstacle);
                self.preferred = None;
                None
            }
        }
    }

    /// Makes the leased key's project the one for the client's resources. Where another request of the client was first,
    /// its project becomes preferred, and serves this request if one of its keys is ready.
    fn claim_affinity(&mut self, lease: Lease, request: &LeaseRequest<'_>) -> Lease {
        let claimed = self
            .app
            .project_affinity
            .lock()
            .claim(self.client.id, lease.key.project_id);
        if claimed == lease.key.project_id {
            return lease;
        }
        self.preferred = Some(claimed);
        self.lease_preferred(request).unwrap_or(lease)
    }

    async fn lease_any(
        &mut self,
        request: &LeaseRequest<'_>,
        record: &mut Record,
    ) -> Result<Lease, LeaseObstacle> {
        let (app, now) = (self.app, clock::now());
        // A request with no wait budget left skips the queue: it takes a ready key now or fails.
        let obstacle = if !self.wait_left.is_zero() && app.key_queue.is_queued_for(request) {
            let mut keys = app.keys.lock();
            keys.obstacle(request, now).unwrap_or(LeaseObstacle::Busy)
        } else {
            match app.keys.lease(request, &self.tried, now) {
                Ok(lease) => return Ok(lease),
                Err(obstacle) => obstacle,
            }
        };
        let last_moment = now + self.wait_left;
        let ends_too_late = obstacle.until(now).is_none_or(|until| until > last_moment);
        if self.wait_left.is_zero() || ends_too_late {
            return Err(obstacle);
        }
        let limit = usize::try_from(self.settings.wait_queue_limit).unwrap_or(usize::MAX);
        let (client, tried) = (self.client, &self.tried);
        let queued = app
            .key_queue
            .enqueue(client, request, tried, last_moment, limit);
        let Some(mut queued) = queued else {
            return Err(obstacle);
        };
        record.begin_wait();
        let answer = timeout(self.wait_left, &mut queued.answer).await;
        self.wait_left = self.wait_left.saturating_sub(record.end_wait());
        if let Ok(Ok(answer)) = answer {
            return answer;
        }
        // The wait is over. A key that became ready in this instant may still be leased.
        drop(queued);
        app.keys.lease(request, &self.tried, clock::now())
    }
}
