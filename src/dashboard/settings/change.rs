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
use crate::dashboard::settings::entry::{PATH, SettingEntry};
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::storage::audit::{self, Act, Subject};
use crate::storage::error::Thing;
use crate::storage::settings::{self, SettingChange};

/// The submitted values by field name.
pub type SettingsForm = HashMap<String, String>;

/// Settings with their new row values; `None`: the default.
pub type SettingChanges = Vec<(SettingEntry, Option<String>)>;

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
    for entry in SettingEntry::all() {
        let (name, definition) = (entry.name(), entry.definition);
        let Some(submitted) = form.get(name) else {
            continue;
        };
        let Ok(row_value) = definition.row_value(&entry.parse(submitted)) else {
            errors.insert(name, entry.error_message(language, submitted));
            continue;
        };
        let value = row_value.clone().unwrap_or_else(|| definition.default());
        if form.get(&format!("was.{name}")) != Some(&value) {
            changes.push((entry, row_value));
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
    for (entry, value) in changes {
        saved.extend(settings::change(&mut tx, entry.name(), value.as_deref(), &act).await?);
    }
    if saved.is_empty() {
        tx.rollback().await?;
        let notice = Notice::done(context.language.nothing_to_save());
        return Ok(context.redirect_with(notice, back).await);
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let revision = act.revision.to_string();
    let undo = [("revision", revision.as_str()), ("back", back)];
    let notice = Notice::done(change_text(context.language, &saved));
    let notice = notice.with_undo(href("/settings/undo", &undo));
    Ok(context.redirect_with(notice, back).await)
}

/// Resets a setting to its default.
pub async fn reset(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(form): Form<RestoreForm>,
) -> Result<Redirect, ErrorPage> {
    let changes = vec![(SettingEntry::in_path(&name)?, None)];
    save(&app, &context, changes, local_path(&form.back)).await
}

/// Restores the value that a setting had before one of its changes.
pub async fn restore(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(form): Form<RestoreForm>,
) -> Result<Redirect, ErrorPage> {
    let entry = SettingEntry::in_path(&name)?;
    let change = audit::find(&app.db.readers, form.change).await?;
    if change.subject != Subject::Setting || change.name != name {
        return Err(Error::NotFound(Thing::Change, form.change.to_string()).into());
    }
    let value = SettingChange::of(change).before;
    if !entry.definition.allows(value.as_deref()) {
        return Err(Error::Invalid(
            entry.error_message(context.language, value.as_deref().unwrap_or_default()),
        )
        .into());
    }
    save(&app, &context, vec![(entry, value)], &entry.path()).await
}

/// Undoes an operation, except for settings changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(undo): Query<SettingUndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let back = Some(local_path(&undo.back)).filter(|_| !undo.back.is_empty());
    let back = back.unwrap_or(PATH);
    let reversed = settings::reversal_of(&mut app.db.readers.begin().await?, undo.revision).await?;
    let changes: SettingChanges = reversed
        .into_iter()
        .filter_map(|(name, value)| Some((SettingEntry::find(name)?, value)))
        .collect();
    if changes.is_empty() {
        let notice = Notice::failed(context.language.changed_since());
        return Ok(context.redirect_with(notice, back).await);
    }
    save(&app, &context, changes, back).await
}

/// A summary of the changes in one line.
fn change_text(language: Language, saved: &[SettingChange]) -> String {
    if let [change] = saved
        && let Some(entry) = SettingEntry::find(&change.name)
    {
        let before = entry.display(language, change.before.as_deref());
        let after = entry.display(language, change.after.as_deref());
        return language.setting_is(entry.title(language), &before, &after);
    }
    language.settings_changed(saved.len())
}
