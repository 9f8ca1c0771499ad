//! Labels and descriptions of key states, cooldown reasons, limits and rules.

use maud::{Markup, html};

use crate::dashboard::components::{Tone, badge};
use crate::dashboard::translations::Language;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::key_status::{KeyCooldown, KeyStatusKind, LimitSource};
use crate::pool::keys::running_cooldowns::CooldownReason;
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::limits::Measure;

/// The badge of a key's state.
pub fn state_badge(language: Language, kind: KeyStatusKind) -> Markup {
    badge(tone(kind), state_label(language, kind))
}

fn tone(kind: KeyStatusKind) -> Tone {
    match kind {
        KeyStatusKind::Ready => Tone::Good,
        KeyStatusKind::PartlyCoolingDown | KeyStatusKind::CoolingDown | KeyStatusKind::Trial => {
            Tone::Wait
        }
        KeyStatusKind::Invalid
        | KeyStatusKind::Leaked
        | KeyStatusKind::Suspended
        | KeyStatusKind::Misconfigured => Tone::Bad,
        KeyStatusKind::Disabled => Tone::Quiet,
    }
}

pub fn state_label(language: Language, kind: KeyStatusKind) -> &'static str {
    match kind {
        KeyStatusKind::Ready => language.key_ready(),
        KeyStatusKind::PartlyCoolingDown => language.key_partly_cooling_down(),
        KeyStatusKind::CoolingDown => language.key_cooling_down(),
        KeyStatusKind::Trial => language.key_trial(),
        KeyStatusKind::Invalid => language.key_invalid(),
        KeyStatusKind::Leaked => language.key_leaked(),
        KeyStatusKind::Suspended => language.key_suspended(),
        KeyStatusKind::Misconfigured => language.key_misconfigured(),
        KeyStatusKind::Disabled => language.key_disabled(),
    }
}

/// The meaning of a state, in a sentence.
pub fn state_description(language: Language, kind: KeyStatusKind) -> &'static str {
    match kind {
        KeyStatusKind::Ready => language.key_ready_means(),
        KeyStatusKind::PartlyCoolingDown => language.key_partly_cooling_down_means(),
        KeyStatusKind::CoolingDown => language.key_cooling_down_means(),
        KeyStatusKind::Trial => language.key_trial_means(),
        KeyStatusKind::Invalid => language.key_invalid_means(),
        KeyStatusKind::Leaked => language.key_leaked_means(),
        KeyStatusKind::Suspended => language.key_suspended_means(),
        KeyStatusKind::Misconfigured => language.key_misconfigured_means(),
        KeyStatusKind::Disabled => language.key_disabled_means(),
    }
}

/// The reason of a cooldown.
pub fn cooldown_reason(language: Language, reason: CooldownReason) -> String {
    match reason {
        CooldownReason::Verdict(rule) => rule_label(language, rule).to_owned(),
        CooldownReason::SoftFaults => language.soft_faults().to_owned(),
        CooldownReason::ZeroQuota => language.zero_quota().to_owned(),
        CooldownReason::QuotaUsed(of) => language.used_up(measure_label(language, of)),
        CooldownReason::KeyLimit(of) => language.key_limit_used(measure_label(language, of)),
        CooldownReason::ProjectLimit(of) => {
            language.project_limit_used(measure_label(language, of))
        }
    }
}

/// The model and the reason of a cooldown in one line.
pub fn cooldown_line(language: Language, cooldown: &KeyCooldown) -> Markup {
    let reason = cooldown_reason(language, cooldown.reason);
    html! {
        @if let Some(model) = &cooldown.model { span.mono { (model) } ": " }
        (reason)
    }
}

pub fn measure_label(language: Language, measure: Measure) -> &'static str {
    match measure {
        Measure::RequestsPerMinute => language.requests_per_minute(),
        Measure::TokensPerMinute => language.tokens_per_minute(),
        Measure::RequestsPerDay => language.requests_per_day(),
        Measure::TokensPerDay => language.tokens_per_day(),
    }
}

