//! `EgressProxies`: all egress proxies of a running server, with what attempts have shown of them.

use std::cell::Cell;
use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::pool::egress::choice::choose;
use crate::pool::egress::condition::{EgressCondition, EgressState, Fitness};
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::pool::health::address_throttle::AddressThrottle;
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::upstream_key::ProjectId;

/// The proxies and their health; the direct connection has an address throttle too.
#[derive(Debug, Default)]
pub struct EgressProxies {
    /// In the order of their ids.
    rows: Vec<EgressProxy>,
    /// Whether any is enabled; if none is, every connection is direct.
    is_any_enabled: bool,
    health: HashMap<EgressProxyId, EgressHealth>,
    direct: AddressThrottle,
}

#[derive(Debug, Default)]
struct EgressHealth {
    failures_in_a_row: u32,
    throttle: AddressThrottle,
}

/// Why no connection may be opened for a key now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EgressBlock {
    pub until: Timestamp,
    /// A proxy is broken; otherwise Google throttles the addresses.
    pub is_broken: bool,
}

impl EgressProxies {
    /// Whether every connection is direct.
    pub fn is_empty(&self) -> bool {
        !self.is_any_enabled
    }

    pub fn rows(&self) -> &[EgressProxy] {
        &self.rows
    }

    pub fn get(&self, id: EgressProxyId) -> Option<&EgressProxy> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Takes over the rows. What is known of a proxy stays, unless its address is another one or an admin has reset its
    /// state.
    pub fn set(&mut self, mut rows: Vec<EgressProxy>, now: Timestamp) {
        for row in &mut rows {
            row.condition = row.condition.rebased_at(now);
            let known = self.get(row.id).filter(|known| {
                known.address == row.address
                    && known.state_reset_revision >= row.state_reset_revision
            });
            match known {
                Some(known) => row.condition = known.condition,
                None => drop(self.health.remove(&row.id)),
            }
        }
        rows.sort_by_key(|row| row.id);
        self.health
            .retain(|id, _| rows.iter().any(|row| row.id == *id));
        self.is_any_enabled = rows.iter().any(|row| row.enabled);
        self.rows = rows;
    }

    /// The proxy for a key of this project and these tags; `None`: a direct connection. Those in `avoided` failed in the
    /// same request.
    pub fn route(
        &self,
        project: ProjectId,
        tags: &[String],
        avoided: &[EgressProxyId],
        now: Timestamp,
    ) -> Result<Option<EgressProxyId>, EgressBlock> {
        let is_broken = Cell::new(false);
        let fitness = |id| {
            let row = self.get(id).expect("only rows are chosen from");
            let fitness = row.condition.fitness(now);
            if matches!(fitness, Fitness::Blocked(_)) {
                is_broken.set(true);
                return fitness;
            }
            let throttle = self.health.get(&id).map(|health| &health.throttle);
            throttle.map_or(fitness, |throttle| {
                throttled_until(throttle, now).map_or(fitness, Fitness::Blocked)
            })
        };
        let block = |until| EgressBlock {
            until,
            is_broken: is_broken.get(),
        };
        let chosen = choose(&self.rows, project, tags, avoided, fitness).map_err(block)?;
        match (chosen, throttled_until(&self.direct, now)) {
            (None, Some(until)) => Err(block(until)),
            (chosen, _) => Ok(chosen),
        }
    }

    /// The proxy for a key, whether it works or not.
    pub fn route_regardless_of_health(
        &self,
        project: ProjectId,
        tags: &[String],
    ) -> Option<EgressProxyId> {
        let chosen = choose(&self.rows, project, tags, &[], |_| Fitness::Usable);
        chosen.ok().flatten()
    }

    /// The throttle of the address that a proxy gives us, or of our own; `None`: the proxy was removed.
    pub fn throttle(&mut self, id: Option<EgressProxyId>) -> Option<&mut AddressThrottle> {
        let Some(id) = id else {
            return Some(&mut self.direct);
        };
        self.get(id)?;
        Some(&mut self.health.entry(id).or_default().throttle)
    }

