//! `/alerts`: where messages are sent, what needs attention now, and what was sent.

pub mod change;
pub mod form;

use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::alert_sender::message;
use crate::app::App;
use crate::dashboard::components::{
    Tone, ago, badge, card, empty_state, href, moment, pager, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::alert_schedule::{AlertPhase, DeliveryState};
use crate::pool::alerts::AlertSeverity;
use crate::storage::alert_deliveries::{self, ListedAlertDelivery};
use crate::storage::alert_events::{self, AlertEvent};
use crate::storage::alert_targets::{self, AlertTarget};
use crate::storage::paging::{BidirectionalPage, PagePosition};

pub const PATH: &str = "/alerts";
/// Messages per page.
const PAGE_SIZE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AlertsQuery {
    older: Option<i64>,
    newer: Option<i64>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<AlertsQuery>,
) -> Result<Markup, ErrorPage> {
    let db = &app.db.readers;
    let targets = alert_targets::list(&app.db).await?;
    let last = alert_deliveries::list_last(db).await?;
    let open = alert_events::list_open(db).await?;
    let position = PagePosition::of(query.older, query.newer);
    let messages = alert_deliveries::list(db, position, PAGE_SIZE).await?;
    let language = context.language;
    let add =
        html! { a.button.primary href="/alerts/targets/new" { (language.new_alert_target()) } };
    let targets = if targets.is_empty() {
        let text = language.no_alert_targets_text();
        empty_state(language.no_alert_targets(), text, add.clone())
    } else {
        card(
            language.alert_targets(),
            target_table(&context, &targets, &last),
        )
    };
    let lead = html! { span.sub { (language.alerts_lead()) } (add) };
    let body = html! {
        (heading(language.alerts(), lead))
        (targets)
        (card(language.open_alerts(), open_alerts(&context, &open)))
        section.card #messages {
            h2 { (language.alert_log()) }
            (message_log(&context, &messages))
        }
    };
    Ok(layout::page(
        &context,
        Section::Alerts,
        language.alerts(),
        body,
    ))
}

fn target_table(
    context: &PageContext,
    targets: &[AlertTarget],
    last: &[ListedAlertDelivery],
) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.alert_target_name()) } th scope="col" { (language.alert_target_kind()) }
                th scope="col" { (language.alert_address()) } th scope="col" { (language.alert_events()) }
                th scope="col" { (language.alert_last_message()) }
                th scope="col" { span.visually-hidden { (language.alert_actions()) } }
            } }
            tbody { @for target in targets {
                (target_row(context, target, last.iter().find(|message| message.target_id == target.id)))
            } }
        } }
    }
}

fn target_row(
    context: &PageContext,
    target: &AlertTarget,
    last: Option<&ListedAlertDelivery>,
) -> Markup {
    let (language, terms) = (context.language, &target.terms);
    let page = format!("/alerts/targets/{}", target.id);
    html! {
        tr {
            th scope="row" data-label=(language.alert_target_name()) {
                a href={ (page) "/edit" } { (terms.name) }
                @if !target.enabled { " " (badge(Tone::Quiet, language.alert_target_off())) }
            }
            td data-label=(language.alert_target_kind()) { (language.alert_target_kind_name(terms.kind)) }
            td data-label=(language.alert_address()) { span.mono { (terms.shown_address()) } }
            td data-label=(language.alert_events()) {
                @if terms.events.is_empty() { (language.all_alert_events()) }
                @else { (language.alert_events_counted(terms.events.len())) }
            }
            td data-label=(language.alert_last_message()) {
                @match last {
                    Some(message) => span { (state_badge(language, message.state)) " " (ago(context, message.created_at, context.now)) },
                    None => (language.never()),
                }
            }
            td.number { span.actions { (target_actions(context, target, &page)) } }
        }
    }
}

