//! `LimitUsage`: how much of a limit a client key has used, as its pages and `/my-usage` show it.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::client_keys::key_labels::limit_amount;
use crate::dashboard::components::until_in;
use crate::dashboard::page_context::BrowserContext;
use crate::pool::calendar::{day_of, month_of};
use crate::pool::clients::client_key::{ClientKeyId, ClientLimit, ClientLimits};

/// The current usage of one limit.
pub struct LimitUsage {
    limit: ClientLimit,
    used: u64,
    maximum: u64,
    /// The reset time, for limits that reset completely.
    ends: Option<Timestamp>,
}

/// The usage of each limit that is set.
pub fn limits(
    app: &App,
    id: ClientKeyId,
    limits: &ClientLimits,
    now: Timestamp,
) -> Vec<LimitUsage> {
    let settings = app.settings();
    let mut admission = app.admission.lock();
    let set = ClientLimit::ALL
        .iter()
        .copied()
        .filter_map(|limit| Some((limit, limits.most(limit)?)));
    let limits = set.map(|(limit, maximum)| LimitUsage {
        limit,
        used: admission.used(id, limit, now),
        maximum,
        ends: match limit {
            ClientLimit::RequestsPerDay | ClientLimit::TokensPerDay => {
                Some(day_of(now, &settings.day_zone).ends)
            }
            ClientLimit::CostPerMonth => Some(month_of(now, &settings.day_zone).ends),
            ClientLimit::RequestsPerMinute
            | ClientLimit::TokensPerMinute
            | ClientLimit::Concurrency => None,
        },
    });
    limits.collect()
}

/// The limits with their usage, each as a meter.
pub fn limit_list(browser: &BrowserContext, zone: &TimeZone, limits: &[LimitUsage]) -> Markup {
    let language = browser.language;
    html! {
        @if limits.is_empty() { p.muted { (language.no_limits_text()) } }
        @for LimitUsage { limit, used, maximum, ends } in limits {
            div.limit {
                div.limit-labels {
                    span #{ "limit-" (limit.name()) } { (language.limit(*limit)) }
                    span { (language.used_of(&limit_amount(*limit, *used), &limit_amount(*limit, *maximum))) }
                }
                meter min="0" max=(maximum) high=(maximum - maximum / 10) optimum="0" value=(used)
                    aria-labelledby={ "limit-" (limit.name()) } {}
                @if let Some(ends) = ends {
                    span.muted.small { (language.limit_resets()) " " (until_in(language, zone, *ends, browser.now)) }
                }
            }
        }
    }
}
