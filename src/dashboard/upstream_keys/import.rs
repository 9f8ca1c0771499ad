//! Importing keys: paste any text, check the preview, confirm. The pasted text stays in memory, so that no page and no
//! URL contains a secret.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::components::{Tone, badge, card, field, mark, number, select, stat};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::{bulk, edit, list};
use crate::error::Error;
use crate::jobs::{JobWork, KnownKeys};
use crate::key_list;
use crate::pool::keys::import::Expected;
use crate::pool::keys::imported_keys::{self, ImportedKey, KeyImport, NotTaken, NotTakenReason};
use crate::pool::keys::upstream_key::{KeyAttributes, parse_tags};
use crate::pool::secret::Secret;
use crate::storage::error::Thing;
use crate::storage::upstream_keys::removal::{self, SecretStatus};

/// Keys, and entries that were not taken, shown in the preview.
const MAX_LISTED_ENTRIES: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PasteForm {
    text: String,
    /// `on`: also take keys that do not have Google's form.
    any: String,
}

/// Attributes for all imported keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CommonAttributesForm {
    label: String,
    project: String,
    billing: String,
    priority: String,
    tags: String,
    /// `on`: also update keys already in the pool.
    update: String,
}

pub async fn show(context: PageContext) -> Markup {
    form(&context, None)
}

pub async fn preview(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(pasted): Form<PasteForm>,
) -> Response {
    let expected = if pasted.any.is_empty() {
        Expected::AnyText
    } else {
        Expected::KeysOnly
    };
    let parsed = key_list::read_import(pasted.text, expected).await;
    if parsed.keys.is_empty() && parsed.not_taken.is_empty() {
        let page = form(&context, Some(context.language.import_nothing()));
        return (StatusCode::UNPROCESSABLE_ENTITY, page).into_response();
    }
    let draft = app.jobs.pasted.insert(parsed, context.now);
    Redirect::to(&path_of(draft)).into_response()
}

pub async fn show_preview(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (draft, parsed) = find(&app, &context, &id)?;
    view(
        &app,
        &context,
        draft,
        &parsed,
        &CommonAttributesForm::default(),
        None,
    )
    .await
}

pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(common): Form<CommonAttributesForm>,
) -> Result<Response, ErrorPage> {
    let (draft, parsed) = find(&app, &context, &id)?;
    let attributes = match read(context.language, &common) {
        Ok(attributes) => attributes,
        Err(error) => {
            let page = view(&app, &context, draft, &parsed, &common, Some(error)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let mut keys = parsed.keys.clone();
    imported_keys::apply_defaults(&mut keys, &attributes);
    let work = JobWork::Import {
        keys,
        known: if common.update.is_empty() {
            KnownKeys::Keep
        } else {
            KnownKeys::Update
        },
    };
    app.jobs.pasted.remove(draft);
    Ok(bulk::start_job(&app, &context, work, list::PATH)
        .await
        .into_response())
}

fn path_of(draft: u64) -> String {
    format!("{}/import/{draft:016x}", list::PATH)
}

fn find(app: &App, context: &PageContext, id: &str) -> Result<(u64, Arc<KeyImport>), ErrorPage> {
    let draft = u64::from_str_radix(id, 16).ok();
    let parsed = draft.and_then(|id| Some((id, app.jobs.pasted.get(id, context.now)?)));
    parsed.ok_or_else(|| Error::NotFound(Thing::Import, String::new()).into())
}

fn read(language: Language, form: &CommonAttributesForm) -> Result<KeyAttributes, &'static str> {
    let tags = parse_tags(&form.tags);
    Ok(KeyAttributes {
        label: edit::parse_name(language, &form.label)?,
        project: edit::parse_name(language, &form.project)?,
        billing: form.billing.parse().ok(),
        priority: edit::parse_integer(language, &form.priority)?,
        weight: None,
        tags: Some(tags).filter(|tags| !tags.is_empty()),
    })
}

fn form(context: &PageContext, error: Option<&str>) -> Markup {
    let language = context.language;
    let input = html! {
        textarea #text name="text" rows="14" required autocomplete="off" spellcheck="false" placeholder="AIza…" autofocus {}
    };
    let body = html! {
        nav.crumbs { a href=(list::PATH) { "← " (language.upstream_keys()) } }
        (heading(language.import_title(), html! {}))
        form.card method="post" action="/upstream-keys/import" {
            (context.csrf_field())
            (field("text", language.import_text(), Some(language.import_hint()), error, input))
            label.check { input type="checkbox" name="any" value="on"; (language.import_any()) }
            div.actions {
                button.primary type="submit" { (language.import_preview()) }
                a.button href=(list::PATH) { (language.cancel()) }
            }
        }
    };
    let title = language.import_title();
    layout::page(context, Section::UpstreamKeys, title, body)
}

async fn view(
    app: &App,
    context: &PageContext,
    draft: u64,
    parsed: &KeyImport,
    common: &CommonAttributesForm,
    error: Option<&str>,
) -> Result<Markup, ErrorPage> {
    let language = context.language;
    let keys = &parsed.keys;
    let secrets = keys.iter().map(|key| &key.secret);
    let knowledge = removal::find_secret_statuses(&app.db.readers, &app.hash_key, secrets).await?;
    let count = |what| knowledge.iter().filter(|known| **known == what).count() as u64;
    let (new, removed) = (count(SecretStatus::New), count(SecretStatus::Removed));
    let title = language.import_title();
    let body = html! {
        nav.crumbs { a href=(list::PATH) { "← " (language.upstream_keys()) } }
        (heading(title, html! { a.button href="/upstream-keys/import" { (language.import_again()) } }))
        dl.stats {
            (stat(language.import_new(), number(new), ""))
            (stat(language.import_removed(), number(removed), if removed > 0 { language.import_removed_means() } else { "" }))
            (stat(language.import_known(), number(count(SecretStatus::InUse)), ""))
            (stat(language.import_duplicates(), number(parsed.duplicates as u64), ""))
            (stat(language.import_not_taken(), number(parsed.not_taken.len() as u64), ""))
        }
        @if !keys.is_empty() { (card(language.import_for_all(), options(context, draft, new + removed, common, error))) }
        @if !parsed.not_taken.is_empty() { (card(language.import_not_taken(), not_taken_table(language, &parsed.not_taken))) }
        @if !keys.is_empty() { (card(language.import_keys_found(), key_table(language, keys, &knowledge))) }
    };
    Ok(layout::page(context, Section::UpstreamKeys, title, body))
}

/// The form that adds the keys; `new_keys` are not in the pool yet.
fn options(
    context: &PageContext,
    draft: u64,
    new_keys: u64,
    form: &CommonAttributesForm,
    error: Option<&str>,
) -> Markup {
    let language = context.language;
    let input = |id: &str, value: &str| {
        html! { input #(id) name=(id) value=(value) autocomplete="off" spellcheck="false"; }
    };
    let mut billings = vec![("", language.unchanged())];
    billings.extend(edit::billing_options(language));
    html! {
        form.stacked method="post" action=(path_of(draft)) {
            (context.csrf_field())
            p.muted { (language.import_for_all_hint()) " " (language.import_check()) }
            @if let Some(error) = error { p.form-error role="alert" { (error) } }
            div.fields {
                (field("label", language.label(), Some(language.import_label_hint()), None, input("label", &form.label)))
                (field("project", language.project(), Some(language.project_hint()), None, input("project", &form.project)))
                (field("billing", language.billing(), Some(language.billing_hint()), None,
                    select("billing", "billing", &form.billing, &billings)))
                (field("priority", language.priority(), Some(language.priority_hint()), None, input("priority", &form.priority)))
                (field("tags", language.tags(), Some(language.tags_hint()), None, input("tags", &form.tags)))
            }
            label.check {
                input type="checkbox" name="update" value="on" checked[!form.update.is_empty()];
                (language.import_update())
            }
            div.actions {
                button.primary type="submit" {
                    @if new_keys > 0 { (language.import_keys(&language.keys_counted(new_keys))) } @else { (language.import_update_known()) }
                }
                a.button href=(list::PATH) { (language.cancel()) }
            }
        }
    }
}

fn not_taken_table(language: Language, entries: &[NotTaken]) -> Markup {
    html! {
        div.table.tall tabindex="0" { table.stack.not-taken {
            thead { tr {
                th scope="col" { (language.import_line()) } th scope="col" { (language.import_what()) }
                th scope="col" { (language.import_start()) }
            } }
            tbody { @for entry in entries.iter().take(MAX_LISTED_ENTRIES) { tr {
                td data-label=(language.import_line()) { (entry.line) }
                td data-label=(language.import_what()) { (reason(language, entry.reason)) }
                td.mono data-label=(language.import_start()) { (entry.start) "…" }
            } } }
        } }
        @if entries.len() > MAX_LISTED_ENTRIES { p.muted.small { (language.import_first(&number(MAX_LISTED_ENTRIES as u64))) } }
    }
}

fn reason(language: Language, reason: NotTakenReason) -> String {
    match reason {
        NotTakenReason::NoKey => language.import_no_key().to_owned(),
        NotTakenReason::UnknownForm => language.import_unknown_form().to_owned(),
        NotTakenReason::Incomplete => language.import_incomplete().to_owned(),
        NotTakenReason::OtherService => language.import_other_service().to_owned(),
        NotTakenReason::OutsideKeyLists => language.import_outside_key_lists().to_owned(),
        NotTakenReason::Comment => language.import_comment().to_owned(),
        NotTakenReason::Attribute(name) => language.import_invalid_attribute(name),
    }
}

fn key_table(language: Language, keys: &[ImportedKey], knowledge: &[SecretStatus]) -> Markup {
    html! {
        div.table.tall tabindex="0" { table.stack {
            thead { tr {
                th.number scope="col" { (language.import_line()) } th scope="col" { (language.secret()) }
                th scope="col" { (language.state_heading()) } th scope="col" { (language.label()) } th scope="col" { (language.project()) }
                th scope="col" { (language.billing()) } th.number scope="col" { (language.priority()) }
                th scope="col" { (language.tags()) }
            } }
            tbody { @for (key, known) in keys.iter().zip(knowledge).take(MAX_LISTED_ENTRIES) {
                @let attributes = &key.attributes;
                tr {
                    td.number data-label=(language.import_line()) { (key.line) }
                    td data-label=(language.secret()) { (form_of(language, &key.secret)) }
                    td data-label=(language.state_heading()) {
                        (knowledge_badge(language, *known))
                        @if key.is_disabled { " " (badge(Tone::Quiet, language.import_disabled())) }
                    }
                    td data-label=(language.label()) { (attributes.label.as_deref().unwrap_or("–")) }
                    td data-label=(language.project()) { (attributes.project.as_deref().unwrap_or("–")) }
                    td data-label=(language.billing()) {
                        @if let Some(billing) = attributes.billing { (language.billing_label(billing)) } @else { "–" }
                    }
                    td.number data-label=(language.priority()) { @if let Some(priority) = attributes.priority { (priority) } @else { "–" } }
                    td data-label=(language.tags()) {
                        span { @for tag in attributes.tags.iter().flatten() { span.tag { (tag) } " " } }
                    }
                }
            } }
        } }
        @if keys.len() > MAX_LISTED_ENTRIES { p.muted.small { (language.import_first(&number(MAX_LISTED_ENTRIES as u64))) } }
    }
}

/// What can be judged of a key without showing it: its usual beginning, its end and its length.
fn form_of(language: Language, secret: &Secret) -> Markup {
    let (text, length) = (secret.expose(), secret.expose().chars().count());
    let beginning = ["AIza", "AQ."]
        .into_iter()
        .find(|usual| text.starts_with(usual));
    let is_unusual = beginning.is_none_or(|usual| usual == "AIza" && length != 39);
    html! {
        span.lines {
            span.mono.nowrap { (beginning.unwrap_or_default()) "…" (secret.last4()) }
            span.muted.tiny.nowrap { (language.import_length(&number(length as u64))) }
            @if is_unusual { span.warning.tiny { (mark(Tone::Wait)) " " (language.import_unusual()) } }
        }
    }
}

fn knowledge_badge(language: Language, known: SecretStatus) -> Markup {
    match known {
        SecretStatus::New => badge(Tone::Good, language.import_new()),
        SecretStatus::InUse => badge(Tone::Quiet, language.import_known()),
        SecretStatus::Removed => badge(Tone::Info, language.import_removed()),
    }
}
