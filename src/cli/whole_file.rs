//! Writes a file atomically: it is complete or not there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::config::InvalidConfig;
use crate::storage::database_path::folder_of;

/// Writes a file beside `path`, which only its owner can read, and renames it: an unfinished file never has this name.
pub async fn write_whole_file(
    path: &Path,
    write: impl AsyncFnOnce(&mut NamedTempFile) -> Result<()>,
) -> Result<()> {
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
    write(&mut file).await.with_context(cannot_write)?;
    file.as_file().sync_all().with_context(cannot_write)?;
    file.persist(path).with_context(cannot_write)?;
    Ok(())
}
