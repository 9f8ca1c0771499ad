//! `logs`: shows the requests that were made, those of the past or those that end now.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::moment::Moment;
use crate::cli::{database, output};
use crate::clock::{self, Timestamp};
use crate::config::DatabaseArgs;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::upstream_key::UpstreamKeyId;
use crate::storage::db::Db;
use crate::storage::error::Error;
use crate::storage::request_logs::{self, Filter, Kind, RequestLog};

/// How many rows are held in memory at once.
const PAGE: usize = 500;
/// How often `tail` looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long after its start a request may get its row: rows do not come in the order of their ids.
const LATEST: Duration = Duration::from_mins(1);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show requests, newest first
    List(ListArgs),
    /// Show requests as they end, until Ctrl-C
    Tail(TailArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many, without an upper bound
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Where to go on: what an earlier list ended with
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
    /// As JSON with the attempts, one request a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// How it ended: success, quota, network …
    #[arg(long)]
    outcome: Option<Outcome>,
    /// The HTTP status that the client got
    #[arg(long)]
    status: Option<u16>,
    /// The model that was asked
    #[arg(long)]
    model: Option<String>,
    /// The client key, by name
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// An upstream key that was tried, by id
    #[arg(long, value_name = "ID")]
    upstream_key: Option<i64>,
    /// request or check
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// Not older than this: 2027-01-31T08:00:00Z, or 24h ago
    #[arg(long)]
    since: Option<Moment>,
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    match text {
        "request" => Ok(Kind::Request),
        "check" => Ok(Kind::Check),
        _ => Err("it is request or check"),
    }
}

impl FilterArgs {
    fn filter(self) -> Filter {
        Filter {
            outcome: self.outcome,
            status: self.status,
            model: self.model,
            client_key: self.client,
            upstream_key_id: self.upstream_key.map(UpstreamKeyId),
            kind: self.kind,
            since: self.since.map(|since| since.before(clock::now())),
            before: None,
            after: None,
        }
    }
}

pub async fn run(args: &DatabaseArgs, command: Command) -> Result<()> {
    let db = database::open_existing(args).await?;
    let done = match command {
        Command::List(arguments) => list(&db, arguments).await,
        Command::Tail(arguments) => tail(&db, arguments).await,
    };
    db.close().await;
    done
}

