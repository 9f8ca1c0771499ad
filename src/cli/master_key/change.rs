//! `master-key encrypt`, `rotate` and `decrypt`: all rows, in small transactions beside a running server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::cli::progress::bar;
use crate::cli::{database, output};
use crate::clock;
use crate::config::{self, DatabaseArgs};
use crate::pool::master_key::MasterKeyText;
use crate::pool::secret::Secret;
use crate::storage::audit::Actor;
use crate::storage::copy_encryption;
use crate::storage::db::Db;
use crate::storage::encryption::{self, EncryptionState};
use crate::storage::erasure::MAX_SHARED_BYTES;
use crate::storage::lock::ServerLock;
use crate::tasks::reseal_secrets::{ResealedBy, reseal_all};

/// How long a running server has to load a new data key; it notices a change within two seconds.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);
const HANDOVER_PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct RotateArgs {
    #[arg(long, env = "NEW_MASTER_KEY", hide = true, hide_env_values = true, value_parser = Secret::from_argument)]
    new_key: Option<Secret>,
    /// The file with the new master key; or set `NEW_MASTER_KEY`
    #[arg(long, env = "NEW_MASTER_KEY_FILE")]
    new_key_file: Option<PathBuf>,
}

impl RotateArgs {
    fn read(&self) -> Result<Option<MasterKeyText>> {
        Ok(match (&self.new_key, &self.new_key_file) {
            (None, None) => None,
            (Some(key), None) => Some(config::master_key(key.expose(), "NEW_MASTER_KEY")?),
            (None, Some(path)) => Some(config::master_key_of_file(path, "--new-key-file")?),
            (Some(_), Some(_)) => {
                bail!("NEW_MASTER_KEY and --new-key-file are both set: set one of them")
            }
        })
    }
}

pub(super) async fn encrypt(args: &DatabaseArgs) -> Result<()> {
    let db = database::open_existing(args).await?;
    let done = encrypt_open(&db).await;
    db.close().await;
    done
}

async fn encrypt_open(db: &Db) -> Result<()> {
    // Held, so that no server starts without the master key meanwhile.
    let lock = ServerLock::acquire(db.path()).ok();
    let before = state(db).await?;
    if lock.is_none() && !before.is_active {
        bail!(
            "a server without the master key uses the database: restart it with MASTER_KEY or MASTER_KEY_FILE, and it encrypts \
             the database by itself"
        );
    }
    let id = encryption::begin(db, &Actor::cli(), clock::now()).await?;
    let rows = reseal(db).await?;
    if before.retiring_master_key.is_none() {
        encryption::finish(db).await?;
    }
    output::line(format!(
        "{} encrypted; the master key is {id}",
        count(rows, "row")
    ))?;
    if !state(db).await?.is_file_clean {
        rewrite(db, lock.is_some()).await?;
    }
    for copy in copy_encryption::list_unencrypted(db.path()).await? {
        output::line(format!(
            "{} holds unencrypted upstream keys: delete it when it is not needed",
            copy.display()
        ))?;
    }
    output::line(format!(
        "keep the master key {id} apart from the database and its backups: without it, the secrets cannot be read"
    ))
}

/// Removes what unencrypted rows have left in the file.
async fn rewrite(db: &Db, is_stopped: bool) -> Result<()> {
    let bytes = std::fs::metadata(db.path())?.len();
    if is_stopped || bytes <= MAX_SHARED_BYTES {
        // In memory, a large file would take as much of it.
        db.set_up_writer("temp_store", "file").await?;
        if db.rewrite().await? {
            return output::line("the file was rewritten: no part of it holds unencrypted secrets");
        }
        return output::line(
            "the file was rewritten, but a long reader keeps its write-ahead log, which may hold unencrypted secrets: run \
             `gemini-pool master-key encrypt` again",
        );
    }
    db.truncate_wal().await?;
    output::line(
        "the file is too large to be rewritten while a server uses it, and freed parts may hold unencrypted secrets: stop the \
         server and run `gemini-pool master-key encrypt` again",
    )
}

