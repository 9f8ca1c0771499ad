//! Labels and descriptions of key states, cooldown reasons, limits and rules.

use maud::{Markup, html};

use crate::dashboard::components::{Tone, badge, number};
use crate::dashboard::translations::Language;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::key_status::{
    KeyCooldown, KeyStatus, KeyStatusKind, QuotaWindowScope, QuotaWindowStatus,
};
use crate::pool::keys::running_cooldowns::CooldownReason;
use crate::pool::quota::limits::Measure;

/// The badge of a key's state.
pub fn state_badge(language: Language, kind: KeyStatusKind) -> Markup {
    badge(tone(kind), language.key_state(kind))
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

/// The reason of a cooldown.
pub fn cooldown_reason(language: Language, reason: CooldownReason) -> String {
    match reason {
        CooldownReason::Verdict(rule) => language.rule(rule).to_owned(),
        CooldownReason::SoftFaults => language.soft_faults().to_owned(),
        CooldownReason::ZeroQuota => language.zero_quota().to_owned(),
        CooldownReason::QuotaUsed(of) => language.used_up(language.measure(of)),
        CooldownReason::KeyLimit(of) => language.key_limit_used(language.measure(of)),
        CooldownReason::ProjectLimit(of) => language.project_limit_used(language.measure(of)),
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

/// The label of a stored rule name; a name from a later version is shown unchanged.
pub fn label_of_rule_name(language: Language, name: &str) -> &str {
    Rule::named(name).map_or(name, |rule| language.rule(rule))
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

/// The daily quota window with the highest usage of all models. A window without quota is omitted: the state shows it.
pub fn fullest_window(key_status: &KeyStatus) -> Option<(&QuotaWindowStatus, u64)> {
    let windows = key_status.windows.iter();
    windows
        .filter(|window| window.measure.is_daily())
        .filter_map(|window| Some((window, window.limit.filter(|limit| *limit > 0)?)))
        .max_by_key(|(window, limit)| window.used.saturating_mul(1_000) / *limit)
}

/// A window's usage with a bar.
pub fn quota(language: Language, fullest_window: Option<(&QuotaWindowStatus, u64)>) -> Markup {
    html! {
        @if let Some((window, limit)) = fullest_window {
            @let label = format!("{} / {}", number(window.used), number(limit));
            span.lines.quota {
                span.small.nowrap {
                    (label) " "
                    @if window.measure == Measure::TokensPerDay { (language.quota_tokens()) } @else { (language.quota_requests()) }
                }
                @if let Some(model) = model_of(&window.of) { span.muted.tiny.clipped title=(model) { (model) } }
                (usage_bar(&label, window.used, limit))
            }
        } @else {
            span.muted { "–" }
        }
    }
}

fn model_of(of: &QuotaWindowScope) -> Option<&str> {
    match of {
        QuotaWindowScope::Model(model) => Some(model),
        QuotaWindowScope::Key | QuotaWindowScope::Project => None,
    }
}
