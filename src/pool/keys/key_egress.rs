//! The egress proxies of keys in the registry: the one of the next attempt, and what attempts and probes show of each.

use crate::clock::Timestamp;
use crate::pool::egress::proxies::{EgressBlock, EgressProxies};
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::Verdict;
use crate::pool::keys::registry::{KeyEntry, KeyRegistry};
use crate::pool::keys::selection::TriedKeys;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// The key is no longer in the registry: which proxies apply to it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRemoved;

impl KeyRegistry {
    /// Takes over the egress proxies of an admin.
    pub fn set_egress(&mut self, rows: Vec<EgressProxy>, now: Timestamp) {
        let is_changed = self.egress.rows() != rows;
        self.egress.set(rows, now);
        if is_changed {
            self.ready_indexes.clear();
        }
    }

    pub fn egress(&self) -> &EgressProxies {
        &self.egress
    }

    /// The proxies whose probe is due; each probe begins now.
    pub fn begin_egress_probes(&mut self, now: Timestamp) -> Vec<EgressProxyId> {
        self.egress.begin_due_probes(now)
    }

    /// Applies the result of a probe.
    pub fn end_egress_probe(
        &mut self,
        id: EgressProxyId,
        succeeded: bool,
        now: Timestamp,
    ) -> Option<StateChange> {
        let change = self.egress.end_probe(id, succeeded, now);
        if change.is_some() {
            self.egress_changed();
        }
        change
    }

    /// The proxy for a check of a key, which goes the way of its project's requests even while that is blocked.
    pub fn egress_of(&self, id: UpstreamKeyId) -> Result<Option<EgressProxyId>, KeyRemoved> {
        let row = &self.by_id.get(&id).ok_or(KeyRemoved)?.row;
        let route = self
            .egress
            .route(row.project_id, &row.tags, &[], self.latest_time);
        Ok(route.unwrap_or_else(|_| {
            self.egress
                .route_regardless_of_health(row.project_id, &row.tags)
        }))
    }

    /// The proxy for an attempt with a key, preferably one that has not failed in this request.
    pub(in crate::pool) fn egress_for(
        &self,
        id: UpstreamKeyId,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<EgressProxyId> {
        if self.egress.is_empty() {
            return None;
        }
        let row = &self.by_id.get(&id)?.row;
        let route = self
            .egress
            .route(row.project_id, &row.tags, &tried.egresses, now);
        // Of a ready key none is blocked. If one were, the connection still would not be direct.
        route.unwrap_or_else(|_| {
            self.egress
                .route_regardless_of_health(row.project_id, &row.tags)
        })
    }

    /// Whether an attempt with a key could only go through proxies that have failed in this request.
    pub(in crate::pool) fn has_only_failed_egress(
        &self,
        id: UpstreamKeyId,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> bool {
        let is_failed = |egress| tried.egresses.contains(&egress);
        !tried.egresses.is_empty() && self.egress_for(id, tried, now).is_some_and(is_failed)
    }

    /// Why no connection may be opened for a key now; `None`: one may. Without proxies the throttle of our address is
    /// checked before a key is selected.
    pub(in crate::pool) fn egress_block(
        &self,
        key: &KeyEntry,
        now: Timestamp,
    ) -> Option<EgressBlock> {
        if self.egress.is_empty() {
            return None;
        }
        let row = &key.row;
        self.egress.route(row.project_id, &row.tags, &[], now).err()
    }

    /// Records what an attempt shows of its egress proxy.
    pub(in crate::pool) fn record_egress(
        &mut self,
        egress: Option<EgressProxyId>,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<StateChange> {
        let change = self.egress.record(egress?, verdict, began, now);
        if change.is_some() {
            self.egress_changed();
        }
        change
    }

    /// Has keys found ready again whose egress was blocked. Those whose egress is blocked now are found by themselves.
    pub(in crate::pool) fn egress_changed(&mut self) {
        if !self.egress.is_empty() {
            self.ready_indexes.clear();
        }
    }
}
