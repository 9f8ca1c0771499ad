//! The list of requests, with its filters and columns.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{empty_state, field, icon, live_switch, moment, pager, select};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place as Page, heading};
use crate::dashboard::logs::asked::{Asked, Field};
use crate::dashboard::logs::columns::{self, Column};
use crate::dashboard::logs::words::outcome_word;
use crate::dashboard::texts::Language;
use crate::dashboard::visit::{Notice, Visit};
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::listed;
use crate::storage::request_logs::search::{Found, Place, search};
use crate::storage::{admins, client_keys};

/// How many rows a page has.
pub const PAGE: usize = 50;
/// How long a search may look before it shows what it has; the page itself takes a few milliseconds more.
const PATIENCE: Duration = Duration::from_millis(75);
/// How far back models are offered that were asked.
const MODELS_SINCE: Duration = Duration::from_hours(7 * 24);
/// How many names are offered at most.
const MOST_OFFERED: usize = 200;

/// What the filters offer.
struct Offers {
    models: Vec<String>,
    clients: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
pub struct ColumnsForm {
    #[serde(default)]
    column: Vec<String>,
    /// Whether the usual ones are wanted again.
    usual: Option<String>,
    /// The query of the list to come back to.
    #[serde(default)]
    back: String,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Markup, ErrorPage> {
    let deadline = clock::instant() + PATIENCE;
    let mut asked = Asked::of(pairs);
    let (filter, wrong) = asked.filter(&visit.zone, visit.now);
    let db = &app.db.readers;
    let mut found = search(db, &filter, asked.place, PAGE, Some(deadline)).await?;
    if matches!(asked.place, Place::NewerThan(_)) && found.next.is_none() {
        // The newest page, and whole: there may be fewer new rows than it has place for.
        asked = asked.at(Place::Newest);
        found = search(db, &filter, asked.place, PAGE, Some(deadline)).await?;
    }
    let clients = client_keys::list(db).await?;
    let offers = Offers {
        models: listed::list_models(db, visit.now - MODELS_SINCE).await?,
        clients: clients
            .into_iter()
            .map(|client| (client.id.0.to_string(), client.name))
            .collect(),
    };
    Ok(view(&visit, &asked, &found, &offers, &wrong))
}

/// Remembers which columns the admin wants to see.
pub async fn update_columns(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(form): Form<ColumnsForm>,
) -> Result<Redirect, ErrorPage> {
    let known = Column::ALL.into_iter().map(Column::name);
    let chosen: Vec<_> = known
        .filter(|name| form.column.iter().any(|column| column == name))
        .collect();
    let json = serde_json::to_string(&chosen).expect("names become JSON");
    let columns = (form.usual.is_none() && !chosen.is_empty()).then_some(json.as_str());
    let mut tx = app.db.begin().await?;
    admins::update_log_columns(&mut tx, visit.admin.id, columns).await?;
    tx.commit().await?;
    visit
        .notify(Notice::done(visit.language.columns_saved()))
        .await;
    // Only a query of our own page: never somewhere else.
    let query = form.back.trim_start_matches('?');
    let pairs = Query::try_from_uri(&format!("/logs?{query}").parse().unwrap_or_default());
    let asked = pairs
        .map(|Query(pairs)| Asked::of(pairs))
        .unwrap_or_default();
    Ok(Redirect::to(&asked.href("/logs")))
}

fn view(visit: &Visit, asked: &Asked, found: &Found, offers: &Offers, wrong: &[Field]) -> Markup {
    let language = visit.language;
    let columns = Column::chosen(visit.admin.log_columns.as_deref());
    let is_newest = asked.place == Place::Newest;
    let actions = html! {
        @if is_newest { (live_switch(language)) }
        (chooser(visit, &columns))
    };
    let content = html! {
        (heading(language.logs(), actions))
        (filters(language, asked, offers))
        @if !asked.is_empty() { (chips(language, asked, offers)) }
        @if !wrong.is_empty() {
            div.notice.warning role="alert" {
                @let names: Vec<_> = wrong.iter().map(|field| field.label(language)).collect();
                p { (language.not_understood(&names.join(", "))) }
            }
        }
        @if is_newest {
            div data-live=(asked.href("/logs/live")) { (rows(visit, asked, &columns, found)) }
        } @else {
            div { (rows(visit, asked, &columns, found)) }
        }
        (stopped(visit, asked, found))
        (pages(language, asked, found))
    };
    layout::page(visit, Page::Logs, language.logs(), content)
}

fn rows(visit: &Visit, asked: &Asked, columns: &[Column], found: &Found) -> Markup {
    html! {
        @if found.rows.is_empty() {
            (nothing(visit.language, asked, found.stopped))
        }
        // Kept for what comes live.
        div.table.logs.bare[found.rows.is_empty()] tabindex="-1" {
            table.stack.paired data-keys {
                thead {
                    tr {
                        @for column in columns {
                            th.number[column.is_number()] scope="col" { (column.heading(visit.language)) }
                        }
                    }
                }
                tbody data-live-rows=(PAGE) {
                    @for row in &found.rows { (columns::row(visit, asked, columns, row)) }
                }
            }
        }
    }
}

fn nothing(language: Language, asked: &Asked, stopped: bool) -> Markup {
    let clear = html! { a.button href="/logs" { (language.clear_filters()) } };
    if stopped {
        empty_state(
            language.none_match_so_far(),
            language.none_match_text(),
            clear,
        )
    } else if asked.is_empty() {
        empty_state(
            language.no_requests_yet(),
            language.no_requests_text(),
            html! { a.button.primary href="/client-keys" { (language.to_client_keys()) } },
        )
    } else {
        empty_state(language.none_match(), language.none_match_text(), clear)
    }
}

/// How far a search has come that took too long, and how it goes on.
fn stopped(visit: &Visit, asked: &Asked, found: &Found) -> Markup {
    let language = visit.language;
    let (Some(next), true) = (found.next, found.stopped) else {
        return html! {};
    };
    let (words, place) = match asked.place {
        Place::NewerThan(_) => (language.looked_forward_to(), Place::NewerThan(next)),
        Place::Newest | Place::OlderThan(_) => (language.looked_back_to(), Place::OlderThan(next)),
    };
    html! {
        div.notice role="status" {
            p { (words) " " (moment(visit, next.time())) }
            a.button href=(asked.at(place).href("/logs")) { (language.search_on()) }
        }
    }
}

fn pages(language: Language, asked: &Asked, found: &Found) -> Markup {
    let href = |place| asked.at(place).href("/logs");
    let (first, last) = (found.rows.first(), found.rows.last());
    let is_upwards = matches!(asked.place, Place::NewerThan(_));
    let newer = first.filter(|_| asked.place != Place::Newest && !(is_upwards && found.stopped));
    let newer = newer.map(|row| href(Place::NewerThan(row.id)));
    let has_older = is_upwards || (found.next.is_some() && !found.stopped);
    let older = last
        .filter(|_| has_older)
        .map(|row| href(Place::OlderThan(row.id)));
    html! {
        div.pages {
            @if asked.place != Place::Newest {
                a.button href=(href(Place::Newest)) { (language.newest()) }
            }
            (pager(language, newer.as_deref(), older.as_deref()))
        }
    }
}

fn filters(language: Language, asked: &Asked, offers: &Offers) -> Markup {
    let others = Field::ALL.into_iter().filter(|field| !is_common(*field));
    let is_open = others.clone().any(|field| !asked.get(field).is_empty());
    html! {
        form.log-filters method="get" action="/logs" role="search" {
            div.filters {
                (text_input(language, asked, Field::Text))
                (common(language, asked, offers))
                button.primary type="submit" { (language.apply()) }
            }
            details #more-filters open[is_open] {
                summary { (language.more_filters()) }
                div.fields {
                    @for field in others { (other(language, asked, field)) }
                }
            }
        }
    }
}

/// Whether a filter is always to be seen.
fn is_common(field: Field) -> bool {
    matches!(
        field,
        Field::Text | Field::Since | Field::Outcome | Field::Model | Field::Client | Field::Key
    )
}

fn text_input(language: Language, asked: &Asked, field: Field) -> Markup {
    html! {
        input type="search" name=(field.name()) value=(asked.get(field)) data-search
            aria-label=(language.search()) placeholder=(language.log_text_hint());
    }
}

fn common(language: Language, asked: &Asked, offers: &Offers) -> Markup {
    let outcomes = Outcome::ALL.into_iter();
    let outcomes = outcomes.map(|outcome| (outcome.name(), outcome_word(language, Some(outcome))));
    let outcomes: Vec<_> = [
        ("", language.any_outcome()),
        ("failed", language.outcome_failed()),
        ("running", language.outcome_running()),
    ]
    .into_iter()
    .chain(outcomes)
    .collect();
    let client = asked.get(Field::Client);
    let client = offers
        .clients
        .iter()
        .find(|(id, _)| id == client)
        .map_or(client, |(_, name)| name);
    html! {
        (labelled(language, Field::Since, since(language, asked)))
        (labelled(language, Field::Outcome,
            select("filter-outcome", Field::Outcome.name(), asked.get(Field::Outcome), &outcomes)))
        (labelled(language, Field::Model, html! {
            input #filter-model name="model" value=(asked.get(Field::Model)) list="models"
                placeholder=(language.any_model()) autocomplete="off";
            datalist #models { @for model in offers.models.iter().take(MOST_OFFERED) { option value=(model) {} } }
        }))
        (labelled(language, Field::Client, html! {
            input #filter-client name="client" value=(client) list="clients"
                placeholder=(language.any_client()) autocomplete="off";
            datalist #clients { @for (_, name) in offers.clients.iter().take(MOST_OFFERED) { option value=(name) {} } }
        }))
        (labelled(language, Field::Key, html! {
            input.short #filter-key name="key" value=(asked.get(Field::Key)) inputmode="numeric"
                placeholder=(language.log_key_hint()) autocomplete="off";
        }))
    }
}

fn labelled(language: Language, field: Field, input: Markup) -> Markup {
    html! {
        div.filter {
            label for={ "filter-" (field.name()) } { (field.label(language)) }
            (input)
        }
    }
}

/// Since when: a few spans, and whatever else is asked now.
fn since(language: Language, asked: &Asked) -> Markup {
    let spans = spans(language);
    let chosen = asked.get(Field::Since);
    let other = language.since_moment(chosen);
    let mut choices = spans.to_vec();
    if !spans.iter().any(|(value, _)| *value == chosen) {
        choices.push((chosen, &other));
    }
    select("filter-since", Field::Since.name(), chosen, &choices)
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

fn other(language: Language, asked: &Asked, name: Field) -> Markup {
    let id = format!("filter-{}", name.name());
    let value = asked.get(name);
    let yes_no = [
        ("", language.any_way()),
        ("yes", language.yes()),
        ("no", language.no()),
    ];
    let (input, hint) = match name {
        Field::Kind => {
            let choices = [
                ("", language.any_kind()),
                ("request", language.only_requests()),
                ("check", language.only_checks()),
            ];
            (select(&id, name.name(), value, &choices), None)
        }
        Field::Streamed => (select(&id, name.name(), value, &yes_no), None),
        Field::Retried => (select(&id, name.name(), value, &yes_no[..2]), None),
        Field::MinDuration | Field::MinFirstByte => (
            html! { input #(id) type="number" min="0" name=(name.name()) value=(value); },
            None,
        ),
        Field::Until => (plain_input(&id, name, value), Some(language.time_hint())),
        Field::Status => (plain_input(&id, name, value), Some(language.status_hint())),
        _ => (plain_input(&id, name, value), None),
    };
    field(&id, name.label(language), hint, None, input)
}

fn plain_input(id: &str, name: Field, value: &str) -> Markup {
    html! { input #(id) name=(name.name()) value=(value) autocomplete="off"; }
}

/// What is asked now, each with a way to ask it no longer.
fn chips(language: Language, asked: &Asked, offers: &Offers) -> Markup {
    html! {
        div.chips role="group" aria-label=(language.filters_active()) {
            @for (field, value) in asked.iter() {
                span.chip {
                    span.muted { (field.label(language)) }
                    span.value { (shown(language, field, value, offers)) }
                    a.remove href=(asked.with(field, "").href("/logs")) aria-label=(language.remove_filter(field.label(language))) {
                        (icon(r#"<path d="M4.5 4.5l7 7M11.5 4.5l-7 7"/>"#))
                    }
                }
            }
            a.small href="/logs" { (language.clear_filters()) }
        }
    }
}

/// A value in words.
fn shown(language: Language, field: Field, value: &str, offers: &Offers) -> String {
    match field {
        Field::Outcome => match value.parse::<Outcome>() {
            Ok(outcome) => outcome_word(language, Some(outcome)).to_owned(),
            Err(_) if value == "failed" => language.outcome_failed().to_owned(),
            Err(_) if value == "running" => language.outcome_running().to_owned(),
            Err(_) => value.to_owned(),
        },
        Field::Client => {
            let client = offers.clients.iter().find(|(id, _)| id == value);
            client.map_or(value, |(_, name)| name).to_owned()
        }
        Field::Since => {
            let span = spans(language).into_iter().find(|(span, _)| *span == value);
            span.map_or(value, |(_, words)| words).to_owned()
        }
        Field::Key => format!("#{value}"),
        Field::Streamed | Field::Retried if value == "yes" => language.yes().to_owned(),
        Field::Streamed if value == "no" => language.no().to_owned(),
        Field::Kind if value == "check" => language.kind_check().to_owned(),
        Field::Kind if value == "request" => language.kind_request().to_owned(),
        _ => value.to_owned(),
    }
}

/// Which columns there are, to be chosen.
fn chooser(visit: &Visit, chosen: &[Column]) -> Markup {
    let language = visit.language;
    html! {
        details.menu #columns {
            summary.button { (language.columns()) }
            form.menu-body method="post" action="/logs/columns" {
                (visit.csrf_field())
                input type="hidden" name="back" value=(visit.uri.query().unwrap_or_default());
                p.hint { (language.columns_hint()) }
                div.column-list {
                    @for column in Column::ALL {
                        label.check {
                            input type="checkbox" name="column" value=(column.name()) checked[chosen.contains(&column)];
                            (column.heading(language))
                        }
                    }
                }
                div.actions {
                    button.primary type="submit" { (language.save()) }
                    button type="submit" name="usual" value="yes" { (language.usual_columns()) }
                }
            }
        }
    }
}
