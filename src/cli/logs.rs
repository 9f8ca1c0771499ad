//! `logs`: prints or exports logged requests, or follows the log.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::time_argument::TimeArgument;
use crate::cli::{database, export_logs, output};
use crate::clock;
use crate::config::DatabaseArgs;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::export::ExportFormat;
use crate::storage::request_logs::filter::{LogFilter, OutcomeFilter, StatusFilter};
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::search::search;
use crate::storage::request_logs::search_plan::LogPosition;
use crate::storage::request_logs::tail::LogTail;

/// How many rows are held in memory at once.
const PAGE: usize = 500;
/// How often `tail` queries the log.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show requests, newest first
    List(Box<ListArgs>),
    /// Show requests as they end, until Ctrl-C
    Tail(Box<TailArgs>),
    /// Write all requests of a filter as CSV or JSON Lines, newest first
    Export(Box<ExportArgs>),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Maximum number of requests
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Continue an earlier list, with the cursor printed at its end
    #[arg(long)]
    cursor: Option<RequestId>,
    #[command(flatten)]
    filter: FilterArgs,
    /// As JSON, with the attempts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// As JSON with the attempts, one request per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// csv: a line per request; jsonl: JSON Lines, with the attempts
    #[arg(long, value_parser = format)]
    format: ExportFormat,
    /// The file, which is replaced when the export is complete; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// The outcome: success, quota, network …, or failed (any but success), or running
    #[arg(long)]
    outcome: Option<OutcomeFilter>,
    /// The HTTP status that the client received, as in 404 or 4xx
    #[arg(long)]
    status: Option<StatusFilter>,
    /// The requested model
    #[arg(long)]
    model: Option<String>,
    /// The model version that answered
    #[arg(long, value_name = "MODEL")]
    model_version: Option<String>,
    /// The client key, by name
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// The client key, by id
    #[arg(long, value_name = "ID")]
    client_id: Option<i64>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The client's complete user agent
    #[arg(long)]
    user_agent: Option<String>,
    /// An upstream key that was tried, by id
    #[arg(long, value_name = "ID")]
    upstream_key: Option<i64>,
    /// The project of the last key that was tried: its name, or Google's number for it
    #[arg(long)]
    project: Option<String>,
    /// The method: GET, POST …
    #[arg(long)]
    method: Option<String>,
    /// The complete path
    #[arg(long)]
    path: Option<String>,
    /// The operation: generateContent, countTokens …
    #[arg(long)]
    operation: Option<String>,
    /// Whether the response was a stream: true or false
    #[arg(long)]
    streamed: Option<bool>,
    /// The finish reason: `STOP`, `MAX_TOKENS` …
    #[arg(long, value_name = "REASON")]
    finish_reason: Option<String>,
    /// The service tier: standard, flex, priority …
    #[arg(long, value_name = "TIER")]
    service_tier: Option<String>,
    /// Minimum duration in milliseconds
    #[arg(long, value_name = "MS")]
    min_duration: Option<u64>,
    /// Minimum time to the first byte in milliseconds
    #[arg(long, value_name = "MS")]
    min_first_byte: Option<u64>,
    /// Only requests with more than one attempt
    #[arg(long)]
    retried: bool,
    /// A part of the error
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// The kind: request or check
    #[arg(long, value_parser = kind)]
    kind: Option<LogKind>,
    /// Started at or after this time: 2027-01-31T08:00:00Z, or 24h ago
    #[arg(long)]
    since: Option<TimeArgument>,
    /// Started before this time
    #[arg(long)]
    until: Option<TimeArgument>,
    /// A part of the error, path, model, user agent, client's name or key's label
    #[arg(long, short, value_name = "TEXT")]
    text: Option<String>,
}

fn kind(text: &str) -> Result<LogKind, &'static str> {
    text.parse().map_err(|_| "must be request or check")
}

fn format(text: &str) -> Result<ExportFormat, &'static str> {
    text.parse().map_err(|_| "must be csv or jsonl")
}

impl FilterArgs {
    fn filter(self) -> LogFilter {
        let now = clock::now();
        LogFilter {
            kind: self.kind,
            outcome: self.outcome,
            status: self.status,
            model: self.model,
            model_version: self.model_version,
            client_key_id: self.client_id.map(ClientKeyId),
            client_key: self.client,
            client_ip: self.ip,
            user_agent: self.user_agent,
            upstream_key_id: self.upstream_key.map(UpstreamKeyId),
            project: self.project,
            method: self.method,
            path: self.path,
            operation: self.operation,
            streamed: self.streamed,
            finish_reason: self.finish_reason,
            service_tier: self.service_tier,
            min_duration_ms: self.min_duration,
            min_first_byte_ms: self.min_first_byte,
            retried: self.retried,
            error: self.error,
            since: self.since.map(|since| since.resolve_back(now)),
            until: self.until.map(|until| until.resolve_back(now)),
            text: self.text,
        }
    }
}

