//! The columns of the log list: names, selection per admin and cell content.

use maud::{Markup, html};

use self::Value::{Bytes, Milliseconds, Name, Other, Present, Text, Tokens};
use crate::dashboard::components::{bytes, duration_ms, moment, number, tokens, usd};
use crate::dashboard::logs::outcome_labels::outcome_badge;
use crate::dashboard::logs::query::{LogField, LogQuery};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::RequestLog;

/// A column of the log list.
#[derive(Debug)]
pub struct LogColumn {
    /// The name in forms and in the admin's stored selection, equal to the JSON name.
    pub name: &'static str,
    pub heading: fn(Language) -> &'static str,
    is_default: bool,
    /// The class of its cells.
    class: &'static str,
    value: Value,
}

impl PartialEq for LogColumn {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The value of a cell; `None`: the cell is empty.
#[derive(Debug)]
enum Value {
    /// A text, linked to the rows with the same value of the field.
    Text(LogField, fn(&RequestLog) -> Option<&str>),
    /// The name of a key, linked by its id.
    Name(LogField, fn(&RequestLog) -> Option<(i64, &str)>),
    Tokens(fn(&RequestLog) -> Option<i64>),
    Milliseconds(fn(&RequestLog) -> Option<i64>),
    Bytes(fn(&RequestLog) -> i64),
    Present(fn(&PageContext, &RequestLog) -> Cell),
    Other(fn(&PageContext, &RequestLog) -> Option<Cell>),
}

/// The content of a cell, and the filter that it links to.
struct Cell {
    content: Markup,
    filter: Option<Filter>,
}

/// A field with a value and the value's label.
type Filter = (LogField, String, String);

impl Cell {
    fn unlinked(content: Markup) -> Self {
        Self {
            content,
            filter: None,
        }
    }

    fn linked(field: LogField, value: &str, label: &str) -> Self {
        Self {
            content: html! { (label) },
            filter: Some((field, value.to_owned(), label.to_owned())),
        }
    }
}

/// The columns in their order: name, heading, whether it is shown by default, class and value.
macro_rules! columns {
    ($($name:literal $heading:ident $shown:tt $class:literal $value:expr;)+) => {
        &[$(LogColumn {
            name: $name,
            heading: Language::$heading,
            is_default: $shown,
            class: $class,
            value: $value,
        }),+]
    };
}

/// Whether a column is shown by default.
const SHOWN: bool = true;
const HIDDEN: bool = false;

pub const COLUMNS: &[LogColumn] = columns! {
    "started_at" log_started SHOWN "nowrap" Present(started);
    "id" log_id HIDDEN "nowrap" Present(|_, row| Cell::unlinked(html! { span.mono { (row.id) } }));
    "kind" log_kind HIDDEN "nowrap" Present(kind);
    "outcome" log_outcome SHOWN "nowrap" Present(outcome);
    "status" log_status SHOWN "number" Other(status);
    "model" log_model SHOWN "name" Text(LogField::Model, |row| row.model.as_deref());
    "model_version" log_version HIDDEN "name" Text(LogField::Version, |row| row.model_version.as_deref());
    "operation" log_operation HIDDEN "nowrap" Text(LogField::Operation, |row| row.operation.as_deref());
    "client_key" log_client SHOWN "name" Name(LogField::Client, |row| Some((row.client_key_id?.0, row.client_key.as_deref()?)));
    "client_ip" log_ip HIDDEN "nowrap" Text(LogField::Ip, |row| row.client_ip.as_deref());
    "user_agent" log_agent HIDDEN "clip" Text(LogField::Agent, |row| row.user_agent.as_deref());
    "method" log_method HIDDEN "nowrap" Text(LogField::Method, |row| Some(&row.method));
    "path" log_path HIDDEN "clip" Text(LogField::Path, |row| Some(&row.path));
    "streamed" log_streamed HIDDEN "nowrap" Present(streamed);
    "upstream_key" log_key SHOWN "name" Name(LogField::Key, |row| Some((row.upstream_key_id?.0, row.upstream_key.as_deref()?)));
    "project" log_project HIDDEN "name" Text(LogField::Project, |row| row.project.as_deref());
    "egress" log_egress HIDDEN "name" Text(LogField::Egress, |row| row.egress.as_deref());
    "attempts" log_attempts SHOWN "number" Present(attempts);
    "wait_ms" log_queue_time HIDDEN "number" Milliseconds(|row| Some(row.wait_ms).filter(|ms| *ms > 0));
    "first_byte_ms" log_first_byte HIDDEN "number" Milliseconds(|row| row.first_byte_ms);
    "duration_ms" log_duration SHOWN "number" Milliseconds(|row| row.duration_ms);
    "request_bytes" log_request_bytes HIDDEN "number" Bytes(|row| row.request_bytes);
    "response_bytes" log_response_bytes HIDDEN "number" Bytes(|row| row.response_bytes);
    "prompt_tokens" log_prompt_tokens HIDDEN "number" Tokens(|row| row.prompt_tokens);
    "output_tokens" log_output_tokens HIDDEN "number" Tokens(|row| row.output_tokens);
    "thought_tokens" log_thought_tokens HIDDEN "number" Tokens(|row| row.thought_tokens);
    "cached_tokens" log_cached_tokens HIDDEN "number" Tokens(|row| row.cached_tokens);
    "tool_tokens" log_tool_tokens HIDDEN "number" Tokens(|row| row.tool_tokens);
    "total_tokens" log_total_tokens SHOWN "number" Tokens(|row| row.total_tokens);
    "finish_reason" log_finish_reason HIDDEN "nowrap" Text(LogField::FinishReason, |row| row.finish_reason.as_deref());
    "service_tier" log_service_tier HIDDEN "nowrap" Text(LogField::ServiceTier, |row| row.service_tier.as_deref());
    "cost_usd" log_cost HIDDEN "number" Other(|_, row| Some(Cell::unlinked(html! { (usd(row.cost_usd?)) })));
    "error" log_error_column SHOWN "clip fill" Other(error);
};

fn started(context: &PageContext, row: &RequestLog) -> Cell {
    Cell::unlinked(moment(context, row.started_at))
}

fn kind(context: &PageContext, row: &RequestLog) -> Cell {
    let label = match row.kind {
        LogKind::Request => context.language.kind_request(),
        LogKind::Check => context.language.kind_check(),
    };
    Cell::linked(LogField::Kind, row.kind.into(), label)
}

fn outcome(context: &PageContext, row: &RequestLog) -> Cell {
    let value = row.outcome.map_or("running", Outcome::name);
    Cell {
        content: outcome_badge(context.language, row.outcome),
        ..Cell::linked(LogField::Outcome, value, value)
    }
}

fn status(_: &PageContext, row: &RequestLog) -> Option<Cell> {
    let status = row.status?.to_string();
    Some(Cell::linked(LogField::Status, &status, &status))
}

fn streamed(context: &PageContext, row: &RequestLog) -> Cell {
    let (value, label) = if row.streamed {
        ("yes", context.language.yes())
    } else {
        ("no", context.language.no())
    };
    Cell::linked(LogField::Streamed, value, label)
}

fn attempts(_: &PageContext, row: &RequestLog) -> Cell {
    if row.attempts <= 1 {
        return Cell::unlinked(html! { (row.attempts) });
    }
    let count = row.attempts.to_string();
    Cell::linked(LogField::Retried, "yes", &count)
}

fn error(_: &PageContext, row: &RequestLog) -> Option<Cell> {
    let error = row.error.as_ref()?;
    Some(Cell::unlinked(html! { span title=(error) { (error) } }))
}

impl LogColumn {
    pub fn is_number(&self) -> bool {
        self.class == "number"
    }

