//! `EgressProxy`: a proxy for connections to Google, with the scope of keys that use it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pool::clients::scopes;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::condition::EgressCondition;
use crate::pool::keys::upstream_key::ProjectId;

/// The id of an egress proxy; never used again.
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
pub struct EgressProxyId(pub i64);

impl fmt::Display for EgressProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose requests go through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressScope {
    /// Those of all upstream keys.
    All,
    /// Those of keys with one of these tags.
    Tags(Vec<String>),
    /// Those of keys of these projects.
    Projects(Vec<ProjectId>),
}

/// A proxy as read from its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressProxy {
    pub id: EgressProxyId,
    pub label: String,
    pub address: ProxyAddress,
    pub enabled: bool,
    pub scope: EgressScope,
    pub condition: EgressCondition,
    /// The revision at which an admin last reset the state.
    pub state_reset_revision: i64,
}

/// What an admin wrote for a proxy cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEgressProxy {
    #[error("a label has 1 to 100 characters, on one line")]
    Label,
    #[error("a proxy serves projects or tags, not both: add another proxy for the other scope")]
    TwoScopes,
    #[error("a tag is a word, without spaces, commas, `;` or `|`")]
    Tag,
}

/// A valid label.
pub fn parse_label(text: &str) -> Result<String, InvalidEgressProxy> {
    let label = text.trim();
    if label.is_empty() || label.chars().count() > 100 || label.contains(char::is_control) {
        return Err(InvalidEgressProxy::Label);
    }
    Ok(label.to_owned())
}

impl EgressScope {
    /// The scope of these projects, or of these tags, or of all keys.
    pub fn of(
        mut projects: Vec<ProjectId>,
        mut tags: Vec<String>,
    ) -> Result<Self, InvalidEgressProxy> {
        projects.sort_unstable();
        projects.dedup();
        tags.sort_unstable();
        tags.dedup();
        if tags
            .iter()
            .any(|tag| scopes::check_tag(tag).is_err() || tag.contains(','))
        {
            return Err(InvalidEgressProxy::Tag);
        }
        match (projects.is_empty(), tags.is_empty()) {
            (true, true) => Ok(Self::All),
            (true, false) => Ok(Self::Tags(tags)),
            (false, true) => Ok(Self::Projects(projects)),
            (false, false) => Err(InvalidEgressProxy::TwoScopes),
        }
    }

    /// How specific the scope is for a key; `None`: it does not include the key.
    pub fn specificity(&self, project: ProjectId, tags: &[String]) -> Option<u8> {
        match self {
            Self::All => Some(0),
            Self::Tags(of) => of.iter().any(|tag| tags.contains(tag)).then_some(1),
            Self::Projects(of) => of.contains(&project).then_some(2),
        }
    }
}

#[cfg(test)]
impl EgressProxy {
    /// A proxy that works, for tests.
    pub fn example(id: i64, scope: EgressScope) -> Self {
        Self {
            id: EgressProxyId(id),
            label: format!("proxy {id}"),
            address: ProxyAddress::parse(&format!("http://proxy-{id}.example.com:3128")).unwrap(),
            enabled: true,
            scope,
            condition: EgressCondition::working(crate::clock::Timestamp::from_millis(0)),
            state_reset_revision: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_serves_projects_or_tags_or_all() {
        let of = |projects: &[i64], tags: &[&str]| {
            let projects = projects.iter().copied().map(ProjectId).collect();
            EgressScope::of(projects, tags.iter().map(ToString::to_string).collect())
        };

        assert_eq!(of(&[], &[]), Ok(EgressScope::All));
        let projects = EgressScope::Projects(vec![ProjectId(1), ProjectId(2)]);
        assert_eq!(of(&[2, 1, 2], &[]), Ok(projects));
        let tags = EgressScope::Tags(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(of(&[], &["b", "a", "b"]), Ok(tags));
        assert_eq!(of(&[1], &["a"]), Err(InvalidEgressProxy::TwoScopes));
        assert_eq!(of(&[], &["a b"]), Err(InvalidEgressProxy::Tag));
    }

    #[test]
    fn a_label_is_a_line() {
        assert_eq!(parse_label(" Taipei 1 ").as_deref(), Ok("Taipei 1"));
        for label in [" ", "a\nb", &"x".repeat(101)] {
            assert_eq!(parse_label(label), Err(InvalidEgressProxy::Label));
        }
    }
}
