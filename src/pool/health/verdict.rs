//! `Verdict`: what an answer proves, by a named rule, and what each rule means for the pool.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::pool::outcome::Outcome;

/// The result of one attempt: the decisive rule, and its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub rule: Rule,
    /// The HTTP status, or the code of an error inside a 200; `None`: no answer.
    pub status: Option<u16>,
    /// Google's message or the network's, not yet redacted; empty on success.
    pub message: String,
    /// The delay that Google asks for.
    pub retry_delay: Option<Duration>,
    /// The used-up limits that Google names; several at once are possible.
    pub violations: Vec<Violation>,
    /// The Google project the error names (`projects/123`), if any.
    pub project: Option<String>,
}

/// One used-up limit of a `QuotaFailure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub quota_id: String,
    pub metric: String,
    /// The model that Google counts, which may be spelt unlike the one in the URL; `None`: the whole project.
    pub model: Option<String>,
    pub window: QuotaWindow,
    /// The limit, when Google states it.
    pub limit: Option<u64>,
}

/// The window in which Google counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaWindow {
    Minute,
    Day,
    Unknown,
}

/// Where the fault lies, and so what cools down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No fault of a part of the pool.
    None,
    /// The client's request.
    Client,
    /// The key, until checks prove otherwise.
    KeyInvalid,
    /// The key, for good.
    KeyLeaked,
    /// The project, until it is paid or the suspension is lifted.
    ProjectSuspended,
    /// The project, until its configuration is repaired.
    ProjectMisconfigured,
    /// The project for this model, for as long as the rule says.
    ProjectModel,
    /// The model, for all projects.
    Model,
    /// The egress: every key would fail alike.
    Egress,
    /// A soft fault: counts only if it is frequent while other keys succeed.
    Soft,
}

/// Whether and how a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    No,
    /// With another key, uncounted: the attempt reached no model.
    FreeWithOtherKey,
    /// With at most one other key.
    OneOtherKey,
    /// Once more, counted.
    Once,
    /// At most twice more, counted, after a pause with jitter.
    TwiceAfterPause,
}

/// The rules of classification, one per row of the table of verdicts.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumString,
    IntoStaticStr,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    Success,
    InvalidRequest,
    ApiKeyInvalid,
    TwoCredentials,
    LocationUnsupported,
    Unauthenticated,
    BillingEmpty,
    SpendingCap,
    ConsumerSuspended,
    KeyLeaked,
    ServiceDisabled,
    KeyRestricted,
    ProjectDenied,
    ForeignResource,
    NoCredential,
    FrontEndForbidden,
    ModelNotFound,
    ModelRetired,
    ResourceNotFound,
    ClientFault,
    UnnamedFault,
    QuotaPerMinute,
    QuotaPerDay,
    QuotaZero,
    QuotaUnknownWindow,
    QuotaWithoutDetail,
    Cancelled,
    InternalError,
    FrontEndError,
    Overloaded,
    DeadlineExceeded,
    UpstreamDeadline,
    ConnectFailed,
    /// This process may open no more files, and so no connection.
    TooManyOpenFiles,
    ConnectionBroken,
    AnswerTimeout,
    MalformedAnswer,
    /// A good answer without content, which may be sent again.
    EmptyReply,
    /// Another attempt at the same time answered first.
    HedgeCancelled,
}

impl Verdict {
    /// The verdict on an attempt without an answer.
    pub fn without_answer(rule: Rule, message: String) -> Self {
        Self {
            rule,
            status: None,
            message,
            retry_delay: None,
            violations: Vec::new(),
            project: None,
        }
    }
}

impl Rule {
    /// Whether the key's project lacks the named resource.
    pub fn is_miss(self) -> bool {
        matches!(self, Self::ForeignResource | Self::ResourceNotFound)
    }

