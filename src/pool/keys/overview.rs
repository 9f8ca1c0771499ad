//! Counts of all keys by status and by model, computed from the running server.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::pool::egress::condition::EgressState;
use crate::pool::keys::key_status::{KeyCooldown, KeyStatusKind, KeyStatusSummary};
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::ready_index::ANY_MODEL;
use crate::pool::keys::registry::KeyRegistry;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// Number of unavailable keys listed.
const MAX_LISTED_KEYS: usize = 8;

/// Counts across all keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolOverview {
    /// Number of keys by status; a status without keys has no entry.
    pub counts: BTreeMap<KeyStatusKind, usize>,
    /// Number of keys that can serve some model now.
    pub usable: usize,
    /// Requests in flight.
    pub in_flight: u64,
    /// When the first fully cooling key becomes ready.
    pub next_ready_at: Option<Timestamp>,
    /// When the first refused key is checked next.
    pub next_check: Option<Timestamp>,
    /// By name, models with an entry only.
    pub models: BTreeMap<String, ModelAvailability>,
    /// The last answer, if the last ones were not Gemini's: the upstream is wrong.
    pub wrong_answer: Option<String>,
    /// Why the last connections to the upstream failed, if they did.
    pub connection_error: Option<String>,
    /// Whether Gemini has answered since the start.
    pub has_upstream_answered: bool,
    /// Until when the address throttle blocks all requests.
    pub address_throttled_until: Option<Timestamp>,
    /// The labels of the broken egress proxies.
    pub broken_egress: Vec<String>,
    /// Keys that would be usable but for their egress proxies.
    pub waiting_for_egress: usize,
    /// The first keys that cannot serve every model now: those that need the admin's attention, then those that become
    /// ready soonest.
    pub unavailable: Vec<UnavailableKey>,
}

/// Why no request can be served now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceProblem {
    /// Why the last connections to the upstream failed.
    Unreachable(String),
    /// The last answer: the upstream is not Gemini.
    WrongAnswer(String),
    /// Until when Google's limit of this server's address blocks all requests.
    AddressThrottled(Timestamp),
    /// There are keys, and none of them can serve any model.
    NoUsableKey,
}

/// A key that cannot serve every model now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnavailableKey {
    pub summary: KeyStatusSummary,
    pub label: String,
    pub last4: String,
    /// The cooldown that ends at that time.
    pub cooldown: Option<KeyCooldown>,
}

/// Number of keys that can serve a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelAvailability {
    pub usable: usize,
    /// Usable for other models, but cooling down for this one.
    pub cooling_down: usize,
    /// When the first cooling key becomes ready.
    pub next_ready_at: Option<Timestamp>,
    /// Until when the model's circuit breaker is open.
    pub overloaded_until: Option<Timestamp>,
}

impl PoolOverview {
    pub fn keys(&self) -> usize {
        self.counts.values().sum()
    }

    pub fn count(&self, kind: KeyStatusKind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// A model without an entry can use every usable key.
    pub fn model(&self, name: &str) -> ModelAvailability {
        let known = self.models.get(name).cloned();
        known.unwrap_or_else(|| ModelAvailability {
            usable: self.usable,
            ..ModelAvailability::default()
        })
    }
}

impl SharedKeyRegistry {
    /// Why no request can be served, without counting keys; `None` also while there are no keys.
    pub fn service_problem(&self, now: Timestamp) -> Option<ServiceProblem> {
        let keys = self.lock();
        if keys.by_id.is_empty() {
            return None;
        }
        let overview = keys.overview_without_keys(now);
        drop(keys);
        let unreachable = overview.connection_error.map(ServiceProblem::Unreachable);
        let wrong = overview.wrong_answer.map(ServiceProblem::WrongAnswer);
        let throttled = overview.address_throttled_until;
        let throttled = throttled.map(ServiceProblem::AddressThrottled);
        unreachable.or(wrong).or(throttled).or_else(|| {
            let has_usable = self.any_key(|keys, id| keys.is_usable(id, now));
            (!has_usable).then_some(ServiceProblem::NoUsableKey)
        })
    }

