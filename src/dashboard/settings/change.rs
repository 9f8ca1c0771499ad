//! Saving, resetting, restoring and undoing settings.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use axum_extra::extract::{Form, Query};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::href;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::settings::catalogue::CATALOGUE;
use crate::dashboard::settings::paths::{PATH, path_of};
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::settings::{DEFINITIONS, SettingDefinition, definition};
use crate::storage::audit::{self, Act, AuditFilter, ListedChange, Subject};
use crate::storage::settings::{self, SettingChange};

/// The submitted values by field name.
pub type SettingsForm = HashMap<String, String>;

/// Settings with their new row values; `None`: the default.
pub type SettingChanges = Vec<(&'static SettingDefinition, Option<String>)>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestoreForm {
    /// The page to return to.
    back: String,
    /// The change whose earlier value is restored.
    change: i64,
}

/// The operation to undo.
#[derive(Debug, Deserialize)]
pub struct SettingUndoQuery {
    revision: i64,
    #[serde(default)]
    back: String,
}

/// The changes of a form. A field with its original value changes nothing, so that an old page does not overwrite
/// later changes by others.
pub fn parse_changes(
    language: Language,
    form: &SettingsForm,
) -> Result<SettingChanges, HashMap<&'static str, String>> {
    let mut changes = Vec::new();
    let mut errors = HashMap::new();
    for definition in DEFINITIONS {
        let Some(submitted) = form.get(definition.name) else {
            continue;
        };
        let entry = CATALOGUE.of(definition);
        match definition.row_value(&entry.parse(submitted)) {
            Ok(row_value) => {
                let value = row_value.clone().unwrap_or_else(|| definition.default());
                if form.get(&format!("was.{}", definition.name)) != Some(&value) {
                    changes.push((definition, row_value));
                }
            }
            Err(_) => {
                errors.insert(definition.name, entry.error_message(language, definition));
            }
        }
    }
    if errors.is_empty() {
        Ok(changes)
    } else {
        Err(errors)
    }
}

/// Saves changes in one operation, applies them, and sets a notice with an undo button.
pub async fn save(
    app: &App,
    context: &PageContext,
    changes: SettingChanges,
    back: &str,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    let mut saved = Vec::new();
    for (definition, value) in changes {
        saved.extend(settings::change(&mut tx, definition.name, value.as_deref(), &act).await?);
    }
    if saved.is_empty() {
        tx.rollback().await?;
        let notice = Notice::done(context.language.nothing_to_save());
        context.set_notice(notice).await;
        return Ok(Redirect::to(back));
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let revision = act.revision.to_string();
    let undo = href(
        "/settings/undo",
        &[("revision", revision.as_str()), ("back", back)],
    );
    let notice = Notice::done(change_text(context.language, &saved)).with_undo(undo);
    context.set_notice(notice).await;
    Ok(Redirect::to(back))
}

/// Resets a setting to its default.
pub async fn reset(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(form): Form<RestoreForm>,
) -> Result<Redirect, ErrorPage> {
    let definition = find_definition(&name)?;
    save(
        &app,
        &context,
        vec![(definition, None)],
        local_path(&form.back),
    )
    .await
}

/// Restores the value that a setting had before one of its changes.
pub async fn restore(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(form): Form<RestoreForm>,
) -> Result<Redirect, ErrorPage> {
    let definition = find_definition(&name)?;
    let change = audit::find(&app.db.readers, form.change).await?;
    if change.subject != Subject::Setting || change.name != name {
        return Err(Error::NotFound(format!("change {}", form.change)).into());
    }
    let value = SettingChange::of(change).before;
    if !is_allowed(definition, value.as_deref()) {
        let message = CATALOGUE
            .of(definition)
            .error_message(context.language, definition);
        return Err(Error::Invalid(message).into());
    }
    let back = path_of(definition.name);
    save(&app, &context, vec![(definition, value)], &back).await
}

/// Undoes an operation, except for settings changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(undo): Query<SettingUndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let back = Some(local_path(&undo.back)).filter(|_| !undo.back.is_empty());
    let back = back.unwrap_or(PATH);
    let filter = AuditFilter {
        subject: Some(Subject::Setting),
        revision: Some(undo.revision).filter(|revision| *revision > 0),
        ..AuditFilter::default()
    };
    if filter.revision.is_none() {
        return Err(Error::NotFound(format!("change {}", undo.revision)).into());
    }
    let act = audit::list(&app.db.readers, &filter, None, DEFINITIONS.len()).await?;
    let present: HashMap<_, _> = settings::list(&app.db.readers).await?.into_iter().collect();
    let changes: SettingChanges = act
        .items
        .into_iter()
        .filter_map(|change| reverse_of(change, &present))
        .collect();
    if changes.is_empty() {
        context
            .set_notice(Notice::failed(context.language.changed_since()))
            .await;
        return Ok(Redirect::to(back));
    }
    save(&app, &context, changes, back).await
}

/// The change that undoes `change`; `None` if the setting has another value now.
fn reverse_of(
    change: ListedChange,
    present: &HashMap<String, String>,
) -> Option<(&'static SettingDefinition, Option<String>)> {
    let change = SettingChange::of(change);
    let definition = definition(&change.name)?;
    let is_current = present.get(&change.name) == change.after.as_ref();
    (is_current && is_allowed(definition, change.before.as_deref()))
        .then_some((definition, change.before))
}

/// Whether a stored value is still valid; its bounds may be narrower now.
fn is_allowed(definition: &SettingDefinition, value: Option<&str>) -> bool {
    value.is_none_or(|value| definition.row_value(value).is_ok())
}

/// A summary of the changes in one line.
fn change_text(language: Language, saved: &[SettingChange]) -> String {
    let [change] = saved else {
        return language.settings_changed(saved.len());
    };
    match definition(&change.name) {
        Some(definition) => {
            let entry = CATALOGUE.of(definition);
            let display_value = |value: Option<&str>| display_value(language, definition, value);
            let (before, after) = (
                display_value(change.before.as_deref()),
                display_value(change.after.as_deref()),
            );
            language.setting_is(entry.title.of(language), &before, &after)
        }
        None => language.settings_changed(1),
    }
}

/// The display text of a stored value.
pub fn display_value(
    language: Language,
    definition: &SettingDefinition,
    value: Option<&str>,
) -> String {
    let default = definition.default();
    CATALOGUE
        .of(definition)
        .display(language, value.unwrap_or(&default))
}

/// The setting in a path.
pub fn find_definition(name: &str) -> Result<&'static SettingDefinition, Error> {
    definition(name).ok_or_else(|| Error::NotFound(format!("setting {name}")))
}
