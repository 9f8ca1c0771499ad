//! How many keys are in which state, and which do not serve everything now.

use maud::{Markup, html};

use crate::dashboard::components::{href, number, until};
use crate::dashboard::upstream_keys::words::{rest_line, state_badge};
use crate::dashboard::visit::Visit;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::overview::{PoolOverview, UnavailableKey};

const PATH: &str = "/upstream-keys";

pub fn view(visit: &Visit, overview: &PoolOverview) -> Markup {
    let language = visit.language;
    html! {
        div.chips {
            @for (word, count) in &overview.counts {
                a.chip href=(href(PATH, &[("state", word.name())])) { (state_badge(language, *word)) (number(*count)) }
            }
            @if overview.counts.is_empty() { span.muted { (language.no_keys_title()) } }
        }
        @if !overview.unavailable.is_empty() {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.upstream_key()) } th scope="col" { (language.state_heading()) }
                    th scope="col" { (language.until_when()) }
                } }
                tbody { @for held in &overview.unavailable { (row(visit, held)) } }
            } }
            @if not_ready(overview) > overview.unavailable.len() {
                p.small { a href=(PATH) { (language.all_keys(&number(overview.keys()))) } }
            }
        }
    }
}

fn row(visit: &Visit, held: &UnavailableKey) -> Markup {
    let language = visit.language;
    html! {
        tr {
            th scope="row" {
                a href={ (PATH) "/" (held.summary.id.0) } { (held.label) } " " span.mono.muted.nowrap { "…" (held.last4) }
            }
            td data-label=(language.state_heading()) {
                span.lines {
                    (state_badge(language, held.summary.kind))
                    @if let Some(rest) = &held.cooldown { span.small.muted { (rest_line(language, rest)) } }
                }
            }
            td data-label=(language.until_when()) {
                @match held.summary.until {
                    Some(at) if matches!(held.summary.kind, KeyStatusKind::CoolingDown | KeyStatusKind::PartlyCoolingDown) => (until(visit, at, visit.now)),
                    Some(at) => { span { (language.looked_at_again()) " " (until(visit, at, visit.now)) } }
                    None => { (language.until_changed()) }
                }
            }
        }
    }
}

/// How many keys do not serve everything, but for those that a hand turned off.
fn not_ready(overview: &PoolOverview) -> usize {
    let fine = [
        KeyStatusKind::Ready,
        KeyStatusKind::Trial,
        KeyStatusKind::Disabled,
    ];
    overview.keys() - fine.map(|word| overview.count(word)).iter().sum::<usize>()
}
