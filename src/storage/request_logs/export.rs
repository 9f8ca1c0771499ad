//! `LogExport`: reads all rows of a filter page by page, as JSON Lines or CSV.

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::request_bodies::{self, KeptBody};
use crate::storage::request_logs::csv_row;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::search::search;

/// Number of rows in memory at once. Each page is read by statements of its own, so that no transaction stays open which
/// would stop checkpoints.
const PAGE_SIZE: usize = 500;
/// The same with the bodies, which may have some hundred kilobytes each.
const PAGE_SIZE_WITH_BODIES: usize = 20;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum ExportFormat {
    /// A header line, then a line for each request, without its attempts.
    Csv,
    /// JSON Lines: the objects of the list, with the attempts.
    Jsonl,
}

impl ExportFormat {
    /// Its name in commands, which is also the end of file names.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An export of all rows of a filter, newest first. Rows that are inserted after its begin are not in it.
#[derive(Debug)]
pub struct LogExport {
    db: Db,
    filter: LogFilter,
    format: ExportFormat,
    /// Whether JSON Lines have the kept bodies.
    with_bodies: bool,
    /// `None`: nothing is left.
    position: Option<LogPosition>,
    rows: u64,
    bytes: u64,
    hash: Sha256,
}

/// What an export contains so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    pub rows: u64,
    pub bytes: u64,
    /// Of all bytes, in hexadecimal.
    pub sha256: String,
}

impl LogExport {
    pub fn new(db: Db, filter: LogFilter, format: ExportFormat) -> Self {
        Self {
            db,
            filter,
            format,
            with_bodies: false,
            position: Some(LogPosition::Newest),
            rows: 0,
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Adds `request_body` and `response_body` to JSON Lines: the redacted text of what is kept by `body_log_mode`, else null.
    #[must_use]
    pub fn with_bodies(self) -> Self {
        Self {
            with_bodies: true,
            ..self
        }
    }

    /// The next bytes, which are whole lines; `None` at the end.
    pub async fn next_part(&mut self) -> Result<Option<Vec<u8>>> {
        let is_begin = self.bytes == 0;
        if self.format == ExportFormat::Csv && is_begin {
            return Ok(Some(self.count(0, csv_row::heading())));
        }
        let Some(position) = self.position else {
            return Ok(None);
        };
        // Without a deadline the search ends only with a full page or at the oldest row.
        let size = if self.with_bodies {
            PAGE_SIZE_WITH_BODIES
        } else {
            PAGE_SIZE
        };
        let page = search(&self.db.readers, &self.filter, position, size, None).await?;
        self.position = page.next.map(LogPosition::OlderThan);
        if page.rows.is_empty() {
            return Ok(None);
        }
        let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
        let part = match self.format {
            ExportFormat::Csv => csv_row::rows(&page.rows),
            ExportFormat::Jsonl if self.with_bodies => {
                let mut rows = Vec::with_capacity(page.rows.len());
                for row in page.rows {
                    rows.push(RowWithBodies::read(&self.db, row).await?);
                }
                json_lines(&rows)
            }
            ExportFormat::Jsonl => json_lines(&page.rows),
        };
        Ok(Some(self.count(rows, part)))
    }

    pub fn summary(&self) -> ExportSummary {
        ExportSummary {
            rows: self.rows,
            bytes: self.bytes,
            sha256: format!("{:x}", self.hash.clone().finalize()),
        }
    }

    fn count(&mut self, rows: u64, part: Vec<u8>) -> Vec<u8> {
        self.rows += rows;
        self.bytes += u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.hash.update(&part);
        part
    }
}

/// A line with the bodies of a request.
#[derive(Debug, Serialize)]
struct RowWithBodies {
    #[serde(flatten)]
    row: RequestLog,
    request_body: Option<String>,
    response_body: Option<String>,
}

impl RowWithBodies {
    async fn read(db: &Db, row: RequestLog) -> Result<Self> {
        let kept = request_bodies::find(db, row.id).await?;
        let text = |body: &KeptBody| {
            // A text that cannot be decompressed is not there either.
            let text = body.text().inspect_err(|error| {
                tracing::warn!(request = %row.id, "a kept body cannot be read: {error}");
            });
            text.ok().flatten()
        };
        let (request_body, response_body) = match &kept {
            None => (None, None),
            Some(bodies) => (text(&bodies.request), text(&bodies.answer)),
        };
        Ok(Self {
            row,
            request_body,
            response_body,
        })
    }
}

fn json_lines(rows: &[impl Serialize]) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row).expect("rows serialize to JSON");
        lines.push(b'\n');
    }
    lines
}