    /// The throttle of our own address.
    pub fn direct_throttle(&self) -> &AddressThrottle {
        &self.direct
    }

    /// Until when Google throttles the address that a proxy gives us; `None`: it does not.
    pub fn throttled_until(&self, id: EgressProxyId, now: Timestamp) -> Option<Timestamp> {
        let health = self.health.get(&id)?;
        throttled_until(&health.throttle, now)
    }

    /// Forgets all throttles, when the clock was set back.
    pub fn forget_throttles(&mut self) {
        self.direct = AddressThrottle::default();
        for health in self.health.values_mut() {
            health.throttle = AddressThrottle::default();
        }
    }

    /// Records what an attempt through a proxy shows of it. `None`: its state is unchanged.
    pub fn record(
        &mut self,
        id: EgressProxyId,
        verdict: &Verdict,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<StateChange> {
        let row = self.rows.iter_mut().find(|row| row.id == id)?;
        let health = self.health.entry(id).or_default();
        let changed = if verdict.status.is_some() {
            health.failures_in_a_row = 0;
            row.condition.after_answer(verdict.rule, began, now)
        } else if verdict.rule.is_of_connection() && began >= row.condition.since {
            health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
            let in_a_row = health.failures_in_a_row;
            row.condition.after_failures(in_a_row, verdict.rule, now)
        } else {
            None
        };
        changed.map(|condition| change(row, health, condition))
    }

    /// Records that an answer has begun well.
    pub fn record_answer_start(
        &mut self,
        id: EgressProxyId,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<StateChange> {
        let row = self.rows.iter_mut().find(|row| row.id == id)?;
        let health = self.health.entry(id).or_default();
        health.failures_in_a_row = 0;
        let changed = row.condition.after_answer(Rule::Success, began, now);
        changed.map(|condition| change(row, health, condition))
    }

    /// The proxies whose probe is due. Until its result each counts as broken.
    pub fn begin_due_probes(&mut self, now: Timestamp) -> Vec<EgressProxyId> {
        let due = self
            .rows
            .iter_mut()
            .filter(|row| row.enabled && row.condition.is_probe_due(now));
        let begun = due.map(|row| {
            row.condition = row.condition.probing(now);
            row.id
        });
        begun.collect()
    }

    /// Ends the probe of a proxy, or a test of one that was untested. Returns its condition to be stored; `None`: it proves
    /// nothing new.
    pub fn end_probe(
        &mut self,
        id: EgressProxyId,
        succeeded: bool,
        now: Timestamp,
    ) -> Option<StateChange> {
        let row = self.rows.iter_mut().find(|row| row.id == id)?;
        match row.condition.state {
            EgressState::Broken => {}
            EgressState::Untested if succeeded => {}
            EgressState::Untested | EgressState::Working | EgressState::LocationRefused => {
                return None;
            }
        }
        let health = self.health.entry(id).or_default();
        let condition = if succeeded {
            EgressCondition::working(now)
        } else {
            row.condition
        };
        Some(change(row, health, condition))
    }
}

fn change(
    row: &mut EgressProxy,
    health: &mut EgressHealth,
    condition: EgressCondition,
) -> StateChange {
    health.failures_in_a_row = 0;
    row.condition = condition;
    StateChange::Egress {
        id: row.id,
        condition,
    }
}

/// Until when a throttle admits no request, in whole seconds: what changes with every millisecond would have every key
/// looked at again for every request.
fn throttled_until(throttle: &AddressThrottle, now: Timestamp) -> Option<Timestamp> {
    let until = throttle.breaker?.admits(now).err()?;
    let seconds = until.as_millis().div_euclid(1_000) + 1;
    Some(Timestamp::from_millis(seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::egress::address::ProxyAddress;
    use crate::pool::egress::proxy::EgressScope;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const ONE: EgressProxyId = EgressProxyId(1);

    fn failed() -> Verdict {
        Verdict::without_answer(Rule::ConnectFailed, "refused".to_owned())
    }

    fn answered(rule: Rule) -> Verdict {
        Verdict {
            status: Some(200),
            ..Verdict::without_answer(rule, String::new())
        }
    }

    fn two() -> EgressProxies {
        let mut proxies = EgressProxies::default();
        let rows = [1, 2].map(|id| EgressProxy::example(id, EgressScope::All));
        proxies.set(rows.to_vec(), NOW);
        proxies
    }

    fn breaks(proxies: &mut EgressProxies, id: EgressProxyId) -> bool {
        (0..2).any(|_| proxies.record(id, &failed(), NOW, NOW).is_some())
    }

    #[test]
    fn a_broken_proxy_is_passed_over_until_it_was_probed() {
        let mut proxies = two();
        let project = (1..100).map(ProjectId).find(|project| {
            let chosen = proxies.route_regardless_of_health(*project, &[]);
            chosen == Some(ONE)
        });
        let project = project.unwrap();
        let route = |proxies: &EgressProxies, now| proxies.route(project, &[], &[], now);

        assert!(breaks(&mut proxies, ONE));
        assert_eq!(route(&proxies, NOW), Ok(Some(EgressProxyId(2))));
        assert!(breaks(&mut proxies, EgressProxyId(2)));
        let block = route(&proxies, NOW).unwrap_err();
        assert!(block.is_broken && block.until > NOW);

        assert_eq!(proxies.begin_due_probes(NOW), []);
        let later = NOW + Duration::from_secs(2);
        assert_eq!(proxies.begin_due_probes(later), [ONE, EgressProxyId(2)]);
        assert_eq!(proxies.begin_due_probes(later), []);
        assert!(proxies.end_probe(ONE, true, later).is_some());
        assert!(proxies.end_probe(ONE, true, later).is_none());
        assert_eq!(route(&proxies, later), Ok(Some(ONE)));
    }

    #[test]
    fn one_failure_between_answers_breaks_nothing() {
        let mut proxies = two();
        for _ in 0..5 {
            assert_eq!(proxies.record(ONE, &failed(), NOW, NOW), None);
            let answer = answered(Rule::QuotaPerMinute);
            assert_eq!(proxies.record(ONE, &answer, NOW, NOW), None);
        }
        let late = Verdict::without_answer(Rule::AnswerTimeout, String::new());
        for _ in 0..5 {
            assert_eq!(proxies.record(ONE, &late, NOW, NOW), None);
        }
    }

    #[test]
    fn what_is_known_of_a_proxy_stays_unless_it_is_another_one_or_was_reset() {
        let mut proxies = two();
        breaks(&mut proxies, ONE);
        let row = |change: &dyn Fn(&mut EgressProxy)| {
            let mut row = EgressProxy::example(1, EgressScope::All);
            change(&mut row);
            vec![row]
        };
        let state = |proxies: &EgressProxies| proxies.get(ONE).unwrap().condition.state;

        proxies.set(row(&|row| row.label = "other".to_owned()), NOW);
        assert_eq!(state(&proxies), EgressState::Broken);
        proxies.set(row(&|row| row.state_reset_revision = 7), NOW);
        assert_eq!(state(&proxies), EgressState::Working);
        breaks(&mut proxies, ONE);
        let address = ProxyAddress::parse("http://other.example.com:1").unwrap();
        proxies.set(row(&|row| row.address = address.clone()), NOW);
        assert_eq!(state(&proxies), EgressState::Working);
        proxies.set(row(&|row| row.enabled = false), NOW);
        assert!(proxies.is_empty());
        assert_eq!(proxies.route(ProjectId(1), &[], &[], NOW), Ok(None));
    }

    #[test]
    fn each_address_has_a_throttle_of_its_own() {
        let mut proxies = two();
        for project in 0..5 {
            let throttle = proxies.throttle(Some(ONE)).unwrap();
            throttle.record(ProjectId(project), true, NOW, NOW, 0.5);
        }

        assert!(proxies.throttled_until(ONE, NOW).is_some());
        for project in 0..50 {
            let route = proxies.route(ProjectId(project), &[], &[], NOW);
            assert_eq!(route, Ok(Some(EgressProxyId(2))));
        }
        assert!(proxies.throttle(None).unwrap().breaker.is_none());
        assert!(proxies.throttle(Some(EgressProxyId(9))).is_none());
    }
}
