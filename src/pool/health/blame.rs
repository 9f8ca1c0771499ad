//! Blames keys for the verdicts of a request when it ends: one request is one piece of evidence.
//!
//! A request that Google refuses whatever the key would otherwise make every key unavailable that it is tried on.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::cooldown::check_after;
use crate::pool::health::state_change::StateChange;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::upstream_key::{KeyCondition, KeyState, UpstreamKeyId};

/// How many keys a request may blame if no other key answered it.
const BLAMED_PER_REQUEST: usize = 2;
/// A key that was blamed without contrast is checked at once, but not more often than this.
const CHECK_AT_ONCE_SPAN: Duration = Duration::from_mins(10);

/// A verdict of one request against a key or its project, until the request ends.
#[derive(Debug, Clone, Copy)]
pub struct Suspicion {
    pub key: UpstreamKeyId,
    pub rule: Rule,
    began: Timestamp,
}

impl KeyRegistry {
    /// Suspects a key because of a verdict against it or its project; `None` for any other verdict. Until
    /// [`Self::blame`] it is selected last, and its state does not change.
    pub fn suspect(
        &mut self,
        leased: &LeasedKey,
        rule: Rule,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<Suspicion> {
        KeyState::after(rule.fault())?;
        let key = self.by_id.get_mut(&leased.id)?;
        key.suspicions += 1;
        self.update_readiness_everywhere(leased.id, now);
        Some(Suspicion {
            key: leased.id,
            rule,
            began,
        })
    }

    /// Ends the suspicions of a request. If another key answered it well (`has_contrast`), every suspected key is to
    /// blame; otherwise the first ones are, and are checked at once. Returns each change with the index of its suspicion.
    pub fn blame(
        &mut self,
        suspicions: &[Suspicion],
        has_contrast: bool,
        client: Option<ClientKeyId>,
        now: Timestamp,
    ) -> Vec<(usize, StateChange)> {
        let mut changes = Vec::new();
        let mut blamed = 0;
        for (index, suspicion) in suspicions.iter().enumerate() {
            if let Some(key) = self.by_id.get_mut(&suspicion.key) {
                key.suspicions = key.suspicions.saturating_sub(1);
            }
            if has_contrast {
                let marked = self.mark_faulty(suspicion, now);
                changes.extend(marked.into_iter().map(|change| (index, change)));
            } else if blamed < BLAMED_PER_REQUEST && self.client_evidence.may_blame(client, now) {
                blamed += 1;
                let marked = self.mark_until_checked(suspicion, now);
                changes.extend(marked.map(|change| (index, change)));
            }
            self.update_readiness_everywhere(suspicion.key, now);
        }
        changes
    }

    /// Sets the state of a key, or of all keys of its project, where the attempt is not older than the evidence.
    fn mark_faulty(&mut self, suspicion: &Suspicion, now: Timestamp) -> Vec<StateChange> {
        let Some(state) = KeyState::after(suspicion.rule.fault()) else {
            return Vec::new();
        };
        let ids = self.keys_that_share(state, suspicion.key).into_iter();
        let marked = ids.filter_map(|id| {
            let condition = self.condition_after(id, state, suspicion, now)?;
            Some(self.set_condition(id, condition))
        });
        marked.collect()
    }

    /// Sets the state of the key alone, and schedules its check at once: the check decides about its project.
    fn mark_until_checked(&mut self, suspicion: &Suspicion, now: Timestamp) -> Option<StateChange> {
        let state = KeyState::after(suspicion.rule.fault())?;
        let mut condition = self.condition_after(suspicion.key, state, suspicion, now)?;
        let key = self.by_id.get_mut(&suspicion.key)?;
        let was_checked = key
            .checked_at_once
            .is_some_and(|at| now - at < CHECK_AT_ONCE_SPAN);
        if !was_checked {
            key.checked_at_once = Some(now);
            condition.next_check = Some(now);
            // The check is the first of its series.
            condition.failed_checks = condition.failed_checks.saturating_sub(1);
        }
        Some(self.set_condition(suspicion.key, condition))
    }

    fn condition_after(
        &self,
        id: UpstreamKeyId,
        state: KeyState,
        suspicion: &Suspicion,
        now: Timestamp,
    ) -> Option<KeyCondition> {
        let condition = self.by_id.get(&id)?.row.condition;
        let already = condition.state == state || condition.state == KeyState::Leaked;
        if already || (condition.since > suspicion.began && condition.state != KeyState::Ready) {
            return None;
        }
        // Only a key on trial confirms its earlier state.
        let failed_checks = if condition.state == KeyState::Trial {
            condition.failed_checks + 1
        } else {
            1
        };
        let next_check = check_after(suspicion.rule.fault(), failed_checks).map(|wait| now + wait);
        Some(KeyCondition {
            state,
            rule: Some(suspicion.rule),
            since: now,
            until: None,
            next_check,
            failed_checks,
        })
    }
}
