//! `/search`: finds a request, key, client, model, page or setting by a text.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::time::timeout;
use tokio::try_join;

use crate::app::App;
use crate::dashboard::components::{empty_state, href};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::settings::entry::SettingEntry;
use crate::dashboard::translations::Language;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::request_logs::listed;
use crate::storage::{global_search, strings};

/// Maximum number of results of each kind.
const MAX_RESULTS: u32 = 8;
/// The time limit of the look-ups in the database.
const TIME_LIMIT: Duration = Duration::from_millis(250);
/// The length from which a word may be a whole key.
const SECRET_LENGTH: usize = 30;

#[derive(Debug, Deserialize)]
pub struct SearchQuery {
    #[serde(default)]
    q: String,
}

/// Results of one kind.
struct Group {
    title: &'static str,
    /// Each with its target, name and detail.
    results: Vec<(String, String, String)>,
}

/// All results.
#[derive(Default)]
struct Found {
    groups: Vec<Group>,
    /// The look-ups took too long.
    is_stopped: bool,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<SearchQuery>,
) -> std::result::Result<Response, ErrorPage> {
    let text = searched(&query.q);
    if text != query.q.trim() {
        return Ok(Redirect::to(&href("/search", &[("q", text)])).into_response());
    }
    let language = context.language;
    let found = find(&app, language, text).await?;
    let body = html! {
        (heading(language.search(), html! {}))
        form.filters.one-line method="get" action="/search" role="search" {
            input type="search" name="q" value=(text) aria-label=(language.search()) placeholder=(language.search_hint()) autofocus;
            button.primary type="submit" { (language.search()) }
        }
        (view(language, text, &found))
    };
    let page = layout::page(&context, Section::None, language.search(), body);
    Ok(page.into_response())
}

/// The results alone, for the dialog that a script opens over any page.
pub async fn results(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<SearchQuery>,
) -> std::result::Result<Markup, ErrorPage> {
    let text = searched(&query.q);
    let found = find(&app, context.language, text).await?;
    Ok(view(context.language, text, &found))
}

/// The text to search for. A whole key was pasted by mistake: its end is enough, and the rest appears nowhere again.
fn searched(text: &str) -> &str {
    let text = text.trim();
    // Names of models and settings, which may be as long, have no capitals; paths have slashes.
    let has_capital = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_word = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if text.len() >= SECRET_LENGTH && is_word && has_capital {
        &text[text.len() - 4..]
    } else {
        text
    }
}

async fn find(app: &App, language: Language, text: &str) -> Result<Found> {
    let mut found = Found::default();
    if text.is_empty() {
        return Ok(found);
    }
    match timeout(TIME_LIMIT, stored(app, language, text)).await {
        Ok(groups) => found.groups = groups?,
        Err(_) => found.is_stopped = true,
    }
    let pages = Section::matching(text).map(|section| {
        let name = section.name(language).to_owned();
        (section.path().to_owned(), name, section.path().to_owned())
    });
    let lower = text.to_lowercase();
    let settings = SettingEntry::all().filter(|entry| entry.matches(&lower));
    let settings = settings.take(MAX_RESULTS as usize).map(|entry| {
        let title = entry.title(language).to_owned();
        (entry.path(), title, entry.name().to_owned())
    });
    found.add(language.found_pages(), pages.collect());
    found.add(language.settings(), settings.collect());
    Ok(found)
}

/// What the database has.
async fn stored(app: &App, language: Language, text: &str) -> Result<Vec<Group>> {
    let db = &app.db.readers;
    let (upstream_keys, client_keys, models) = try_join!(
        global_search::find_upstream_keys(db, text, MAX_RESULTS),
        global_search::find_client_keys(db, text, MAX_RESULTS),
        strings::list_models(db),
    )?;
    let mut found = Found::default();
    if let Ok(id) = text.parse::<RequestId>() {
        let rows = listed::list(db, &[id]).await?.into_iter();
        let rows = rows.map(|row| {
            let name = row.model.unwrap_or(row.path);
            (format!("/logs/{id}"), id.to_string(), name)
        });
        found.add(language.found_requests(), rows.collect());
    }
    let keys = upstream_keys.into_iter().map(|key| {
        let target = format!("/upstream-keys/{}", key.id.0);
        (target, key.label, format!("…{}", key.last4))
    });
    found.add(language.upstream_keys(), keys.collect());
    let keys = client_keys.into_iter().map(|key| {
        let target = format!("/client-keys/{}", key.id.0);
        (target, key.name, format!("…{}", key.last4))
    });
    found.add(language.client_keys(), keys.collect());
    let part = text.to_ascii_lowercase();
    let models = models
        .into_iter()
        .filter(|model| model.to_ascii_lowercase().contains(&part));
    let models = models.take(MAX_RESULTS as usize).map(|model| {
        let target = href("/logs", &[("model", &model)]);
        (target, model, language.found_model().to_owned())
    });
    found.add(language.models(), models.collect());
    Ok(found.groups)
}

impl Found {
    fn add(&mut self, title: &'static str, results: Vec<(String, String, String)>) {
        if !results.is_empty() {
            self.groups.push(Group { title, results });
        }
    }
}

fn view(language: Language, text: &str, found: &Found) -> Markup {
    let in_log = href("/logs", &[("q", text)]);
    html! {
        div.found {
            @if text.is_empty() {
                p.muted { (language.search_help()) }
            } @else if found.groups.is_empty() {
                (empty_state(language.nothing_found(), language.search_help(), html! { a.button href=(in_log) { (language.search_in_log(text)) } }))
            } @else {
                @for group in &found.groups {
                    section {
                        h2 { (group.title) }
                        ul { @for (target, name, detail) in &group.results {
                            li { a href=(target) { span { (name) } " " span.muted.small { (detail) } } }
                        } }
                    }
                }
                p { a.small href=(in_log) { (language.search_in_log(text)) } }
            }
            @if found.is_stopped { p.muted.small role="status" { (language.search_stopped()) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_whole_key_only_the_end_is_searched_for() {
        for (text, expected) in [
            (" web app ", "web app"),
            ("1k9z4v0qm3e0a", "1k9z4v0qm3e0a"),
            ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "rstu"),
            (
                "a long text with spaces stays what it is",
                "a long text with spaces stays what it is",
            ),
            (
                "gemini-2.5-flash-preview-native-audio-dialog",
                "gemini-2.5-flash-preview-native-audio-dialog",
            ),
        ] {
            assert_eq!(searched(text), expected);
        }
    }
}
