//! What-if replays: the requests of the log with another setting, against what is known of the pool.
//!
//! [`replay`] uses the real selection, queue, retry and cooldown rules;
//! [`upstream`] stands for Google.

pub mod replay;
pub mod upstream;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{Billing, ProjectId, UpstreamKey, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::quota::limits::Measure;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::settings::Settings;

/// Maximum number of projects that may be added.
pub const MAX_MORE_PROJECTS: u32 = 10_000;

/// The one thing that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatIfChange {
    WaitForKeySeconds(u32),
    MaxAttempts(u32),
    /// 0: no limit.
    PerKeyConcurrency(u32),
    /// Each with one key, and the limits that the others have.
    MoreProjects(u32),
    KeyOrder(KeyOrder),
}

/// What can be changed, as forms and JSON name it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WhatIfSetting {
    WaitForKeySeconds,
    MaxAttempts,
    PerKeyConcurrency,
    MoreProjects,
    KeyOrder,
}

/// Another order of keys.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KeyOrder {
    /// All keys have the same priority.
    OnePriority,
    /// Keys of free projects first.
    FreeFirst,
    /// Keys of paid projects first.
    PaidFirst,
}

/// A request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    pub at: Timestamp,
    pub client: ClientKeyId,
    /// The index of its model.
    pub model: usize,
    pub amount: QuotaAmount,
    pub wait_ms: u64,
    pub attempts: u32,
    /// How long a good answer takes: its own time after the wait, or where it got none the usual one of its model.
    pub service_ms: u64,
    pub end: ReplayEnd,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayEnd {
    /// With an answer to the client's request, good or not.
    Answered,
    /// Without a key, or with quota that was used up.
    Refused,
    /// With an error of Google or the network.
    Failed,
}

impl ReplayEnd {
    /// `None`: it says nothing about the pool.
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Success | Outcome::ClientError | Outcome::ClientGone | Outcome::BrokenOff => {
                Some(Self::Answered)
            }
            Outcome::NoKey | Outcome::Quota => Some(Self::Refused),
            Outcome::KeyFault | Outcome::UpstreamError | Outcome::Network => Some(Self::Failed),
            Outcome::Refused | Outcome::Interrupted => None,
        }
    }
}

/// An attempt of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedAttempt {
    pub at: Timestamp,
    pub project: ProjectId,
    pub model: usize,
    pub rule: Rule,
}

/// A limit that is known of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLimit {
    pub project: ProjectId,
    pub model: usize,
    pub measure: Measure,
    pub limit: u64,
}

/// Quota of a key that was used before the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedBefore {
    pub key: UpstreamKeyId,
    pub model: usize,
    pub amount: QuotaAmount,
}

/// What the replay knows.
#[derive(Debug, Clone, Default)]
pub struct ReplayInput {
    pub models: Vec<String>,
    /// The keys that can be used now.
    pub keys: Vec<UpstreamKey>,
    pub limits: Vec<KnownLimit>,
    pub used: Vec<UsedBefore>,
    /// In the order of their times, like the attempts.
    pub requests: Vec<LoggedRequest>,
    pub attempts: Vec<LoggedAttempt>,
    pub settings: Settings,
}

/// The figures of a replay, or of what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfFigures {
    pub answered: u64,
    /// Without a key, or with quota that was used up.
    pub refused: u64,
    /// With an error of Google or the network.
    pub failed: u64,
    pub attempts: u64,
    /// Answered requests that waited for a key.
    pub waited: u64,
    /// Of answered requests.
    pub median_wait_ms: u64,
    pub p95_wait_ms: u64,
}

/// What happened, and both replays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfResult {
    /// The span of the requests that were replayed.
    pub from: Timestamp,
    pub to: Timestamp,
    pub requests: u64,
    /// Earlier requests of the chosen span, which were not replayed.
    pub left_out: u64,
    pub keys: u64,
    pub actual: WhatIfFigures,
    /// With the settings as they are: how close it is to what happened shows what the other replay is worth.
    pub present: WhatIfFigures,
    pub changed: WhatIfFigures,
    /// Requests that end in the replay with the present settings as they did, in thousandths.
    pub same_end_per_mille: u64,
}