async fn list(db: &Db, arguments: ListArgs) -> Result<()> {
    let mut filter = Filter {
        before: arguments.cursor,
        ..arguments.filter.filter()
    };
    let mut left = arguments.limit;
    let mut next = None;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        write!(out, r#"{{"items":["#)?;
    }
    let mut is_first = true;
    while left > 0 {
        let page = request_logs::list(&db.readers, &filter, left.min(PAGE)).await?;
        left -= page.items.len();
        filter.before = page.items.last().map(|row| row.id);
        for row in page.items {
            if arguments.json {
                let comma = if is_first { "" } else { "," };
                write!(out, "{comma}{}", serde_json::to_string(&row)?)?;
            } else {
                if is_first {
                    writeln!(out, "{HEADING}")?;
                }
                writeln!(out, "{}", Line(&row))?;
            }
            is_first = false;
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    if arguments.json {
        writeln!(out, r#"],"next":{}}}"#, serde_json::to_string(&next)?)?;
    } else if let Some(next) = next {
        writeln!(out, "older ones: --cursor {next}")?;
    } else if is_first {
        writeln!(out, "no requests")?;
    }
    out.flush()?;
    Ok(())
}

async fn tail(db: &Db, arguments: TailArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let mut tail = Tail::begin(db, clock::now()).await?;
    if !arguments.json {
        output::line(HEADING)?;
    }
    loop {
        tokio::select! {
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
            () = tokio::time::sleep(INTERVAL) => (),
        }
        let ended = tail.next(db, clock::now()).await?;
        for row in ended.iter().filter(|row| filter.matches(row)) {
            if arguments.json {
                output::json(row)?;
            } else {
                output::line(Line(row))?;
            }
        }
    }
}

/// What has been seen, so that each request is shown once, when it has ended.
struct Tail {
    /// Finished and shown, or finished before; forgotten when they cannot come again.
    seen: BTreeSet<RequestId>,
    running: BTreeSet<RequestId>,
}

impl Tail {
    /// From now on: what has ended by now is not shown.
    async fn begin(db: &Db, now: Timestamp) -> Result<Self, Error> {
        let running = running(db).await?;
        let finished =
            request_logs::list_finished_ids(&db.readers, earliest(now), &running).await?;
        Ok(Self {
            seen: finished.into_iter().collect(),
            running,
        })
    }

    /// What has ended since the last call.
    async fn next(&mut self, db: &Db, now: Timestamp) -> Result<Vec<RequestLog>, Error> {
        let earliest = earliest(now);
        let finished =
            request_logs::list_finished_ids(&db.readers, earliest, &self.running).await?;
        let mut rows = Vec::new();
        for id in finished {
            self.running.remove(&id);
            if !self.seen.insert(id) {
                continue;
            }
            match request_logs::find(&db.readers, id).await {
                Ok(row) => rows.push(row),
                // Deleted for its age meanwhile.
                Err(Error::NotFound(_)) => (),
                Err(error) => return Err(error),
            }
        }
        self.running.append(&mut running(db).await?);
        self.seen = self.seen.split_off(&earliest);
        Ok(rows)
    }
}

fn earliest(now: Timestamp) -> RequestId {
    RequestId::first_at(now - LATEST)
}

async fn running(db: &Db) -> Result<BTreeSet<RequestId>, Error> {
    let running = request_logs::list_running_ids(&db.readers).await?;
    Ok(running.into_iter().collect())
}

const HEADING: &str = "STARTED                   ID             OUTCOME         STATUS       MS  TRIES    TOKENS  \
    MODEL                         CLIENT            UPSTREAM KEY      ERROR";

/// A request as one line; widths are fixed, because the rows to come are not known.
struct Line<'a>(&'a RequestLog);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = self.0;
        let number =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let text = |text: &Option<String>| output::printable(text.as_deref().unwrap_or("-"));
        let line = format!(
            "{}  {}  {:14}  {:>6}  {:>7}  {:>5}  {:>8}  {:28}  {:16}  {:16}  {}",
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
    use crate::storage::request_logs::tests::{row, running};

    #[sqlx::test]
    async fn the_tail_shows_each_request_once_when_it_has_ended(pool: SqlitePool) {
        let db = Db::of(pool);
        let ids = |rows: Vec<RequestLog>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        let now = row(2).started_at;
        write(&db, vec![row(0), running(1)]).await;
        let mut tail = Tail::begin(&db, now).await.unwrap();

        write(&db, vec![row(3), running(4)]).await;
        assert_eq!(ids(tail.next(&db, now).await.unwrap()), [row(3).id]);

        // It began before one that was shown already.
        write(&db, vec![row(2), row(1)]).await;
        let ended = tail.next(&db, now).await.unwrap();
        assert_eq!(ids(ended), [row(1).id, row(2).id]);

        let much_later = now + 60 * LATEST;
        write(&db, vec![row(4)]).await;
        let ended = tail.next(&db, much_later).await.unwrap();
        assert_eq!(ids(ended), [row(4).id]);
        assert!(tail.next(&db, much_later).await.unwrap().is_empty());
        assert!(tail.seen.is_empty() && tail.running.is_empty());
    }

    #[sqlx::test]
    async fn a_line_stands_under_its_heading(pool: SqlitePool) {
        let db = Db::of(pool);
        let mut failed = row(0);
        (failed.outcome, failed.error) = (Some(Outcome::Quota), Some("gone\u{1b}[2J".to_owned()));
        write(&db, vec![failed]).await;

        let row = request_logs::find(&db.readers, row(0).id).await.unwrap();
        let line = Line(&row).to_string();

        for (heading, value) in [
            ("ID", row.id.to_string().as_str()),
            ("OUTCOME", "quota"),
            ("MODEL", "gemini-flash"),
        ] {
            let place = HEADING.find(&format!(" {heading} ")).unwrap() + 1;
            assert!(line[place..].starts_with(value), "{heading}: {line}");
        }
        assert!(line.ends_with("gone�[2J"), "{line}");
    }
}