pub async fn run(args: &DatabaseArgs, command: Command) -> Result<()> {
    let db = database::open_to_read(args).await?;
    let done = match command {
        Command::List(arguments) => list(&db, *arguments).await,
        Command::Tail(arguments) => tail(&db, *arguments).await,
        Command::Export(arguments) => {
            let ExportArgs {
                format,
                output,
                filter,
            } = *arguments;
            export_logs::run(&db, filter.filter(), format, output.as_deref()).await
        }
    };
    db.close().await;
    done
}

async fn list(db: &Db, arguments: ListArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let mut position = arguments
        .cursor
        .map_or(LogPosition::Newest, LogPosition::OlderThan);
    let mut left = arguments.limit;
    let mut next = None;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        write!(out, r#"{{"items":["#)?;
    }
    let mut is_first = true;
    while left > 0 {
        // Without a time limit: a command may search the whole log.
        let page = search(&db.readers, &filter, position, left.min(PAGE), None).await?;
        left -= page.rows.len();
        for row in page.rows {
            if arguments.json {
                let comma = if is_first { "" } else { "," };
                write!(out, "{comma}{}", serde_json::to_string(&row)?)?;
            } else {
                if is_first {
                    writeln!(out, "{HEADING}")?;
                }
                writeln!(out, "{}", LogLine(&row))?;
            }
            is_first = false;
        }
        next = page.next;
        match next {
            Some(next) => position = LogPosition::OlderThan(next),
            None => break,
        }
    }
    if arguments.json {
        writeln!(out, r#"],"next":{}}}"#, serde_json::to_string(&next)?)?;
    } else if let Some(next) = next {
        writeln!(out, "older requests: --cursor {next}")?;
    } else if is_first {
        writeln!(out, "no requests")?;
    }
    out.flush()?;
    Ok(())
}

async fn tail(db: &Db, arguments: TailArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let mut tail = LogTail::begin(db, clock::now()).await?;
    if !arguments.json {
        output::line(HEADING)?;
    }
    loop {
        tokio::select! {
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
            () = tokio::time::sleep(INTERVAL) => (),
        }
        let updates = tail.next(db, clock::now()).await?;
        for row in updates.finished.iter().filter(|row| filter.matches(row)) {
            if arguments.json {
                output::json(row)?;
            } else {
                output::line(LogLine(row))?;
            }
        }
    }
}

const HEADING: &str = "STARTED                   ID             OUTCOME         STATUS       MS  ATTEMPTS    TOKENS  \
    MODEL                         CLIENT            UPSTREAM KEY      ERROR";

/// A request as one line; widths are fixed, because later rows are not known yet.
struct LogLine<'a>(&'a RequestLog);

impl std::fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = self.0;
        let number =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let text = |text: &Option<String>| output::printable(text.as_deref().unwrap_or("-"));
        let line = format!(
            "{}  {}  {:14}  {:>6}  {:>7}  {:>8}  {:>8}  {:28}  {:16}  {:16}  {}",
            row.started_at,
            row.id,
            row.outcome.map_or("running", Outcome::name),
            number(row.status),
            number(row.duration_ms),
            row.attempts,
            number(row.total_tokens),
            text(&row.model),
            text(&row.client_key),
            text(&row.upstream_key),
            output::printable(row.error.as_deref().unwrap_or_default()),
        );
        f.write_str(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::recorder::tests::write;
    use crate::storage::request_logs::listed::find;
    use crate::storage::request_logs::tests::row;

    #[sqlx::test]
    async fn values_are_aligned_with_their_headings(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let mut failed = row(0);
        (failed.outcome, failed.error) = (Some(Outcome::Quota), Some("gone\u{1b}[2J".to_owned()));
        write(&db, vec![failed]).await;

        let row = find(&db.readers, row(0).id).await.unwrap();
        let line = LogLine(&row).to_string();

        for (heading, value) in [
            ("ID", row.id.to_string().as_str()),
            ("OUTCOME", "quota"),
            ("MODEL", "gemini-flash"),
        ] {
            let position = HEADING.find(&format!(" {heading} ")).unwrap() + 1;
            assert!(line[position..].starts_with(value), "{heading}: {line}");
        }
        assert!(line.ends_with("gone�[2J"), "{line}");
    }
}
