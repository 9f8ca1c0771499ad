//! With which key: candidates → `pool::selection` → `Lease`.

use crate::app::App;
use crate::clock;
use crate::pool::lease::Lease;
use crate::pool::selection::Tried;
use crate::proxy::incoming::Incoming;
use crate::proxy::refuse::Refusal;

/// Leases the best key for the request; waiting for one that is soon ready will have its place here.
pub fn choose(app: &App, incoming: &Incoming, tried: &Tried) -> Result<Lease, Refusal> {
    let lease = app.keys.lease(incoming.model(), tried, clock::now());
    lease.ok_or_else(|| Refusal::no_key(app, incoming))
}
