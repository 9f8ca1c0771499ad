//! `/logs/export.csv` and `/logs/export.jsonl`: all rows of the list's filters as a download.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::app::App;
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::logs::query::LogQuery;
use crate::dashboard::page_context::PageContext;
use crate::error::Error;
use crate::storage::audit::Actor;
use crate::storage::backup::file_time;
use crate::storage::request_logs::export::{ExportFormat, LogExport, record_export};

/// Trailers with the number of rows and the hash of all bytes before compression, for clients that accept trailers.
const ROWS: &str = "x-export-rows";
const SHA256: &str = "x-export-sha256";

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub async fn csv(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, ErrorPage> {
    download(
        app,
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
        app,
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
    app: Arc<App>,
    context: &PageContext,
    query: &LogQuery,
    format: ExportFormat,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let (filter, invalid) = query.filter(&context.zone, context.now);
    if !invalid.is_empty() {
        let names: Vec<_> = invalid.iter().map(|field| field.label(language)).collect();
        let message = language.export_invalid_filters(&names.join(", "));
        return Err(Error::Invalid(message).into());
    }
    let name = format!(
        "gemini-pool-logs-{}.{}",
        file_time(context.now),
        format.name()
    );
    let media_type = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        ExportFormat::Jsonl => "application/x-ndjson",
    };
    let headers = [
        (CONTENT_TYPE, media_type.to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (TRAILER, format!("{ROWS}, {SHA256}")),
    ];
    let download = Download {
        rows: LogExport::new(app.db.readers.clone(), filter, format),
        app,
        actor: context.actor(),
        name,
        filter: query.href("").trim_start_matches('?').to_owned(),
        state: DownloadState::Waiting,
    };
    let frames = stream::try_unfold(download, async |mut download| {
        let frame = download.next_frame().await.inspect_err(|error| {
            tracing::error!("an export of the log was broken off: {error}");
        })?;
        Ok::<_, Failure>(frame.map(|frame| (frame, download)))
    });
    Ok((headers, Body::new(StreamBody::new(frames))).into_response())
}

/// A running download. Its error breaks the connection, so that a browser reports an incomplete file.
struct Download {
    app: Arc<App>,
    rows: LogExport,
    actor: Actor,
    name: String,
    /// The query of the list.
    filter: String,
    state: DownloadState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DownloadState {
    /// Nothing has been read.
    Waiting,
    Running,
    /// The audit log has its entry.
    Recorded,
}

impl Download {
    async fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, Failure> {
        if self.state == DownloadState::Recorded {
            return Ok(None);
        }
        self.state = DownloadState::Running;
        let app = self.app.clone();
        let part = app.cutting_off.run_until_cancelled(self.rows.next_part());
        let part = part.await.ok_or("the server stops")??;
        if let Some(part) = part {
            return Ok(Some(Frame::data(part.into())));
        }
        // Before the end is sent, so that a complete file has an entry.
        let summary = self.rows.summary();
        let of_file = (self.name.as_str(), self.filter.as_str());
        record_export(
            &app.db,
            &self.actor,
            clock::now(),
            of_file,
            (&summary, true),
        )
        .await?;
        self.state = DownloadState::Recorded;
        let mut trailers = HeaderMap::new();
        trailers.insert(ROWS, summary.rows.into());
        trailers.insert(SHA256, HeaderValue::try_from(summary.sha256)?);
        Ok(Some(Frame::trailers(trailers)))
    }
}

/// An export that fails, or whose client disconnects, is recorded with the rows that were read for it.
impl Drop for Download {
    fn drop(&mut self) {
        if self.state != DownloadState::Running {
            return;
        }
        let (app, actor) = (self.app.clone(), self.actor.clone());
        let (name, filter) = (self.name.clone(), self.filter.clone());
        let summary = self.rows.summary();
        let record = async move {
            let of_file = (name.as_str(), filter.as_str());
            let recorded =
                record_export(&app.db, &actor, clock::now(), of_file, (&summary, false)).await;
            if let Err(error) = recorded {
                tracing::error!("an incomplete export of the log could not be recorded: {error}");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(record);
        }
    }
}
