//! `TrafficCounters`: sums of requests since the start of the server, for the metrics. Their labels are bounded: models that
//! clients invent and clients beyond a maximum are counted together.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;

/// Maximum number of models with a count of their own.
const MAX_MODELS: usize = 50;
/// Maximum number of client keys with a count of their own.
const MAX_CLIENT_KEYS: usize = 100;
/// Maximum number of egress proxies with a count of their own.
pub const MAX_EGRESS_PROXIES: usize = 100;
/// Maximum number of rules.
const MAX_RULES: usize = 100;

/// Upper bounds of the buckets, in milliseconds.
pub const BUCKETS_MS: [u64; 13] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

/// A finished request.
#[derive(Debug, Clone, Copy)]
pub struct CountedRequest<'a> {
    pub outcome: Outcome,
    pub model: Option<&'a str>,
    pub client_key: Option<ClientKeyId>,
    pub first_byte_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    pub usage: &'a TokenUsage,
    pub cost_nano_usd: Option<i64>,
}

/// Sums since the start of the server.
#[derive(Debug, Clone, Default)]
pub struct TrafficCounters {
    /// `None`: no model, one that Google has never answered for, or one beyond the maximum.
    pub requests: HashMap<(Outcome, Option<Box<str>>), u64>,
    /// `None`: no client key, or one beyond the maximum.
    pub client_requests: HashMap<(Outcome, Option<ClientKeyId>), u64>,
    pub attempts: BTreeMap<Cow<'static, str>, u64>,
    /// Attempts and failures through egress proxies; `None`: those beyond the maximum.
    pub egress: BTreeMap<Option<EgressProxyId>, (u64, u64)>,
    pub first_byte: DurationHistogram,
    pub duration: DurationHistogram,
    pub tokens: TokenSums,
    pub cost_nano_usd: u64,
    models: KnownLabels<Box<str>>,
    client_keys: KnownLabels<ClientKeyId>,
}

/// Tokens by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenSums {
    pub prompt: u64,
    pub output: u64,
    pub thoughts: u64,
    pub cached: u64,
}

/// Counts of durations in buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    /// Of each bucket alone; the last one has no upper bound.
    pub counts: [u64; BUCKETS_MS.len() + 1],
    pub sum_ms: u64,
}

/// The values that have a label of their own.
#[derive(Debug, Clone)]
struct KnownLabels<T>(std::collections::HashSet<T>);

impl<T> Default for KnownLabels<T> {
    fn default() -> Self {
        Self(std::collections::HashSet::new())
    }
}

impl<T: Hash + Eq> KnownLabels<T> {
    /// Gives a value a label of its own as long as there are few.
    fn add(&mut self, value: T, maximum: usize) {
        if self.0.len() < maximum {
            self.0.insert(value);
        }
    }
}

impl TrafficCounters {
    pub fn add_request(&mut self, request: CountedRequest) {
        let model = request
            .model
            .and_then(|name| self.model_label(name, request.outcome));
        *self.requests.entry((request.outcome, model)).or_default() += 1;
        let client_key = request.client_key.filter(|id| {
            self.client_keys.add(*id, MAX_CLIENT_KEYS);
            self.client_keys.0.contains(id)
        });
        let of_client = self.client_requests.entry((request.outcome, client_key));
        *of_client.or_default() += 1;
        if let Some(ms) = request.first_byte_ms {
            self.first_byte.add(ms);
        }
        if let Some(ms) = request.duration_ms {
            self.duration.add(ms);
        }
        self.tokens.prompt += request.usage.prompt.unwrap_or(0);
        self.tokens.output += request.usage.output.unwrap_or(0);
        self.tokens.thoughts += request.usage.thoughts.unwrap_or(0);
        self.tokens.cached += request.usage.cached.unwrap_or(0);
        let cost = request.cost_nano_usd.unwrap_or(0);
        self.cost_nano_usd += u64::try_from(cost).unwrap_or(0);
    }

    /// Counts an attempt; `None`: it succeeded.
    pub fn add_attempt(&mut self, rule: Option<&Cow<'static, str>>) {
        let rule = rule.map_or(Cow::Borrowed("success"), Clone::clone);
        if let Some(count) = self.attempts.get_mut(&rule) {
            *count += 1;
        } else if self.attempts.len() < MAX_RULES {
            self.attempts.insert(rule, 1);
        }
    }

    /// Counts an attempt through an egress proxy.
    pub fn add_egress(&mut self, id: EgressProxyId, has_failed: bool) {
        let is_known = self.egress.contains_key(&Some(id));
        let label = Some(id).filter(|_| is_known || self.egress.len() < MAX_EGRESS_PROXIES);
        let count = self.egress.entry(label).or_default();
        count.0 += 1;
        count.1 += u64::from(has_failed);
    }

    /// The model, if Google has answered well for it.
    fn model_label(&mut self, name: &str, outcome: Outcome) -> Option<Box<str>> {
        if !self.models.0.contains(name) && outcome == Outcome::Success {
            self.models.add(name.into(), MAX_MODELS);
        }
        self.models.0.get(name).cloned()
    }
}

impl DurationHistogram {
    fn add(&mut self, ms: u64) {
        let bucket = BUCKETS_MS.partition_point(|bound| *bound < ms);
        self.counts[bucket] += 1;
        self.sum_ms += ms;
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(
        outcome: Outcome,
        model: &'a str,
        client: i64,
        usage: &'a TokenUsage,
    ) -> CountedRequest<'a> {
        CountedRequest {
            outcome,
            model: Some(model),
            client_key: Some(ClientKeyId(client)),
            first_byte_ms: Some(100),
            duration_ms: Some(700_000),
            usage,
            cost_nano_usd: Some(5),
        }
    }

    #[test]
    fn invented_models_and_many_clients_are_counted_together() {
        let mut counters = TrafficCounters::default();
        let usage = TokenUsage::default();

        for number in 0..1_000 {
            let invented = format!("invented-{number}");
            counters.add_request(request(Outcome::ClientError, &invented, number, &usage));
            let model = format!("model-{number}");
            counters.add_request(request(Outcome::Success, &model, number, &usage));
            counters.add_attempt(Some(&Cow::Owned(format!("rule-{number}"))));
            counters.add_egress(EgressProxyId(number), number % 2 == 0);
        }
        counters.add_request(request(Outcome::Quota, "model-0", 0, &usage));

        assert_eq!(counters.requests[&(Outcome::ClientError, None)], 1_000);
        assert_eq!(counters.requests[&(Outcome::Success, None)], 950);
        assert_eq!(
            counters.requests[&(Outcome::Quota, Some("model-0".into()))],
            1
        );
        assert!(counters.requests.len() <= 2 * Outcome::ALL.len() + MAX_MODELS);
        assert_eq!(counters.client_requests[&(Outcome::Success, None)], 900);
        assert_eq!(counters.attempts.len(), MAX_RULES);
        assert_eq!(counters.egress[&Some(EgressProxyId(0))], (1, 1));
        assert_eq!(counters.egress[&None], (900, 450));
        assert_eq!(counters.first_byte.counts[1], 2_001);
        assert_eq!(counters.duration.counts[BUCKETS_MS.len()], 2_001);
        assert_eq!(counters.duration.count(), 2_001);
        assert_eq!(counters.cost_nano_usd, 2_001 * 5);
    }
}
