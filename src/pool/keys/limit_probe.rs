//! Probes an inherited limit: which key may be leased although our own count says that its quota is used up.

use crate::clock::Timestamp;
use crate::pool::keys::ready_index::ModelNumber;
use crate::pool::keys::registry::KeyRegistry;
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::{Billing, KeyState, UpstreamKeyId};
use crate::pool::quota::limits::{Measure, ObservedLimit};

impl KeyRegistry {
    /// A key that cools down by our estimate alone, to probe from time to time whether its project's limit is higher
    /// than the inherited one.
    pub(in crate::pool) fn key_for_limit_probe(
        &mut self,
        index: usize,
        lease_request: &LeaseRequest,
        obstacle: LeaseObstacle,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<UpstreamKeyId> {
        let LeaseObstacle::CoolingDown { .. } = obstacle else {
            return None;
        };
        let model = self.ready_indexes[index].model;
        let billings = [Billing::Free, Billing::Paid, Billing::Unknown];
        let may = billings.map(|billing| self.models[model].inherited.may_be_probed(billing, now));
        if !may.contains(&true) {
            return None;
        }
        let may_be_probed = |id: UpstreamKeyId| {
            let billing = self.billing_to_probe(id, model, tried, now)?;
            may[billing as usize].then_some(billing)
        };
        // Projects without an observed limit first, then the least recently leased.
        let selected = self.ready_indexes[index]
            .members()
            .filter_map(|id| {
                let billing = may_be_probed(id)?;
                let has_observed_limit = self.has_observed_limit(id, model);
                Some((has_observed_limit, self.by_id[&id].lease_order, id, billing))
            })
            .min_by_key(|(has_observed_limit, lease_order, id, _)| {
                (*has_observed_limit, *lease_order, *id)
            });
        // Without a key to probe a search of all keys is not repeated at once; that of one project is cheap.
        for billing in billings {
            let is_probed = match &selected {
                Some((.., of_selected)) => *of_selected == billing,
                None => lease_request.project.is_none(),
            };
            if may[billing as usize] && is_probed {
                self.models[model].inherited.probe_started(billing, now);
            }
        }
        selected.map(|(_, _, id, _)| id)
    }

    /// The billing whose inherited limit a key could probe, because it cools down by our estimate alone; `None`: none.
    fn billing_to_probe(
        &self,
        id: UpstreamKeyId,
        model: ModelNumber,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<Billing> {
        let key = self.by_id.get(&id)?;
        let project = self.projects.get(&key.row.project_id)?;
        let quota = project.quotas.get(&model)?;
        let is_ready =
            key.row.enabled && key.row.condition.state == KeyState::Ready && key.in_flight == 0;
        let cools_down_by_estimate = self
            .cooldown_end_of(key, model, now)
            .is_some_and(|cooldown_end| cooldown_end.is_estimate);
        let is_new = !tried.has_key(id) && !tried.has_project(key.row.project_id);
        let is_ready = is_ready && self.egress_block(key, now).is_none();
        (is_ready && cools_down_by_estimate && quota.in_flight == 0 && is_new)
            .then_some(project.billing)
    }

    fn has_observed_limit(&self, id: UpstreamKeyId, model: ModelNumber) -> bool {
        let project = self
            .by_id
            .get(&id)
            .and_then(|key| self.projects.get(&key.row.project_id));
        let quota = project.and_then(|project| project.quotas.get(&model));
        quota.is_some_and(|quota| {
            Measure::ALL
                .iter()
                .any(|measure| quota.observed(*measure) != ObservedLimit::Unknown)
        })
    }
}
