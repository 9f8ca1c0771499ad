//! `upstream-keys add` and `import`: add keys from arguments, standard input or text files.

use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::AttributesArgs;
use crate::cli::progress::bar;
use crate::cli::{database, output};
use crate::clock;
use crate::config::DatabaseArgs;
use crate::pool::keys::import::{self, Expected, decode};
use crate::pool::keys::imported_keys::{self, ImportedKey, KeyImport, NotTaken, NotTakenReason};
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::upstream_keys::InsertedKey;
use crate::storage::{installation, upstream_keys};

/// How many entries that were not taken are printed one by one.
const MAX_LISTED_NOT_TAKEN: usize = 20;

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
    /// The file, or - for standard input. Columns of the file override the options of this command
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

/// The result of an import.
#[derive(Debug, Default, Serialize)]
struct ImportReport {
    new: usize,
    /// Keys that were removed earlier and are in use again.
    restored: usize,
    known: usize,
    /// Known keys whose attributes were changed.
    updated: usize,
    /// Known keys whose attributes differ and were not changed.
    differing: usize,
    /// How many entries repeat a key of the same import.
    duplicates: usize,
    /// With `--dry-run`: the keys that would be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<ReportedKey>>,
    not_taken: Vec<ReportedEntry>,
}

/// A key that would be added.
#[derive(Debug, Serialize)]
struct ReportedKey {
    line: usize,
    last4: String,
    label: Option<String>,
    enabled: bool,
}

/// A part of the text that was not taken.
#[derive(Debug, Serialize)]
struct ReportedEntry {
    line: usize,
    reason: String,
    start: String,
}

/// How an import changes the database.
#[derive(Clone, Copy)]
struct Mode {
    /// Whether the attributes of known keys are changed.
    update: bool,
    /// Whether the changes are kept: otherwise the import only counts.
    keep: bool,
}

impl ImportReport {
    fn of(read: &KeyImport, dry_run: bool) -> Self {
        let key = |key: &ImportedKey| ReportedKey {
            line: key.line,
            last4: key.secret.last4(),
            label: key.attributes.label.clone(),
            enabled: !key.is_disabled,
        };
        let entry = |entry: &NotTaken| ReportedEntry {
            line: entry.line,
            reason: entry.reason.text(),
            start: entry.start.clone(),
        };
        Self {
            duplicates: read.duplicates,
            keys: dry_run.then(|| read.keys.iter().map(key).collect()),
            not_taken: read.not_taken.iter().map(entry).collect(),
            ..Self::default()
        }
    }
}

pub(super) async fn add(args: &DatabaseArgs, arguments: AddArgs) -> Result<()> {
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
    if !read.keys.is_empty() {
        let db = database::open(args).await?;
        add_all(&db, &read.keys, &mut report, mode).await?;
        db.close().await;
    }
    show(
        &report,
        arguments.json,
        mode,
        "change them with `upstream-keys update`",
    )?;
    refuse_nothing(&read, Expected::KeysOnly)
}

pub(super) async fn import(args: &DatabaseArgs, arguments: ImportArgs) -> Result<()> {
    let mut bytes = Vec::new();
    if arguments.file.as_os_str() == "-" {
        stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&arguments.file).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let expected = if arguments.any {
        Expected::KeysOnly
    } else {
        Expected::AnyText
    };
    let mut read = import::read(&decode::decode(&bytes), expected);
    imported_keys::apply_defaults(&mut read.keys, &arguments.attributes.read());
    let mut report = ImportReport::of(&read, arguments.dry_run);
    let mode = Mode {
        update: arguments.update,
        keep: !arguments.dry_run,
    };
    if arguments.dry_run && !database::path(args)?.exists() {
        report.new = read.keys.len();
    } else if !read.keys.is_empty() {
        let db = if mode.keep {
            database::open(args).await?
        } else {
            database::open_to_read(args).await?
        };
        add_all(&db, &read.keys, &mut report, mode).await?;
        db.close().await;
    }
    show(&report, arguments.json, mode, "--update changes them")?;
    refuse_nothing(&read, expected)
}

/// An import without a key fails, with the option that may help.
fn refuse_nothing(read: &KeyImport, expected: Expected) -> Result<()> {
    if !read.keys.is_empty() {
        return Ok(());
    }
    let is_other_form = |entry: &NotTaken| entry.reason == NotTakenReason::UnknownForm;
    if expected == Expected::AnyText && read.not_taken.iter().any(is_other_form) {
        bail!("the text contains no Google key; --any takes keys of other forms");
    }
    bail!("the text contains no key")
}

/// Adds keys in one transaction.
async fn add_all(
    db: &Db,
    keys: &[ImportedKey],
    report: &mut ImportReport,
    mode: Mode,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    let progress = bar(keys.len(), "keys");
    for key in progress.wrap_iter(keys.iter()) {
        let attributes = &key.attributes;
        match upstream_keys::imported::insert(&mut tx, &hash_key, key, true, &act).await? {
            InsertedKey::New(_) => report.new += 1,
            InsertedKey::Restored(_) => report.restored += 1,
            InsertedKey::Existing(id) => {
                report.known += 1;
                if attributes.is_empty() {
                    continue;
                }
                if mode.update {
                    let updated = upstream_keys::update(&mut tx, id, attributes, &act).await?;
                    report.updated += usize::from(updated);
                } else {
                    let differs = upstream_keys::differs(&mut tx, id, attributes).await?;
                    report.differing += usize::from(differs);
                }
            }
        }
    }
    progress.finish_and_clear();
    if mode.keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}

fn show(report: &ImportReport, json: bool, mode: Mode, how: &str) -> Result<()> {
    if json {
        return output::json(report);
    }
    let ImportReport {
        new,
        restored,
        known,
        updated,
        differing,
        duplicates,
        keys,
        not_taken,
    } = report;
    let counts = format!(
        "{new} new, {restored} restored, {known} known, {duplicates} duplicate, {} not taken",
        not_taken.len()
    );
    let would = if mode.keep { "" } else { "would be " };
    output::line(format!("upstream keys {would}added: {counts}"))?;
    if *updated > 0 {
        output::line(format!("known keys {would}changed: {updated}"))?;
    }
    if *differing > 0 {
        output::line(format!(
            "known keys with other attributes, not changed: {differing}; {how}"
        ))?;
    }
    for key in keys.iter().flatten() {
        let label = key.label.as_deref().unwrap_or_default();
        let (label, disabled) = (
            output::printable(label),
            if key.enabled { "" } else { " (disabled)" },
        );
        let text = format!("line {}: …{} {label}{disabled}", key.line, key.last4);
        output::line(text.trim_end())?;
    }
    for entry in not_taken.iter().take(MAX_LISTED_NOT_TAKEN) {
        let start = output::printable(&entry.start);
        output::line(format!(
            "line {}: not taken: {}: {start}…",
            entry.line, entry.reason
        ))?;
    }
    if not_taken.len() > MAX_LISTED_NOT_TAKEN {
        let others = not_taken.len() - MAX_LISTED_NOT_TAKEN;
        output::line(format!("and {others} more; --json prints all"))?;
    }
    if mode.keep && new + restored + updated > 0 {
        output::line("a running server uses them within 2 seconds")?;
    }
    Ok(())
}