impl WhatIfChange {
    /// The change of a setting to a value; `None`: it is not one.
    pub fn parse(setting: WhatIfSetting, value: &str) -> Option<Self> {
        let value = value.trim();
        let number = |largest: u32| value.parse().ok().filter(|number| *number <= largest);
        match setting {
            WhatIfSetting::WaitForKeySeconds => number(3_600).map(Self::WaitForKeySeconds),
            WhatIfSetting::MaxAttempts => {
                let attempts = number(100).filter(|attempts| *attempts > 0);
                attempts.map(Self::MaxAttempts)
            }
            WhatIfSetting::PerKeyConcurrency => number(10_000).map(Self::PerKeyConcurrency),
            WhatIfSetting::MoreProjects => {
                let projects = number(MAX_MORE_PROJECTS).filter(|projects| *projects > 0);
                projects.map(Self::MoreProjects)
            }
            WhatIfSetting::KeyOrder => value.parse().ok().map(Self::KeyOrder),
        }
    }

    /// Applies it to what the replay knows.
    pub fn apply(self, input: &mut ReplayInput) {
        match self {
            Self::WaitForKeySeconds(seconds) => {
                input.settings.wait_for_key_seconds = seconds.into();
            }
            Self::MaxAttempts(attempts) => input.settings.max_attempts = attempts,
            Self::PerKeyConcurrency(most) => input.settings.per_key_concurrency = most,
            Self::MoreProjects(count) => add_projects(input, count),
            Self::KeyOrder(order) => {
                for key in &mut input.keys {
                    key.priority = match order {
                        KeyOrder::OnePriority => 0,
                        KeyOrder::FreeFirst => i64::from(key.billing != Billing::Free),
                        KeyOrder::PaidFirst => i64::from(key.billing != Billing::Paid),
                    };
                }
            }
        }
    }
}

/// Adds projects like the one with the most known limits.
fn add_projects(input: &mut ReplayInput, count: u32) {
    let known = |key: &&UpstreamKey| {
        let limits = input.limits.iter();
        limits
            .filter(|limit| limit.project == key.project_id)
            .count()
    };
    let Some(like) = input.keys.iter().max_by_key(known).cloned() else {
        return;
    };
    let of_like = |limit: &&KnownLimit| limit.project == like.project_id;
    let limits: Vec<_> = input.limits.iter().filter(of_like).copied().collect();
    let last_key = input.keys.iter().map(|key| key.id.0).max().unwrap_or(0);
    let projects = input.keys.iter().map(|key| key.project_id.0);
    let last_project = projects.max().unwrap_or(0);
    for number in 1..=i64::from(count) {
        let project = ProjectId(last_project + number);
        input.keys.push(UpstreamKey {
            id: UpstreamKeyId(last_key + number),
            project_id: project,
            ..like.clone()
        });
        let limits = limits.iter().map(|limit| KnownLimit { project, ..*limit });
        input.limits.extend(limits);
    }
}

impl WhatIfFigures {
    /// Of what happened.
    pub fn actual(requests: &[LoggedRequest]) -> Self {
        let ends = requests.iter().map(|request| {
            let wait = Duration::from_millis(request.wait_ms);
            (request.end, wait, request.attempts)
        });
        Self::of(ends)
    }

    /// Of how requests ended, after which waits and attempts.
    pub fn of(ends: impl Iterator<Item = (ReplayEnd, Duration, u32)>) -> Self {
        let (mut figures, mut waits) = (Self::default(), Vec::new());
        for (end, wait, attempts) in ends {
            figures.attempts += u64::from(attempts);
            match end {
                ReplayEnd::Answered => {
                    figures.answered += 1;
                    figures.waited += u64::from(!wait.is_zero());
                    waits.push(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                }
                ReplayEnd::Refused => figures.refused += 1,
                ReplayEnd::Failed => figures.failed += 1,
            }
        }
        waits.sort_unstable();
        let at = |per_cent: usize| waits.get(waits.len() * per_cent / 100).copied();
        figures.median_wait_ms = at(50).unwrap_or(0);
        figures.p95_wait_ms = at(95).unwrap_or(0);
        figures
    }
}
