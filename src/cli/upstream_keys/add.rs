//! `upstream-keys add` and `import`: keys from arguments, from the standard input, from any text.

use std::collections::HashSet;
use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::AttributesArgs;
use crate::cli::{database, output};
use crate::clock;
use crate::config::{DatabaseArgs, InvalidConfig, is_header_safe};
use crate::pool::keys::import::{self, ImportedKey, UnusableEntry};
use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::secret::Secret;
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::upstream_keys::InsertedKey;
use crate::storage::{installation, upstream_keys};

/// So many entries that are no keys are told one by one.
const MAX_LISTED_ODD: usize = 20;

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The keys; read from the standard input, one a line, when not given, which keeps them out of the shell's history
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Tell the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, or - for the standard input. What its columns say of a key wins over the options here
    file: PathBuf,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Also change what is said of keys that are known already
    #[arg(long)]
    update: bool,
    /// Tell what would be added, and add nothing
    #[arg(long)]
    dry_run: bool,
    /// Tell the counts as JSON
    #[arg(long)]
    json: bool,
}

/// What came of adding keys.
#[derive(Debug, Default, Serialize)]
struct ImportReport {
    new: usize,
    /// Removed before, and now in use again.
    restored: usize,
    known: usize,
    /// Of the known, those of which something else was said before, and now this is.
    updated: usize,
    /// The same where what was said before was left.
    differing: usize,
    /// How often a key came again in what was given.
    duplicates: usize,
    odd: Vec<OddEntry>,
}

#[derive(Debug, Serialize)]
struct OddEntry {
    line: usize,
    /// What was expected there.
    what: &'static str,
    start: String,
}

/// How keys are taken in.
#[derive(Debug, Clone, Copy)]
struct ImportMode {
    /// Whether what is said of known keys is taken over.
    update: bool,
    /// Whether anything stays, or only the counts.
    keep: bool,
}

pub(super) async fn add(args: &DatabaseArgs, arguments: AddArgs) -> Result<()> {
    let secrets = if arguments.secrets.is_empty() {
        if stdin().is_terminal() {
            eprintln!("paste keys, one a line, and end with Ctrl-D:");
        }
        let text = std::io::read_to_string(stdin()).context("cannot read the standard input")?;
        text.lines().map(|line| line.trim().to_owned()).collect()
    } else {
        arguments.secrets
    };
    let mut keys: Vec<ImportedKey> = Vec::new();
    let mut report = ImportReport::default();
    let mut seen = HashSet::new();
    for (number, text) in (1..).zip(secrets.iter().filter(|text| !text.is_empty())) {
        if !is_header_safe(text) {
            let wrong = format!("key {number} has characters that no key has, such as a space");
            return Err(InvalidConfig::new(&wrong).into());
        }
        if !seen.insert(text) {
            report.duplicates += 1;
            continue;
        }
        keys.push(ImportedKey {
            secret: Secret::new(text),
            attributes: KeyAttributes::default(),
        });
    }
    if keys.is_empty() {
        return Err(InvalidConfig::new("no key was given").into());
    }
    import::apply_defaults(&mut keys, &arguments.attributes.read());
    let import_mode = ImportMode {
        update: false,
        keep: true,
    };
    let db = database::open(args).await?;
    add_all(&db, &keys, &mut report, import_mode).await?;
    db.close().await;
    let how = "change them with `upstream-keys update`";
    show(&report, arguments.json, import_mode, how)
}

pub(super) async fn import(args: &DatabaseArgs, arguments: ImportArgs) -> Result<()> {
    let mut bytes = Vec::new();
    if arguments.file.as_os_str() == "-" {
        stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&arguments.file).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let mut found = import::parse(&String::from_utf8_lossy(&bytes));
    import::apply_defaults(&mut found.keys, &arguments.attributes.read());
    let odd = |UnusableEntry {
                   line,
                   expected: what,
                   start,
               }| OddEntry { line, what, start };
    let mut report = ImportReport {
        duplicates: found.duplicates,
        odd: found.unusable.into_iter().map(odd).collect(),
        ..ImportReport::default()
    };
    let import_mode = ImportMode {
        update: arguments.update,
        keep: !arguments.dry_run,
    };
    if arguments.dry_run && !database::path(args)?.exists() {
        report.new = found.keys.len();
    } else if !found.keys.is_empty() {
        let db = database::open(args).await?;
        add_all(&db, &found.keys, &mut report, import_mode).await?;
        db.close().await;
    }
    let how = "--update changes them";
    show(&report, arguments.json, import_mode, how)
}

/// Adds keys in one transaction.
async fn add_all(
    db: &Db,
    keys: &[ImportedKey],
    report: &mut ImportReport,
    import_mode: ImportMode,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    for ImportedKey { secret, attributes } in keys {
        let added = upstream_keys::insert(&mut tx, &hash_key, secret, attributes, true, &act);
        match added.await? {
            InsertedKey::New(_) => report.new += 1,
            InsertedKey::Restored(_) => report.restored += 1,
            InsertedKey::Existing(id) => {
                report.known += 1;
                if attributes.is_empty() {
                    continue;
                }
                if import_mode.update {
                    let updated = upstream_keys::update(&mut tx, id, attributes, &act).await?;
                    report.updated += usize::from(updated);
                } else {
                    let differs = upstream_keys::differs(&mut tx, id, attributes).await?;
                    report.differing += usize::from(differs);
                }
            }
        }
    }
    if import_mode.keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}

fn show(report: &ImportReport, json: bool, import_mode: ImportMode, how: &str) -> Result<()> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    let ImportReport {
        new,
        restored,
        known,
        updated,
        differing,
        duplicates,
        odd,
    } = report;
    let counts = format!(
        "{new} new, {restored} restored, {known} known, {duplicates} duplicate, {} odd",
        odd.len()
    );
    let would = if import_mode.keep { "" } else { "would be " };
    output::line(format!("upstream keys {would}added: {counts}"))?;
    if *updated > 0 {
        output::line(format!("known keys {would}changed: {updated}"))?;
    }
    if *differing > 0 {
        output::line(format!(
            "known keys that are said to be otherwise and were left as they are: {differing}; {how}"
        ))?;
    }
    for odd in odd.iter().take(MAX_LISTED_ODD) {
        let (line, what) = (odd.line, odd.what);
        let start = output::printable(&odd.start);
        output::line(if what == "key" {
            format!("line {line}: not a key: {start}…")
        } else {
            format!("line {line}: no usable {what}, so the key goes without: {start}…")
        })?;
    }
    if odd.len() > MAX_LISTED_ODD {
        let more = odd.len() - MAX_LISTED_ODD;
        output::line(format!("and {more} more; --json tells all"))?;
    }
    if import_mode.keep && new + restored + updated > 0 {
        output::line("a running server uses them within 2 seconds")?;
    }
    Ok(())
}
