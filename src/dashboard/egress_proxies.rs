//! `/egress-proxies`: the proxies for connections to Google, their states and use.

pub mod change;
pub mod form;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{Tone, ago, badge, empty_state, until};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::logs::outcome_labels::rule_description;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::egress_list;
use crate::pool::health::verdict::Rule;
use crate::storage::egress_proxies::listed::ListedEgressProxy;

pub const PATH: &str = "/egress-proxies";

pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Result<Markup, ErrorPage> {
    let proxies = egress_list::list(&app.db.readers, &app.keys, context.now).await?;
    let language = context.language;
    let add = html! { a.button.primary href="/egress-proxies/new" { (language.new_egress()) } };
    let list = if proxies.is_empty() {
        let text = language.no_egress_text();
        empty_state(language.no_egress(), text, add.clone())
    } else {
        table(&context, &proxies)
    };
    let lead = html! { span.sub { (language.egress_lead()) } (add) };
    let body = html! {
        (heading(language.egress_proxies(), lead))
        (list)
    };
    let title = language.egress_proxies();
    Ok(layout::page(&context, Section::EgressProxies, title, body))
}

fn table(context: &PageContext, proxies: &[ListedEgressProxy]) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack.egress {
            thead { tr {
                th scope="col" { (language.egress_label()) } th scope="col" { (language.egress_url()) }
                th scope="col" { (language.egress_scope()) } th scope="col" { (language.egress_state()) }
                th scope="col" { (language.egress_today()) } th scope="col" { (language.egress_serves()) }
                th scope="col" { span.visually-hidden { (language.egress_actions()) } }
            } }
            tbody { @for proxy in proxies { (row(context, proxy)) } }
        } }
    }
}

fn row(context: &PageContext, proxy: &ListedEgressProxy) -> Markup {
    let language = context.language;
    let page = format!("{PATH}/{}", proxy.id);
    html! {
        tr {
            th scope="row" data-label=(language.egress_label()) { a href={ (page) "/edit" } { (proxy.label) } }
            td.egress-address data-label=(language.egress_url()) { span.mono { (proxy.url) } }
            td.egress-scope data-label=(language.egress_scope()) { span { (scope(language, proxy)) } }
            td.egress-state data-label=(language.egress_state()) { (state(context, proxy)) }
            td.short data-label=(language.egress_today()) { span.lines {
                span { (language.egress_attempts(proxy.attempts_today)) }
                @if proxy.failures_today > 0 { span.small.muted { (language.egress_failures(proxy.failures_today)) } }
            } }
            td.short data-label=(language.egress_serves()) {
                a href={ "/logs?egress=" (proxy.id) } { (serves(language, proxy)) }
            }
            td.number { span.actions { (actions(context, proxy, &page)) } }
        }
    }
}

/// `3 projects`.
pub fn serves(language: Language, proxy: &ListedEgressProxy) -> String {
    language.egress_serves_projects(proxy.serves_projects.unwrap_or(0))
}

fn scope(language: Language, proxy: &ListedEgressProxy) -> Markup {
    html! {
        @match proxy.scope.as_str() {
            "projects" => { (language.egress_scope_projects()) (language.colon()) (proxy.projects.join(language.list_comma())) }
            "tags" => { (language.egress_scope_tags()) (language.colon()) (proxy.tags.join(language.list_comma())) }
            _ => (language.egress_scope_all()),
        }
    }
}

fn state(context: &PageContext, proxy: &ListedEgressProxy) -> Markup {
    let language = context.language;
    let (tone, word) = match proxy.state.as_str() {
        "broken" => (Tone::Bad, language.egress_broken()),
        "throttled" => (Tone::Wait, language.egress_throttled()),
        "location_refused" => (Tone::Wait, language.egress_location_refused()),
        "disabled" => (Tone::Quiet, language.egress_off()),
        "working" => (Tone::Good, language.egress_working()),
        _ => (Tone::Quiet, language.egress_untested()),
    };
    let rule = proxy.state_reason.as_deref().and_then(Rule::named);
    let has_reason = is_impaired(proxy);
    html! {
        span.lines {
            (badge(tone, word))
            span.muted { (language.egress_since()) " " (ago(context, proxy.state_since, context.now)) }
            @if has_reason {
                @if let Some(at) = proxy.state_until {
                    span.small.muted {
                        @if proxy.state == "broken" { (language.egress_next_probe()) } @else { (language.egress_ends()) }
                        " " (until(context, at, context.now))
                    }
                }
                @if let Some(rule) = rule { span.small { (rule_description(language, rule)) } }
                @if let Some(message) = &proxy.state_message { span.small.muted { (message) } }
            }
        }
    }
}

/// Whether something keeps requests away from an enabled proxy, or did.
fn is_impaired(proxy: &ListedEgressProxy) -> bool {
    proxy.enabled && !["working", "untested"].contains(&proxy.state.as_str())
}

fn actions(context: &PageContext, proxy: &ListedEgressProxy, page: &str) -> Markup {
    let (language, label) = (context.language, &proxy.label);
    let (action, word, title) = if proxy.enabled {
        (
            "disable",
            language.disable(),
            language.egress_switch_off(label),
        )
    } else {
        (
            "enable",
            language.enable(),
            language.egress_switch_on(label),
        )
    };
    let button = |action: &str, word: &str, title: &str| {
        html! {
            form method="post" action={ (page) "/" (action) } {
                (context.csrf_field())
                button.small type="submit" aria-label=(title) { (word) }
            }
        }
    };
    html! {
        (button("test", language.egress_test(), &language.egress_test_of(label)))
        @if is_impaired(proxy) {
            (button("clear", language.egress_clear(), &language.egress_clear_of(label)))
        }
        a.button.small href={ (page) "/edit" } aria-label=(language.egress_edit_of(label)) { (language.edit()) }
        (button(action, word, &title))
        a.button.small.danger href={ (page) "/remove" } aria-label=(language.delete_of(label)) { (language.delete()) }
    }
}
