//! `Verdict`: what an attempt came to, by a named rule, and what each rule means for the pool.

use std::time::Duration;

use crate::pool::outcome::Outcome;

/// What one attempt came to: the rule that decided, and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub rule: Rule,
    /// The status Google answered with, or the code of an error inside a 200; `None` when no answer came.
    pub status: Option<u16>,
    /// Google's message or the network's, not yet redacted; empty on success.
    pub message: String,
    /// How long Google asks to wait.
    pub retry_delay: Option<Duration>,
    /// What Google says was used up; several at once are possible.
    pub violations: Vec<Violation>,
    /// The Google project the error names (`projects/123`), if any.
    pub project: Option<String>,
}

/// One used-up limit of a `QuotaFailure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub quota_id: String,
    pub metric: String,
    /// The model Google counts against, which may be spelt unlike the one in the URL; `None`: the whole project.
    pub model: Option<String>,
    pub window: QuotaWindow,
    /// The limit that was hit, when Google states it.
    pub limit: Option<u64>,
}

/// Over what time Google counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaWindow {
    Minute,
    Day,
    Unknown,
}

/// Who is to blame, and so what must rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody whom the pool could rest.
    None,
    /// The client's request.
    Client,
    /// The key, until checks prove otherwise.
    KeyInvalid,
    /// The key, for good.
    KeyLeaked,
    /// The project, until somebody pays or lifts the suspension.
    ProjectSuspended,
    /// The project, until somebody mends its configuration.
    ProjectMisconfigured,
    /// The project for this model, for as long as the rule says.
    ProjectModel,
    /// The model, for everybody.
    Model,
    /// Our way out, so that every key would fail alike.
    Egress,
    /// Nobody yet: a soft fault, which counts only if it comes often while others succeed.
    Soft,
}

/// Whether the same request may be tried again, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    No,
    /// With another key, and free: nothing reached a model.
    FreeWithOtherKey,
    /// With at most one other key.
    OneOtherKey,
    /// Once more, counted.
    Once,
    /// At most twice more, counted, after a pause with jitter.
    TwiceAfterPause,
}

/// The rules of classification, each a row of the table of verdicts.
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
    /// The verdict where no answer came.
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
    /// Whether Google says that the key's project does not have what the request names.
    pub fn is_miss(self) -> bool {
        matches!(self, Self::ForeignResource | Self::ResourceNotFound)
    }

    /// All rules.
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

    /// The name kept on the attempt; never changes once released.
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

    /// The word for rows and sums.
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

    /// Who is to blame.
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

    /// Whether the request may be tried again.
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

    /// Whether the answer's text is about our key, so that no client may see it.
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
        // The last one's number is how many there are before it.
        assert_eq!(Rule::ALL.len(), Rule::MalformedAnswer as usize + 1);
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(rule));
        }
    }
}