/// Records in the audit log that an admin received an export. `name` is its file name, `filter` its query, and `complete`
/// whether all rows were sent.
pub async fn record_export(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
    (name, filter): (&str, &str),
    (summary, complete): (&ExportSummary, bool),
) -> Result<()> {
    let mut tx = db.begin().await?;
    // It changes nothing that a server would have to reload.
    let act = Act::without_revision(actor.clone(), now);
    let content = json!({
        "rows": summary.rows,
        "bytes": summary.bytes,
        "sha256": summary.sha256,
        "filter": filter,
        "complete": complete,
    });
    audit::insert(
        &mut tx,
        &act,
        Action::Export,
        (Subject::RequestLog, None),
        name,
        (None, Some(content)),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::pool::request_id::RequestId;
    use crate::storage::db::tests::open_migrated;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::row;

    async fn exported(db: &Db, filter: &LogFilter, format: ExportFormat) -> (String, LogExport) {
        let mut export = LogExport::new(db.clone(), filter.clone(), format);
        let mut all = Vec::new();
        while let Some(part) = export.next_part().await.unwrap() {
            assert_eq!(part.last(), Some(&b'\n'));
            all.extend(part);
        }
        (String::from_utf8(all).unwrap(), export)
    }

    #[tokio::test]
    async fn all_pages_of_a_filter_are_exported_newest_first() {
        let (_folder, db) = open_migrated().await;
        add_keys(&db).await;
        let mut rows: Vec<_> = (0..1_200).map(row).collect();
        for row in rows.iter_mut().step_by(2) {
            row.method = "GET".to_owned();
        }
        write(&db, rows).await;
        let filter = LogFilter {
            method: Some("GET".to_owned()),
            ..LogFilter::default()
        };

        let (jsonl, json_export) = exported(&db, &filter, ExportFormat::Jsonl).await;
        let (csv, csv_export) = exported(&db, &filter, ExportFormat::Csv).await;

        let expected: Vec<_> = (0..600).rev().map(|number| row(2 * number).id).collect();
        let ids = jsonl.lines().map(|line| {
            let object: Value = serde_json::from_str(line).unwrap();
            assert_eq!(object["attempt_list"].as_array().unwrap().len(), 1);
            object["id"].as_str().unwrap().parse::<RequestId>().unwrap()
        });
        assert_eq!(ids.collect::<Vec<_>>(), expected);
        let ids = csv.lines().skip(1).map(|line| {
            let id = line.split(',').next().unwrap();
            id.parse::<RequestId>().unwrap()
        });
        assert_eq!(ids.collect::<Vec<_>>(), expected);
        for (text, export) in [(jsonl, json_export), (csv, csv_export)] {
            let summary = export.summary();
            assert_eq!(summary.rows, 600);
            assert_eq!(summary.bytes, text.len() as u64);
            assert_eq!(summary.sha256, format!("{:x}", Sha256::digest(text)));
        }
    }

    #[tokio::test]
    async fn without_rows_csv_has_its_header_line_and_json_lines_are_empty() {
        let (_folder, db) = open_migrated().await;
        let any = LogFilter::default();

        let (jsonl, _) = exported(&db, &any, ExportFormat::Jsonl).await;
        let (csv, _) = exported(&db, &any, ExportFormat::Csv).await;

        assert_eq!(jsonl, "");
        assert!(csv.starts_with("id,started_at,kind,") && csv.lines().count() == 1);
    }

    #[tokio::test]
    async fn rows_that_are_inserted_meanwhile_are_not_in_the_export() {
        let (_folder, db) = open_migrated().await;
        add_keys(&db).await;
        write(&db, (0..700).map(row).collect()).await;
        let any = LogFilter::default();
        let mut export = LogExport::new(db.clone(), any, ExportFormat::Jsonl);

        export.next_part().await.unwrap().unwrap();
        write(&db, (700..800).map(row).collect()).await;
        export.next_part().await.unwrap().unwrap();

        assert_eq!(export.next_part().await.unwrap(), None);
        assert_eq!(export.summary().rows, 700);
    }
}