/// The source of a limit, and its explanation.
pub fn limit_source(language: Language, source: LimitSource) -> (&'static str, &'static str) {
    match source {
        LimitSource::Named => (language.limit_observed(), language.limit_observed_means()),
        LimitSource::Inherited => (language.limit_inherited(), language.limit_inherited_means()),
        LimitSource::Contradicted => (
            language.limit_contradicted(),
            language.limit_contradicted_means(),
        ),
        LimitSource::Unknown => (language.limit_unknown(), language.limit_unknown_means()),
        LimitSource::Setting => (language.limit_set(), language.limit_set_means()),
    }
}

pub fn billing_label(language: Language, billing: Billing) -> &'static str {
    match billing {
        Billing::Free => language.billing_free(),
        Billing::Paid => language.billing_paid(),
        Billing::Unknown => language.billing_unknown(),
    }
}

/// The label of a stored rule name; a name from a later version is shown unchanged.
pub fn label_of_rule_name(language: Language, name: &str) -> String {
    Rule::named(name).map_or_else(
        || name.to_owned(),
        |rule| rule_label(language, rule).to_owned(),
    )
}

pub fn rule_label(language: Language, rule: Rule) -> &'static str {
    match rule {
        Rule::Success => language.short_success(),
        Rule::InvalidRequest => language.short_invalid_request(),
        Rule::ApiKeyInvalid => language.short_api_key_invalid(),
        Rule::TwoCredentials => language.short_two_credentials(),
        Rule::LocationUnsupported => language.short_location_unsupported(),
        Rule::Unauthenticated => language.short_unauthenticated(),
        Rule::BillingEmpty => language.short_billing_empty(),
        Rule::SpendingCap => language.short_spending_cap(),
        Rule::ConsumerSuspended => language.short_consumer_suspended(),
        Rule::KeyLeaked => language.short_key_leaked(),
        Rule::ServiceDisabled => language.short_service_disabled(),
        Rule::KeyRestricted => language.short_key_restricted(),
        Rule::ProjectDenied => language.short_project_denied(),
        Rule::ForeignResource => language.short_foreign_resource(),
        Rule::NoCredential => language.short_no_credential(),
        Rule::FrontEndForbidden => language.short_front_end_forbidden(),
        Rule::ModelNotFound => language.short_model_not_found(),
        Rule::ModelRetired => language.short_model_retired(),
        Rule::ResourceNotFound => language.short_resource_not_found(),
        Rule::ClientFault => language.short_client_fault(),
        Rule::UnnamedFault => language.short_unnamed_fault(),
        Rule::QuotaPerMinute => language.short_quota_per_minute(),
        Rule::QuotaPerDay => language.short_quota_per_day(),
        Rule::QuotaZero => language.short_quota_zero(),
        Rule::QuotaUnknownWindow => language.short_quota_unknown_window(),
        Rule::QuotaWithoutDetail => language.short_quota_without_detail(),
        Rule::Cancelled => language.short_cancelled(),
        Rule::InternalError => language.short_internal_error(),
        Rule::FrontEndError => language.short_front_end_error(),
        Rule::Overloaded => language.short_overloaded(),
        Rule::DeadlineExceeded => language.short_deadline_exceeded(),
        Rule::UpstreamDeadline => language.short_upstream_deadline(),
        Rule::ConnectFailed => language.short_connect_failed(),
        Rule::ConnectionBroken => language.short_connection_broken(),
        Rule::AnswerTimeout => language.short_answer_timeout(),
        Rule::MalformedAnswer => language.short_malformed_answer(),
    }
}

/// The usage of a limit as a bar with a tooltip.
pub fn usage_bar(label: &str, used: u64, limit: u64) -> Markup {
    // A limit of 0 counts as fully used.
    let percent = used.saturating_mul(100).checked_div(limit);
    let percent = percent.unwrap_or(100).min(100);
    let class = match percent {
        100 => "full",
        80..100 => "high",
        _ => "some",
    };
    html! {
        span.share title=(label) {
            svg.(class) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                rect.track width="100" height="6" rx="3" {}
                rect.used width=(percent) height="6" rx="3" {}
            }
        }
    }
}
