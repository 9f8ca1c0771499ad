//! Alerts: which begin and which end, from the open ones and what is observed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::pool::keys::upstream_key::{KeyState, UpstreamKeyId};

/// In so many observations in a row a condition must hold to begin an alert, or be absent to end it.
const OBSERVATIONS: u32 = 2;
/// Maximum number of alerts of one kind with a subject of their own; the rest is one alert.
pub const MAX_SUBJECTS: usize = 20;
/// The subject of the alert for conditions beyond [`MAX_SUBJECTS`].
pub const OTHER_SUBJECTS: &str = "+";

/// What an alert is about.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertKind {
    /// No upstream key is usable for a model in use.
    NoKey,
    /// Fewer upstream keys are usable for a model in use than the setting wants.
    PoolLow,
    /// Google reports an upstream key as leaked.
    KeyLeaked,
    /// Google refuses an upstream key.
    KeyDead,
    GoogleUnreachable,
    AddressThrottled,
    /// The clock of the server differs from Google's.
    ClockWrong,
    /// No connection can be opened through an egress proxy.
    EgressBroken,
    /// A client key has used a limit of its day or month completely.
    BudgetUsed,
    /// A client key has used 80 % of it.
    BudgetNearlyUsed,
    DiskLow,
    DatabaseFailing,
    BackupFailed,
    BackupOverdue,
}

/// Whether an alert is sent in quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize, IntoStaticStr)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertSeverity {
    /// Requests fail, or will soon, or a key is in the wrong hands.
    Critical,
    Warning,
}

impl AlertKind {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in rows, forms and messages for programs.
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn severity(self) -> AlertSeverity {
        match self {
            Self::NoKey
            | Self::KeyLeaked
            | Self::GoogleUnreachable
            | Self::AddressThrottled
            | Self::DiskLow
            | Self::DatabaseFailing => AlertSeverity::Critical,
            Self::PoolLow
            | Self::KeyDead
            | Self::ClockWrong
            | Self::EgressBroken
            | Self::BudgetUsed
            | Self::BudgetNearlyUsed
            | Self::BackupFailed
            | Self::BackupOverdue => AlertSeverity::Warning,
        }
    }
}

impl AlertSeverity {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Identifies an open alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub kind: AlertKind,
    /// A model, or the id of a key; empty: the pool as a whole.
    pub subject: String,
}

/// A condition that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCondition {
    pub key: AlertKey,
    /// Names and numbers for the message, redacted.
    pub detail: String,
    /// The state of the upstream key that it is about.
    pub key_state: Option<KeyState>,
}

/// Everything that holds at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertObservation {
    pub conditions: Vec<AlertCondition>,
    /// Kinds that could not be observed: their alerts neither begin nor end.
    pub unknown: Vec<AlertKind>,
}

/// An alert that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertChange {
    Begin(AlertCondition),
    End(AlertKey),
}

impl AlertChange {
    pub fn kind(&self) -> AlertKind {
        match self {
            Self::Begin(condition) => condition.key.kind,
            Self::End(key) => key.kind,
        }
    }
}

impl AlertObservation {
    pub fn add(&mut self, kind: AlertKind, subject: impl ToString, detail: impl Into<String>) {
        let (subject, detail) = (subject.to_string(), detail.into());
        self.conditions.push(AlertCondition {
            key: AlertKey { kind, subject },
            detail,
            key_state: None,
        });
    }

    /// Adds a condition of an upstream key, with its name and state.
    pub fn add_key(&mut self, kind: AlertKind, id: UpstreamKeyId, name: String, state: KeyState) {
        let subject = id.0.to_string();
        self.conditions.push(AlertCondition {
            key: AlertKey { kind, subject },
            detail: name,
            key_state: Some(state),
        });
    }
}

/// The open alerts, and what was observed of them lately.
#[derive(Debug, Clone, Default)]
pub struct AlertTracker {
    /// Open alerts, with the number of observations in a row that lacked them.
    open: BTreeMap<AlertKey, u32>,
    /// Conditions that hold but are not alerts yet, with the number of observations in a row.
    rising: BTreeMap<AlertKey, u32>,
}

impl AlertTracker {
    /// Continues with the alerts that were open before a restart.
    pub fn restore(open: impl IntoIterator<Item = AlertKey>) -> Self {
        Self {
            open: open.into_iter().map(|key| (key, 0)).collect(),
            rising: BTreeMap::new(),
        }
    }

    /// Which alerts begin and end by one more observation.
    pub fn observe(&mut self, observation: AlertObservation) -> Vec<AlertChange> {
        let AlertObservation {
            conditions,
            unknown,
        } = observation;
        let conditions = self.limited(conditions);
        let mut changes = Vec::new();
        let held: BTreeSet<AlertKey> = conditions.iter().map(|each| each.key.clone()).collect();
        let is_unknown = |key: &AlertKey| unknown.contains(&key.kind);
        self.rising
            .retain(|key, _| held.contains(key) || is_unknown(key));
        for condition in conditions {
            if let Some(absent) = self.open.get_mut(&condition.key) {
                *absent = 0;
                continue;
            }
            let times = self.rising.entry(condition.key.clone()).or_default();
            *times += 1;
            if *times >= OBSERVATIONS {
                self.rising.remove(&condition.key);
                self.open.insert(condition.key.clone(), 0);
                changes.push(AlertChange::Begin(condition));
            }
        }
        self.open.retain(|key, absent| {
            if held.contains(key) || is_unknown(key) {
                return true;
            }
            *absent += 1;
            let has_ended = *absent >= OBSERVATIONS;
            if has_ended {
                changes.push(AlertChange::End(key.clone()));
            }
            !has_ended
        });
        changes
    }

