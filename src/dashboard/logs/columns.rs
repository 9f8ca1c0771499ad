//! The columns of the log list: names, selection per admin and cell content.

use maud::{Markup, html};

use crate::dashboard::components::{bytes, duration_ms, moment, number, tokens, usd};
use crate::dashboard::logs::outcome_labels::outcome_badge;
use crate::dashboard::logs::query::{LogField, LogQuery};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::outcome::Outcome;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::listed::RequestLog;

/// A column of the log list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogColumn {
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
    QueueTime,
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

impl LogColumn {
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
        Self::QueueTime,
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

    /// The columns shown by default.
    pub const DEFAULT: [Self; 10] = [
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

    /// The name in forms and in the admin's stored selection, equal to the JSON name.
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
            Self::QueueTime => "wait_ms",
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
            Self::QueueTime => language.log_queue_time(),
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
            | Self::QueueTime
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

    /// The columns selected by the admin, in the order of [`Self::ALL`].
    pub fn selected(log_columns: Option<&str>) -> Vec<Self> {
        let names: Vec<String> = log_columns
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let selected = Self::ALL.into_iter();
        let selected: Vec<_> = selected
            .filter(|column| names.iter().any(|name| name == column.name()))
            .collect();
        if selected.is_empty() {
            Self::DEFAULT.to_vec()
        } else {
            selected
        }
    }
}

/// A row of the list. The first cell links to the request, others to rows with the same value.
pub fn row(
    context: &PageContext,
    query: &LogQuery,
    columns: &[LogColumn],
    row: &RequestLog,
) -> Markup {
    html! {
        tr #{ "row-" (row.id) } {
            @for (index, column) in columns.iter().enumerate() {
                (cell(context, query, *column, row, index == 0))
            }
        }
    }
}

fn cell(
    context: &PageContext,
    query: &LogQuery,
    column: LogColumn,
    row: &RequestLog,
    is_first: bool,
) -> Markup {
    let cell = cell_content(context, query, column, row);
    let is_absent = cell.is_none();
    let cell = cell.unwrap_or_else(|| html! { span.muted aria-hidden="true" { "–" } });
    let heading = column.heading(context.language);
    let class = match column {
        LogColumn::Model
        | LogColumn::Version
        | LogColumn::Client
        | LogColumn::Key
        | LogColumn::Project => "name",
        LogColumn::Error => "clip fill",
        LogColumn::Path | LogColumn::Agent => "clip",
        _ if column.is_number() => "number",
        _ => "nowrap",
    };
    html! {
        td.(class).absent[is_absent] data-label=(heading) {
            @if is_first {
                a.open href={ "/logs/" (row.id) } data-row-link { (unlinked(context, column, row).unwrap_or(cell)) }
            } @else {
                (cell)
            }
        }
    }
}

/// The content of a cell without its own link.
fn unlinked(context: &PageContext, column: LogColumn, row: &RequestLog) -> Option<Markup> {
    match column {
        LogColumn::Started => Some(moment(context, row.started_at)),
        LogColumn::Outcome => Some(outcome_badge(context.language, row.outcome)),
        _ => text_of(column, row).map(|text| html! { (text) }),
    }
}

/// The value of a text column.
fn text_of(column: LogColumn, row: &RequestLog) -> Option<String> {
    match column {
        LogColumn::Id => Some(row.id.to_string()),
        LogColumn::Model => row.model.clone(),
        LogColumn::Version => row.model_version.clone(),
        LogColumn::Operation => row.operation.clone(),
        LogColumn::Client => row.client_key.clone(),
        LogColumn::Ip => row.client_ip.clone(),
        LogColumn::Agent => row.user_agent.clone(),
        LogColumn::Method => Some(row.method.clone()),
        LogColumn::Path => Some(row.path.clone()),
        LogColumn::Key => row.upstream_key.clone(),
        LogColumn::Project => row.project.clone(),
        LogColumn::FinishReason => row.finish_reason.clone(),
        LogColumn::ServiceTier => row.service_tier.clone(),
        _ => None,
    }
}

