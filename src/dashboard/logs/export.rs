//! `/logs/export.csv` and `/logs/export.jsonl`: all rows of the list's filters as a download.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;

use crate::app::App;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::logs::query::LogQuery;
use crate::dashboard::page_context::PageContext;
use crate::error::Error;
use crate::log_download::LogDownload;
use crate::storage::request_logs::export::ExportFormat;

pub async fn csv(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, ErrorPage> {
    download(
        &app,
        &context,
        &LogQuery::from_pairs(pairs),
        ExportFormat::Csv,
    )
}

pub async fn jsonl(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, ErrorPage> {
    download(
        &app,
        &context,
        &LogQuery::from_pairs(pairs),
        ExportFormat::Jsonl,
    )
}

/// The path of an export.
pub fn path(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Csv => "/logs/export.csv",
        ExportFormat::Jsonl => "/logs/export.jsonl",
    }
}

/// The format's own name, the same in all languages.
pub fn label(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Csv => "CSV",
        ExportFormat::Jsonl => "JSON Lines",
    }
}

/// Refuses invalid filters, without which the file would contain more than was asked for.
fn download(
    app: &App,
    context: &PageContext,
    query: &LogQuery,
    format: ExportFormat,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let (filter, invalid) = query.filter(&context.zone, context.now);
    if !invalid.is_empty() {
        let names: Vec<_> = invalid.iter().map(|field| field.label(language)).collect();
        let message = language.export_invalid_filters(&names.join(language.list_comma()));
        return Err(Error::Invalid(message).into());
    }
    let described = query.href("").trim_start_matches('?').to_owned();
    let server = (app.db.clone(), app.cutting_off.clone());
    let actor = context.actor();
    let download = LogDownload::new(server, (filter, described), format, actor, context.now);
    Ok(download.into_response(format))
}
