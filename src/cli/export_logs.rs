//! `logs export`: writes all requests of a filter to a file or to standard output.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::log_filter::FilterArgs;
use crate::cli::log_source::LogSource;
use crate::cli::remote::log_export::RemoteExport;
use crate::cli::whole_file::write_whole_file;
use crate::config::InvalidConfig;
use crate::storage::request_logs::export::{ExportFormat, ExportSummary, LogExport};

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// csv: a line per request; jsonl: JSON Lines, with the attempts
    #[arg(long, value_parser = format)]
    format: ExportFormat,
    /// The file, which is replaced when the export is complete; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the kept bodies, as `request_body` and `response_body`; only with `--format jsonl`
    #[arg(long)]
    bodies: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

fn format(text: &str) -> Result<ExportFormat, &'static str> {
    text.parse().map_err(|_| "must be csv or jsonl")
}

/// An export by the database or by a server.
enum RunningExport {
    File(Box<LogExport>),
    Server(Box<RemoteExport>),
}

impl RunningExport {
    async fn next_part(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::File(export) => Ok(export.next_part().await?.map(Bytes::from)),
            Self::Server(export) => export.next_part().await,
        }
    }

    fn summary(&self) -> ExportSummary {
        match self {
            Self::File(export) => export.summary(),
            Self::Server(export) => export.summary(),
        }
    }
}

/// Exports the requests of a filter, newest first.
pub async fn run(source: LogSource<'_>, arguments: ExportArgs) -> Result<()> {
    if arguments.bodies && arguments.format == ExportFormat::Csv {
        let message = "bodies do not fit in CSV: use --format jsonl";
        return Err(InvalidConfig::new(message).into());
    }
    let filter = arguments.filter.filter();
    let mut export = match source {
        LogSource::File(db) => {
            let export = LogExport::new(db.clone(), filter, arguments.format);
            RunningExport::File(Box::new(if arguments.bodies {
                export.with_bodies()
            } else {
                export
            }))
        }
        LogSource::Server(_) if arguments.bodies => {
            let message = "a server exports no bodies: run `logs export --bodies` on the machine of the database";
            return Err(InvalidConfig::new(message).into());
        }
        LogSource::Server(server) => {
            let export = RemoteExport::open(server, &filter, arguments.format).await?;
            RunningExport::Server(Box::new(export))
        }
    };
    if let Some(path) = &arguments.output {
        write_whole_file(path, async |file| write_all(&mut export, file).await).await?;
    } else if io::stdout().is_terminal() {
        // The rows contain what clients sent, which may control a terminal.
        let message = "an export is for programs: write it to a file with --output, or to a pipe";
        return Err(InvalidConfig::new(message).into());
    } else {
        write_all(&mut export, &mut io::stdout()).await?;
    }
    let done = export.summary();
    eprintln!(
        "exported {} rows, {} bytes, SHA-256 {}",
        done.rows, done.bytes, done.sha256
    );
    Ok(())
}

async fn write_all(export: &mut RunningExport, out: &mut impl Write) -> Result<()> {
    // Visible only on a terminal.
    let progress = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{human_pos} rows, {rate} a second");
    let style = style.expect("the template is valid");
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:.0}", state.per_sec());
    };
    progress.set_style(style.with_key("rate", rate));
    while let Some(part) = export.next_part().await? {
        out.write_all(&part)?;
        progress.set_position(export.summary().rows);
    }
    out.flush()?;
    progress.finish_and_clear();
    Ok(())
}
