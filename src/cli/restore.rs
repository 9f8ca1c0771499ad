//! `restore`: replaces the database by a copy.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::{database, output};
use crate::clock;
use crate::config::DatabaseArgs;
use crate::storage::backup;

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The copy to restore
    source: PathBuf,
}

pub async fn run(args: &DatabaseArgs, arguments: &RestoreArgs) -> Result<()> {
    let path = database::path(args)?;
    let restored = backup::restore(&arguments.source, &path, clock::now()).await?;
    output::warn(&restored.warnings);
    let (path, source, bytes) = (path.display(), arguments.source.display(), restored.bytes);
    output::line(format!(
        "{path} was restored from {source} ({bytes} bytes): start the server"
    ))?;
    if let Some(kept) = restored.kept {
        output::line(format!(
            "the replaced database is kept in {}",
            kept.display()
        ))?;
    }
    Ok(())
}