    /// At most [`MAX_SUBJECTS`] conditions of each kind, those of open alerts first, and one for the rest.
    fn limited(&self, conditions: Vec<AlertCondition>) -> Vec<AlertCondition> {
        let mut by_kind = BTreeMap::<AlertKind, BTreeMap<AlertKey, AlertCondition>>::new();
        for condition in conditions {
            let of_kind = by_kind.entry(condition.key.kind).or_default();
            of_kind.insert(condition.key.clone(), condition);
        }
        let mut limited = Vec::new();
        for (kind, of_kind) in by_kind {
            let mut of_kind: Vec<_> = of_kind.into_values().collect();
            of_kind.sort_by_key(|condition| !self.open.contains_key(&condition.key));
            let rest = of_kind.len().saturating_sub(MAX_SUBJECTS);
            of_kind.truncate(MAX_SUBJECTS);
            limited.append(&mut of_kind);
            if rest > 0 {
                let subject = OTHER_SUBJECTS.to_owned();
                let key = AlertKey { kind, subject };
                limited.push(AlertCondition {
                    key,
                    detail: rest.to_string(),
                    key_state: None,
                });
            }
        }
        limited
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observation(subjects: &[&str]) -> AlertObservation {
        let mut observation = AlertObservation::default();
        for subject in subjects {
            observation.add(AlertKind::KeyDead, subject, "key");
        }
        observation
    }

    /// The changes as text: `+` and `-` before the subject.
    fn observe(tracker: &mut AlertTracker, subjects: &[&str]) -> Vec<String> {
        describe(&tracker.observe(observation(subjects)))
    }

    fn describe(changes: &[AlertChange]) -> Vec<String> {
        let changes = changes.iter().map(|change| match change {
            AlertChange::Begin(condition) => format!("+{}", condition.key.subject),
            AlertChange::End(key) => format!("-{}", key.subject),
        });
        changes.collect()
    }

    #[test]
    fn an_alert_begins_and_ends_at_the_second_observation() {
        let mut tracker = AlertTracker::default();

        for (subjects, expected) in [
            (vec!["1"], vec![]),
            (vec!["1"], vec!["+1"]),
            (vec!["1", "2"], vec![]),
            (vec!["1"], vec![]),
            (vec!["1", "2"], vec![]),
            (vec![], vec![]),
            (vec!["1"], vec![]),
            (vec![], vec![]),
            (vec![], vec!["-1"]),
            (vec![], vec![]),
            (vec!["1"], vec![]),
            (vec!["1"], vec!["+1"]),
        ] {
            assert_eq!(observe(&mut tracker, &subjects), expected, "{subjects:?}");
        }
    }

    #[test]
    fn an_alert_that_was_open_before_a_restart_begins_no_second_time() {
        let open = observation(&["1", "2"]).conditions;
        let mut tracker = AlertTracker::restore(open.into_iter().map(|condition| condition.key));

        assert_eq!(observe(&mut tracker, &["1"]), [""; 0]);
        assert_eq!(observe(&mut tracker, &["1"]), ["-2"]);
    }

    #[test]
    fn what_cannot_be_observed_neither_begins_nor_ends() {
        let mut tracker = AlertTracker::restore([AlertKey {
            kind: AlertKind::NoKey,
            subject: "model".to_owned(),
        }]);
        let unknown = AlertObservation {
            conditions: Vec::new(),
            unknown: vec![AlertKind::NoKey],
        };

        for _ in 0..5 {
            assert_eq!(tracker.observe(unknown.clone()), []);
        }
        assert_eq!(observe(&mut tracker, &[]), [""; 0]);
        assert_eq!(observe(&mut tracker, &[]), ["-model"]);
    }

    #[test]
    fn many_subjects_are_one_alert_and_those_that_are_open_stay_open() {
        let names: Vec<String> = (100..100 + MAX_SUBJECTS + 3)
            .map(|id| id.to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut tracker = AlertTracker::default();
        observe(&mut tracker, &names);
        let begun = tracker.observe(observation(&names));

        assert_eq!(begun.len(), MAX_SUBJECTS + 1);
        let AlertChange::Begin(rest) = &begun[MAX_SUBJECTS] else {
            panic!("{begun:?}");
        };
        assert_eq!(
            (rest.key.subject.as_str(), rest.detail.as_str()),
            ("+", "3")
        );
        // Sorted before all others.
        let more: Vec<&str> = ["1"].into_iter().chain(names).collect();
        for _ in 0..3 {
            assert_eq!(observe(&mut tracker, &more), [""; 0]);
        }
    }

    proptest! {
        #[test]
        fn no_alert_begins_twice_and_each_one_ends_once(
            observed in prop::collection::vec(prop::collection::btree_set(0_u8..30, 0..30), 0..60),
            restart_at in 0_usize..60,
        ) {
            let mut tracker = AlertTracker::default();
            let mut open = BTreeSet::new();
            // One more than an end needs: a restart forgets the first.
            let nothing = [const { BTreeSet::new() }; 3];
            for (index, subjects) in observed.iter().chain(&nothing).enumerate() {
                if index == restart_at {
                    tracker = AlertTracker::restore(open.iter().cloned());
                }
                let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
                let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
                for change in tracker.observe(observation(&subjects)) {
                    match change {
                        AlertChange::Begin(condition) => prop_assert!(open.insert(condition.key)),
                        AlertChange::End(key) => prop_assert!(open.remove(&key)),
                    }
                }
            }
            prop_assert!(open.is_empty(), "{open:?}");
        }
    }
}