/// `None`: the cell is empty.
fn cell_content(
    context: &PageContext,
    query: &LogQuery,
    column: LogColumn,
    row: &RequestLog,
) -> Option<Markup> {
    let language = context.language;
    let link = |field: LogField, value: &str| {
        let text = text_of(column, row);
        text.map(|text| filter_link(language, query, field, value, html! { (text) }, &text))
    };
    let same = |field: LogField| link(field, &text_of(column, row)?);
    match column {
        LogColumn::Started => Some(moment(context, row.started_at)),
        LogColumn::Id => Some(html! { span.mono { (row.id) } }),
        LogColumn::Kind => {
            let (value, label) = match row.kind {
                LogKind::Request => ("request", language.kind_request()),
                LogKind::Check => ("check", language.kind_check()),
            };
            Some(filter_link(
                language,
                query,
                LogField::Kind,
                value,
                html! { (label) },
                label,
            ))
        }
        LogColumn::Outcome => {
            let value = row.outcome.map_or("running", Outcome::name);
            let badge = outcome_badge(language, row.outcome);
            Some(filter_link(
                language,
                query,
                LogField::Outcome,
                value,
                badge,
                value,
            ))
        }
        LogColumn::Status => row.status.map(|status| {
            let status = status.to_string();
            filter_link(
                language,
                query,
                LogField::Status,
                &status,
                html! { (status) },
                &status,
            )
        }),
        LogColumn::Model => same(LogField::Model),
        LogColumn::Version => same(LogField::Version),
        LogColumn::Operation => same(LogField::Operation),
        LogColumn::Client => row
            .client_key_id
            .and_then(|id| link(LogField::Client, &id.0.to_string())),
        LogColumn::Ip => same(LogField::Ip),
        LogColumn::Agent => same(LogField::Agent),
        LogColumn::Method => same(LogField::Method),
        LogColumn::Path => same(LogField::Path),
        LogColumn::Streamed => {
            let (value, label) = if row.streamed {
                ("yes", language.yes())
            } else {
                ("no", language.no())
            };
            Some(filter_link(
                language,
                query,
                LogField::Streamed,
                value,
                html! { (label) },
                label,
            ))
        }
        LogColumn::Key => row
            .upstream_key_id
            .and_then(|id| link(LogField::Key, &id.0.to_string())),
        LogColumn::Project => same(LogField::Project),
        LogColumn::FinishReason => same(LogField::FinishReason),
        LogColumn::ServiceTier => same(LogField::ServiceTier),
        LogColumn::Attempts if row.attempts > 1 => {
            let count = row.attempts.to_string();
            Some(filter_link(
                language,
                query,
                LogField::Retried,
                "yes",
                html! { (count) },
                &count,
            ))
        }
        LogColumn::Error => row
            .error
            .as_ref()
            .map(|error| html! { span title=(error) { (error) } }),
        _ => measured(language, column, row),
    }
}

/// The value of a numeric column.
fn measured(language: Language, column: LogColumn, row: &RequestLog) -> Option<Markup> {
    let whole = |count: i64| u64::try_from(count).unwrap_or(0);
    let count = |count: Option<i64>| {
        count.map(|count| html! { span title=(number(whole(count))) { (tokens(whole(count))) } })
    };
    let time = |ms: Option<i64>| ms.map(|ms| html! { (duration_ms(language, whole(ms))) });
    let size = |size: i64| Some(html! { (bytes(whole(size))) });
    match column {
        LogColumn::Attempts => Some(html! { (row.attempts) }),
        LogColumn::QueueTime => time(Some(row.wait_ms).filter(|ms| *ms > 0)),
        LogColumn::FirstByte => time(row.first_byte_ms),
        LogColumn::Duration => time(row.duration_ms),
        LogColumn::RequestBytes => size(row.request_bytes),
        LogColumn::ResponseBytes => size(row.response_bytes),
        LogColumn::PromptTokens => count(row.prompt_tokens),
        LogColumn::OutputTokens => count(row.output_tokens),
        LogColumn::ThoughtTokens => count(row.thought_tokens),
        LogColumn::CachedTokens => count(row.cached_tokens),
        LogColumn::ToolTokens => count(row.tool_tokens),
        LogColumn::TotalTokens => count(row.total_tokens),
        LogColumn::Cost => row.cost_usd.map(|cost| html! { (usd(cost)) }),
        _ => None,
    }
}

/// A value linked to all rows with the same value, unless the list is already filtered by it.
fn filter_link(
    language: Language,
    query: &LogQuery,
    field: LogField,
    value: &str,
    content: Markup,
    value_label: &str,
) -> Markup {
    if query.get(field) == value {
        return content;
    }
    let target = query.with(field, value).href("/logs");
    let title = language.filter_by(field.label(language), value_label);
    html! { a.filter-link href=(target) title=(title) { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_columns_have_a_fixed_order_and_unknown_names_are_ignored() {
        let selected = LogColumn::selected(Some(r#"["model","id","no such","started_at"]"#));

        assert_eq!(
            selected,
            [LogColumn::Started, LogColumn::Id, LogColumn::Model]
        );
        for nothing in [None, Some("[]"), Some("no JSON")] {
            assert_eq!(
                LogColumn::selected(nothing),
                LogColumn::DEFAULT,
                "{nothing:?}"
            );
        }
    }
}
