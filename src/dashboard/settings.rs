//! `/settings`: the settings that an admin can change while the server runs.

pub mod catalogue;
pub mod change;
pub mod detail;
pub mod entry;
pub mod field;
pub mod value;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Form, Query};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::config::Config;
use crate::dashboard::components::{card, empty_state, href};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::settings::catalogue::SettingGroup;
use crate::dashboard::settings::change::{SettingsForm, parse_changes, save};
use crate::dashboard::settings::entry::{PATH, SettingEntry};
use crate::dashboard::settings::field::{RESET_FORM, SettingField, zones};
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;
use crate::storage::settings::{self, CurrentSettings};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SettingsQuery {
    /// Words in the title or the explanation.
    q: String,
    /// `yes`: only settings that differ from their defaults.
    changed: String,
}

/// The settings in their groups.
pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<SettingsQuery>,
) -> Result<Markup, ErrorPage> {
    let present = settings::find_current(&app.db.readers).await?;
    let fields = fields(&present, &SettingsForm::new(), &HashMap::new());
    let back = context.return_path();
    Ok(view(&app.config, &context, &query, fields, back))
}

/// Changes the settings whose submitted value differs from the value shown.
pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<SettingsForm>,
) -> Result<Response, ErrorPage> {
    let back = form.get("back").map_or(PATH, |back| local_path(back));
    match parse_changes(context.language, &form) {
        Ok(changes) => Ok(save(&app, &context, changes, back).await?.into_response()),
        Err(errors) => {
            let present = settings::find_current(&app.db.readers).await?;
            let fields = fields(&present, &form, &errors);
            // With a search, invalid fields are among the matching settings.
            let uri = back.parse().unwrap_or_default();
            let query = Query::try_from_uri(&uri).map(|Query(query)| query);
            let query = query.unwrap_or_default();
            let page = view(&app.config, &context, &query, fields, back);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// All settings, with the submitted values and their errors.
fn fields(
    present: &CurrentSettings,
    form: &SettingsForm,
    errors: &HashMap<&'static str, String>,
) -> Vec<SettingField> {
    let field = |entry: SettingEntry| SettingField {
        submitted: form.get(entry.name()).cloned(),
        error: errors.get(entry.name()).cloned(),
        ..SettingField::of(entry, present)
    };
    SettingEntry::all().map(field).collect()
}

fn view(
    config: &Config,
    context: &PageContext,
    query: &SettingsQuery,
    mut fields: Vec<SettingField>,
    back: &str,
) -> Markup {
    let language = context.language;
    let (all, search_text) = (fields.len(), query.q.trim().to_lowercase());
    let changed = fields.iter().filter(|field| !field.is_default()).count();
    let is_whole = search_text.is_empty() && query.changed.is_empty();
    fields.retain(|field| {
        let is_selected = query.changed.is_empty() || !field.is_default() || field.error.is_some();
        is_selected && field.entry.matches(&search_text)
    });
    let of_group = |group: &SettingGroup| {
        let fields = fields.iter();
        let fields = fields.filter(|field| field.entry.texts.group == *group);
        (*group, fields.collect::<Vec<_>>())
    };
    let groups = SettingGroup::VARIANTS.iter().map(of_group);
    let groups: Vec<_> = groups.filter(|(_, fields)| !fields.is_empty()).collect();
    let first_invalid = fields.iter().find(|field| field.error.is_some());
    let first_invalid = first_invalid.map(|field| field.entry.name());
    let body = html! {
        (heading(language.settings(), html! { span.sub { (language.effective_at_once()) } }))
        @if first_invalid.is_some() { p.form-error role="alert" { (language.not_saved()) } }
        (search(language, query))
        p.muted.small.counted {
            @if changed == 0 { (language.all_are_defaults()) } @else { (language.differ_from_defaults(changed, all)) }
            " "
            @if !is_whole {
                a href=(PATH) { (language.show_all_settings()) }
            } @else if changed > 0 {
                a href=(href(PATH, &[("changed", "yes")])) { (language.show_changed_settings()) }
            }
        }
        @if groups.is_empty() {
            (empty_state(
                &language.no_setting_matches(query.q.trim()),
                language.no_setting_matches_text(),
                html! { a.button href=(PATH) { (language.show_all_settings()) } },
            ))
        } @else {
            div.settings {
                (contents(language, &groups, is_whole))
                div.groups {
                    @for (group, fields) in &groups { (group_form(context, *group, fields, first_invalid, back)) }
                    @if is_whole { (config_card(language, config)) }
                }
            }
            (reset_form(context, back))
            (zones())
        }
    };
    layout::page(context, Section::Settings, language.settings(), body)
}

fn search(language: Language, query: &SettingsQuery) -> Markup {
    html! {
        form.filters.one-line method="get" action=(PATH) role="search" {
            input type="search" name="q" value=(query.q) data-search placeholder=(language.settings_search())
                aria-label=(language.settings_search());
            button type="submit" { (language.search()) }
        }
    }
}

/// Links to the groups of the page.
fn contents(
    language: Language,
    groups: &[(SettingGroup, Vec<&SettingField>)],
    is_whole: bool,
) -> Markup {
    html! {
        nav.contents aria-label=(language.setting_groups()) {
            ul {
                @for (group, _) in groups {
                    li { a href={ "#" (group.anchor()) } { (group.title().of(language)) } }
                }
                @if is_whole { li { a href="#fixed" { (language.fixed_at_start()) } } }
            }
        }
    }
}

fn group_form(
    context: &PageContext,
    group: SettingGroup,
    fields: &[&SettingField],
    first_invalid: Option<&str>,
    back: &str,
) -> Markup {
    let language = context.language;
    let title = group.title().of(language);
    html! {
        form.card.group #(group.anchor()) method="post" action=(PATH) data-unsaved=(language.unsaved_groups()) {
            (context.csrf_field())
            input type="hidden" name="back" value=(back);
            h2 { (title) }
            @for field in fields { (field.row(language, first_invalid == Some(field.entry.name()))) }
            div.actions {
                button type="submit" aria-label=(language.save_group(title)) { (language.save()) }
            }
        }
    }
}

/// The form of the reset buttons beside changed settings.
pub fn reset_form(context: &PageContext, back: &str) -> Markup {
    html! {
        form #(RESET_FORM) method="post" hidden {
            (context.csrf_field())
            input type="hidden" name="back" value=(back);
        }
    }
}

/// The startup options, which change only with a restart.
fn config_card(language: Language, config: &Config) -> Markup {
    let mut upstream = config.upstream_url.clone();
    // The address is stored without its password.
    let _ = upstream.set_password(None);
    let _ = upstream.set_username("");
    let proxies: Vec<_> = config
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    let row = |label: &str, variable: &str, value: &str| {
        html! {
            tr {
                th scope="row" { (label) }
                td.mono { (variable) }
                td { @if value.is_empty() { span.muted { (language.config_unset()) } } @else { code { (value) } } }
            }
        }
    };
    let list = html! {
        p.muted.small { (language.fixed_at_start_text()) }
        div.table { table.stack {
            tbody {
                (row(language.config_listen(), "LISTEN", &config.listen.to_string()))
                (row(language.config_database(), "DATABASE_URL", &config.database_url))
                (row(language.config_upstream(), "UPSTREAM_URL", upstream.as_str()))
                (row(language.config_public_url(), "PUBLIC_URL", config.public_url.as_deref().unwrap_or_default()))
                (row(language.config_proxies(), "TRUSTED_PROXIES", &proxies.join(", ")))
            }
        } }
    };
    html! { div #fixed { (card(language.fixed_at_start(), list)) } }
}
