//! `backup`: copies the database while the server runs, and checks the copy; or has a remote server make a backup, and
//! downloads it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use http::Method;

use crate::cli::pool_access::PoolAccess;
use crate::cli::progress::spinner;
use crate::cli::remote::RemoteServer;
use crate::cli::whole_file::write_whole_file;
use crate::cli::{database, output};
use crate::clock::{self, Timestamp};
use crate::storage::backup::{self, ExistingFile};
use crate::storage::backups::Backup;
use crate::storage::copy_encryption;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file or folder of the copy; default: a file named by the time in the current folder. Of a server: where its new
    /// backup is downloaded to; default: it stays on the server
    destination: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub async fn run(pool: &PoolAccess, arguments: &BackupArgs) -> Result<()> {
    let args = match pool {
        PoolAccess::File(args) => args,
        PoolAccess::Server(server) => return back_up_server(server, arguments).await,
    };
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
    let copy = copy_encryption::read(&to).await?;
    let to = to.display();
    output::line(format!(
        "copied and checked: {to} ({bytes} bytes, {seconds:.1} s)"
    ))?;
    name_master_key(copy.map(|copy| copy.key_ids()))
}

/// Says which master key a copy needs; `None` or an empty name: it needs none.
fn name_master_key(key: Option<String>) -> Result<()> {
    match key.filter(|key| !key.is_empty()) {
        Some(key) => output::line(format!(
            "it needs the master key {key}: keep that key elsewhere"
        )),
        None => {
            output::line("its upstream keys are not encrypted: keep it where only you can read it")
        }
    }
}

/// Has the server make a backup, and downloads it where a destination is given.
async fn back_up_server(server: &RemoteServer, arguments: &BackupArgs) -> Result<()> {
    let progress = spinner("the server copies and checks its database");
    let made = server.send(Method::POST, &["backups"], None).await;
    progress.finish_and_clear();
    let made: Backup = made?;
    let (name, bytes) = (&made.name, made.bytes);
    output::line(format!(
        "copied and checked on the server: {name} ({bytes} bytes)"
    ))?;
    name_master_key(made.master_key_id.as_ref().map(ToString::to_string))?;
    let Some(destination) = arguments.destination.as_deref() else {
        return Ok(());
    };
    let to = file(Some(destination), made.made_at);
    if to.exists() && !arguments.force {
        bail!("{} exists: --force replaces it", to.display());
    }
    let progress = spinner("downloading");
    let mut answer = server.open(&["backups", name, "download"], &[]).await?;
    write_whole_file(&to, async |file| {
        let mut received = 0;
        while let Some(part) = answer.next_part().await? {
            file.write_all(&part)?;
            received += u64::try_from(part.len())?;
            progress.set_message(format!("downloaded {received} of {bytes} bytes"));
        }
        if received != bytes {
            bail!("the server sent {received} of {bytes} bytes");
        }
        Ok(())
    })
    .await?;
    progress.finish_and_clear();
    output::line(format!("downloaded: {}", to.display()))
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
