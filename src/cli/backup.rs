//! `backup`: copies the database while the server runs, and checks the copy.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::cli::progress::spinner;
use crate::cli::{database, output};
use crate::clock::{self, Timestamp};
use crate::config::DatabaseArgs;
use crate::storage::backup::{self, ExistingFile};

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file or folder of the copy; default: a file named by the time in the current folder
    destination: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub async fn run(args: &DatabaseArgs, arguments: &BackupArgs) -> Result<()> {
    database::refuse_missing(&database::path(args)?)?;
    let db = database::open_as_it_is(args).await?;
    database::settle_journal(&db).await?;
    let to = file(arguments.destination.as_deref(), clock::now());
    let existing = if arguments.force {
        ExistingFile::Replace
    } else {
        ExistingFile::Keep
    };
    let start = clock::instant();
    let progress = spinner("copying and checking the database");
    let copied = backup::copy(&db, &to, existing).await;
    progress.finish_and_clear();
    db.close().await;
    let bytes = copied?;
    let seconds = start.elapsed().as_secs_f64();
    let to = to.display();
    output::line(format!(
        "copied and checked: {to} ({bytes} bytes, {seconds:.1} s)"
    ))
}

/// The file of the copy.
fn file(destination: Option<&Path>, now: Timestamp) -> PathBuf {
    let name = format!("gemini-pool-{}.db", backup::file_time(now));
    let is_folder =
        |path: &Path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    match destination {
        None => name.into(),
        Some(folder) if is_folder(folder) => folder.join(name),
        Some(file) => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_a_file_name_is_named_by_the_time() {
        let now = "2026-11-22T08:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let name = "gemini-pool-20261122-080000.db";

        assert_eq!(file(None, now), Path::new(name));
        assert_eq!(file(Some(folder.path()), now), folder.path().join(name));
        let missing = Path::new("missing");
        assert_eq!(file(Some(Path::new("missing/")), now), missing.join(name));
        assert_eq!(file(Some(Path::new("a.db")), now), Path::new("a.db"));
    }
}
