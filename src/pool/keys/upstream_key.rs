//! Types of an upstream key: its ids, states, condition and attributes.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::pool::health::verdict::{Fault, Rule};
use crate::pool::secret::Secret;

/// The id of an upstream key.
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
    utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct UpstreamKeyId(pub i64);

/// Our id of a Google project.
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
    utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct ProjectId(pub i64);

/// The state of an upstream key.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize, Deserialize, utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    Ready,
    /// Cools down until a time, after soft faults.
    CoolingDown,
    /// Limited to one request at a time until one succeeds.
    Trial,
    Invalid,
    Leaked,
    Suspended,
    Misconfigured,
}

impl KeyState {
    /// The state that a fault puts a key in; `None`: the fault does not concern keys.
    pub fn after(fault: Fault) -> Option<Self> {
        match fault {
            Fault::KeyInvalid => Some(Self::Invalid),
            Fault::KeyLeaked => Some(Self::Leaked),
            Fault::ProjectSuspended => Some(Self::Suspended),
            Fault::ProjectMisconfigured => Some(Self::Misconfigured),
            _ => None,
        }
    }

    /// Whether all keys of a project share the state.
    pub fn is_of_project(self) -> bool {
        matches!(self, Self::Suspended | Self::Misconfigured)
    }
}

/// The billing of a project.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    Free,
    Paid,
    #[default]
    Unknown,
}

impl FromStr for Billing {
    type Err = String;

    /// Parses our names, and Google's names of paid tiers.
    fn from_str(text: &str) -> Result<Self, String> {
        let word: String = text
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        match word.as_str() {
            "free" | "freetier" => Ok(Self::Free),
            "paid" | "paidtier" | "tier1" | "tier2" | "tier3" => Ok(Self::Paid),
            "unknown" => Ok(Self::Unknown),
            _ => Err("must be free, paid or unknown".to_owned()),
        }
    }
}

/// A key's state with its end or its next check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCondition {
    pub state: KeyState,
    /// The rule that caused it; `None`: no verdict did.
    pub rule: Option<Rule>,
    pub since: Timestamp,
    /// When the state ends by itself; `None`: never.
    pub until: Option<Timestamp>,
    /// When the key is checked next; `None`: never by itself.
    pub next_check: Option<Timestamp>,
    /// Number of consecutive confirmations of the state.
    pub failed_checks: u32,
}

impl KeyCondition {
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

    /// Rebases a state that began later than `now`, by a clock set back since: it keeps its length, from now. The next
    /// check is at most a day away.
    #[must_use]
    pub fn rebased_at(self, now: Timestamp) -> Self {
        let longest = now + Duration::from_hours(24);
        Self {
            since: self.since.min(now),
            until: self.until.map(|until| {
                if self.since > now {
                    now + (until - self.since)
                } else {
                    until
                }
            }),
            next_check: self.next_check.map(|at| at.min(longest)),
            ..self
        }
    }
}

/// An upstream key as read from its row.
#[derive(Debug, Clone)]
pub struct UpstreamKey {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    /// The admin's name of the project, else Google's number; `None`: unknown.
    pub project: Option<String>,
    /// `projects/123`, as in Google's errors; `None`: unknown.
    pub project_number: Option<String>,
    pub billing: Billing,
    pub label: String,
    pub tags: Vec<String>,
    pub secret: Secret,
    pub enabled: bool,
    /// The lowest is leased first.
    pub priority: i64,
    pub weight: u32,
    pub condition: KeyCondition,
    /// The revision at which the admin last reset the state.
    pub state_reset_revision: i64,
    pub last_used_at: Option<Timestamp>,
    /// When it was last checked, apart from requests.
    pub checked_at: Option<Timestamp>,
}

#[cfg(test)]
impl UpstreamKey {
    /// A key that is ready since `now`, for tests.
    pub fn example(id: i64, project: i64, now: Timestamp) -> Self {
        Self {
            id: UpstreamKeyId(id),
            project_id: ProjectId(project),
            project: None,
            project_number: None,
            billing: Billing::Unknown,
            label: format!("key {id}"),
            tags: Vec::new(),
            secret: Secret::new(&format!("secret-of-key-{id:04}")),
            enabled: true,
            priority: 0,
            weight: 1,
            condition: KeyCondition::ready(now),
            state_reset_revision: 0,
            last_used_at: None,
            checked_at: None,
        }
    }
}

