//! Records what the answers of a request used and cost: those that the client got, and those that were discarded.

use crate::clock;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::admission::ClientCharge;
use crate::pool::keys::registry::LeasedKey;
use crate::pool::outcome::Outcome;
use crate::proxy::charge::Charge;
use crate::proxy::record::{Record, cut_name};

impl Record {
    /// Adds the usage of an answer that the client does not get, from this key: to the row and the quota, not to the client.
    pub fn discard(&mut self, key: &LeasedKey, outcome: Outcome, answered: &ResponseSummary) {
        let (charge, cost) = self.charge(key, outcome, answered);
        self.count_tokens(key, charge.usage.prompt);
        self.discarded.usage += charge.usage;
        self.discarded.cost_nano_usd += cost.unwrap_or(0);
        self.discarded.is_estimate |= charge.is_estimate;
    }

    /// What an answer from this key costs.
    fn charge(
        &self,
        key: &LeasedKey,
        outcome: Outcome,
        answered: &ResponseSummary,
    ) -> (Charge, Option<i64>) {
        let count_first = |name: &str| self.app.recent_resources.lock().mark_counted(name);
        let mut charge = Charge::of(outcome, answered, &self.counted, count_first);
        charge.estimate(outcome, self.estimated_tokens, answered);
        let settings = self.app.settings();
        let (prices, row) = (&settings.model_prices, self.row());
        let cost = charge.cost_nano_usd(row.asked_model(), key.is_free, prices, row.started_at);
        (charge, cost)
    }

    /// Ends the row with what its answer reports and costs.
    pub(super) fn end(&mut self, outcome: Outcome, answered: &ResponseSummary, bytes: u64) {
        let charged = self.key.as_ref().map(|key| {
            let (charge, cost) = self.charge(key, outcome, answered);
            self.count_tokens(key, charge.usage.prompt);
            (charge, cost)
        });
        self.learn(&answered.observed, outcome == Outcome::Success);
        let Self {
            discarded,
            client_charge,
            ..
        } = self;
        let mut row = self.row.as_ref().expect("a record ends once").lock();
        row.outcome = Some(outcome);
        row.error = row
            .attempts
            .last()
            .and_then(|attempt| attempt.error.clone());
        row.response_bytes = bytes;
        row.finish_reason = answered.finish_reason.as_deref().map(cut_name);
        let Some((charge, cost)) = charged else {
            return;
        };
        *client_charge = ClientCharge {
            tokens: charge.usage.tokens(),
            cost_nano_usd: cost.map_or(0, |cost| u64::try_from(cost).unwrap_or(0)),
        };
        row.usage = charge.usage;
        row.usage += discarded.usage;
        row.usage_estimated = charge.is_estimate || discarded.is_estimate;
        row.model_version = charge.model.as_deref().map(cut_name);
        row.service_tier = charge.tier.as_deref().map(cut_name);
        row.cost_nano_usd = cost.map(|cost| cost.saturating_add(discarded.cost_nano_usd));
    }

    /// Adds the input tokens that Google counted to the usage of the model's quota.
    fn count_tokens(&self, key: &LeasedKey, tokens: Option<u64>) {
        let row = self.row();
        let model = row.asked_model().filter(|_| row.quota_requests > 0);
        if let (Some(model), Some(tokens)) = (model, tokens) {
            let mut keys = self.app.keys.lock();
            keys.count_tokens(key, model, tokens, clock::now());
        }
    }
}
