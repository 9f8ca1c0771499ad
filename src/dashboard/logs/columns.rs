//! The columns of the log: which there are, which an admin has chosen, and what stands in them.

use maud::{Markup, html};

use crate::dashboard::components::{bytes, duration_ms, moment, number, tokens, usd};
use crate::dashboard::logs::asked::{Asked, Field};
use crate::dashboard::logs::words::outcome_badge;
use crate::dashboard::texts::Language;
use crate::dashboard::visit::Visit;
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::Kind;
use crate::storage::request_logs::listed::RequestLog;

/// A column of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Started,
    Id,
    Kind,
    Outcome,
    Status,
    Model,
    Version,
    Operation,
    Client,
    Ip,
    Agent,
    Method,
    Path,
    Streamed,
    Key,
    Project,
    Attempts,
    Wait,
    FirstByte,
    Duration,
    RequestBytes,
    ResponseBytes,
    PromptTokens,
    OutputTokens,
    ThoughtTokens,
    CachedTokens,
    ToolTokens,
    TotalTokens,
    FinishReason,
    ServiceTier,
    Cost,
    Error,
}

impl Column {
    pub const ALL: [Self; 32] = [
        Self::Started,
        Self::Id,
        Self::Kind,
        Self::Outcome,
        Self::Status,
        Self::Model,
        Self::Version,
        Self::Operation,
        Self::Client,
        Self::Ip,
        Self::Agent,
        Self::Method,
        Self::Path,
        Self::Streamed,
        Self::Key,
        Self::Project,
        Self::Attempts,
        Self::Wait,
        Self::FirstByte,
        Self::Duration,
        Self::RequestBytes,
        Self::ResponseBytes,
        Self::PromptTokens,
        Self::OutputTokens,
        Self::ThoughtTokens,
        Self::CachedTokens,
        Self::ToolTokens,
        Self::TotalTokens,
        Self::FinishReason,
        Self::ServiceTier,
        Self::Cost,
        Self::Error,
    ];

    /// Those of whoever has chosen none.
    pub const USUAL: [Self; 10] = [
        Self::Started,
        Self::Outcome,
        Self::Status,
        Self::Model,
        Self::Client,
        Self::Key,
        Self::Attempts,
        Self::Duration,
        Self::TotalTokens,
        Self::Error,
    ];

    /// Its name in forms and in the admin's row: that of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started_at",
            Self::Id => "id",
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Status => "status",
            Self::Model => "model",
            Self::Version => "model_version",
            Self::Operation => "operation",
            Self::Client => "client_key",
            Self::Ip => "client_ip",
            Self::Agent => "user_agent",
            Self::Method => "method",
            Self::Path => "path",
            Self::Streamed => "streamed",
            Self::Key => "upstream_key",
            Self::Project => "project",
            Self::Attempts => "attempts",
            Self::Wait => "wait_ms",
            Self::FirstByte => "first_byte_ms",
            Self::Duration => "duration_ms",
            Self::RequestBytes => "request_bytes",
            Self::ResponseBytes => "response_bytes",
            Self::PromptTokens => "prompt_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ThoughtTokens => "thought_tokens",
            Self::CachedTokens => "cached_tokens",
            Self::ToolTokens => "tool_tokens",
            Self::TotalTokens => "total_tokens",
            Self::FinishReason => "finish_reason",
            Self::ServiceTier => "service_tier",
            Self::Cost => "cost_usd",
            Self::Error => "error",
        }
    }

    pub fn heading(self, language: Language) -> &'static str {
        match self {
            Self::Started => language.log_started(),
            Self::Id => language.log_id(),
            Self::Kind => language.log_kind(),
            Self::Outcome => language.log_outcome(),
            Self::Status => language.log_status(),
            Self::Model => language.log_model(),
            Self::Version => language.log_version(),
            Self::Operation => language.log_operation(),
            Self::Client => language.log_client(),
            Self::Ip => language.log_ip(),
            Self::Agent => language.log_agent(),
            Self::Method => language.log_method(),
            Self::Path => language.log_path(),
            Self::Streamed => language.log_streamed(),
            Self::Key => language.log_key(),
            Self::Project => language.log_project(),
            Self::Attempts => language.log_attempts(),
            Self::Wait => language.log_wait(),
            Self::FirstByte => language.log_first_byte(),
            Self::Duration => language.log_duration(),
            Self::RequestBytes => language.log_request_bytes(),
            Self::ResponseBytes => language.log_response_bytes(),
            Self::PromptTokens => language.log_prompt_tokens(),
            Self::OutputTokens => language.log_output_tokens(),
            Self::ThoughtTokens => language.log_thought_tokens(),
            Self::CachedTokens => language.log_cached_tokens(),
            Self::ToolTokens => language.log_tool_tokens(),
            Self::TotalTokens => language.log_total_tokens(),
            Self::FinishReason => language.log_finish_reason(),
            Self::ServiceTier => language.log_service_tier(),
            Self::Cost => language.log_cost(),
            Self::Error => language.log_error_column(),
        }
    }

    pub fn is_number(self) -> bool {
        match self {
            Self::Status
            | Self::Attempts
            | Self::Wait
            | Self::FirstByte
            | Self::Duration
            | Self::RequestBytes
            | Self::ResponseBytes
            | Self::PromptTokens
            | Self::OutputTokens
            | Self::ThoughtTokens
            | Self::CachedTokens
            | Self::ToolTokens
            | Self::TotalTokens
            | Self::Cost => true,
            Self::Started
            | Self::Id
            | Self::Kind
            | Self::Outcome
            | Self::Model
            | Self::Version
            | Self::Operation
            | Self::Client
            | Self::Ip
            | Self::Agent
            | Self::Method
            | Self::Path
            | Self::Streamed
            | Self::Key
            | Self::Project
            | Self::FinishReason
            | Self::ServiceTier
            | Self::Error => false,
        }
    }

    /// The columns that the admin has chosen, in our order.
    pub fn chosen(log_columns: Option<&str>) -> Vec<Self> {
        let names: Vec<String> = log_columns
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let chosen = Self::ALL.into_iter();
        let chosen: Vec<_> = chosen
            .filter(|column| names.iter().any(|name| name == column.name()))
            .collect();
        if chosen.is_empty() {
            Self::USUAL.to_vec()
        } else {
            chosen
        }
    }
}