/// What an admin may set on a key; `None`: not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyAttributes {
    pub label: Option<String>,
    /// Google's number of the project, or a name chosen by the admin.
    pub project: Option<String>,
    /// Of the project.
    pub billing: Option<Billing>,
    pub priority: Option<i64>,
    /// From 1 to [`MAX_WEIGHT`].
    pub weight: Option<u32>,
    pub tags: Option<Vec<String>>,
}

pub const MAX_WEIGHT: u32 = 1_000;

impl KeyAttributes {
    /// These attributes, completed from `others`.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            label: self.label.clone().or_else(|| others.label.clone()),
            project: self.project.clone().or_else(|| others.project.clone()),
            billing: self.billing.or(others.billing),
            priority: self.priority.or(others.priority),
            weight: self.weight.or(others.weight),
            tags: self.tags.clone().or_else(|| others.tags.clone()),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The text is too long for a name, or is not one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidName;

/// A valid label or name of a project; `None` if the text is blank.
pub fn parse_name(text: &str) -> Result<Option<String>, InvalidName> {
    let text = text.trim();
    if text.chars().count() > 200 || text.contains(char::is_control) {
        return Err(InvalidName);
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// The tags in a text, each once, separated by spaces, commas, `;` or `|`.
pub fn parse_tags(text: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split(|char: char| char.is_whitespace() || ",;|".contains(char)) {
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// The tags without those of `remove`, and with those of `add` at the end, each once.
pub fn updated_tags(tags: &[String], add: &[String], remove: &[String]) -> Vec<String> {
    let kept = tags.iter().filter(|tag| !remove.contains(tag));
    let mut tags: Vec<_> = kept.cloned().collect();
    for tag in add {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

impl UpstreamKey {
    /// The project ids that must not reach a client: Google's number and id, not a name chosen by the admin.
    pub fn project_ids(&self) -> Vec<String> {
        let named = self.project.as_deref().filter(|name| is_project_id(name));
        let number = self.project_number.as_deref();
        number.into_iter().chain(named).map(str::to_owned).collect()
    }
}

/// Whether `name` has the form of Google's project ids: 6 to 30 lower-case letters, digits and hyphens, a letter first.
/// A word of letters only counts as a name chosen by the admin.
fn is_project_id(name: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (6..=30).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_inside)
        && name.bytes().any(|byte| !byte.is_ascii_lowercase())
}

/// The label of a key without one.
pub fn default_label(secret: &Secret) -> String {
    match secret.last4().as_str() {
        "" => "key".to_owned(),
        last4 => format!("key-{last4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_once_and_removed() {
        let texts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };

        let tags = updated_tags(
            &texts(&["a", "b"]),
            &texts(&["b", "c"]),
            &texts(&["a", "x"]),
        );

        assert_eq!(tags, ["b", "c"]);
    }

    #[test]
    fn googles_project_ids_differ_from_names_chosen_by_the_admin() {
        for id in ["gen-lang-client-0123456789", "my-project", "abcde1"] {
            assert!(is_project_id(id), "{id}");
        }
        for name in [
            "team",
            "backend",
            "Team-Blue",
            "team blue",
            "a-1",
            "projects/123",
            "1-team",
        ] {
            assert!(!is_project_id(name), "{name}");
        }
    }

    #[test]
    fn billing_is_parsed_from_our_names_and_googles() {
        let read = |text: &str| text.parse::<Billing>().ok();

        assert_eq!(read("free"), Some(Billing::Free));
        assert_eq!(read("Paid"), Some(Billing::Paid));
        assert_eq!(read("Tier 2"), Some(Billing::Paid));
        assert_eq!(read("UNKNOWN"), Some(Billing::Unknown));
        assert_eq!(read("gold"), None);
    }
}