pub(super) async fn rotate(args: &DatabaseArgs, arguments: &RotateArgs) -> Result<()> {
    let new = arguments.read()?;
    let db = database::open_existing(args).await?;
    let done = rotate_open(&db, new.as_ref()).await;
    db.close().await;
    done
}

async fn rotate_open(db: &Db, new: Option<&MasterKeyText>) -> Result<()> {
    db.unlock().await?;
    let rotation = encryption::begin_rotation(db, new, &Actor::cli(), clock::now()).await?;
    let to = &rotation.to;
    if rotation.is_resumed {
        output::line(format!("the rotation to the master key {to} continues"))?;
    }
    wait_for_server(db).await?;
    let rows = reseal(db).await?;
    wait_for_server(db).await?;
    if !encryption::finish(db).await? {
        bail!("rows with the earlier key were added meanwhile: run the command again");
    }
    if !db.truncate_wal().await? {
        output::warn(&[
            "the write-ahead log still holds encrypted rows of before: it is in use".to_owned(),
        ]);
    }
    output::line(format!("{} encrypted again", count(rows, "row")))?;
    output::line(format!(
        "the master key is {to} now: set MASTER_KEY or MASTER_KEY_FILE to it before the server's next start"
    ))?;
    match &rotation.from {
        Some(from) => output::line(format!("backups made before need the master key {from}")),
        None => Ok(()),
    }
}

/// Waits until a running server has the data key with which it must be able to open rows.
async fn wait_for_server(db: &Db) -> Result<()> {
    let deadline = clock::instant() + HANDOVER_TIMEOUT;
    while !encryption::is_loaded(&db.writer).await? && is_served(db) {
        if clock::instant() >= deadline {
            bail!(
                "the server has not loaded the new data key: restart it with either master key, then run the command again"
            );
        }
        tokio::time::sleep(HANDOVER_PERIOD).await;
    }
    Ok(())
}

/// Whether a server uses the database.
fn is_served(db: &Db) -> bool {
    ServerLock::acquire(db.path()).is_err()
}

pub(super) async fn decrypt(args: &DatabaseArgs) -> Result<()> {
    let db = database::open_existing(args).await?;
    let done = decrypt_open(&db).await;
    db.close().await;
    done
}

async fn decrypt_open(db: &Db) -> Result<()> {
    db.unlock().await?;
    let begun = encryption::begin_decryption(db, &Actor::cli(), clock::now()).await?;
    let Some(id) = begun else {
        return output::line("nothing is encrypted");
    };
    let rows = reseal(db).await?;
    if !encryption::finish(db).await? {
        bail!("encrypted rows were added meanwhile: run the command again");
    }
    if state(db).await?.master_key.is_some() {
        bail!(
            "a server was started with the master key meanwhile, and encrypts the database again: start it without \
             MASTER_KEY and MASTER_KEY_FILE after the command has been run again; keep the master key {id} until then"
        );
    }
    db.truncate_wal().await?;
    output::line(format!("{} decrypted", count(rows, "row")))?;
    output::line(format!(
        "remove MASTER_KEY and MASTER_KEY_FILE before the server's next start, which would encrypt the database again; backups made \
         before need the master key {id}"
    ))
}

/// Encrypts or decrypts all rows, with a bar. Returns how many.
async fn reseal(db: &Db) -> Result<u64> {
    let stale = state(db).await?.stale();
    let progress = bar(usize::try_from(stale).unwrap_or(usize::MAX), "rows");
    let done = reseal_all(db, ResealedBy::Command, |rows| progress.set_position(rows)).await;
    progress.finish_and_clear();
    Ok(done?)
}

async fn state(db: &Db) -> Result<EncryptionState> {
    Ok(encryption::state(&mut *db.readers.acquire().await?).await?)
}

fn count(rows: u64, noun: &str) -> String {
    output::count(usize::try_from(rows).unwrap_or(usize::MAX), noun)
}
