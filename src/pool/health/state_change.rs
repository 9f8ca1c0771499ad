//! `StateChange`: a change that a verdict or a check made, to be stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::pool::egress::condition::EgressCondition;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::keys::upstream_key::{Billing, KeyCondition, ProjectId, UpstreamKeyId};
use crate::pool::quota::limits::Measure;

/// A change that a verdict or a check made, to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateChange {
    Key {
        id: UpstreamKeyId,
        condition: KeyCondition,
    },
    Cooldown {
        project_id: ProjectId,
        model: String,
        cooldown: Cooldown,
    },
    /// A cooldown that was not the project's fault.
    CooldownLifted {
        project_id: ProjectId,
        model: String,
    },
    /// A project's limit of a model; `None`: usage exceeded the inherited limit.
    Limit {
        project_id: ProjectId,
        model: String,
        measure: Measure,
        limit: Option<u64>,
        /// Whether Google named the same limit before.
        is_known: bool,
        at: Timestamp,
    },
    /// Google named the project's billing.
    Billing {
        project_id: ProjectId,
        billing: Billing,
    },
    /// A check kept the key's condition or put it on trial; the evidence is unchanged.
    Checked {
        id: UpstreamKeyId,
        condition: KeyCondition,
    },
    /// Google named the key's project: `projects/123`.
    Project { id: UpstreamKeyId, number: String },
    /// An egress proxy is broken, or works again.
    Egress {
        id: EgressProxyId,
        condition: EgressCondition,
    },
}

impl StateChange {
    /// Whether the change is worth a line in the log: Google names a known limit in each refusal.
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Limit { is_known: true, .. })
    }
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, condition } | Self::Checked { id, condition } => {
                write!(f, "upstream key {} is now {:?}", id.0, condition.state)?;
                match condition.until.or(condition.next_check) {
                    Some(at) => write!(f, " until {at}"),
                    None => Ok(()),
                }
            }
            Self::Cooldown {
                project_id,
                model,
                cooldown,
            } => write!(
                f,
                "project {} cools down for {model} until {}",
                project_id.0, cooldown.until
            ),
            Self::CooldownLifted { project_id, model } => {
                write!(
                    f,
                    "project {} no longer cools down for {model}",
                    project_id.0
                )
            }
            Self::Limit {
                project_id,
                model,
                measure,
                limit: Some(limit),
                ..
            } => write!(
                f,
                "project {} may use {limit} of {model}: {}",
                project_id.0,
                measure.name()
            ),
            Self::Limit {
                project_id,
                model,
                measure,
                limit: None,
                ..
            } => write!(
                f,
                "project {} may exceed the inherited limit of {model}: {}",
                project_id.0,
                measure.name()
            ),
            Self::Billing {
                project_id,
                billing,
            } => write!(f, "project {} has billing {billing:?}", project_id.0),
            // This text is logged, so it omits the project number.
            Self::Project { id, .. } => {
                write!(f, "upstream key {}: Google named its project", id.0)
            }
            Self::Egress { id, condition } => {
                write!(f, "egress proxy {id} is now {:?}", condition.state)?;
                match condition.until {
                    Some(at) => write!(f, " until {at}"),
                    None => Ok(()),
                }
            }
        }
    }
}
