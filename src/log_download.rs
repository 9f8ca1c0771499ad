//! `LogDownload`: an export of the log as the body of a response, recorded in the audit log.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Timestamp};
use crate::storage::audit::Actor;
use crate::storage::backup::file_time;
use crate::storage::db::Db;
use crate::storage::request_logs::export::{ExportFormat, LogExport, record_export};
use crate::storage::request_logs::filter::LogFilter;

/// Trailers with the number of rows and the hash of all bytes before compression, for clients that accept trailers.
const ROWS: &str = "x-export-rows";
const SHA256: &str = "x-export-sha256";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A running download. Its error breaks the connection, so that a browser reports an incomplete file.
pub struct LogDownload {
    db: Db,
    cutting_off: CancellationToken,
    rows: LogExport,
    actor: Actor,
    name: String,
    /// The filter as the audit log shows it.
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

/// The media type of an export.
pub fn media_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        ExportFormat::Jsonl => "application/x-ndjson",
    }
}

impl LogDownload {
    /// A download that ends early when `cutting_off` is cancelled. `described` is the filter as text.
    pub fn new(
        (db, cutting_off): (Db, CancellationToken),
        (filter, described): (LogFilter, String),
        format: ExportFormat,
        actor: Actor,
        now: Timestamp,
    ) -> Self {
        Self {
            rows: LogExport::new(db.clone(), filter, format),
            db,
            cutting_off,
            actor,
            name: format!("gemini-pool-logs-{}.{}", file_time(now), format.name()),
            filter: described,
            state: DownloadState::Waiting,
        }
    }

    /// The response that streams it.
    pub fn into_response(self, format: ExportFormat) -> Response {
        let headers = [
            (CONTENT_TYPE, media_type(format).to_owned()),
            (
                CONTENT_DISPOSITION,
                format!("attachment; filename=\"{}\"", self.name),
            ),
            (TRAILER, format!("{ROWS}, {SHA256}")),
        ];
        let frames = stream::try_unfold(self, async |mut download| {
            let frame = download.next_frame().await.inspect_err(|error| {
                tracing::error!("an export of the log was broken off: {error}");
            })?;
            Ok::<_, Failure>(frame.map(|frame| (frame, download)))
        });
        (headers, Body::new(StreamBody::new(frames))).into_response()
    }

    async fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, Failure> {
        if self.state == DownloadState::Recorded {
            return Ok(None);
        }
        self.state = DownloadState::Running;
        let part = self.cutting_off.run_until_cancelled(self.rows.next_part());
        let part = part.await.ok_or("the server stops")??;
        if let Some(part) = part {
            return Ok(Some(Frame::data(part.into())));
        }
        // Before the end is sent, so that a complete file has an entry.
        let summary = self.rows.summary();
        let of_file = (self.name.as_str(), self.filter.as_str());
        record_export(
            &self.db,
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
impl Drop for LogDownload {
    fn drop(&mut self) {
        if self.state != DownloadState::Running {
            return;
        }
        let (db, actor) = (self.db.clone(), self.actor.clone());
        let (name, filter) = (self.name.clone(), self.filter.clone());
        let summary = self.rows.summary();
        let record = async move {
            let of_file = (name.as_str(), filter.as_str());
            let recorded =
                record_export(&db, &actor, clock::now(), of_file, (&summary, false)).await;
            if let Err(error) = recorded {
                tracing::error!("an incomplete export of the log could not be recorded: {error}");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(record);
        }
    }
}