fn target_actions(context: &PageContext, target: &AlertTarget, page: &str) -> Markup {
    let (language, name) = (context.language, &target.terms.name);
    let (action, label, title) = if target.enabled {
        (
            "disable",
            language.disable(),
            language.alert_switch_off(name),
        )
    } else {
        ("enable", language.enable(), language.alert_switch_on(name))
    };
    let button = |action: &str, label: &str, title: &str| {
        html! {
            form method="post" action={ (page) "/" (action) } {
                (context.csrf_field())
                button.small type="submit" aria-label=(title) { (label) }
            }
        }
    };
    html! {
        (button("test", language.alert_test(), &language.alert_test_of(name)))
        a.button.small href={ (page) "/edit" } aria-label=(language.alert_edit_of(name)) { (language.edit()) }
        (button(action, label, &title))
        a.button.small.danger href={ (page) "/delete" } aria-label=(language.delete_of(name)) { (language.delete()) }
    }
}

fn state_badge(language: Language, state: DeliveryState) -> Markup {
    let tone = match state {
        DeliveryState::Pending => Tone::Wait,
        DeliveryState::Sent => Tone::Good,
        DeliveryState::Failed => Tone::Bad,
    };
    badge(tone, language.delivery_state(state))
}

fn open_alerts(context: &PageContext, open: &[AlertEvent]) -> Markup {
    let language = context.language;
    if open.is_empty() {
        return html! { p.muted { (language.no_open_alerts()) } };
    }
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.alert_severity_column()) } th scope="col" { (language.alert_what()) }
                th scope="col" { (language.alert_since()) }
            } }
            tbody { @for event in open { tr {
                td data-label=(language.alert_severity_column()) { (severity_badge(language, event.severity)) }
                td data-label=(language.alert_what()) {
                    a href=(message::page(event.kind, &event.subject)) {
                        (message::title(language.of_messages(), event.kind, &event.subject, &event.detail, event.key_state))
                    }
                }
                td data-label=(language.alert_since()) {
                    span { (moment(context, event.began_at)) " " span.muted { "(" (ago(context, event.began_at, context.now)) ")" } }
                }
            } } }
        } }
    }
}

fn severity_badge(language: Language, severity: AlertSeverity) -> Markup {
    let tone = match severity {
        AlertSeverity::Critical => Tone::Bad,
        AlertSeverity::Warning => Tone::Wait,
    };
    badge(tone, language.alert_severity(severity))
}

fn message_log(context: &PageContext, page: &BidirectionalPage<ListedAlertDelivery>) -> Markup {
    let language = context.language;
    let url = |direction: &str, id: i64| href(PATH, &[(direction, &id.to_string())]) + "#messages";
    let newer = page.newer.map(|id| url("newer", id));
    let older = page.older.map(|id| url("older", id));
    html! {
        @if page.items.is_empty() { p.muted { (language.no_alert_messages()) } }
        @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.alert_created_at()) } th scope="col" { (language.alert_target()) }
                    th scope="col" { (language.alert_what()) } th scope="col" { (language.alert_result()) }
                } }
                tbody { @for message in &page.items { (message_row(context, message)) } }
            } }
        }
        (pager(language, newer.as_deref(), older.as_deref()))
    }
}

fn message_row(context: &PageContext, message: &ListedAlertDelivery) -> Markup {
    let language = context.language;
    let title = match (message.kind, &message.subject, &message.detail) {
        (Some(kind), Some(subject), Some(detail)) => message::title(
            language.of_messages(),
            kind,
            subject,
            detail,
            message.key_state,
        ),
        _ => String::new(),
    };
    let tone = match message.phase {
        AlertPhase::Begin => Tone::Bad,
        AlertPhase::End => Tone::Good,
        AlertPhase::Test => Tone::Info,
    };
    html! {
        tr {
            td data-label=(language.alert_created_at()) { (moment(context, message.created_at)) }
            td data-label=(language.alert_target()) { (message.target) }
            td data-label=(language.alert_what()) { span { (badge(tone, language.alert_phase(message.phase))) " " (title) } }
            td data-label=(language.alert_result()) { span.lines {
                span {
                    (state_badge(language, message.state))
                    @if message.attempts > 1 { " " span.muted { (language.alert_attempts(message.attempts)) } }
                }
                @if message.state == DeliveryState::Pending {
                    span.small.muted { (language.alert_next_attempt()) " " (until(context, message.next_at, context.now)) }
                }
                @if let Some(error) = &message.last_error { span.small.muted { (error) } }
            } }
        }
    }
}
