//! `restore`: replaces the database by a copy.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::{database, output};
use crate::clock;
use crate::config::DatabaseArgs;
use crate::storage::data_keys::DataKeyStore;
use crate::storage::{backup, copy_encryption};

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The copy to restore
    source: PathBuf,
    /// Restore a copy whose master key is not given: its secrets cannot be read until it is
    #[arg(long)]
    any_master_key: bool,
}

pub async fn run(args: &DatabaseArgs, arguments: &RestoreArgs) -> Result<()> {
    let path = database::path(args)?;
    // The checks of a restore report a file that cannot be read.
    let copy = copy_encryption::read(&arguments.source).await;
    let copy = copy.ok().flatten().unwrap_or_default();
    if !copy.master_keys.is_empty() && !arguments.any_master_key {
        let store = DataKeyStore::new(args.master_key.clone());
        let readable = copy_encryption::refuse_unreadable(&arguments.source, &store).await;
        readable.context(format!(
            "nothing was replaced: {} needs the master key {}. Give it, or restore the copy without it by --any-master-key",
            arguments.source.display(),
            copy.key_ids()
        ))?;
    }
    let restored = backup::restore(&arguments.source, &path, clock::now()).await?;
    output::warn(&restored.warnings);
    let (path, source, bytes) = (path.display(), arguments.source.display(), restored.bytes);
    output::line(format!(
        "{path} was restored from {source} ({bytes} bytes): start the server"
    ))?;
    if copy.has_unencrypted {
        output::line(
            "its upstream keys are not encrypted: a server with MASTER_KEY encrypts them when it starts",
        )?;
    }
    if let Some(kept) = restored.kept {
        output::line(format!(
            "the replaced database is kept in {}",
            kept.display()
        ))?;
    }
    Ok(())
}