/// A row of the list. The first cell leads to the request, others to rows with the same value.
pub fn row(visit: &Visit, asked: &Asked, columns: &[Column], row: &RequestLog) -> Markup {
    html! {
        tr #{ "row-" (row.id) } {
            @for (place, column) in columns.iter().enumerate() {
                (cell(visit, asked, *column, row, place == 0))
            }
        }
    }
}

fn cell(visit: &Visit, asked: &Asked, column: Column, row: &RequestLog, is_first: bool) -> Markup {
    let content = content(visit, asked, column, row);
    let is_absent = content.is_none();
    let content = content.unwrap_or_else(|| html! { span.muted aria-hidden="true" { "–" } });
    let heading = column.heading(visit.language);
    let class = match column {
        Column::Model | Column::Version | Column::Client | Column::Key | Column::Project => "name",
        Column::Error => "clip rest",
        Column::Path | Column::Agent => "clip",
        _ if column.is_number() => "number",
        _ => "nowrap",
    };
    html! {
        td.(class).absent[is_absent] data-label=(heading) {
            @if is_first {
                a.open href={ "/logs/" (row.id) } data-row-link { (plain(visit, column, row).unwrap_or(content)) }
            } @else {
                (content)
            }
        }
    }
}

/// What a cell shows without a link of its own.
fn plain(visit: &Visit, column: Column, row: &RequestLog) -> Option<Markup> {
    match column {
        Column::Started => Some(moment(visit, row.started_at)),
        Column::Outcome => Some(outcome_badge(visit.language, row.outcome)),
        _ => text_of(column, row).map(|text| html! { (text) }),
    }
}

/// The value of a column that is a text.
fn text_of(column: Column, row: &RequestLog) -> Option<String> {
    match column {
        Column::Id => Some(row.id.to_string()),
        Column::Model => row.model.clone(),
        Column::Version => row.model_version.clone(),
        Column::Operation => row.operation.clone(),
        Column::Client => row.client_key.clone(),
        Column::Ip => row.client_ip.clone(),
        Column::Agent => row.user_agent.clone(),
        Column::Method => Some(row.method.clone()),
        Column::Path => Some(row.path.clone()),
        Column::Key => row.upstream_key.clone(),
        Column::Project => row.project.clone(),
        Column::FinishReason => row.finish_reason.clone(),
        Column::ServiceTier => row.service_tier.clone(),
        _ => None,
    }
}

