//! `StateChange`: what a verdict changed, to be written down.

use std::fmt;

use crate::clock::Timestamp;
use crate::pool::keys::registry::Cooldown;
use crate::pool::keys::upstream_key::{Billing, KeyCondition, ProjectId, UpstreamKeyId};
use crate::pool::quota::limits::Measure;

/// What a verdict changed, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// A cooldown that was nobody's fault.
    CooldownLifted {
        project_id: ProjectId,
        model: String,
    },
    /// What a project may use of a model; no limit: more than was presumed.
    Limit {
        project_id: ProjectId,
        model: String,
        measure: Measure,
        limit: Option<u64>,
        at: Timestamp,
    },
    /// Google said what it bills the project for.
    Billing {
        project_id: ProjectId,
        billing: Billing,
    },
    /// A check left the key's condition as it was or let it come on trial; the evidence stays.
    Checked {
        id: UpstreamKeyId,
        condition: KeyCondition,
    },
    /// Google named the key's project: `projects/123`.
    Project { id: UpstreamKeyId, number: String },
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
                "project {} rests for {model} until {}",
                project_id.0, cooldown.until
            ),
            Self::CooldownLifted { project_id, model } => {
                write!(f, "project {} rests no longer for {model}", project_id.0)
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
                "project {} may use more of {model} than was presumed: {}",
                project_id.0,
                measure.name()
            ),
            Self::Billing {
                project_id,
                billing,
            } => write!(f, "project {} is billed as {billing:?}", project_id.0),
            // Without the number, by which Google knows the project: this is for the log.
            Self::Project { id, .. } => {
                write!(f, "upstream key {} is in a project that Google named", id.0)
            }
        }
    }
}
