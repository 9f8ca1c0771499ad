//! Labels, badges and descriptions of outcomes, rules and retries.

use maud::Markup;

use crate::dashboard::components::{Tone, badge};
use crate::dashboard::translations::Language;
use crate::pool::health::verdict::{Retry, Rule};
use crate::pool::outcome::Outcome;

/// The badge of an outcome; `None`: still running. Failures are those of [`Outcome::is_failure`].
pub fn outcome_badge(language: Language, outcome: Option<Outcome>) -> Markup {
    let tone = match outcome {
        None => Tone::Info,
        Some(Outcome::Success) => Tone::Good,
        Some(Outcome::ClientError | Outcome::Refused | Outcome::ClientGone) => Tone::Quiet,
        Some(
            Outcome::Quota
            | Outcome::NoKey
            | Outcome::KeyFault
            | Outcome::UpstreamError
            | Outcome::Network
            | Outcome::BrokenOff
            | Outcome::Interrupted,
        ) => Tone::Bad,
    };
    badge(tone, outcome_label(language, outcome))
}

/// The label of an outcome.
pub fn outcome_label(language: Language, outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => language.outcome_running(),
        Some(Outcome::Success) => language.outcome_success(),
        Some(Outcome::ClientError) => language.outcome_client_error(),
        Some(Outcome::Quota) => language.outcome_quota(),
        Some(Outcome::KeyFault) => language.outcome_key_fault(),
        Some(Outcome::UpstreamError) => language.outcome_upstream_error(),
        Some(Outcome::Network) => language.outcome_network(),
        Some(Outcome::NoKey) => language.outcome_no_key(),
        Some(Outcome::Refused) => language.outcome_refused(),
        Some(Outcome::ClientGone) => language.outcome_client_gone(),
        Some(Outcome::BrokenOff) => language.outcome_broken_off(),
        Some(Outcome::Interrupted) => language.outcome_interrupted(),
    }
}

/// The meaning of an outcome, in a sentence.
pub fn outcome_description(language: Language, outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => language.means_running(),
        Some(Outcome::Success) => language.means_success(),
        Some(Outcome::ClientError) => language.means_client_error(),
        Some(Outcome::Quota) => language.means_quota(),
        Some(Outcome::KeyFault) => language.means_key_fault(),
        Some(Outcome::UpstreamError) => language.means_upstream_error(),
        Some(Outcome::Network) => language.means_network(),
        Some(Outcome::NoKey) => language.means_no_key(),
        Some(Outcome::Refused) => language.means_refused(),
        Some(Outcome::ClientGone) => language.means_client_gone(),
        Some(Outcome::BrokenOff) => language.means_broken_off(),
        Some(Outcome::Interrupted) => language.means_interrupted(),
    }
}

/// The meaning of a rule, in a sentence.
pub fn rule_description(language: Language, rule: Rule) -> &'static str {
    match rule {
        Rule::Success => language.rule_success(),
        Rule::InvalidRequest => language.rule_invalid_request(),
        Rule::ApiKeyInvalid => language.rule_api_key_invalid(),
        Rule::TwoCredentials => language.rule_two_credentials(),
        Rule::LocationUnsupported => language.rule_location_unsupported(),
        Rule::Unauthenticated => language.rule_unauthenticated(),
        Rule::BillingEmpty => language.rule_billing_empty(),
        Rule::SpendingCap => language.rule_spending_cap(),
        Rule::ConsumerSuspended => language.rule_consumer_suspended(),
        Rule::KeyLeaked => language.rule_key_leaked(),
        Rule::ServiceDisabled => language.rule_service_disabled(),
        Rule::KeyRestricted => language.rule_key_restricted(),
        Rule::ProjectDenied => language.rule_project_denied(),
        Rule::ForeignResource => language.rule_foreign_resource(),
        Rule::NoCredential => language.rule_no_credential(),
        Rule::FrontEndForbidden => language.rule_front_end_forbidden(),
        Rule::ModelNotFound => language.rule_model_not_found(),
        Rule::ModelRetired => language.rule_model_retired(),
        Rule::ResourceNotFound => language.rule_resource_not_found(),
        Rule::ClientFault => language.rule_client_fault(),
        Rule::UnnamedFault => language.rule_unnamed_fault(),
        Rule::QuotaPerMinute => language.rule_quota_per_minute(),
        Rule::QuotaPerDay => language.rule_quota_per_day(),
        Rule::QuotaZero => language.rule_quota_zero(),
        Rule::QuotaUnknownWindow => language.rule_quota_unknown_window(),
        Rule::QuotaWithoutDetail => language.rule_quota_without_detail(),
        Rule::Cancelled => language.rule_cancelled(),
        Rule::InternalError => language.rule_internal_error(),
        Rule::FrontEndError => language.rule_front_end_error(),
        Rule::Overloaded => language.rule_overloaded(),
        Rule::DeadlineExceeded => language.rule_deadline_exceeded(),
        Rule::UpstreamDeadline => language.rule_upstream_deadline(),
        Rule::TooManyOpenFiles => language.rule_too_many_open_files(),
        Rule::ConnectFailed => language.rule_connect_failed(),
        Rule::ConnectionBroken => language.rule_connection_broken(),
        Rule::AnswerTimeout => language.rule_answer_timeout(),
        Rule::MalformedAnswer => language.rule_malformed_answer(),
        Rule::EmptyReply => language.rule_empty_reply(),
        Rule::HedgeCancelled => language.rule_hedge_cancelled(),
    }
}

/// Why the request was retried after an attempt with this rule.
pub fn retry_description(language: Language, rule: Rule) -> &'static str {
    match rule.retry() {
        // The attempt is the last one of its request, except in rows that an earlier version wrote.
        Retry::No => "",
        Retry::FreeWithOtherKey => language.retry_free(),
        Retry::OneOtherKey => language.retry_one_other(),
        Retry::Once => language.retry_once(),
        Retry::TwiceAfterPause => language.retry_after_pause(),
    }
}
