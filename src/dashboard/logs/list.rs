//! The list of requests with its filters and columns.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{
    empty_state, field, icon, live_lost, live_switch, moment, pager, select,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::logs::columns::{self, COLUMNS, LogColumn};
use crate::dashboard::logs::export;
use crate::dashboard::logs::outcome_labels::outcome_label;
use crate::dashboard::logs::query::{ANY_KIND, LogField, LogQuery, yes_or_no};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::export::ExportFormat;
use crate::storage::request_logs::filter::OutcomeFilter;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed;
use crate::storage::request_logs::search::{LogSearchResult, search};
use crate::storage::{admins, client_keys};

/// Rows per page.
pub const PAGE_SIZE: usize = 50;
/// The time limit of a search before it shows partial results; rendering adds a few milliseconds.
pub const SEARCH_TIME_LIMIT: Duration = Duration::from_millis(75);
/// The period whose requested models are suggested.
const MODEL_SUGGESTION_SPAN: Duration = Duration::from_hours(7 * 24);
/// The maximum number of suggested names.
const MAX_SUGGESTIONS: usize = 200;

/// The suggestions of the filter fields.
struct FilterSuggestions {
    models: Vec<String>,
    clients: Vec<(String, String)>,
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
    let mut results = search(db, &filter, query.position, PAGE_SIZE, Some(deadline)).await?;
    if matches!(query.position, LogPosition::NewerThan(_)) && results.next.is_none() {
        // Fewer rows than a page are newer: show the full newest page.
        query = query.at(LogPosition::Newest);
        results = search(db, &filter, query.position, PAGE_SIZE, Some(deadline)).await?;
    }
    let clients = client_keys::list(db).await?;
    let suggestions = FilterSuggestions {
        models: listed::list_models(db, context.now - MODEL_SUGGESTION_SPAN).await?,
        clients: clients
            .into_iter()
            .map(|client| (client.id.0.to_string(), client.name))
            .collect(),
    };
    Ok(view(&context, &query, &results, &suggestions, &invalid))
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

fn view(
    context: &PageContext,
    query: &LogQuery,
    results: &LogSearchResult,
    suggestions: &FilterSuggestions,
    invalid: &[LogField],
) -> Markup {
    let language = context.language;
    let columns = LogColumn::selected(context.admin.log_columns.as_deref());
    let is_newest = query.position == LogPosition::Newest;
    let actions = html! {
        @if is_newest { (live_switch(language)) }
        (export_menu(language, query))
        (column_menu(context, &columns))
    };
    let body = html! {
        (heading(language.logs(), actions))
        (filters(language, query, suggestions))
        @if !query.is_empty() { (chips(language, query, suggestions)) }
        @if !invalid.is_empty() {
            div.notice.warning role="alert" {
                @let names: Vec<_> = invalid.iter().map(|field| field.label(language)).collect();
                p { (language.invalid_filters(&names.join(", "))) }
            }
        }
        @if is_newest {
            (live_lost(context))
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

fn filters(language: Language, query: &LogQuery, suggestions: &FilterSuggestions) -> Markup {
    let others = LogField::VARIANTS.iter().copied();
    let others = others.filter(|field| !is_always_visible(*field));
    let is_open = others.clone().any(|field| !query.get(field).is_empty());
    html! {
        form.log-filters method="get" action="/logs" role="search" {
            div.filters {
                (text_input(language, query, LogField::Text))
                (visible_filters(language, query, suggestions))
                button.primary type="submit" { (language.apply()) }
            }
            details #more-filters open[is_open] {
                summary { (language.more_filters()) }
                div.fields {
                    @for field in others { (more_filter(language, query, field)) }
                }
            }
        }
    }
}

/// Whether the filter is visible without opening the further filters.
fn is_always_visible(field: LogField) -> bool {
    matches!(
        field,
        LogField::Text
            | LogField::Since
            | LogField::Outcome
            | LogField::Model
            | LogField::Client
            | LogField::Key
    )
}

fn text_input(language: Language, query: &LogQuery, field: LogField) -> Markup {
    html! {
        input type="search" name=(field.name()) value=(query.get(field)) data-search
            aria-label=(language.search()) placeholder=(language.log_text_hint());
    }
}

fn visible_filters(
    language: Language,
    query: &LogQuery,
    suggestions: &FilterSuggestions,
) -> Markup {
    let outcomes = Outcome::ALL
        .iter()
        .copied()
        .map(|outcome| (outcome.name(), outcome_label(language, Some(outcome))));
    let chosen = query.get(LogField::Outcome);
    let several = outcome_labels(language, chosen);
    let several = several.as_deref().map(|label| (chosen, label));
    let outcomes: Vec<_> = [
        ("", language.any_outcome()),
        ("failed", language.outcome_failed()),
        ("running", language.outcome_running()),
    ]
    .into_iter()
    .chain(outcomes)
    .chain(several)
    .collect();
    let client = query.get(LogField::Client);
    let client = suggestions
        .clients
        .iter()
        .find(|(id, _)| id == client)
        .map_or(client, |(_, name)| name);
    html! {
        (labelled(language, LogField::Since, since(language, query)))
        (labelled(language, LogField::Outcome,
            select("filter-outcome", LogField::Outcome.name(), query.get(LogField::Outcome), &outcomes)))
        (labelled(language, LogField::Model, html! {
            input #filter-model name="model" value=(query.get(LogField::Model)) list="models"
                placeholder=(language.any_model()) autocomplete="off";
            datalist #models { @for model in suggestions.models.iter().take(MAX_SUGGESTIONS) { option value=(model) {} } }
        }))
        (labelled(language, LogField::Client, html! {
            input #filter-client name="client" value=(client) list="clients"
                placeholder=(language.any_client()) autocomplete="off";
            datalist #clients { @for (_, name) in suggestions.clients.iter().take(MAX_SUGGESTIONS) { option value=(name) {} } }
        }))
        (labelled(language, LogField::Key, html! {
            input.short #filter-key name="key" value=(query.get(LogField::Key)) inputmode="numeric"
                placeholder=(language.log_key_hint()) autocomplete="off";
        }))
    }
}

/// The labels of several outcomes.
fn outcome_labels(language: Language, value: &str) -> Option<String> {
    match value.parse() {
        Ok(OutcomeFilter::AnyOf(set)) => {
            let labels = set
                .iter()
                .map(|outcome| outcome_label(language, Some(outcome)));
            Some(labels.collect::<Vec<_>>().join(language.list_comma()))
        }
        _ => None,
    }
}

fn labelled(language: Language, field: LogField, input: Markup) -> Markup {
    html! {
        div.filter {
            label for={ "filter-" (field.name()) } { (field.label(language)) }
            (input)
        }
    }
}

/// The start time: a choice of spans, and the current value if it is another.
fn since(language: Language, query: &LogQuery) -> Markup {
    let spans = spans(language);
    let selected = query.get(LogField::Since);
    let other = language.since_moment(selected);
    let mut choices = spans.to_vec();
    if !spans.iter().any(|(value, _)| *value == selected) {
        choices.push((selected, &other));
    }
    select("filter-since", LogField::Since.name(), selected, &choices)
}

fn spans(language: Language) -> [(&'static str, &'static str); 7] {
    [
        ("", language.any_time()),
        ("15m", language.last_minutes_15()),
        ("1h", language.last_hour()),
        ("6h", language.last_hours_6()),
        ("24h", language.last_day()),
        ("7d", language.last_days_7()),
        ("30d", language.last_days_30()),
    ]
}

fn more_filter(language: Language, query: &LogQuery, name: LogField) -> Markup {
    let id = format!("filter-{}", name.name());
    let value = query.get(name);
    let yes_no = [
        ("", language.streamed_or_not()),
        ("yes", language.yes()),
        ("no", language.no()),
    ];
    let (input, hint) = match name {
        LogField::Kind => {
            let choices = [
                ("", language.only_requests()),
                ("check", language.only_checks()),
                (ANY_KIND, language.any_kind()),
            ];
            let selected = if value == "request" { "" } else { value };
            (select(&id, name.name(), selected, &choices), None)
        }
        LogField::Streamed => (select(&id, name.name(), value, &yes_no), None),
        LogField::Retried => {
            let choices = [("", language.retried_or_not()), ("yes", language.yes())];
            let selected = if yes_or_no(value) == Some(true) {
                "yes"
            } else {
                ""
            };
            (select(&id, name.name(), selected, &choices), None)
        }
        LogField::MinDuration | LogField::MinFirstByte => (
            html! { input #(id) type="number" min="0" name=(name.name()) value=(value); },
            None,
        ),
        LogField::Until => (plain_input(&id, name, value), Some(language.time_hint())),
        LogField::Status => (plain_input(&id, name, value), Some(language.status_hint())),
        _ => (plain_input(&id, name, value), None),
    };
    field(&id, name.label(language), hint, None, input)
}

fn plain_input(id: &str, name: LogField, value: &str) -> Markup {
    html! { input #(id) name=(name.name()) value=(value) autocomplete="off"; }
}

/// The active filters, each with a link that removes it.
fn chips(language: Language, query: &LogQuery, suggestions: &FilterSuggestions) -> Markup {
    html! {
        div.chips role="group" aria-label=(language.filters_active()) {
            @for (field, value) in query.iter() {
                span.chip {
                    span.muted { (field.label(language)) }
                    span.value { (filter_value_label(language, field, value, suggestions)) }
                    a.remove href=(query.with(field, "").href("/logs")) aria-label=(language.remove_filter(field.label(language))) {
                        (icon(r#"<path d="M4.5 4.5l7 7M11.5 4.5l-7 7"/>"#))
                    }
                }
            }
            a.small href="/logs" { (language.clear_filters()) }
        }
    }
}

/// The label of a filter's value.
fn filter_value_label(
    language: Language,
    field: LogField,
    value: &str,
    suggestions: &FilterSuggestions,
) -> String {
    match field {
        LogField::Outcome => match value.parse::<Outcome>() {
            Ok(outcome) => outcome_label(language, Some(outcome)).to_owned(),
            Err(_) if value == "failed" => language.outcome_failed().to_owned(),
            Err(_) if value == "running" => language.outcome_running().to_owned(),
            Err(_) => outcome_labels(language, value).unwrap_or_else(|| value.to_owned()),
        },
        LogField::Client => {
            let client = suggestions.clients.iter().find(|(id, _)| id == value);
            client.map_or(value, |(_, name)| name).to_owned()
        }
        LogField::Since => {
            let span = spans(language).into_iter().find(|(span, _)| *span == value);
            span.map_or(value, |(_, label)| label).to_owned()
        }
        LogField::Key => format!("#{value}"),
        LogField::Streamed | LogField::Retried if value == "yes" => language.yes().to_owned(),
        LogField::Streamed if value == "no" => language.no().to_owned(),
        LogField::Kind if value == "check" => language.kind_check().to_owned(),
        LogField::Kind if value == "request" => language.kind_request().to_owned(),
        _ => value.to_owned(),
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
