//! Saving settings, and taking changes of them back.

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
use crate::dashboard::settings::catalogue::CATALOGUE;
use crate::dashboard::settings::{PATH, path_of};
use crate::dashboard::sign_in::local;
use crate::dashboard::texts::Language;
use crate::dashboard::visit::{Notice, Visit};
use crate::error::Error;
use crate::pool::settings::{DEFINITIONS, SettingDefinition, definition};
use crate::storage::audit::{self, Act, Filter, ListedChange, Subject};
use crate::storage::settings::{self, SettingChange};

/// What a form sent, by the name of the field.
pub type Fields = HashMap<String, String>;

/// Settings with what their rows shall keep; `None`: the default.
pub type Changes = Vec<(&'static SettingDefinition, Option<String>)>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BackForm {
    /// The page to come back to.
    back: String,
    /// The change whose value before it is wanted again.
    change: i64,
}

/// Which act to take back.
#[derive(Debug, Deserialize)]
pub struct Undo {
    revision: i64,
    #[serde(default)]
    back: String,
}

/// What a form wants to be changed: a field that still says what it was shown with changes nothing, so that a page that
/// was open for long does not undo what others have done since.
pub fn read(language: Language, form: &Fields) -> Result<Changes, HashMap<&'static str, String>> {
    let mut changes = Vec::new();
    let mut wrong = HashMap::new();
    for definition in DEFINITIONS {
        let Some(typed) = form.get(definition.name) else {
            continue;
        };
        let entry = CATALOGUE.of(definition);
        match definition.row_value(&entry.read(typed)) {
            Ok(kept) => {
                let value = kept.clone().unwrap_or_else(|| definition.default());
                if form.get(&format!("was.{}", definition.name)) != Some(&value) {
                    changes.push((definition, kept));
                }
            }
            Err(_) => {
                wrong.insert(definition.name, entry.remedy(language, definition));
            }
        }
    }
    if wrong.is_empty() {
        Ok(changes)
    } else {
        Err(wrong)
    }
}

/// Makes changes in one act, has the server take them over, and tells so with a way back.
pub async fn save(
    app: &App,
    visit: &Visit,
    changes: Changes,
    back: &str,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &visit.actor(), visit.now).await?;
    let mut made = Vec::new();
    for (definition, value) in changes {
        made.extend(settings::change(&mut tx, definition.name, value.as_deref(), &act).await?);
    }
    if made.is_empty() {
        tx.rollback().await?;
        let notice = Notice::done(visit.language.nothing_to_save());
        visit.notify(notice).await;
        return Ok(Redirect::to(back));
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let revision = act.revision.to_string();
    let undo = href(
        "/settings/undo",
        &[("revision", revision.as_str()), ("back", back)],
    );
    let notice = Notice::done(words(visit.language, &made)).with_undo(undo);
    visit.notify(notice).await;
    Ok(Redirect::to(back))
}

/// Gives a setting its default.
pub async fn reset(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    Form(form): Form<BackForm>,
) -> Result<Redirect, ErrorPage> {
    let definition = named(&name)?;
    save(&app, &visit, vec![(definition, None)], local(&form.back)).await
}

/// Gives a setting the value that it had before one of its changes.
pub async fn go_back(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    Form(form): Form<BackForm>,
) -> Result<Redirect, ErrorPage> {
    let definition = named(&name)?;
    let change = audit::find(&app.db.readers, form.change).await?;
    if change.subject != Subject::Setting || change.name != name {
        return Err(Error::NotFound(format!("change {}", form.change)).into());
    }
    let value = SettingChange::of(change).before;
    if !can_be(definition, value.as_deref()) {
        let remedy = CATALOGUE.of(definition).remedy(visit.language, definition);
        return Err(Error::Invalid(remedy).into());
    }
    let back = path_of(definition.name);
    save(&app, &visit, vec![(definition, value)], &back).await
}

/// Takes an act back, but for what was changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(undo): Query<Undo>,
) -> Result<Redirect, ErrorPage> {
    let back = Some(local(&undo.back)).filter(|_| !undo.back.is_empty());
    let back = back.unwrap_or(PATH);
    let filter = Filter {
        subject: Some(Subject::Setting),
        // What stands for itself has none.
        revision: Some(undo.revision).filter(|revision| *revision > 0),
        ..Filter::default()
    };
    if filter.revision.is_none() {
        return Err(Error::NotFound(format!("change {}", undo.revision)).into());
    }
    let act = audit::list(&app.db.readers, &filter, None, DEFINITIONS.len()).await?;
    let present: HashMap<_, _> = settings::list(&app.db.readers).await?.into_iter().collect();
    let changes: Changes = act
        .items
        .into_iter()
        .filter_map(|change| taken_back(change, &present))
        .collect();
    if changes.is_empty() {
        visit
            .notify(Notice::failed(visit.language.changed_since()))
            .await;
        return Ok(Redirect::to(back));
    }
    save(&app, &visit, changes, back).await
}

/// What undoes a change; `None` where there is another value by now.
fn taken_back(
    change: ListedChange,
    present: &HashMap<String, String>,
) -> Option<(&'static SettingDefinition, Option<String>)> {
    let change = SettingChange::of(change);
    let definition = definition(&change.name)?;
    let is_still = present.get(&change.name) == change.after.as_ref();
    (is_still && can_be(definition, change.before.as_deref()))
        .then_some((definition, change.before))
}

/// Whether a row may still say this: bounds may be narrower than they were.
fn can_be(definition: &SettingDefinition, value: Option<&str>) -> bool {
    value.is_none_or(|value| definition.row_value(value).is_ok())
}

/// What was changed, in one line.
fn words(language: Language, made: &[SettingChange]) -> String {
    let [change] = made else {
        return language.settings_changed(made.len());
    };
    match definition(&change.name) {
        Some(definition) => {
            let entry = CATALOGUE.of(definition);
            let shown = |value: Option<&str>| shown(language, definition, value);
            let (before, after) = (
                shown(change.before.as_deref()),
                shown(change.after.as_deref()),
            );
            language.setting_is(entry.title.of(language), &before, &after)
        }
        None => language.settings_changed(1),
    }
}

/// What a row keeps, as people read it.
pub fn shown(language: Language, definition: &SettingDefinition, value: Option<&str>) -> String {
    let default = definition.default();
    CATALOGUE
        .of(definition)
        .shown(language, value.unwrap_or(&default))
}

/// The setting that a path names.
pub fn named(name: &str) -> Result<&'static SettingDefinition, Error> {
    definition(name).ok_or_else(|| Error::NotFound(format!("setting {name}")))
}
