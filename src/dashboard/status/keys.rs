//! The number of keys by state, and the keys with limited availability.

use maud::{Markup, html};

use crate::dashboard::components::{href, number, until};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::upstream_keys::key_labels::{cooldown_line, state_badge};
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::overview::{PoolOverview, UnavailableKey};

const PATH: &str = "/upstream-keys";

pub fn view(context: &PageContext, overview: &PoolOverview) -> Markup {
    let language = context.language;
    html! {
        div.chips {
            @for (kind, count) in &overview.counts {
                a.chip href=(href(PATH, &[("state", kind.name())])) { (state_badge(language, *kind)) (number(*count)) }
            }
            @if overview.counts.is_empty() { span.muted { (language.no_keys_title()) } }
        }
        @if !overview.unavailable.is_empty() {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.upstream_key()) } th scope="col" { (language.state_heading()) }
                    th scope="col" { (language.until_when()) }
                } }
                tbody { @for listed in &overview.unavailable { (row(context, listed)) } }
            } }
            @if not_ready(overview) > overview.unavailable.len() {
                p.small { a href=(PATH) { (language.all_keys(&number(overview.keys()))) } }
            }
        }
    }
}

fn row(context: &PageContext, listed: &UnavailableKey) -> Markup {
    let language = context.language;
    html! {
        tr {
            th scope="row" {
                a href={ (PATH) "/" (listed.summary.id.0) } { (listed.label) } " " span.mono.muted.nowrap { "…" (listed.last4) }
            }
            td data-label=(language.state_heading()) {
                span.lines {
                    (state_badge(language, listed.summary.kind))
                    @if let Some(cooldown) = &listed.cooldown { span.small.muted { (cooldown_line(language, cooldown)) } }
                }
            }
            td data-label=(language.until_when()) {
                @match listed.summary.until {
                    Some(at) if matches!(listed.summary.kind, KeyStatusKind::CoolingDown | KeyStatusKind::PartlyCoolingDown) => (until(context, at, context.now)),
                    Some(at) => { span { (language.next_check()) " " (until(context, at, context.now)) } }
                    None => { (language.until_changed()) }
                }
            }
        }
    }
}

/// The number of keys with limited availability, without disabled keys.
fn not_ready(overview: &PoolOverview) -> usize {
    let fine = [
        KeyStatusKind::Ready,
        KeyStatusKind::Trial,
        KeyStatusKind::Disabled,
    ];
    overview.keys() - fine.map(|kind| overview.count(kind)).iter().sum::<usize>()
}
