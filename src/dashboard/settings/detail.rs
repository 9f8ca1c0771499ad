//! `/settings/{name}`: one setting, and what it was before.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Form, Query};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::components::{ago, card, empty_state, href, moment, pager};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::settings::change::{Fields, named, read, save, shown};
use crate::dashboard::settings::field::{Field, zones};
use crate::dashboard::settings::{PATH, path_of, reset_form};
use crate::dashboard::texts::Language;
use crate::dashboard::visit::Visit;
use crate::pool::settings::SettingDefinition;
use crate::storage::audit::{self, Filter, ListedAct, Subject};
use crate::storage::paging::{Position, Slice};
use crate::storage::settings::{self, SettingChange};

/// How many changes a page shows.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    older: Option<i64>,
    newer: Option<i64>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, ErrorPage> {
    let definition = named(&name)?;
    let position = Position::of(asked.older, asked.newer);
    let present = settings::find_present(&app.db.readers).await?;
    let field = Field::of(definition, &present);
    let history = history(&app, definition, position).await?;
    Ok(view(&visit, &field, &history))
}

pub async fn update(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    Form(mut form): Form<Fields>,
) -> Result<Response, ErrorPage> {
    let definition = named(&name)?;
    form.retain(|field, _| field.strip_prefix("was.").unwrap_or(field) == name);
    match read(visit.language, &form) {
        Ok(changes) => {
            let saved = save(&app, &visit, changes, &path_of(definition.name)).await?;
            Ok(saved.into_response())
        }
        Err(mut wrong) => {
            let present = settings::find_present(&app.db.readers).await?;
            let field = Field {
                typed: form.remove(&name),
                wrong: wrong.remove(definition.name),
                ..Field::of(definition, &present)
            };
            let history = history(&app, definition, Position::Newest).await?;
            let page = view(&visit, &field, &history);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn history(
    app: &App,
    definition: &SettingDefinition,
    position: Position,
) -> Result<Slice<ListedAct>, ErrorPage> {
    let filter = Filter {
        subject: Some(Subject::Setting),
        name: Some(definition.name.to_owned()),
        ..Filter::default()
    };
    Ok(audit::list_acts(&app.db.readers, &filter, position, PAGE).await?)
}

fn view(visit: &Visit, field: &Field, history: &Slice<ListedAct>) -> Markup {
    let language = visit.language;
    let title = field.title(language);
    let name = field.definition.name;
    let path = path_of(name);
    let turn = |name: &str, id: Option<i64>| id.map(|id| href(&path, &[(name, &id.to_string())]));
    let (newer, older) = (turn("newer", history.newer), turn("older", history.older));
    let content = html! {
        p.crumbs { a href=(PATH) { (language.settings()) } " / " a href={ (PATH) "#" (field.entry.group.anchor()) } {
            (field.entry.group.title().of(language))
        } }
        (heading(title, html! {}))
        div.cards {
            (card(language.setting_value(), form(visit, field)))
            (card(language.details(), facts(visit, field)))
        }
        (card(language.changes_title(), html! {
            @if history.items.is_empty() {
                (empty_state(language.never_changed(), language.never_changed_text(), html! {}))
            } @else {
                (table(visit, field, &history.items))
                (pager(language, newer.as_deref(), older.as_deref()))
            }
        }))
        (reset_form(visit, &path))
        @if name == "day_zone" { (zones()) }
    };
    layout::page(visit, Place::Settings, title, content)
}

fn form(visit: &Visit, field: &Field) -> Markup {
    let language = visit.language;
    let name = field.definition.name;
    html! {
        form.stacked.setting-form method="post" action=(path_of(name)) {
            (visit.csrf_field())
            p #{ (name) "-about" } { (field.entry.explanation.of(language)) }
            label.visually-hidden for=(name) { (field.title(language)) }
            (field.control(language, field.wrong.is_some()))
            div.actions { button.primary type="submit" { (language.save()) } }
        }
    }
}

fn facts(visit: &Visit, field: &Field) -> Markup {
    let language = visit.language;
    let definition = field.definition;
    let in_use = shown(language, definition, Some(&field.value));
    let command = format!(
        "gemini-pool settings set {} {}",
        definition.name,
        quoted(&field.value)
    );
    html! {
        dl.facts {
            dt { (language.setting_in_use()) } dd { strong { (in_use) } }
            dt { (language.setting_default_word()) } dd { (shown(language, definition, None)) }
            dt { (language.setting_bounds()) } dd { (field.entry.hint(language, definition)) }
            dt { (language.setting_since()) }
            dd {
                @if let Some(at) = field.changed_at { (ago(visit, at, visit.now)) } @else { (language.all_default()) }
            }
            dt { (language.setting_name()) } dd { code { (definition.name) } }
            dt { (language.setting_command()) } dd { code { (command) } }
        }
        p.muted.small { (language.effective_at_once()) }
    }
}

/// As a shell takes it.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains('*') {
        format!("'{value}'")
    } else {
        value.to_owned()
    }
}

fn table(visit: &Visit, field: &Field, acts: &[ListedAct]) -> Markup {
    let language = visit.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.changed_at()) }
                th scope="col" { (language.changed_by()) }
                th scope="col" { (language.setting_before_after()) }
                th { span.visually-hidden { (language.backup_actions()) } }
            } }
            tbody { @for act in acts { (row(visit, field, act)) } }
        } }
    }
}

fn row(visit: &Visit, field: &Field, act: &ListedAct) -> Markup {
    let language = visit.language;
    let definition = field.definition;
    let change = SettingChange::of(act.first.clone());
    let before = change
        .before
        .clone()
        .unwrap_or_else(|| definition.default());
    let (was, became) = (
        shown(language, definition, change.before.as_deref()),
        shown(language, definition, change.after.as_deref()),
    );
    html! {
        tr {
            td data-label=(language.changed_at()) { (moment(visit, change.changed_at)) }
            td data-label=(language.changed_by()) {
                span { (change.actor) @if let Some(address) = &act.first.address { " " span.muted { (address) } } }
            }
            td data-label=(language.setting_before_after()) { span { (was) " → " strong { (became) } } }
            td.number {
                @if before != field.value { (way_back(visit, language, definition, change.id, &was)) }
            }
        }
    }
}

fn way_back(
    visit: &Visit,
    language: Language,
    definition: &SettingDefinition,
    change: i64,
    value: &str,
) -> Markup {
    html! {
        form method="post" action={ (path_of(definition.name)) "/back" } {
            (visit.csrf_field())
            button.small type="submit" name="change" value=(change) { (language.back_to_value(value)) }
        }
    }
}
