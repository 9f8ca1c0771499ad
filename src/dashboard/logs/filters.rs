//! The filters of the list: time, form and chips.

use maud::{Markup, html};
use strum::VariantArray;

use crate::dashboard::components::{field, icon, select, tabs};
use crate::dashboard::logs::outcome_labels::outcome_label;
use crate::dashboard::logs::query::{ANY_KIND, LogField, LogQuery, local_time, yes_or_no};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::filter::OutcomeFilter;

/// The maximum number of suggested names.
const MAX_SUGGESTIONS: usize = 200;

/// The suggestions of the filter fields.
pub struct FilterSuggestions {
    pub models: Vec<String>,
    pub clients: Vec<(String, String)>,
    /// Labels of upstream keys.
    pub keys: Vec<String>,
    /// The label of the upstream key that the list is filtered by.
    pub key_label: Option<String>,
}

/// The form of all filters.
pub fn form(
    context: &PageContext,
    query: &LogQuery,
    suggestions: &FilterSuggestions,
    invalid: &[LogField],
) -> Markup {
    let language = context.language;
    let others = LogField::VARIANTS.iter().copied();
    let others = others.filter(|field| !is_always_visible(*field));
    let is_open = others.clone().any(|field| !query.get(field).is_empty());
    html! {
        form.log-filters method="get" action="/logs" role="search" {
            div.filters {
                (text_input(language, query, LogField::Text))
                (moment_filter(context, query, LogField::Since, invalid))
                (moment_filter(context, query, LogField::Until, invalid))
                (visible_filters(language, query, suggestions, invalid))
                button.primary type="submit" { (language.apply()) }
            }
            details #more-filters open[is_open] {
                summary { (language.more_filters()) }
                div.fields {
                    @for field in others { (more_filter(language, query, field, invalid.contains(&field))) }
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
            | LogField::Until
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
    invalid: &[LogField],
) -> Markup {
    let outcomes = Outcome::ALL
        .iter()
        .copied()
        .map(|outcome| (outcome.name(), outcome_label(language, Some(outcome))));
    let chosen = query.get(LogField::Outcome);
    let several = outcome_labels(language, chosen);
    let several = several.as_deref().map(|label| (chosen, label));
    let outcomes: Vec<_> = [
        ("", language.any()),
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
        (labelled(language, LogField::Outcome, invalid,
            select("filter-outcome", LogField::Outcome.name(), query.get(LogField::Outcome), &outcomes)))
        (labelled(language, LogField::Model, invalid, html! {
            input #filter-model name="model" value=(query.get(LogField::Model)) list="models"
                placeholder=(language.any()) autocomplete="off";
            datalist #models { @for model in suggestions.models.iter().take(MAX_SUGGESTIONS) { option value=(model) {} } }
        }))
        (labelled(language, LogField::Client, invalid, html! {
            input #filter-client name="client" value=(client) list="clients"
                placeholder=(language.any()) autocomplete="off";
            datalist #clients { @for (_, name) in suggestions.clients.iter().take(MAX_SUGGESTIONS) { option value=(name) {} } }
        }))
        (labelled(language, LogField::Key, invalid, html! {
            input #filter-key name="key" value=(suggestions.key_label.as_deref().unwrap_or(query.get(LogField::Key))) list="upstream-keys"
                placeholder=(language.any()) autocomplete="off";
            datalist #upstream-keys { @for label in &suggestions.keys { option value=(label) {} } }
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

fn labelled(language: Language, name: LogField, invalid: &[LogField], input: Markup) -> Markup {
    let id = format!("filter-{}", name.name());
    let error = invalid.contains(&name).then(|| language.invalid_value());
    html! { div.filter { (field(&id, name.label(language), None, error, input)) } }
}

/// A time of the admin's zone. An age, as quick spans are, stays unless a time replaces it.
fn moment_filter(
    context: &PageContext,
    query: &LogQuery,
    name: LogField,
    invalid: &[LogField],
) -> Markup {
    let (language, value) = (context.language, query.get(name));
    let local = local_time(value, &context.zone, context.now);
    labelled(
        language,
        name,
        invalid,
        html! {
            @if local.is_none() && !value.is_empty() { input type="hidden" name=(name.name()) value=(value); }
            input #{ "filter-" (name.name()) } type="datetime-local" step="1" name=(name.name()) value=(local.unwrap_or_default());
        },
    )
}

/// Links to the last minutes, hours or days, which keep the other filters.
pub fn quick_spans(language: Language, query: &LogQuery) -> Markup {
    let (since, is_open) = (
        query.get(LogField::Since),
        query.get(LogField::Until).is_empty(),
    );
    let links = [
        ("", language.any_time()),
        ("15m", language.minutes_15()),
        ("1h", language.hour_1()),
        ("24h", language.hours_24()),
        ("7d", language.days_7()),
        ("30d", language.days_30()),
    ];
    let links = links.map(|(span, label)| {
        let target = query.with(LogField::Until, "").with(LogField::Since, span);
        (target.href("/logs"), label, span == since && is_open)
    });
    tabs(language.span_of_time(), &links)
}

fn spans(language: Language) -> [(&'static str, &'static str); 6] {
    [
        ("15m", language.last_minutes_15()),
        ("1h", language.last_hour()),
        ("6h", language.last_hours_6()),
        ("24h", language.last_day()),
        ("7d", language.last_days_7()),
        ("30d", language.last_days_30()),
    ]
}

fn more_filter(language: Language, query: &LogQuery, name: LogField, is_invalid: bool) -> Markup {
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
        LogField::Status => (plain_input(&id, name, value), Some(language.status_hint())),
        _ => (plain_input(&id, name, value), None),
    };
    let error = is_invalid.then(|| language.invalid_value());
    field(&id, name.label(language), hint, error, input)
}

fn plain_input(id: &str, name: LogField, value: &str) -> Markup {
    html! { input #(id) name=(name.name()) value=(value) autocomplete="off"; }
}

/// The filters, each with a link that removes it. Those whose values are `invalid` do not filter, which they say.
pub fn chips(
    context: &PageContext,
    query: &LogQuery,
    suggestions: &FilterSuggestions,
    invalid: &[LogField],
) -> Markup {
    let language = context.language;
    html! {
        div.chips role="group" aria-label=(language.filters_active()) {
            @for (field, value) in query.iter() {
                span.chip {
                    span.muted { (field.label(language)) }
                    span.value { (filter_value_label(context, field, value, suggestions)) }
                    @if invalid.contains(&field) { span.muted { (language.filter_ignored()) } }
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
    context: &PageContext,
    field: LogField,
    value: &str,
    suggestions: &FilterSuggestions,
) -> String {
    let language = context.language;
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
        LogField::Since | LogField::Until => {
            let span = spans(language).into_iter().find(|(span, _)| *span == value);
            let local = || local_time(value, &context.zone, context.now);
            let local =
                || local().map_or_else(|| value.to_owned(), |local| local.replace('T', " "));
            span.map_or_else(local, |(_, label)| label.to_owned())
        }
        LogField::Key => match &suggestions.key_label {
            Some(label) => label.clone(),
            None if value.parse::<i64>().is_ok() => format!("#{value}"),
            None => value.to_owned(),
        },
        LogField::Streamed | LogField::Retried if value == "yes" => language.yes().to_owned(),
        LogField::Streamed if value == "no" => language.no().to_owned(),
        LogField::Kind if value == "check" => language.kind_check().to_owned(),
        LogField::Kind if value == "request" => language.kind_request().to_owned(),
        _ => value.to_owned(),
    }
}