/// `None`: there is nothing to show.
fn content(visit: &Visit, asked: &Asked, column: Column, row: &RequestLog) -> Option<Markup> {
    let language = visit.language;
    let pick = |field: Field, value: &str| {
        let text = text_of(column, row);
        text.map(|text| picked(language, asked, field, value, html! { (text) }, &text))
    };
    let same = |field: Field| pick(field, &text_of(column, row)?);
    match column {
        Column::Started => Some(moment(visit, row.started_at)),
        Column::Id => Some(html! { span.mono { (row.id) } }),
        Column::Kind => {
            let (value, word) = match row.kind {
                Kind::Request => ("request", language.kind_request()),
                Kind::Check => ("check", language.kind_check()),
            };
            Some(picked(
                language,
                asked,
                Field::Kind,
                value,
                html! { (word) },
                word,
            ))
        }
        Column::Outcome => {
            let value = row.outcome.map_or("running", Outcome::name);
            let badge = outcome_badge(language, row.outcome);
            Some(picked(language, asked, Field::Outcome, value, badge, value))
        }
        Column::Status => row.status.map(|status| {
            let status = status.to_string();
            picked(
                language,
                asked,
                Field::Status,
                &status,
                html! { (status) },
                &status,
            )
        }),
        Column::Model => same(Field::Model),
        Column::Version => same(Field::Version),
        Column::Operation => same(Field::Operation),
        Column::Client => row
            .client_key_id
            .and_then(|id| pick(Field::Client, &id.0.to_string())),
        Column::Ip => same(Field::Ip),
        Column::Agent => same(Field::Agent),
        Column::Method => same(Field::Method),
        Column::Path => same(Field::Path),
        Column::Streamed => {
            let (value, word) = if row.streamed {
                ("yes", language.yes())
            } else {
                ("no", language.no())
            };
            Some(picked(
                language,
                asked,
                Field::Streamed,
                value,
                html! { (word) },
                word,
            ))
        }
        Column::Key => row
            .upstream_key_id
            .and_then(|id| pick(Field::Key, &id.0.to_string())),
        Column::Project => same(Field::Project),
        Column::FinishReason => same(Field::FinishReason),
        Column::ServiceTier => same(Field::ServiceTier),
        Column::Attempts if row.attempts > 1 => {
            let count = row.attempts.to_string();
            Some(picked(
                language,
                asked,
                Field::Retried,
                "yes",
                html! { (count) },
                &count,
            ))
        }
        Column::Error => row
            .error
            .as_ref()
            .map(|error| html! { span title=(error) { (error) } }),
        _ => measured(language, column, row),
    }
}

/// What was counted and measured of a request.
fn measured(language: Language, column: Column, row: &RequestLog) -> Option<Markup> {
    let whole = |count: i64| u64::try_from(count).unwrap_or(0);
    let count = |count: Option<i64>| {
        count.map(|count| html! { span title=(number(whole(count))) { (tokens(whole(count))) } })
    };
    let time = |ms: Option<i64>| ms.map(|ms| html! { (duration_ms(language, whole(ms))) });
    let size = |size: i64| Some(html! { (bytes(whole(size))) });
    match column {
        Column::Attempts => Some(html! { (row.attempts) }),
        Column::Wait => time(Some(row.wait_ms).filter(|ms| *ms > 0)),
        Column::FirstByte => time(row.first_byte_ms),
        Column::Duration => time(row.duration_ms),
        Column::RequestBytes => size(row.request_bytes),
        Column::ResponseBytes => size(row.response_bytes),
        Column::PromptTokens => count(row.prompt_tokens),
        Column::OutputTokens => count(row.output_tokens),
        Column::ThoughtTokens => count(row.thought_tokens),
        Column::CachedTokens => count(row.cached_tokens),
        Column::ToolTokens => count(row.tool_tokens),
        Column::TotalTokens => count(row.total_tokens),
        Column::Cost => row.cost_usd.map(|cost| html! { (usd(cost)) }),
        _ => None,
    }
}

/// A value that leads to the rows which share it, unless only those are shown.
fn picked(
    language: Language,
    asked: &Asked,
    field: Field,
    value: &str,
    shown: Markup,
    words: &str,
) -> Markup {
    if asked.get(field) == value {
        return shown;
    }
    let target = asked.with(field, value).href("/logs");
    let title = language.filter_by(field.label(language), words);
    html! { a.pick href=(target) title=(title) { (shown) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_columns_come_in_our_order_and_what_is_no_column_is_left_out() {
        let chosen = Column::chosen(Some(r#"["model","id","no such","started_at"]"#));

        assert_eq!(chosen, [Column::Started, Column::Id, Column::Model]);
        for nothing in [None, Some("[]"), Some("no JSON")] {
            assert_eq!(Column::chosen(nothing), Column::USUAL, "{nothing:?}");
        }
    }
}
