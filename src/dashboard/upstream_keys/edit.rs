//! The edit form of one key.

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
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::list::PATH;
use crate::error::Error;
use crate::pool::keys::upstream_key::{
    self, Billing, KeyAttributes, MAX_WEIGHT, UpstreamKeyId, parse_tags,
};
use crate::storage::audit::Act;
use crate::storage::error::Thing;
use crate::storage::rollups::begin_of_day;
use crate::storage::upstream_keys::search::{self, DashboardKey};
use crate::storage::upstream_keys::{self};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UpstreamKeyForm {
    label: String,
    project: String,
    billing: String,
    priority: String,
    weight: String,
    tags: String,
    /// `on` or empty.
    enabled: String,
}

/// The error of each field.
#[derive(Debug, Default, PartialEq, Eq)]
struct KeyFormErrors {
    label: Option<&'static str>,
    project: Option<&'static str>,
    priority: Option<&'static str>,
    weight: Option<&'static str>,
}

/// Parses the key id in a path.
pub fn parse_id(path: &str) -> Result<UpstreamKeyId, ErrorPage> {
    let id = path.parse().map(UpstreamKeyId);
    id.map_err(|_| Error::NotFound(Thing::UpstreamKey, path.to_owned()).into())
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = find(&app, &context, &id).await?;
    let form = UpstreamKeyForm {
        label: key.label.clone(),
        project: key.project.clone().unwrap_or_default(),
        billing: billing_value(key.billing).to_owned(),
        priority: key.priority.to_string(),
        weight: key.weight.to_string(),
        tags: key.tags.join(", "),
        enabled: if key.enabled { "on" } else { "" }.to_owned(),
    };
    Ok(view(&context, &key, &form, &KeyFormErrors::default()))
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(form): Form<UpstreamKeyForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let key = find(&app, &context, &id).await?;
    let attributes = match parse(language, &form) {
        Ok(attributes) => attributes,
        Err(errors) => {
            let page = view(&context, &key, &form, &errors);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let enabled = !form.enabled.is_empty();
    let is_switched = enabled != key.enabled;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), clock::now()).await?;
    let is_changed = upstream_keys::update(&mut tx, key.id, &attributes, &act).await?;
    if is_switched {
        upstream_keys::states::update_enabled(&mut tx, &[key.id], enabled, &act).await?;
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = if is_changed || is_switched {
        language.saved()
    } else {
        language.not_changed()
    };
    context.set_notice(Notice::done(notice)).await;
    Ok(Redirect::to(&format!("{PATH}/{}", key.id.0)).into_response())
}

async fn find(app: &App, context: &PageContext, id: &str) -> Result<DashboardKey, ErrorPage> {
    let today = begin_of_day(context.now);
    Ok(search::find_for_dashboard(&app.db.readers, parse_id(id)?, today).await?)
}

/// The attributes of the form, or its errors. A blank project stays unchanged: every key belongs to a project.
fn parse(language: Language, form: &UpstreamKeyForm) -> Result<KeyAttributes, KeyFormErrors> {
    let label = match parse_name(language, &form.label) {
        Ok(Some(label)) => Ok(label),
        Ok(None) => Err(language.wrong_name()),
        Err(error) => Err(error),
    };
    let weight = match form.weight.trim().parse() {
        Ok(weight) if (1..=MAX_WEIGHT).contains(&weight) => Ok(weight),
        _ => Err(language.wrong_weight()),
    };
    let project = parse_name(language, &form.project);
    let priority = parse_integer(language, &form.priority);
    let errors = KeyFormErrors {
        label: label.as_ref().err().copied(),
        project: project.as_ref().err().copied(),
        priority: priority.as_ref().err().copied(),
        weight: weight.err(),
    };
    if errors != KeyFormErrors::default() {
        return Err(errors);
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

/// A valid name; `None` if the field is blank.
pub fn parse_name(language: Language, text: &str) -> Result<Option<String>, &'static str> {
    upstream_key::parse_name(text).map_err(|_| language.wrong_name())
}

/// A whole number; `None` if the field is blank.
pub fn parse_integer(language: Language, text: &str) -> Result<Option<i64>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| language.wrong_number())
}

/// A weight; `None` if the field is blank.
pub fn parse_weight(language: Language, text: &str) -> Result<Option<u32>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let weight = text.parse().ok();
    let weight = weight.filter(|weight| (1..=MAX_WEIGHT).contains(weight));
    weight.map(Some).ok_or(language.wrong_weight())
}

fn billing_value(billing: Billing) -> &'static str {
    match billing {
        Billing::Free => "free",
        Billing::Paid => "paid",
        Billing::Unknown => "unknown",
    }
}

/// The choices of billing.
pub fn billing_options(language: Language) -> [(&'static str, &'static str); 3] {
    [
        ("unknown", language.unknown()),
        ("free", language.billing_label(Billing::Free)),
        ("paid", language.billing_label(Billing::Paid)),
    ]
}

fn view(
    context: &PageContext,
    key: &DashboardKey,
    form: &UpstreamKeyForm,
    errors: &KeyFormErrors,
) -> Markup {
    let language = context.language;
    let title = language.edit_key(&key.label);
    let page = format!("{PATH}/{}", key.id.0);
    let input = |id: &str, value: &str| {
        html! { input #(id) name=(id) value=(value) autocomplete="off" spellcheck="false"; }
    };
    let body = html! {
        nav.crumbs { a href=(page) { "← " (key.label) " " span.mono { "…" (key.last4) } } }
        (heading(&title, html! {}))
        form.card.narrow method="post" action={ (page) "/edit" } {
            (context.csrf_field())
            (field("label", language.label(), None, errors.label, input("label", &form.label)))
            (field("project", language.project(), Some(language.project_hint()), errors.project, input("project", &form.project)))
            (field("billing", language.billing(), Some(language.billing_hint()), None,
                select("billing", "billing", &form.billing, &billing_options(language))))
            div.fields {
                (field("priority", language.priority(), Some(language.priority_hint()), errors.priority, input("priority", &form.priority)))
                (field("weight", language.weight(), Some(language.weight_hint()), errors.weight, input("weight", &form.weight)))
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
    layout::page(context, Section::UpstreamKeys, &title, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_parsed_or_every_invalid_field_is_reported() {
        let good = UpstreamKeyForm {
            label: " first ".to_owned(),
            billing: "paid".to_owned(),
            priority: "-1".to_owned(),
            weight: "3".to_owned(),
            tags: "a, b".to_owned(),
            ..UpstreamKeyForm::default()
        };
        let expected = KeyAttributes {
            label: Some("first".to_owned()),
            project: None,
            billing: Some(Billing::Paid),
            priority: Some(-1),
            weight: Some(3),
            tags: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        assert_eq!(parse(Language::English, &good), Ok(expected));

        let bad = UpstreamKeyForm {
            label: String::new(),
            project: "a\nb".to_owned(),
            priority: "high".to_owned(),
            weight: "0".to_owned(),
            ..good
        };
        let errors = parse(Language::English, &bad).unwrap_err();
        assert!(errors.label.is_some() && errors.project.is_some());
        assert!(errors.priority.is_some() && errors.weight.is_some());
    }
}
