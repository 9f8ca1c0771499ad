//! What is said of one key: its form.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{field, select};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::texts::Language;
use crate::dashboard::upstream_keys::list::PATH;
use crate::dashboard::visit::{Notice, Visit};
use crate::error::Error;
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, MAX_WEIGHT, UpstreamKeyId, parse_tags,
};
use crate::storage::audit::Act;
use crate::storage::sums::begin_of_day;
use crate::storage::upstream_keys::search::{self, ShownKey};
use crate::storage::upstream_keys::{self};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KeyForm {
    label: String,
    project: String,
    billing: String,
    priority: String,
    weight: String,
    tags: String,
    /// `on`, or nothing.
    enabled: String,
}

/// What is wrong with each field.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    label: Option<&'static str>,
    project: Option<&'static str>,
    priority: Option<&'static str>,
    weight: Option<&'static str>,
}

/// The id in a path.
pub fn id_in(path: &str) -> Result<UpstreamKeyId, ErrorPage> {
    let id = path.parse().map(UpstreamKeyId);
    id.map_err(|_| Error::NotFound(format!("upstream key {path}")).into())
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = find(&app, &visit, &id).await?;
    let form = KeyForm {
        label: key.label.clone(),
        project: key.project.clone().unwrap_or_default(),
        billing: word(key.billing).to_owned(),
        priority: key.priority.to_string(),
        weight: key.weight.to_string(),
        tags: key.tags.join(", "),
        enabled: if key.enabled { "on" } else { "" }.to_owned(),
    };
    Ok(view(&visit, &key, &form, &Wrong::default()))
}

pub async fn update(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Form(form): Form<KeyForm>,
) -> Result<Response, ErrorPage> {
    let language = visit.language;
    let key = find(&app, &visit, &id).await?;
    let attributes = match read(language, &form) {
        Ok(attributes) => attributes,
        Err(wrong) => {
            let page = view(&visit, &key, &form, &wrong);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let enabled = !form.enabled.is_empty();
    let is_switched = enabled != key.enabled;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &visit.actor(), clock::now()).await?;
    let is_news = upstream_keys::update(&mut tx, key.id, &attributes, &act).await?;
    if is_switched {
        upstream_keys::update_enabled(&mut tx, &[key.id], enabled, &act).await?;
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = if is_news || is_switched {
        language.saved()
    } else {
        language.not_changed()
    };
    visit.notify(Notice::done(notice)).await;
    Ok(Redirect::to(&format!("{PATH}/{}", key.id.0)).into_response())
}

async fn find(app: &App, visit: &Visit, id: &str) -> Result<ShownKey, ErrorPage> {
    let today = begin_of_day(visit.now);
    Ok(search::find_shown(&app.db.readers, id_in(id)?, today).await?)
}

/// What the form says, or what is wrong with it. An emptied project stays what it was: a key is always in one.
fn read(language: Language, form: &KeyForm) -> Result<KeyAttributes, Wrong> {
    let label = match name(language, &form.label) {
        Ok(Some(label)) => Ok(label),
        Ok(None) => Err(language.wrong_name()),
        Err(wrong) => Err(wrong),
    };
    let weight = match form.weight.trim().parse() {
        Ok(weight) if (1..=MAX_WEIGHT).contains(&weight) => Ok(weight),
        _ => Err(language.wrong_weight()),
    };
    let project = name(language, &form.project);
    let priority = whole(language, &form.priority);
    let wrong = Wrong {
        label: label.as_ref().err().copied(),
        project: project.as_ref().err().copied(),
        priority: priority.as_ref().err().copied(),
        weight: weight.err(),
    };
    if wrong != Wrong::default() {
        return Err(wrong);
    }
    Ok(KeyAttributes {
        label: label.ok(),
        project: project.ok().flatten(),
        billing: form.billing.parse().ok(),
        priority: priority.ok().flatten(),
        weight: weight.ok(),
        tags: Some(parse_tags(&form.tags)),
    })
}

/// A name as people give them; nothing where the field is empty.
pub fn name(language: Language, text: &str) -> Result<Option<String>, &'static str> {
    let text = text.trim();
    if text.chars().count() > 200 || text.contains(char::is_control) {
        return Err(language.wrong_name());
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// A whole number; nothing where the field is empty.
pub fn whole(language: Language, text: &str) -> Result<Option<i64>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| language.wrong_number())
}

fn word(billing: Billing) -> &'static str {
    match billing {
        Billing::Free => "free",
        Billing::Paid => "paid",
        Billing::Unknown => "unknown",
    }
}

/// The words for who pays.
pub fn billings(language: Language) -> [(&'static str, &'static str); 3] {
    [
        ("unknown", language.unknown()),
        ("free", language.billing_free()),
        ("paid", language.billing_paid()),
    ]
}

fn view(visit: &Visit, key: &ShownKey, form: &KeyForm, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let title = language.edit_key(&key.label);
    let page = format!("{PATH}/{}", key.id.0);
    let input = |id: &str, value: &str| {
        html! { input #(id) name=(id) value=(value) autocomplete="off" spellcheck="false"; }
    };
    let content = html! {
        nav.crumbs { a href=(page) { "← " (key.label) " " span.mono { "…" (key.last4) } } }
        (heading(&title, html! {}))
        form.card.narrow method="post" action={ (page) "/edit" } {
            (visit.csrf_field())
            (field("label", language.label(), None, wrong.label, input("label", &form.label)))
            (field("project", language.project(), Some(language.project_hint()), wrong.project, input("project", &form.project)))
            (field("billing", language.billing(), Some(language.billing_hint()), None,
                select("billing", "billing", &form.billing, &billings(language))))
            div.fields {
                (field("priority", language.priority(), Some(language.priority_hint()), wrong.priority, input("priority", &form.priority)))
                (field("weight", language.weight(), Some(language.weight_hint()), wrong.weight, input("weight", &form.weight)))
            }
            (field("tags", language.tags(), Some(language.tags_hint()), None, input("tags", &form.tags)))
            label.check {
                input type="checkbox" name="enabled" value="on" checked[!form.enabled.is_empty()];
                (language.in_use())
            }
            div.actions {
                button.primary type="submit" { (language.save()) }
                a.button href=(page) { (language.cancel()) }
            }
        }
    };
    layout::page(visit, Place::UpstreamKeys, &title, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_or_every_wrong_field_is_told() {
        let good = KeyForm {
            label: " first ".to_owned(),
            billing: "paid".to_owned(),
            priority: "-1".to_owned(),
            weight: "3".to_owned(),
            tags: "a, b".to_owned(),
            ..KeyForm::default()
        };
        let expected = KeyAttributes {
            label: Some("first".to_owned()),
            project: None,
            billing: Some(Billing::Paid),
            priority: Some(-1),
            weight: Some(3),
            tags: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        assert_eq!(read(Language::English, &good), Ok(expected));

        let bad = KeyForm {
            label: String::new(),
            project: "a\nb".to_owned(),
            priority: "high".to_owned(),
            weight: "0".to_owned(),
            ..good
        };
        let wrong = read(Language::English, &bad).unwrap_err();
        assert!(wrong.label.is_some() && wrong.project.is_some());
        assert!(wrong.priority.is_some() && wrong.weight.is_some());
    }
}
