//! `logs export`: writes all requests of a filter to a file or to standard output.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::InvalidConfig;
use crate::storage::database_path::folder_of;
use crate::storage::db::Db;
use crate::storage::request_logs::export::{ExportFormat, LogExport};
use crate::storage::request_logs::filter::LogFilter;

/// Exports to `output`, which gets its name when it is complete; `None`: to standard output.
pub async fn run(
    db: &Db,
    filter: LogFilter,
    format: ExportFormat,
    output: Option<&Path>,
) -> Result<()> {
    let mut export = LogExport::new(db.readers.clone(), filter, format);
    if let Some(path) = output {
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
    let style = ProgressStyle::with_template("{human_pos} rows, {per_sec}");
    progress.set_style(style.expect("the template is valid"));
    while let Some(part) = export.next_part().await? {
        out.write_all(&part)?;
        progress.set_position(export.summary().rows);
    }
    out.flush()?;
    progress.finish_and_clear();
    Ok(())
}