    /// Counts all keys.
    pub fn overview(&self, now: Timestamp) -> PoolOverview {
        let mut overview = self.lock().overview_without_keys(now);
        let mut unavailable = Vec::new();
        self.for_each_key(|keys, id| {
            if let Some(summary) = keys.add_key(id, now, &mut overview) {
                keep_first(&mut unavailable, summary);
            }
        });
        let keys = self.lock();
        let unavailable = unavailable
            .into_iter()
            .filter_map(|summary| keys.unavailable_key(summary, now));
        overview.unavailable = unavailable.collect();
        drop(keys);
        for model in overview.models.values_mut() {
            model.usable = overview.usable.saturating_sub(model.cooling_down);
        }
        overview
    }
}

impl KeyRegistry {
    /// The address throttle and open circuit breakers, before any key is counted.
    fn overview_without_keys(&self, now: Timestamp) -> PoolOverview {
        let mut overview = PoolOverview {
            address_throttled_until: self
                .egress
                .direct_throttle()
                .breaker
                .and_then(|breaker| breaker.admits(now).err()),
            has_upstream_answered: self.upstream_watch.has_answered(),
            wrong_answer: self.upstream_watch.wrong_answer().map(ToOwned::to_owned),
            connection_error: self
                .upstream_watch
                .connection_error()
                .map(ToOwned::to_owned),
            ..PoolOverview::default()
        };
        let enabled = self.egress.rows().iter().filter(|row| row.enabled);
        let broken = enabled.filter(|row| row.condition.state == EgressState::Broken);
        overview.broken_egress = broken.map(|row| row.label.clone()).collect();
        for (number, model) in self.models.iter().enumerate() {
            let breaker = model.overload.breaker;
            if let Some(until) = breaker.and_then(|breaker| breaker.admits(now).err()) {
                let model = overview.models.entry(self.model_name(number)).or_default();
                model.overloaded_until = Some(until);
            }
        }
        overview
    }

    /// Whether a key can serve some model now.
    fn is_usable(&self, id: UpstreamKeyId, now: Timestamp) -> bool {
        let (Some(key), Some(summary)) = (self.by_id.get(&id), self.key_status_summary(id, now))
        else {
            return false;
        };
        match summary.kind {
            KeyStatusKind::Trial | KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown => {
                self.egress_block(key, now).is_none()
            }
            KeyStatusKind::CoolingDown
            | KeyStatusKind::Invalid
            | KeyStatusKind::Suspended
            | KeyStatusKind::Misconfigured
            | KeyStatusKind::Leaked
            | KeyStatusKind::Disabled => false,
        }
    }

    /// Adds a key to the counts and returns its summary.
    fn add_key(
        &self,
        id: UpstreamKeyId,
        now: Timestamp,
        overview: &mut PoolOverview,
    ) -> Option<KeyStatusSummary> {
        let (key, summary) = (self.by_id.get(&id)?, self.key_status_summary(id, now)?);
        *overview.counts.entry(summary.kind).or_default() += 1;
        overview.in_flight += u64::from(key.in_flight);
        match summary.kind {
            KeyStatusKind::Trial | KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown
                if self.egress_block(key, now).is_some() =>
            {
                overview.waiting_for_egress += 1;
            }
            KeyStatusKind::Trial => overview.usable += 1,
            KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown => {
                overview.usable += 1;
                let mut counted = Vec::new();
                self.each_cooldown(key, now, |cooldown| {
                    if cooldown.model == ANY_MODEL {
                        return;
                    }
                    let model = overview
                        .models
                        .entry(self.model_name(cooldown.model))
                        .or_default();
                    // A verdict and used-up quota may both cool a key down for the same model.
                    if !counted.contains(&cooldown.model) {
                        counted.push(cooldown.model);
                        model.cooling_down += 1;
                    }
                    model.next_ready_at = earlier(model.next_ready_at, Some(cooldown.until));
                });
            }
            KeyStatusKind::CoolingDown => {
                overview.next_ready_at = earlier(overview.next_ready_at, summary.until);
            }
            KeyStatusKind::Invalid | KeyStatusKind::Suspended | KeyStatusKind::Misconfigured => {
                overview.next_check = earlier(overview.next_check, summary.until);
            }
            KeyStatusKind::Leaked | KeyStatusKind::Disabled => {}
        }
        Some(summary)
    }

