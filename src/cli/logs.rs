//! `logs`: prints, exports or deletes logged requests, or follows the log.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use console::{StyledObject, style};

use crate::cli::export_logs::{self, ExportArgs};
use crate::cli::log_filter::FilterArgs;
use crate::cli::log_source::LogSource;
use crate::cli::pool_access::PoolAccess;
use crate::cli::prune_logs::{self, PruneArgs};
use crate::cli::remote::RemoteServer;
use crate::cli::{database, output, remote};
use crate::clock;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::listed::RequestLog;
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
    /// Delete requests from the log; statistics and hourly totals are kept
    Prune(Box<PruneArgs>),
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

pub async fn run(pool: &PoolAccess, command: Command) -> Result<()> {
    let args = match pool {
        PoolAccess::File(args) => args,
        PoolAccess::Server(server) => return run_by_server(pool, server, command).await,
    };
    let db = match &command {
        Command::Prune(arguments) if !arguments.dry_run => database::open_existing(args).await?,
        Command::List(_) | Command::Tail(_) | Command::Export(_) | Command::Prune(_) => {
            database::open_to_read(args).await?
        }
    };
    let source = LogSource::File(&db);
    let done = match command {
        Command::List(arguments) => list(source, *arguments).await,
        Command::Tail(arguments) => tail(source, *arguments).await,
        Command::Export(arguments) => export_logs::run(source, *arguments).await,
        Command::Prune(arguments) => prune_logs::run(&db, *arguments).await,
    };
    db.close().await;
    done
}

async fn run_by_server(pool: &PoolAccess, server: &RemoteServer, command: Command) -> Result<()> {
    let source = LogSource::Server(server);
    match command {
        Command::List(arguments) => list(source, *arguments).await,
        Command::Tail(arguments) => tail(source, *arguments).await,
        Command::Export(arguments) => export_logs::run(source, *arguments).await,
        Command::Prune(_) => pool.file("`logs prune`").map(drop),
    }
}

async fn list(source: LogSource<'_>, arguments: ListArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let mut next = arguments.cursor;
    let mut left = arguments.limit;
    let columns = output::terminal_columns();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        write!(out, r#"{{"items":["#)?;
    }
    let mut is_first = true;
    while left > 0 {
        let page = source.page(&filter, next, left.min(PAGE), arguments.json);
        let (rows, more) = page.await?;
        left -= rows.len();
        for row in rows {
            if arguments.json {
                let comma = if is_first { "" } else { "," };
                write!(out, "{comma}{}", serde_json::to_string(&row)?)?;
            } else {
                if is_first {
                    writeln!(out, "{}", output::cut_to(columns, HEADING))?;
                }
                writeln!(out, "{}", LogLine::on_terminal(&row, columns))?;
            }
            is_first = false;
        }
        next = more;
        if next.is_none() {
            break;
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

async fn tail(source: LogSource<'_>, arguments: TailArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let columns = output::terminal_columns();
    let print = |row: &RequestLog| {
        if arguments.json {
            output::json(row)
        } else {
            output::line(LogLine::on_terminal(row, columns))
        }
    };
    if !arguments.json {
        output::line(output::cut_to(columns, HEADING))?;
    }
    let following = async {
        match source {
            LogSource::File(db) => follow(db, &filter, print).await,
            LogSource::Server(server) => remote::logs::follow(server, &filter, print).await,
        }
    };
    tokio::select! {
        signal = tokio::signal::ctrl_c() => Ok(signal?),
        ended = following => ended,
    }
}

/// Calls `finished` with each request as it ends. Returns only with an error.
async fn follow(
    db: &Db,
    filter: &LogFilter,
    finished: impl Fn(&RequestLog) -> Result<()>,
) -> Result<()> {
    let mut tail = LogTail::begin(db, clock::now()).await?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let updates = tail.next(db, clock::now()).await?;
        for row in updates.finished.iter().filter(|row| filter.matches(row)) {
            finished(row)?;
        }
    }
}

const HEADING: &str = "STARTED                   ID             OUTCOME         STATUS       MS  ATTEMPTS    TOKENS  \
    MODEL                         CLIENT            UPSTREAM KEY      ERROR";

/// A request as one line; widths are fixed, because later rows are not known yet.
struct LogLine<'a> {
    row: &'a RequestLog,
    /// Whether its outcome has a colour.
    is_colored: bool,
}

impl<'a> LogLine<'a> {
    /// The line as a terminal shows it whole and in colour, or as a pipe gets it.
    fn on_terminal(row: &'a RequestLog, columns: Option<u16>) -> String {
        let is_colored = columns.is_some() && console::colors_enabled();
        let line = Self { row, is_colored }.to_string();
        output::cut_to(columns, &line).into_owned()
    }

    fn outcome(&self) -> StyledObject<String> {
        let outcome = self.row.outcome;
        let word = style(format!("{:14}", outcome.map_or("running", Outcome::name)));
        let word = word.force_styling(self.is_colored);
        match outcome {
            None => word,
            Some(Outcome::Success) => word.green(),
            Some(Outcome::ClientError | Outcome::ClientGone | Outcome::Refused) => word.yellow(),
            Some(_) => word.red(),
        }
    }
}

impl std::fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = self.row;
        let number =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let text = |text: &Option<String>| output::printable(text.as_deref().unwrap_or("-"));
        let line = format!(
            "{}  {}  {}  {:>6}  {:>7}  {:>8}  {:>8}  {:28}  {:16}  {:16}  {}",
            row.started_at,
            row.id,
            self.outcome(),
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
        let line = |is_colored| {
            let row = &row;
            LogLine { row, is_colored }.to_string()
        };
        let colored = line(true);
        let line = line(false);

        for (heading, value) in [
            ("ID", row.id.to_string().as_str()),
            ("OUTCOME", "quota"),
            ("MODEL", "gemini-flash"),
        ] {
            let position = HEADING.find(&format!(" {heading} ")).unwrap() + 1;
            assert!(line[position..].starts_with(value), "{heading}: {line}");
        }
        assert!(line.ends_with("gone�[2J"), "{line}");
        assert_ne!(colored, line);
        assert_eq!(console::strip_ansi_codes(&colored), line);
    }
}
