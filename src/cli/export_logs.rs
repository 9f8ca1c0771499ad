//! `logs export`: writes all requests of a filter to a file or to standard output.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::log_filter::FilterArgs;
use crate::config::InvalidConfig;
use crate::storage::database_path::folder_of;
use crate::storage::db::Db;
use crate::storage::request_logs::export::{ExportFormat, LogExport};

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

/// Exports the requests of a filter, newest first.
pub async fn run(db: &Db, arguments: ExportArgs) -> Result<()> {
    let filter = arguments.filter.filter();
    let mut export = LogExport::new(db.readers.clone(), filter, arguments.format);
    if arguments.bodies {
        if arguments.format == ExportFormat::Csv {
            let message = "bodies do not fit in CSV: use --format jsonl";
            return Err(InvalidConfig::new(message).into());
        }
        export = export.with_bodies();
    }
    if let Some(path) = &arguments.output {
        write_file(&mut export, path).await?;
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

/// Writes a file beside `path` and renames it, so that an unfinished export never has this name.
async fn write_file(export: &mut LogExport, path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|existing| !existing.is_file()) {
        let message = format!(
            "{} is not a file: name another with --output",
            path.display()
        );
        return Err(InvalidConfig::new(&message).into());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = tempfile::Builder::new()
        .prefix(&format!("{name}."))
        .suffix(".part")
        .tempfile_in(folder_of(path));
    let cannot_write = || format!("cannot write {}", path.display());
    let mut file = file.with_context(cannot_write)?;
    write_all(export, &mut file)
        .await
        .with_context(cannot_write)?;
    file.as_file().sync_all().with_context(cannot_write)?;
    file.persist(path).with_context(cannot_write)?;
    Ok(())
}

async fn write_all(export: &mut LogExport, out: &mut impl Write) -> Result<()> {
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
