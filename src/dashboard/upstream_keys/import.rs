//! Adding keys: paste any text, see what was found, and say yes. What is pasted waits in memory, so that no page and no
//! URL ever holds a secret.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::components::{Tone, badge, card, field, number, select, stat};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::texts::Language;
use crate::dashboard::upstream_keys::{bulk, edit, list, words};
use crate::dashboard::visit::Visit;
use crate::error::Error;
use crate::jobs::Work;
use crate::pool::keys::import::{self, ImportedKey, KeyImport, UnusableEntry};
use crate::pool::keys::upstream_key::{KeyAttributes, parse_tags};
use crate::storage::upstream_keys::{self, Knowledge};

/// So many keys, and so many odd entries, are shown one by one.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Pasted {
    #[serde(default)]
    text: String,
}

/// What is said of all keys alike.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ForAll {
    label: String,
    project: String,
    billing: String,
    priority: String,
    tags: String,
    /// `on`: also of keys that are known.
    update: String,
}

pub async fn show(visit: Visit) -> Markup {
    form(&visit, None)
}

pub async fn preview(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(pasted): Form<Pasted>,
) -> Response {
    let found = import::parse(&pasted.text);
    if found.keys.is_empty() && found.unusable.is_empty() {
        let page = form(&visit, Some(visit.language.import_nothing()));
        return (StatusCode::UNPROCESSABLE_ENTITY, page).into_response();
    }
    let draft = app.jobs.pasted.keep(found, visit.now);
    Redirect::to(&path_of(draft)).into_response()
}

pub async fn show_preview(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (draft, found) = find(&app, &visit, &id)?;
    view(&app, &visit, draft, &found, &ForAll::default(), None).await
}

