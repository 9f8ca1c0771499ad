//! What an upstream key is: its ids, its states, its condition and its project.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::secret::Secret;

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

/// Who pays for a project's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, sqlx::Type, Serialize)]
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

    /// Reads our words, and what Google calls the tiers of those who pay.
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

/// A key's state with its end or its next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCondition {
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

    /// What began later than now was told by a clock that has been set back: it lasts as long, from now. A check comes
    /// within a day.
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

/// An upstream key as the pool needs it, read from its row.
#[derive(Debug, Clone)]
pub struct UpstreamKey {
    pub id: UpstreamKeyId,
    pub project_id: ProjectId,
    /// What the admin calls the project, else Google's number for it; `None` while unknown.
    pub project: Option<String>,
    /// `projects/123`, as Google's errors name it; `None` while unknown.
    pub project_number: Option<String>,
    pub billing: Billing,
    pub label: String,
    pub tags: Vec<String>,
    pub secret: Secret,
    pub enabled: bool,
    /// Lower is lent first.
    pub priority: i64,
    pub weight: u32,
    pub condition: KeyCondition,
    /// The revision at which a hand last cleared the state.
    pub state_reset_revision: i64,
    pub last_used_at: Option<Timestamp>,
    /// When it was last looked at, apart from requests.
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

/// What an admin may say of a key; `None`: nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyAttributes {
    pub label: Option<String>,
    /// Google's number for the project, or a name of the admin's own.
    pub project: Option<String>,
    /// Of the project.
    pub billing: Option<Billing>,
    pub priority: Option<i64>,
    /// From 1 to [`MAX_WEIGHT`].
    pub weight: Option<u32>,
    pub tags: Option<Vec<String>>,
}

/// The largest weight.
pub const MAX_WEIGHT: u32 = 1_000;

impl KeyAttributes {
    /// What is said here, and where nothing is, what `others` say.
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

/// The tags in a text, each once: words, separated by spaces, commas, `;` or `|`.
pub fn parse_tags(text: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split(|char: char| char.is_whitespace() || ",;|".contains(char)) {
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

impl UpstreamKey {
    /// What of the project's names must not reach a client: those by which Google knows it, not a team's own words.
    pub fn project_ids(&self) -> Vec<String> {
        let named = self.project.as_deref().filter(|name| is_project_id(name));
        let number = self.project_number.as_deref();
        number.into_iter().chain(named).map(str::to_owned).collect()
    }
}

/// Whether `name` has the form of an id that Google gives a project: 6 to 30 lower-case letters, digits and hyphens, a
/// letter first. A single word of letters is taken for the admin's own.
fn is_project_id(name: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (6..=30).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_inside)
        && name.bytes().any(|byte| !byte.is_ascii_lowercase())
}

/// What a key is called until it is given a name.
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
    fn googles_ids_are_told_from_a_teams_own_words() {
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
    fn billing_is_read_in_our_words_and_googles() {
        let read = |text: &str| text.parse::<Billing>().ok();

        assert_eq!(read("free"), Some(Billing::Free));
        assert_eq!(read("Paid"), Some(Billing::Paid));
        assert_eq!(read("Tier 2"), Some(Billing::Paid));
        assert_eq!(read("UNKNOWN"), Some(Billing::Unknown));
        assert_eq!(read("gold"), None);
    }
}