    /// The rule with this name.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The name stored with the attempt; never changes once released.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What the rule means: the outcome, where the fault lies, and whether the request may be sent again.
    fn meaning(self) -> (Outcome, Fault, Retry) {
        match self {
            Self::Success => (Outcome::Success, Fault::None, Retry::No),
            Self::InvalidRequest | Self::ModelNotFound | Self::ClientFault | Self::UnnamedFault => {
                (Outcome::ClientError, Fault::Client, Retry::No)
            }
            Self::ApiKeyInvalid | Self::Unauthenticated | Self::KeyRestricted => (
                Outcome::KeyFault,
                Fault::KeyInvalid,
                Retry::FreeWithOtherKey,
            ),
            Self::TwoCredentials
            | Self::NoCredential
            | Self::Cancelled
            | Self::DeadlineExceeded => (Outcome::UpstreamError, Fault::None, Retry::No),
            Self::LocationUnsupported => {
                (Outcome::UpstreamError, Fault::Egress, Retry::OneOtherKey)
            }
            Self::BillingEmpty
            | Self::SpendingCap
            | Self::ConsumerSuspended
            | Self::ProjectDenied => (
                Outcome::KeyFault,
                Fault::ProjectSuspended,
                Retry::FreeWithOtherKey,
            ),
            Self::KeyLeaked => (Outcome::KeyFault, Fault::KeyLeaked, Retry::FreeWithOtherKey),
            Self::ServiceDisabled => (
                Outcome::KeyFault,
                Fault::ProjectMisconfigured,
                Retry::FreeWithOtherKey,
            ),
            Self::ForeignResource | Self::ResourceNotFound => {
                (Outcome::ClientError, Fault::None, Retry::No)
            }
            Self::FrontEndForbidden => (Outcome::UpstreamError, Fault::Egress, Retry::No),
            Self::ModelRetired => (
                Outcome::KeyFault,
                Fault::ProjectModel,
                Retry::FreeWithOtherKey,
            ),
            Self::QuotaPerMinute
            | Self::QuotaPerDay
            | Self::QuotaZero
            | Self::QuotaUnknownWindow
            | Self::QuotaWithoutDetail => {
                (Outcome::Quota, Fault::ProjectModel, Retry::FreeWithOtherKey)
            }
            Self::InternalError
            | Self::FrontEndError
            | Self::UpstreamDeadline
            | Self::MalformedAnswer => (Outcome::UpstreamError, Fault::Soft, Retry::Once),
            Self::Overloaded => (Outcome::UpstreamError, Fault::Model, Retry::TwiceAfterPause),
            Self::ConnectFailed | Self::ConnectionBroken => {
                (Outcome::Network, Fault::Soft, Retry::Once)
            }
            Self::AnswerTimeout | Self::TooManyOpenFiles => {
                (Outcome::Network, Fault::None, Retry::No)
            }
            // The key served: the attempt is a success of its own.
            Self::EmptyReply => (Outcome::Success, Fault::None, Retry::Once),
            Self::HedgeCancelled => (Outcome::ClientGone, Fault::None, Retry::No),
        }
    }

    /// The outcome for rows and rollups.
    pub fn outcome(self) -> Outcome {
        self.meaning().0
    }

    /// Where the fault lies.
    pub fn fault(self) -> Fault {
        self.meaning().1
    }

    /// Whether and how the request may be sent again.
    pub fn retry(self) -> Retry {
        self.meaning().2
    }

    /// Whether the connection failed, which through a proxy is a fault of the proxy.
    pub fn is_of_connection(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::ConnectionBroken)
    }

    /// Whether another egress may help.
    pub fn is_of_egress(self) -> bool {
        self.is_of_connection() || self == Self::LocationUnsupported
    }

    /// Whether the answer's text concerns our key, so that no client may receive it.
    pub fn concerns_our_key(self) -> bool {
        match self.fault() {
            Fault::KeyInvalid
            | Fault::KeyLeaked
            | Fault::ProjectSuspended
            | Fault::ProjectMisconfigured
            | Fault::ProjectModel => true,
            Fault::None | Fault::Client | Fault::Model | Fault::Egress | Fault::Soft => {
                matches!(self, Self::TwoCredentials | Self::NoCredential)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_name() {
        for (rule, name) in [
            (Rule::Success, "success"),
            (Rule::TwoCredentials, "two_credentials"),
            (Rule::FrontEndForbidden, "front_end_forbidden"),
        ] {
            assert_eq!((rule.name(), Rule::named(name)), (name, Some(rule)));
        }
        assert_eq!(Rule::named("Success"), None);
    }
}
