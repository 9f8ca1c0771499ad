//! With which key: candidates → `pool::keys::selection` → `Lease`, at once or after a wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::clock;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::keys::lease::Lease;
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::settings::Settings;
use crate::proxy::record::Record;

/// Leases a key of the project where the client's things are, if one is ready. If none is, that project is no longer
/// `home` to this request.
pub fn at_home(
    app: &App,
    client: &ClientKey,
    home: &mut Option<ProjectId>,
    lease_request: &LeaseRequest<'_>,
    tried: &TriedKeys,
) -> Option<Lease> {
    let project_id = (*home)?;
    let lease_request = LeaseRequest {
        project: Some(project_id),
        ..*lease_request
    };
    match app.keys.lease(&lease_request, tried, clock::now()) {
        Ok(lease) => Some(lease),
        Err(obstacle) => {
            app.project_affinity()
                .record_obstacle(client.id, project_id, obstacle);
            *home = None;
            None
        }
    }
}

/// Has the first of the things that a client will use together made where the leased key is, unless another request of the
/// same client was first: then where that went, which becomes `home` to this request, if a key is ready there.
pub fn settle_down(
    app: &App,
    client: &ClientKey,
    lease: Lease,
    home: &mut Option<ProjectId>,
    lease_request: &LeaseRequest<'_>,
    tried: &TriedKeys,
) -> Lease {
    let claimed = app
        .project_affinity()
        .claim(client.id, lease.key.project_id);
    if claimed == lease.key.project_id {
        return lease;
    }
    *home = Some(claimed);
    at_home(app, client, home, lease_request, tried).unwrap_or(lease)
}

/// Leases the best key for the request. Where none is ready but one will be before `patience` is used up, the request
/// waits its turn; what it waits is taken off.
pub async fn choose(
    app: &App,
    settings: &Settings,
    client: &Arc<ClientKey>,
    lease_request: &LeaseRequest<'_>,
    tried: &TriedKeys,
    patience: &mut Duration,
    record: &mut Record,
) -> Result<Lease, LeaseObstacle> {
    let now = clock::now();
    // Who cannot wait any more takes no turn from anybody: it goes now or never.
    let obstacle = if !patience.is_zero() && app.key_queue.is_queued_for(lease_request) {
        let mut keys = app.keys.lock();
        keys.obstacle(lease_request, now)
            .unwrap_or(LeaseObstacle::Busy)
    } else {
        match app.keys.lease(lease_request, tried, now) {
            Ok(lease) => return Ok(lease),
            Err(obstacle) => obstacle,
        }
    };
    let last_moment = now + *patience;
    if patience.is_zero() || obstacle.until(now).is_none_or(|until| until > last_moment) {
        return Err(obstacle);
    }
    let most = usize::try_from(settings.wait_queue_limit).unwrap_or(usize::MAX);
    let Some(mut queued_request) =
        app.key_queue
            .enqueue(client, lease_request, tried, last_moment, most)
    else {
        return Err(obstacle);
    };
    record.begin_wait();
    let answer = timeout(*patience, &mut queued_request.answer).await;
    *patience = patience.saturating_sub(record.end_wait());
    if let Ok(Ok(answer)) = answer {
        return answer;
    }
    // Its time is up. What became ready in this instant it may still have.
    drop(queued_request);
    app.keys.lease(lease_request, tried, clock::now())
}
