//! `/settings/{name}`: one setting and its history.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Form, Query};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::changes::actor_label;
use crate::dashboard::components::{ago, card, empty_state, href, moment, pager};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::settings::change::{SettingsForm, parse_changes, save};
use crate::dashboard::settings::entry::{PATH, SettingEntry};
use crate::dashboard::settings::field::{SettingField, zones};
use crate::dashboard::settings::reset_form;
use crate::storage::audit::{self, AuditFilter, ListedAct, Subject};
use crate::storage::paging::{BidirectionalPage, PagePosition};
use crate::storage::settings::{self, SettingChange};

/// Changes per page.
const PAGE_SIZE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SettingHistoryQuery {
    older: Option<i64>,
    newer: Option<i64>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Query(query): Query<SettingHistoryQuery>,
) -> Result<Markup, ErrorPage> {
    let entry = SettingEntry::in_path(&name)?;
    let position = PagePosition::of(query.older, query.newer);
    let present = settings::find_current(&app.db.readers).await?;
    let field = SettingField::of(entry, &present);
    let history = history(&app, entry, position).await?;
    Ok(view(&context, &field, &history))
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(mut form): Form<SettingsForm>,
) -> Result<Response, ErrorPage> {
    let entry = SettingEntry::in_path(&name)?;
    form.retain(|field, _| field.strip_prefix("was.").unwrap_or(field) == name);
    match parse_changes(context.language, &form) {
        Ok(changes) => {
            let saved = save(&app, &context, changes, &entry.path()).await?;
            Ok(saved.into_response())
        }
        Err(mut errors) => {
            let present = settings::find_current(&app.db.readers).await?;
            let field = SettingField {
                submitted: form.remove(&name),
                error: errors.remove(entry.name()),
                ..SettingField::of(entry, &present)
            };
            let history = history(&app, entry, PagePosition::Newest).await?;
            let page = view(&context, &field, &history);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn history(
    app: &App,
    entry: SettingEntry,
    position: PagePosition,
) -> Result<BidirectionalPage<ListedAct>, ErrorPage> {
    let filter = AuditFilter {
        subject: Some(Subject::Setting),
        name: Some(entry.name().to_owned()),
        ..AuditFilter::default()
    };
    Ok(audit::list_acts(&app.db.readers, &filter, position, PAGE_SIZE).await?)
}

fn view(
    context: &PageContext,
    field: &SettingField,
    history: &BidirectionalPage<ListedAct>,
) -> Markup {
    let (language, entry) = (context.language, field.entry);
    let (title, path, group) = (entry.title(language), entry.path(), entry.texts.group);
    let page_url =
        |name: &str, id: Option<i64>| id.map(|id| href(&path, &[(name, &id.to_string())]));
    let newer = page_url("newer", history.newer);
    let older = page_url("older", history.older);
    let body = html! {
        p.crumbs { a href=(PATH) { (language.settings()) } " / " a href={ (PATH) "#" (group.anchor()) } { (group.title().of(language)) } }
        (heading(title, html! {}))
        div.cards {
            (card(language.setting_value(), form(context, field)))
            (card(language.details(), facts(context, field)))
        }
        (card(language.changes_title(), html! {
            @if history.items.is_empty() {
                (empty_state(language.never_changed(), language.never_changed_text(), html! {}))
            } @else {
                (table(context, field, &history.items))
                (pager(language, newer.as_deref(), older.as_deref()))
            }
        }))
        (reset_form(context, &path))
        @if entry.name() == "day_zone" { (zones()) }
    };
    layout::page(context, Section::Settings, title, body)
}

fn form(context: &PageContext, field: &SettingField) -> Markup {
    let (language, entry) = (context.language, field.entry);
    html! {
        form.stacked.setting-form method="post" action=(entry.path()) {
            (context.csrf_field())
            p #{ (entry.name()) "-about" } { (entry.texts.explanation.of(language)) }
            label.visually-hidden for=(entry.name()) { (entry.title(language)) }
            (field.control(language, field.error.is_some()))
            div.actions { button.primary type="submit" { (language.save()) } }
        }
    }
}

fn facts(context: &PageContext, field: &SettingField) -> Markup {
    let (language, entry) = (context.language, field.entry);
    let in_use = entry.display(language, Some(&field.value));
    html! {
        dl.facts {
            dt { (language.setting_in_use()) } dd { strong { (in_use) } }
            dt { (language.setting_default_word()) } dd { (entry.display(language, None)) }
            dt { (language.setting_bounds()) } dd { (entry.hint(language)) }
            dt { (language.setting_since()) }
            dd {
                @if let Some(at) = field.changed_at { (ago(context, at, context.now)) } @else { (language.all_default()) }
            }
            dt { (language.setting_name()) } dd { code { (entry.name()) } }
            dt { (language.setting_command()) } dd { code { "gemini-pool settings set " (entry.name()) " " (quoted(&field.value)) } }
        }
        p.muted.small { (language.effective_at_once()) }
    }
}

/// The value quoted for a shell.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains('*') {
        format!("'{value}'")
    } else {
        value.to_owned()
    }
}

fn table(context: &PageContext, field: &SettingField, acts: &[ListedAct]) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.changed_at()) } th scope="col" { (language.changed_by()) }
                th scope="col" { (language.setting_before_after()) }
                th { span.visually-hidden { (language.backup_actions()) } }
            } }
            tbody { @for act in acts { (row(context, field, act)) } }
        } }
    }
}

fn row(context: &PageContext, field: &SettingField, act: &ListedAct) -> Markup {
    let (language, entry) = (context.language, field.entry);
    let change = SettingChange::of(act.first.clone());
    let was = entry.display(language, change.before.as_deref());
    let became = entry.display(language, change.after.as_deref());
    let before = change.before.unwrap_or_else(|| entry.definition.default());
    html! {
        tr {
            td data-label=(language.changed_at()) { (moment(context, change.changed_at)) }
            td data-label=(language.changed_by()) {
                span { (actor_label(language, &change.actor)) @if let Some(address) = &act.first.address { " " span.muted { (address) } } }
            }
            td data-label=(language.setting_before_after()) { span { (was) " → " strong { (became) } } }
            td.number {
                @if before != field.value {
                    form method="post" action={ (entry.path()) "/back" } {
                        (context.csrf_field())
                        button.small type="submit" name="change" value=(change.id) { (language.back_to_value(&was)) }
                    }
                }
            }
        }
    }
}
