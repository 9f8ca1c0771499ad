//! The list of requests with its filters and columns.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;
use tokio::try_join;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{empty_state, live_switch, moment, pager};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::logs::columns::{self, COLUMNS, LogColumn};
use crate::dashboard::logs::export;
use crate::dashboard::logs::filters::{self, FilterSuggestions};
use crate::dashboard::logs::histogram as histogram_view;
use crate::dashboard::logs::query::{LogField, LogQuery};
use crate::dashboard::logs::views;
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::log_views::{self, LogView};
use crate::storage::request_logs::export::ExportFormat;
use crate::storage::request_logs::histogram::{self, LogHistogram};
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed;
use crate::storage::request_logs::search::{LogSearchResult, search};
use crate::storage::upstream_keys::listed::{find_label, list_labels};
use crate::storage::{admins, client_keys};

/// Rows per page.
pub const PAGE_SIZE: usize = 50;
/// The time limit of a search before it shows partial results; rendering adds a few milliseconds.
pub const SEARCH_TIME_LIMIT: Duration = Duration::from_millis(75);
/// The period whose requested models are suggested.
const MODEL_SUGGESTION_SPAN: Duration = Duration::from_hours(7 * 24);
/// The number of suggested labels of upstream keys, which are sent with each page.
const MAX_KEY_SUGGESTIONS: u32 = 50;

/// All data of the page.
struct LogList {
    results: LogSearchResult,
    /// `None`: no request can match.
    histogram: Option<LogHistogram>,
    suggestions: FilterSuggestions,
    views: Vec<LogView>,
    invalid: Vec<LogField>,
}