    /// The columns selected by the admin, or the default ones, in the order of [`COLUMNS`].
    pub fn selected(log_columns: Option<&str>) -> Vec<&'static Self> {
        let names: Vec<String> = log_columns
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let selected = COLUMNS
            .iter()
            .filter(|column| names.iter().any(|name| name == column.name));
        let selected: Vec<_> = selected.collect();
        if selected.is_empty() {
            return COLUMNS.iter().filter(|column| column.is_default).collect();
        }
        selected
    }

    fn cell(&self, context: &PageContext, row: &RequestLog) -> Option<Cell> {
        let whole = |count: i64| u64::try_from(count).unwrap_or(0);
        let unlinked = match self.value {
            Value::Text(field, text) => {
                let text = text(row)?;
                return Some(Cell::linked(field, text, text));
            }
            Value::Name(field, named) => {
                let (id, name) = named(row)?;
                return Some(Cell::linked(field, &id.to_string(), name));
            }
            Value::Present(cell) => return Some(cell(context, row)),
            Value::Other(cell) => return cell(context, row),
            Value::Tokens(count) => {
                let count = whole(count(row)?);
                html! { span title=(number(count)) { (tokens(count)) } }
            }
            Value::Milliseconds(ms) => html! { (duration_ms(context.language, whole(ms(row)?))) },
            Value::Bytes(size) => html! { (bytes(whole(size(row)))) },
        };
        Some(Cell::unlinked(unlinked))
    }
}

/// A row of the list. The first cell links to the request, others to rows with the same value.
pub fn row(
    context: &PageContext,
    query: &LogQuery,
    columns: &[&LogColumn],
    row: &RequestLog,
) -> Markup {
    html! {
        tr #{ "row-" (row.id) } {
            @for (index, column) in columns.iter().enumerate() {
                @let cell = column.cell(context, row);
                td.(column.class).absent[cell.is_none()] data-label=((column.heading)(context.language)) {
                    @let Cell { content, filter } = cell.unwrap_or_else(absent);
                    @if index == 0 {
                        a.open href=(query.at(LogPosition::Newest).href(&format!("/logs/{}", row.id))) data-row-link { (content) }
                    } @else if let Some(filter) = filter {
                        (filter_link(context.language, query, filter, content))
                    } @else {
                        (content)
                    }
                }
            }
        }
    }
}

fn absent() -> Cell {
    Cell::unlinked(html! { span.muted aria-hidden="true" { "–" } })
}

/// A value linked to all rows with the same value, unless the list is already filtered by it.
fn filter_link(
    language: Language,
    query: &LogQuery,
    (field, value, label): Filter,
    content: Markup,
) -> Markup {
    if query.get(field) == value {
        return content;
    }
    let target = query.with(field, &value).href("/logs");
    let title = language.filter_by(field.label(language), &label);
    html! { a.filter-link href=(target) title=(title) { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_columns_have_a_fixed_order_and_unknown_names_are_ignored() {
        let names = |json| {
            let selected = LogColumn::selected(json).into_iter();
            selected.map(|column| column.name).collect::<Vec<_>>()
        };

        let selected = names(Some(r#"["model","id","no such","started_at"]"#));

        assert_eq!(selected, ["started_at", "id", "model"]);
        let default = [
            "started_at",
            "outcome",
            "status",
            "model",
            "client_key",
            "upstream_key",
            "attempts",
            "duration_ms",
            "total_tokens",
            "error",
        ];
        for nothing in [None, Some("[]"), Some("no JSON")] {
            assert_eq!(names(nothing), default, "{nothing:?}");
        }
    }
}
