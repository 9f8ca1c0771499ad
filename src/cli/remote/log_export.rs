//! `RemoteExport`: an export of a server's log, counted as it arrives.

use anyhow::Result;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::cli::remote::logs::query_of;
use crate::cli::remote::{RemoteAnswer, RemoteServer};
use crate::storage::request_logs::export::{ExportFormat, ExportSummary};
use crate::storage::request_logs::filter::LogFilter;

#[derive(Debug)]
pub struct RemoteExport {
    answer: RemoteAnswer,
    format: ExportFormat,
    lines: u64,
    /// Whether the CSV is inside of a quoted cell, where a new line is no row.
    is_quoted: bool,
    bytes: u64,
    hash: Sha256,
}

impl RemoteExport {
    pub async fn open(
        server: &RemoteServer,
        filter: &LogFilter,
        format: ExportFormat,
    ) -> Result<Self> {
        let name = format!("export.{}", format.name());
        Ok(Self {
            answer: server.open(&["logs", &name], &query_of(filter)).await?,
            format,
            lines: 0,
            is_quoted: false,
            bytes: 0,
            hash: Sha256::new(),
        })
    }

    /// The next part of the file; `None` at its end. An export that the server breaks off fails.
    pub async fn next_part(&mut self) -> Result<Option<Bytes>> {
        let Some(part) = self.answer.next_part().await? else {
            return Ok(None);
        };
        self.bytes += u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.hash.update(&part);
        for byte in &part {
            match byte {
                b'"' if self.format == ExportFormat::Csv => self.is_quoted = !self.is_quoted,
                b'\n' if !self.is_quoted => self.lines += 1,
                _ => {}
            }
        }
        Ok(Some(part))
    }

    /// What has arrived so far.
    pub fn summary(&self) -> ExportSummary {
        let heading = u64::from(self.format == ExportFormat::Csv);
        ExportSummary {
            rows: self.lines.saturating_sub(heading),
            bytes: self.bytes,
            sha256: format!("{:x}", self.hash.clone().finalize()),
        }
    }
}
