//! Limits how much evidence against keys the requests of one client contribute.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::cooldown::SOFT_FAULT_SPAN;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// How many keys the requests of one client may blame without contrast within [`BLAME_SPAN`].
const BLAMED_PER_CLIENT: usize = 4;
const BLAME_SPAN: Duration = Duration::from_mins(10);
/// A client whose requests fail on this many keys, and succeed on none, is at fault itself.
const FAULTY_KEYS_OF_CLIENT: usize = 3;

/// What the requests of each client contributed as evidence.
#[derive(Debug, Default)]
pub(in crate::pool) struct ClientEvidence {
    by_client: HashMap<ClientKeyId, OneClient>,
}

#[derive(Debug, Default)]
struct OneClient {
    /// When keys were blamed without contrast.
    blames: Vec<Timestamp>,
    /// The last fault on each key.
    soft_faults: HashMap<UpstreamKeyId, Timestamp>,
    succeeded_at: Option<Timestamp>,
}

impl ClientEvidence {
    /// Counts a blame without contrast, if the client may cause another one.
    pub fn may_blame(&mut self, client: Option<ClientKeyId>, now: Timestamp) -> bool {
        let Some(client) = client else { return true };
        let blames = &mut self.by_client.entry(client).or_default().blames;
        blames.retain(|at| now - *at < BLAME_SPAN);
        let has_room = blames.len() < BLAMED_PER_CLIENT;
        if has_room {
            blames.push(now);
        }
        has_room
    }

    pub fn record_success(&mut self, client: Option<ClientKeyId>, now: Timestamp) {
        if let Some(client) = client {
            self.by_client.entry(client).or_default().succeeded_at = Some(now);
        }
    }

    pub fn record_soft_fault(
        &mut self,
        client: Option<ClientKeyId>,
        key: UpstreamKeyId,
        now: Timestamp,
    ) {
        if let Some(client) = client {
            let faults = &mut self.by_client.entry(client).or_default().soft_faults;
            if faults.insert(key, now).is_none() {
                faults.retain(|_, at| now - *at <= SOFT_FAULT_SPAN);
            }
        }
    }

    /// Whether the client's own requests explain its faults: they fail on several keys, and none succeeds.
    pub fn is_at_fault(&self, client: Option<ClientKeyId>, now: Timestamp) -> bool {
        let Some(client) = client.and_then(|client| self.by_client.get(&client)) else {
            return false;
        };
        let recent = |at: Timestamp| now - at <= SOFT_FAULT_SPAN;
        let faults = client.soft_faults.values().filter(|at| recent(**at));
        faults.count() >= FAULTY_KEYS_OF_CLIENT && !client.succeeded_at.is_some_and(recent)
    }

    pub fn clear(&mut self) {
        self.by_client.clear();
    }
}
