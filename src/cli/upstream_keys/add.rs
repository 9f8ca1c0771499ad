//! `upstream-keys add` and `import`: add keys from arguments, standard input or text files.

use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::AttributesArgs;
use crate::cli::import_report::{ImportReport, refuse_nothing};
use crate::cli::import_source::ImportSource;
use crate::cli::pool_access::PoolAccess;
use crate::cli::progress::bar;
use crate::cli::{database, remote};
use crate::clock;
use crate::pool::keys::import::{self, Expected, decode};
use crate::pool::keys::imported_keys::{self, ImportedKey};
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::upstream_keys::{InsertedKey, imported};
use crate::storage::{installation, upstream_keys};

/// Number of keys inserted by one statement.
const KEYS_PER_STATEMENT: usize = 500;

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The keys; default: read from standard input, so that they are not stored in the shell history
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command"
)]
pub struct ImportArgs {
    /// A text, another pool's SQLite database, or - for standard input. Columns of the file override the options
    file: PathBuf,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Take keys of any form, not only of Google's: the text must contain nothing but keys
    #[arg(long)]
    any: bool,
    /// Also change the attributes of known keys
    #[arg(long)]
    update: bool,
    /// Print the keys that would be added, masked, and add nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// How an import changes the database.
#[derive(Clone, Copy)]
struct Mode {
    /// Whether the attributes of known keys are changed.
    update: bool,
    /// Whether the changes are kept: otherwise the import only counts.
    keep: bool,
}

pub(super) async fn add(pool: &PoolAccess, arguments: AddArgs) -> Result<()> {
    let text = if arguments.secrets.is_empty() {
        if stdin().is_terminal() {
            eprintln!("paste keys, one per line, and end with Ctrl-D:");
        }
        let mut bytes = Vec::new();
        let read = stdin().lock().read_to_end(&mut bytes);
        read.context("cannot read standard input")?;
        decode::decode(&bytes)
    } else {
        arguments.secrets.join("\n")
    };
    let mut read = import::read(&text, Expected::KeysOnly);
    imported_keys::apply_defaults(&mut read.keys, &arguments.attributes.read());
    let mut report = ImportReport::of(&read, false);
    let mode = Mode {
        update: false,
        keep: true,
    };
    add_to(pool, &read.keys, &mut report, mode).await?;
    report.show(arguments.json, "change them with `upstream-keys update`")?;
    refuse_nothing(&read, Expected::KeysOnly)
}

/// The text of a file to import: the file itself, or the rows of another pool's database.
async fn text_of(file: &Path) -> Result<String> {
    match ImportSource::read(file).await? {
        ImportSource::Text(text) => Ok(text),
        ImportSource::Database(pool) if pool.is_encrypted() => bail!(
            "the keys in {} are encrypted by gpt-load's ENCRYPTION_KEY: export them in gpt-load and import that text",
            file.display()
        ),
        ImportSource::Database(pool) => Ok(pool.keys_text()),
    }
}

pub(super) async fn import(pool: &PoolAccess, arguments: ImportArgs) -> Result<()> {
    let text = text_of(&arguments.file).await?;
    let expected = if arguments.any {
        Expected::KeysOnly
    } else {
        Expected::AnyText
    };
    let mut read = import::read(&text, expected);
    imported_keys::apply_defaults(&mut read.keys, &arguments.attributes.read());
    let mut report = ImportReport::of(&read, arguments.dry_run);
    let mode = Mode {
        update: arguments.update,
        keep: !arguments.dry_run,
    };
    add_to(pool, &read.keys, &mut report, mode).await?;
    report.show(arguments.json, "--update changes them")?;
    refuse_nothing(&read, expected)
}

/// Adds keys to the database or by the server, and counts them.
async fn add_to(
    pool: &PoolAccess,
    keys: &[ImportedKey],
    report: &mut ImportReport,
    mode: Mode,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let args = match pool {
        PoolAccess::File(args) => args,
        PoolAccess::Server(server) if mode.keep => {
            return remote::upstream_keys::add(server, keys, mode.update, report).await;
        }
        PoolAccess::Server(server) => {
            return remote::upstream_keys::count(server, keys, mode.update, report).await;
        }
    };
    if !mode.keep && !database::path(args)?.exists() {
        report.new = keys.len();
        return Ok(());
    }
    let db = if mode.keep {
        database::open(args).await?
    } else {
        database::open_to_read(args).await?
    };
    add_all(&db, keys, report, mode).await?;
    db.close().await;
    Ok(())
}

/// Adds keys in one transaction.
async fn add_all(
    db: &Db,
    keys: &[ImportedKey],
    report: &mut ImportReport,
    mode: Mode,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let installation_keys = installation::keys(&mut tx, &db.data_keys).await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    let progress = bar(keys.len(), "keys");
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
        let inserted = imported::insert_all(&mut tx, &installation_keys, keys, true, &act).await?;
        for (key, inserted) in keys.iter().zip(inserted) {
            match inserted {
                InsertedKey::New(_) => report.new += 1,
                InsertedKey::Restored(_) => report.restored += 1,
                InsertedKey::Existing(id) => {
                    report.known += 1;
                    let attributes = &key.attributes;
                    if mode.update && !attributes.is_empty() {
                        let updated = upstream_keys::update(&mut tx, id, attributes, &act).await?;
                        report.updated += usize::from(updated);
                    } else if !attributes.is_empty() {
                        let differs = upstream_keys::differs(&mut tx, id, attributes).await?;
                        report.differing += usize::from(differs);
                    }
                }
            }
        }
        progress.inc(keys.len() as u64);
    }
    progress.finish_and_clear();
    if mode.keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}