pub async fn create(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Form(for_all): Form<ForAll>,
) -> Result<Response, ErrorPage> {
    let (draft, found) = find(&app, &visit, &id)?;
    let attributes = match read(visit.language, &for_all) {
        Ok(attributes) => attributes,
        Err(wrong) => {
            let page = view(&app, &visit, draft, &found, &for_all, Some(wrong)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let mut keys = found.keys.clone();
    import::apply_defaults(&mut keys, &attributes);
    let work = Work::Import {
        keys,
        update: !for_all.update.is_empty(),
    };
    app.jobs.pasted.forget(draft);
    Ok(bulk::begin(&app, &visit, work, list::PATH)
        .await
        .into_response())
}

fn path_of(draft: u64) -> String {
    format!("{}/import/{draft:016x}", list::PATH)
}

fn find(app: &App, visit: &Visit, id: &str) -> Result<(u64, Arc<KeyImport>), ErrorPage> {
    let draft = u64::from_str_radix(id, 16).ok();
    let found = draft.and_then(|id| Some((id, app.jobs.pasted.get(id, visit.now)?)));
    found.ok_or_else(|| Error::NotFound(visit.language.import_gone().to_owned()).into())
}

fn read(language: Language, form: &ForAll) -> Result<KeyAttributes, &'static str> {
    let tags = parse_tags(&form.tags);
    Ok(KeyAttributes {
        label: edit::name(language, &form.label)?,
        project: edit::name(language, &form.project)?,
        billing: form.billing.parse().ok(),
        priority: edit::whole(language, &form.priority)?,
        weight: None,
        tags: Some(tags).filter(|tags| !tags.is_empty()),
    })
}

fn form(visit: &Visit, wrong: Option<&str>) -> Markup {
    let language = visit.language;
    let input = html! {
        textarea #text name="text" rows="14" required autocomplete="off" spellcheck="false" placeholder="AIza…" autofocus {}
    };
    let content = html! {
        nav.crumbs { a href=(list::PATH) { "← " (language.upstream_keys()) } }
        (heading(language.import_title(), html! {}))
        form.card method="post" action="/upstream-keys/import" {
            (visit.csrf_field())
            (field("text", language.import_text(), Some(language.import_hint()), wrong, input))
            div.actions {
                button.primary type="submit" { (language.import_preview()) }
                a.button href=(list::PATH) { (language.cancel()) }
            }
        }
    };
    let title = language.import_title();
    layout::page(visit, Place::UpstreamKeys, title, content)
}

async fn view(
    app: &App,
    visit: &Visit,
    draft: u64,
    found: &KeyImport,
    for_all: &ForAll,
    wrong: Option<&str>,
) -> Result<Markup, ErrorPage> {
    let language = visit.language;
    let keys = &found.keys;
    let secrets = keys.iter().map(|key| &key.secret);
    let knowledge = upstream_keys::knowledge(&app.db.readers, app.hash_key(), secrets).await?;
    let count = |what| knowledge.iter().filter(|known| **known == what).count() as u64;
    let (new, removed) = (count(Knowledge::New), count(Knowledge::Removed));
    let title = language.import_title();
    let content = html! {
        nav.crumbs { a href=(list::PATH) { "← " (language.upstream_keys()) } }
        (heading(title, html! { a.button href="/upstream-keys/import" { (language.import_again()) } }))
        dl.stats {
            (stat(language.import_new(), number(new), ""))
            (stat(language.import_removed(), number(removed), if removed > 0 { language.import_removed_means() } else { "" }))
            (stat(language.import_known(), number(count(Knowledge::Known)), ""))
            (stat(language.import_twice(), number(found.duplicates as u64), ""))
            (stat(language.import_odd(), number(found.unusable.len() as u64), ""))
        }
        @if !keys.is_empty() { (card(language.import_for_all(), options(visit, draft, new + removed, for_all, wrong))) }
        @if !found.unusable.is_empty() { (card(language.import_odd(), odd_table(language, &found.unusable))) }
        @if !keys.is_empty() { (card(language.import_found(), key_table(language, keys, &knowledge))) }
    };
    Ok(layout::page(visit, Place::UpstreamKeys, title, content))
}

/// The form that adds them; `fresh` of them are not in use now.
fn options(visit: &Visit, draft: u64, fresh: u64, form: &ForAll, wrong: Option<&str>) -> Markup {
    let language = visit.language;
    let input = |id: &str, value: &str| {
        html! { input #(id) name=(id) value=(value) autocomplete="off" spellcheck="false"; }
    };
    let mut billings = vec![("", language.unchanged())];
    billings.extend(edit::billings(language));
    html! {
        form.stacked method="post" action=(path_of(draft)) {
            (visit.csrf_field())
            p.muted { (language.import_for_all_hint()) " " (language.import_check()) }
            @if let Some(wrong) = wrong { p.form-error role="alert" { (wrong) } }
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
                    @if fresh > 0 { (language.import_keys(fresh)) } @else { (language.import_update_known()) }
                }
                a.button href=(list::PATH) { (language.cancel()) }
            }
        }
    }
}

fn odd_table(language: Language, odd: &[UnusableEntry]) -> Markup {
    html! {
        div.table.tall tabindex="0" { table.stack.odd {
            thead { tr {
                th scope="col" { (language.import_line()) } th scope="col" { (language.import_what()) }
                th scope="col" { (language.import_start()) }
            } }
            tbody { @for odd in odd.iter().take(SHOWN) { tr {
                td data-label=(language.import_line()) { (odd.line) }
                td data-label=(language.import_what()) {
                    @if odd.expected == "key" { (language.import_odd_key()) } @else { (language.import_odd_part(odd.expected)) }
                }
                td.mono data-label=(language.import_start()) { (odd.start) "…" }
            } } }
        } }
        @if odd.len() > SHOWN { p.muted.small { (language.import_first(&number(SHOWN as u64))) } }
    }
}

fn key_table(language: Language, keys: &[ImportedKey], knowledge: &[Knowledge]) -> Markup {
    html! {
        div.table.tall tabindex="0" { table.stack {
            thead { tr {
                th scope="col" { (language.secret()) } th scope="col" { (language.state_heading()) }
                th scope="col" { (language.label()) } th scope="col" { (language.project()) }
                th scope="col" { (language.billing()) } th.number scope="col" { (language.priority()) }
                th scope="col" { (language.tags()) }
            } }
            tbody { @for (key, known) in keys.iter().zip(knowledge).take(SHOWN) {
                @let said = &key.attributes;
                tr {
                    td.mono data-label=(language.secret()) { "…" (key.secret.last4()) }
                    td data-label=(language.state_heading()) { (known_badge(language, *known)) }
                    td data-label=(language.label()) { (said.label.as_deref().unwrap_or("–")) }
                    td data-label=(language.project()) { (said.project.as_deref().unwrap_or("–")) }
                    td data-label=(language.billing()) {
                        @if let Some(billing) = said.billing { (words::billing(language, billing)) } @else { "–" }
                    }
                    td.number data-label=(language.priority()) { @if let Some(priority) = said.priority { (priority) } @else { "–" } }
                    td data-label=(language.tags()) {
                        span { @for tag in said.tags.iter().flatten() { span.tag { (tag) } " " } }
                    }
                }
            } }
        } }
        @if keys.len() > SHOWN { p.muted.small { (language.import_first(&number(SHOWN as u64))) } }
    }
}

fn known_badge(language: Language, known: Knowledge) -> Markup {
    match known {
        Knowledge::New => badge(Tone::Good, language.import_new()),
        Knowledge::Known => badge(Tone::Quiet, language.import_known()),
        Knowledge::Removed => badge(Tone::Info, language.import_removed()),
    }
}