#[derive(Debug, Deserialize)]
pub struct ColumnsForm {
    #[serde(default)]
    column: Vec<String>,
    /// Whether to reset to the default columns.
    usual: Option<String>,
    /// The query of the list to return to.
    #[serde(default)]
    back: String,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Markup, ErrorPage> {
    let deadline = clock::instant() + SEARCH_TIME_LIMIT;
    let mut query = LogQuery::from_pairs(pairs);
    let (filter, invalid) = query.filter(&context.zone, context.now);
    let db = &app.db.readers;
    let listed = async {
        let deadline = Some(deadline);
        let mut results = search(db, &filter, query.position, PAGE_SIZE, deadline).await?;
        if matches!(query.position, LogPosition::NewerThan(_)) && results.next.is_none() {
            // Fewer rows than a page are newer: show the full newest page.
            query = query.at(LogPosition::Newest);
            results = search(db, &filter, query.position, PAGE_SIZE, deadline).await?;
        }
        Ok(results)
    };
    let offset = context.zone.to_offset(context.now.to_jiff()).seconds();
    let offset_ms = i64::from(offset) * 1_000;
    let counted = histogram::count(db, &filter, offset_ms, context.now, Some(deadline));
    let (results, histogram) = try_join!(listed, counted)?;
    let key = query.get(LogField::Key).parse().ok().map(UpstreamKeyId);
    let key_label = match key {
        Some(id) => find_label(db, id).await?,
        None => None,
    };
    let clients = client_keys::list(db).await?;
    let data = LogList {
        results,
        histogram,
        suggestions: FilterSuggestions {
            models: listed::list_models(db, context.now - MODEL_SUGGESTION_SPAN).await?,
            clients: clients
                .into_iter()
                .map(|client| (client.id.0.to_string(), client.name))
                .collect(),
            keys: list_labels(db, MAX_KEY_SUGGESTIONS).await?,
            key_label,
        },
        views: log_views::list(db, context.admin.id).await?,
        invalid,
    };
    Ok(view(&context, &query, &data))
}

/// Stores the columns selected by the admin.
pub async fn update_columns(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<ColumnsForm>,
) -> Result<Redirect, ErrorPage> {
    let known = COLUMNS.iter().map(|column| column.name);
    let selected: Vec<_> = known
        .filter(|name| form.column.iter().any(|column| column == name))
        .collect();
    let json = serde_json::to_string(&selected).expect("names serialize to JSON");
    let columns = (form.usual.is_none() && !selected.is_empty()).then_some(json.as_str());
    let mut tx = app.db.begin().await?;
    admins::update_log_columns(&mut tx, context.admin.id, columns).await?;
    tx.commit().await?;
    context
        .set_notice(Notice::done(context.language.columns_saved()))
        .await;
    // Only a query of this page: a redirect to another site must be impossible.
    let back = form.back.trim_start_matches('?');
    let pairs = Query::try_from_uri(&format!("/logs?{back}").parse().unwrap_or_default());
    let query = pairs
        .map(|Query(pairs)| LogQuery::from_pairs(pairs))
        .unwrap_or_default();
    Ok(Redirect::to(&query.href("/logs")))
}

fn view(context: &PageContext, query: &LogQuery, data: &LogList) -> Markup {
    let (language, results) = (context.language, &data.results);
    let columns = LogColumn::selected(context.admin.log_columns.as_deref());
    let is_newest = query.position == LogPosition::Newest;
    let actions = html! {
        @if is_newest { (live_switch(language)) }
        (views::menu(context, query, &data.views))
        (export_menu(language, query))
        (column_menu(context, &columns))
    };
    let body = html! {
        (heading(language.logs(), actions))
        (views::links(context, query, &data.views))
        (filters::quick_spans(language, query))
        (filters::form(context, query, &data.suggestions, &data.invalid))
        @if !query.is_empty() { (filters::chips(context, query, &data.suggestions, &data.invalid)) }
        @if let Some(counted) = &data.histogram { (histogram_view::view(context, query, counted)) }
        @if !data.invalid.is_empty() {
            div.notice.warning role="alert" {
                @let names: Vec<_> = data.invalid.iter().map(|field| field.label(language)).collect();
                p { (language.invalid_filters(&names.join(language.list_comma()))) }
            }
        }
        @if is_newest {
            div data-live=(query.href("/logs/live")) { (rows(context, query, &columns, results)) }
        } @else {
            div { (rows(context, query, &columns, results)) }
        }
        (search_stopped(context, query, results))
        (page_links(language, query, results))
    };
    layout::page(context, Section::Logs, language.logs(), body)
}

fn rows(
    context: &PageContext,
    query: &LogQuery,
    columns: &[&LogColumn],
    results: &LogSearchResult,
) -> Markup {
    html! {
        @if results.rows.is_empty() {
            (no_rows(context.language, query, results.stopped))
        }
        // The element stays as the target of live rows.
        div.table.logs.bare[results.rows.is_empty()] tabindex="-1" {
            table.stack.paired data-keys {
                thead {
                    tr {
                        @for column in columns {
                            th.number[column.is_number()] scope="col" { ((column.heading)(context.language)) }
                        }
                    }
                }
                tbody data-live-rows=(PAGE_SIZE) {
                    @for row in &results.rows { (columns::row(context, query, columns, row)) }
                }
            }
        }
    }
}

fn no_rows(language: Language, query: &LogQuery, stopped: bool) -> Markup {
    let clear = html! { a.button href="/logs" { (language.clear_filters()) } };
    if stopped {
        empty_state(
            language.no_match_so_far(),
            language.no_request_matches_text(),
            clear,
        )
    } else if query.is_empty() {
        empty_state(
            language.no_requests_yet(),
            language.no_requests_text(),
            html! { a.button.primary href="/client-keys" { (language.to_client_keys()) } },
        )
    } else {
        empty_state(
            language.no_request_matches(),
            language.no_request_matches_text(),
            clear,
        )
    }
}

/// The position at which a search reached its time limit, with a link that continues it.
fn search_stopped(context: &PageContext, query: &LogQuery, results: &LogSearchResult) -> Markup {
    let language = context.language;
    let (Some(next), true) = (results.next, results.stopped) else {
        return html! {};
    };
    let (label, position) = match query.position {
        LogPosition::NewerThan(_) => (language.searched_forward_to(), LogPosition::NewerThan(next)),
        LogPosition::Newest | LogPosition::OlderThan(_) => {
            (language.searched_back_to(), LogPosition::OlderThan(next))
        }
    };
    html! {
        div.notice role="status" {
            p { (label) " " (moment(context, next.time())) }
            a.button href=(query.at(position).href("/logs")) { (language.continue_search()) }
        }
    }
}

fn page_links(language: Language, query: &LogQuery, results: &LogSearchResult) -> Markup {
    let href = |position| query.at(position).href("/logs");
    let (first, last) = (results.rows.first(), results.rows.last());
    let is_upwards = matches!(query.position, LogPosition::NewerThan(_));
    let newer =
        first.filter(|_| query.position != LogPosition::Newest && !(is_upwards && results.stopped));
    let newer = newer.map(|row| href(LogPosition::NewerThan(row.id)));
    let has_older = is_upwards || (results.next.is_some() && !results.stopped);
    let older = last
        .filter(|_| has_older)
        .map(|row| href(LogPosition::OlderThan(row.id)));
    html! {
        div.pages {
            @if query.position != LogPosition::Newest {
                a.button href=(href(LogPosition::Newest)) { (language.newest()) }
            }
            (pager(language, newer.as_deref(), older.as_deref()))
        }
    }
}

/// Links that download all rows of the filters.
fn export_menu(language: Language, query: &LogQuery) -> Markup {
    let query = query.at(LogPosition::Newest);
    html! {
        details.menu #export {
            summary.button { (language.export()) }
            div.menu-body {
                p.hint { (language.export_hint()) }
                div.actions {
                    @for format in ExportFormat::VARIANTS {
                        a.button href=(query.href(export::path(*format))) { (export::label(*format)) }
                    }
                }
            }
        }
    }
}

/// The form that selects columns.
fn column_menu(context: &PageContext, selected: &[&LogColumn]) -> Markup {
    let language = context.language;
    html! {
        details.menu #columns {
            summary.button { (language.columns()) }
            form.menu-body method="post" action="/logs/columns" {
                (context.csrf_field())
                input type="hidden" name="back" value=(context.uri.query().unwrap_or_default());
                p.hint { (language.columns_hint()) }
                div.column-list {
                    @for column in COLUMNS {
                        label.check {
                            input type="checkbox" name="column" value=(column.name) checked[selected.contains(&column)];
                            ((column.heading)(language))
                        }
                    }
                }
                div.actions {
                    button.primary type="submit" { (language.save()) }
                    button type="submit" name="usual" value="yes" { (language.default_columns()) }
                }
            }
        }
    }
}
