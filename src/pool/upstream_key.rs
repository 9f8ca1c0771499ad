//! What an upstream key is: its ids, its states and its condition.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::pool::secret::Secret;
use crate::pool::verdict::Rule;

/// The id of an upstream key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct UpstreamKeyId(pub i64);

/// The id of a Google project as we know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct ProjectId(pub i64);

/// What may be expected of an upstream key now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    Ready,
    /// Rests until a time, after soft faults.
    CoolingDown,
    /// Gets one request at a time until one succeeds.
    Trial,
    Invalid,
    Leaked,
    Suspended,
    Misconfigured,
}

/// A key's state with its end or its next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub state: KeyState,
    /// What set it; `None` for a state no verdict set.
    pub rule: Option<Rule>,
    pub since: Timestamp,
    /// When the state ends by itself; `None`: it does not.
    pub until: Option<Timestamp>,
    /// When the key is looked at again; `None`: never by itself.
    pub next_check: Option<Timestamp>,
    /// How often in a row the state was confirmed.
    pub failed_checks: u32,
}

impl Condition {
    pub fn ready(since: Timestamp) -> Self {
        Self {
            state: KeyState::Ready,
            rule: None,
            since,
            until: None,
            next_check: None,
            failed_checks: 0,
        }
    }

    /// When the key may be tried again by itself; `None` when it is usable, or when only a hand can bring it back.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        match self.state {
            KeyState::CoolingDown => self.until,
            KeyState::Invalid | KeyState::Suspended | KeyState::Misconfigured => self.next_check,
            KeyState::Ready | KeyState::Trial | KeyState::Leaked => None,
        }
    }
}

/// An upstream key as the pool needs it, read from its row.
#[derive(Debug, Clone)]
pub struct UpstreamKey {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    /// `projects/123`; `None` while unknown.
    pub project: Option<String>,
    pub label: String,
    pub secret: Secret,
    pub enabled: bool,
    /// Lower is lent first.
    pub priority: i64,
    pub weight: u32,
    pub condition: Condition,
    /// The revision at which a hand last cleared the state.
    pub state_reset_revision: i64,
    pub last_used_at: Option<Timestamp>,
}

/// What a key is called until it is given a name.
pub fn default_label(secret: &Secret) -> String {
    match secret.last4().as_str() {
        "" => "key".to_owned(),
        last4 => format!("key-{last4}"),
    }
}