    fn unavailable_key(&self, summary: KeyStatusSummary, now: Timestamp) -> Option<UnavailableKey> {
        let row = &self.by_id.get(&summary.id)?.row;
        let key_status = self.key_status(summary.id, now)?;
        let mut cooldowns = key_status.cooldowns.into_iter().rev();
        Some(UnavailableKey {
            summary,
            label: row.label.clone(),
            last4: row.secret.last4(),
            cooldown: cooldowns.find(|cooldown| Some(cooldown.until) == summary.until),
        })
    }
}

/// Inserts the summary if it belongs to the first [`MAX_LISTED_KEYS`] unavailable keys.
fn keep_first(unavailable: &mut Vec<KeyStatusSummary>, summary: KeyStatusSummary) {
    let rank = |summary: &KeyStatusSummary| match summary.kind {
        KeyStatusKind::Leaked
        | KeyStatusKind::Invalid
        | KeyStatusKind::Suspended
        | KeyStatusKind::Misconfigured => (0, summary.until),
        KeyStatusKind::CoolingDown => (1, summary.until),
        _ => (2, summary.until),
    };
    if matches!(
        summary.kind,
        KeyStatusKind::Ready | KeyStatusKind::Trial | KeyStatusKind::Disabled
    ) {
        return;
    }
    let position = unavailable.partition_point(|other| rank(other) <= rank(&summary));
    if position < MAX_LISTED_KEYS {
        unavailable.insert(position, summary);
        unavailable.truncate(MAX_LISTED_KEYS);
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::health::cooldown::Cooldown;
    use crate::pool::health::verdict::Rule;
    use crate::pool::keys::upstream_key::{
        Billing, KeyCondition, KeyState, ProjectId, UpstreamKey,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000);

    fn key(id: i64, project: i64, state: KeyState, enabled: bool) -> UpstreamKey {
        UpstreamKey {
            billing: Billing::Free,
            enabled,
            condition: KeyCondition {
                state,
                next_check: Some(NOW + Duration::from_mins(9)),
                ..KeyCondition::ready(NOW)
            },
            ..UpstreamKey::example(id, project, NOW)
        }
    }

    #[test]
    fn keys_are_counted_by_status_and_model() {
        let shared = SharedKeyRegistry::default();
        let mut keys = shared.lock();
        let states = [
            (1, 1, KeyState::Ready, true),
            (2, 1, KeyState::Ready, true),
            (3, 2, KeyState::Ready, true),
            (4, 3, KeyState::Ready, true),
            (5, 4, KeyState::Invalid, true),
            (6, 5, KeyState::Ready, false),
        ];
        for (id, project, state, enabled) in states {
            keys.put(key(id, project, state, enabled), 0, NOW);
        }
        let cooldown = |minutes| Cooldown {
            rule: Rule::QuotaPerMinute,
            step: 0,
            since: NOW,
            until: NOW + Duration::from_mins(minutes),
        };
        keys.set_cooldown(ProjectId(1), "pro", cooldown(2));
        keys.set_cooldown(ProjectId(2), "pro", cooldown(1));
        keys.set_cooldown(ProjectId(3), "*", cooldown(5));
        drop(keys);

        let overview = shared.overview(NOW);

        assert_eq!((overview.keys(), overview.usable), (6, 3));
        assert_eq!(overview.next_ready_at, Some(NOW + Duration::from_mins(5)));
        assert_eq!(overview.next_check, Some(NOW + Duration::from_mins(9)));
        let pro = overview.model("pro");
        assert_eq!((pro.usable, pro.cooling_down), (0, 3));
        assert_eq!(pro.next_ready_at, Some(NOW + Duration::from_mins(1)));
        assert_eq!(overview.model("flash").usable, 3);
        assert_eq!(overview.count(KeyStatusKind::Disabled), 1);
        assert_eq!(shared.service_problem(NOW), None);
    }

    #[test]
    fn a_pool_whose_keys_are_all_out_cannot_serve() {
        let shared = SharedKeyRegistry::default();
        assert_eq!(shared.service_problem(NOW), None);

        shared.lock().put(key(1, 1, KeyState::Leaked, true), 0, NOW);
        let ready = key(2, 2, KeyState::Ready, true);
        shared.lock().put(ready.clone(), 0, NOW);
        assert_eq!(shared.service_problem(NOW), None);

        let enabled = false;
        shared.lock().put(UpstreamKey { enabled, ..ready }, 0, NOW);
        let problem = shared.service_problem(NOW);
        assert_eq!(problem, Some(ServiceProblem::NoUsableKey));
        assert_eq!(shared.overview(NOW).usable, 0);
    }
}
