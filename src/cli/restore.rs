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
    output::line(format!(
        "{} was restored from {} ({} bytes): start the server",
        path.display(),
        arguments.source.display(),
        restored.bytes
    ))?;
    if let Some(kept) = restored.kept {
        output::line(format!(
            "the replaced database is kept in {}",
            kept.display()
        ))?;
    }
    Ok(())
}
