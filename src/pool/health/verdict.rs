//! `Verdict`: what an answer proves, by a named rule, and what each rule means for the pool.

use std::time::Duration;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    ConnectionBroken,
    AnswerTimeout,
    MalformedAnswer,
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

    pub const ALL: [Self; 36] = [
        Self::Success,
        Self::InvalidRequest,
        Self::ApiKeyInvalid,
        Self::TwoCredentials,
        Self::LocationUnsupported,
        Self::Unauthenticated,
        Self::BillingEmpty,
        Self::SpendingCap,
        Self::ConsumerSuspended,
        Self::KeyLeaked,
        Self::ServiceDisabled,
        Self::KeyRestricted,
        Self::ProjectDenied,
        Self::ForeignResource,
        Self::NoCredential,
        Self::FrontEndForbidden,
        Self::ModelNotFound,
        Self::ModelRetired,
        Self::ResourceNotFound,
        Self::ClientFault,
        Self::UnnamedFault,
        Self::QuotaPerMinute,
        Self::QuotaPerDay,
        Self::QuotaZero,
        Self::QuotaUnknownWindow,
        Self::QuotaWithoutDetail,
        Self::Cancelled,
        Self::InternalError,
        Self::FrontEndError,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::UpstreamDeadline,
        Self::ConnectFailed,
        Self::ConnectionBroken,
        Self::AnswerTimeout,
        Self::MalformedAnswer,
    ];

    /// The rule with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The name stored with the attempt; never changes once released.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InvalidRequest => "invalid_request",
            Self::ApiKeyInvalid => "api_key_invalid",
            Self::TwoCredentials => "two_credentials",
            Self::LocationUnsupported => "location_unsupported",
            Self::Unauthenticated => "unauthenticated",
            Self::BillingEmpty => "billing_empty",
            Self::SpendingCap => "spending_cap",
            Self::ConsumerSuspended => "consumer_suspended",
            Self::KeyLeaked => "key_leaked",
            Self::ServiceDisabled => "service_disabled",
            Self::KeyRestricted => "key_restricted",
            Self::ProjectDenied => "project_denied",
            Self::ForeignResource => "foreign_resource",
            Self::NoCredential => "no_credential",
            Self::FrontEndForbidden => "front_end_forbidden",
            Self::ModelNotFound => "model_not_found",
            Self::ModelRetired => "model_retired",
            Self::ResourceNotFound => "resource_not_found",
            Self::ClientFault => "client_fault",
            Self::UnnamedFault => "unnamed_fault",
            Self::QuotaPerMinute => "quota_per_minute",
            Self::QuotaPerDay => "quota_per_day",
            Self::QuotaZero => "quota_zero",
            Self::QuotaUnknownWindow => "quota_unknown_window",
            Self::QuotaWithoutDetail => "quota_without_detail",
            Self::Cancelled => "cancelled",
            Self::InternalError => "internal_error",
            Self::FrontEndError => "front_end_error",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::UpstreamDeadline => "upstream_deadline",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectionBroken => "connection_broken",
            Self::AnswerTimeout => "answer_timeout",
            Self::MalformedAnswer => "malformed_answer",
        }
    }

    /// The outcome for rows and rollups.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            Self::InvalidRequest
            | Self::ForeignResource
            | Self::ModelNotFound
            | Self::ResourceNotFound
            | Self::ClientFault
            | Self::UnnamedFault => Outcome::ClientError,
            Self::ApiKeyInvalid
            | Self::Unauthenticated
            | Self::BillingEmpty
            | Self::SpendingCap
            | Self::ConsumerSuspended
            | Self::KeyLeaked
            | Self::ServiceDisabled
            | Self::KeyRestricted
            | Self::ProjectDenied
            | Self::ModelRetired => Outcome::KeyFault,
            Self::QuotaPerMinute
            | Self::QuotaPerDay
            | Self::QuotaZero
            | Self::QuotaUnknownWindow
            | Self::QuotaWithoutDetail => Outcome::Quota,
            Self::TwoCredentials
            | Self::NoCredential
            | Self::LocationUnsupported
            | Self::FrontEndForbidden
            | Self::Cancelled
            | Self::InternalError
            | Self::FrontEndError
            | Self::Overloaded
            | Self::DeadlineExceeded
            | Self::UpstreamDeadline
            | Self::MalformedAnswer => Outcome::UpstreamError,
            Self::ConnectFailed | Self::ConnectionBroken | Self::AnswerTimeout => Outcome::Network,
        }
    }

    /// Where the fault lies.
    pub fn fault(self) -> Fault {
        match self {
            Self::Success
            | Self::ForeignResource
            | Self::ResourceNotFound
            | Self::TwoCredentials
            | Self::NoCredential
            | Self::Cancelled
            | Self::DeadlineExceeded
            | Self::AnswerTimeout => Fault::None,
            Self::InvalidRequest | Self::ModelNotFound | Self::ClientFault | Self::UnnamedFault => {
                Fault::Client
            }
            Self::ApiKeyInvalid | Self::Unauthenticated | Self::KeyRestricted => Fault::KeyInvalid,
            Self::KeyLeaked => Fault::KeyLeaked,
            Self::BillingEmpty
            | Self::SpendingCap
            | Self::ConsumerSuspended
            | Self::ProjectDenied => Fault::ProjectSuspended,
            Self::ServiceDisabled => Fault::ProjectMisconfigured,
            Self::ModelRetired
            | Self::QuotaPerMinute
            | Self::QuotaPerDay
            | Self::QuotaZero
            | Self::QuotaUnknownWindow
            | Self::QuotaWithoutDetail => Fault::ProjectModel,
            Self::Overloaded => Fault::Model,
            Self::LocationUnsupported | Self::FrontEndForbidden => Fault::Egress,
            Self::InternalError
            | Self::FrontEndError
            | Self::UpstreamDeadline
            | Self::ConnectFailed
            | Self::ConnectionBroken
            | Self::MalformedAnswer => Fault::Soft,
        }
    }

    /// Whether and how the request may be sent again.
    pub fn retry(self) -> Retry {
        match self {
            Self::ApiKeyInvalid
            | Self::Unauthenticated
            | Self::BillingEmpty
            | Self::SpendingCap
            | Self::ConsumerSuspended
            | Self::KeyLeaked
            | Self::ServiceDisabled
            | Self::KeyRestricted
            | Self::ProjectDenied
            | Self::ModelRetired
            | Self::QuotaPerMinute
            | Self::QuotaPerDay
            | Self::QuotaZero
            | Self::QuotaUnknownWindow
            | Self::QuotaWithoutDetail => Retry::FreeWithOtherKey,
            Self::LocationUnsupported => Retry::OneOtherKey,
            Self::InternalError
            | Self::FrontEndError
            | Self::UpstreamDeadline
            | Self::ConnectFailed
            | Self::ConnectionBroken
            | Self::MalformedAnswer => Retry::Once,
            Self::Overloaded => Retry::TwiceAfterPause,
            Self::Success
            | Self::InvalidRequest
            | Self::TwoCredentials
            | Self::ForeignResource
            | Self::NoCredential
            | Self::FrontEndForbidden
            | Self::ModelNotFound
            | Self::ResourceNotFound
            | Self::ClientFault
            | Self::UnnamedFault
            | Self::Cancelled
            | Self::DeadlineExceeded
            | Self::AnswerTimeout => Retry::No,
        }
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
    fn every_rule_is_found_by_its_name() {
        // The last rule's number is the number of rules before it.
        assert_eq!(Rule::ALL.len(), Rule::MalformedAnswer as usize + 1);
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(rule));
        }
    }
}
