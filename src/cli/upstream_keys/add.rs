//! `upstream-keys add` and `import`: add keys from arguments, standard input or text files.

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

/// How many unusable entries are printed one by one.
const MAX_LISTED_ODD: usize = 20;

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The keys; default: read from standard input, one per line, so that they are not stored in the shell history
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, or - for standard input. Columns of the file override the options of this command
    file: PathBuf,
    #[command(flatten)]
    attributes: AttributesArgs,
    /// Also change the attributes of known keys
    #[arg(long)]
    update: bool,
    /// Print what would be added, and add nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// The counts of an import.
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
    odd: Vec<OddEntry>,
}

#[derive(Debug, Serialize)]
struct OddEntry {
    line: usize,
    /// The expected kind of value.
    what: &'static str,
    start: String,
}

pub(super) async fn add(args: &DatabaseArgs, arguments: AddArgs) -> Result<()> {
    let secrets = if arguments.secrets.is_empty() {
        if stdin().is_terminal() {
            eprintln!("paste keys, one per line, and end with Ctrl-D:");
        }
        let text = std::io::read_to_string(stdin()).context("cannot read standard input")?;
        text.lines().map(|line| line.trim().to_owned()).collect()
    } else {
        arguments.secrets
    };
    let mut keys: Vec<ImportedKey> = Vec::new();
    let mut report = ImportReport::default();
    let mut seen = HashSet::new();
    for (number, text) in (1..).zip(secrets.iter().filter(|text| !text.is_empty())) {
        if !is_header_safe(text) {
            let wrong = format!(
                "key {number} contains a character that is not allowed in keys, such as a space"
            );
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
        return Err(InvalidConfig::new("no key given").into());
    }
    import::apply_defaults(&mut keys, &arguments.attributes.read());
    let db = database::open(args).await?;
    add_all(&db, &keys, &mut report, false, true).await?;
    db.close().await;
    let how = "change them with `upstream-keys update`";
    show(&report, arguments.json, true, how)
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
    let odd = |entry: UnusableEntry| OddEntry {
        line: entry.line,
        what: entry.expected,
        start: entry.start,
    };
    let mut report = ImportReport {
        duplicates: found.duplicates,
        odd: found.unusable.into_iter().map(odd).collect(),
        ..ImportReport::default()
    };
    let (update, keep) = (arguments.update, !arguments.dry_run);
    if arguments.dry_run && !database::path(args)?.exists() {
        report.new = found.keys.len();
    } else if !found.keys.is_empty() {
        let db = if keep {
            database::open(args).await?
        } else {
            database::open_to_read(args).await?
        };
        add_all(&db, &found.keys, &mut report, update, keep).await?;
        db.close().await;
    }
    show(&report, arguments.json, keep, "--update changes them")
}

/// Adds keys in one transaction. With `update` the attributes of known keys are changed; without `keep` the import only
/// counts.
async fn add_all(
    db: &Db,
    keys: &[ImportedKey],
    report: &mut ImportReport,
    update: bool,
    keep: bool,
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
                if update {
                    let updated = upstream_keys::update(&mut tx, id, attributes, &act).await?;
                    report.updated += usize::from(updated);
                } else {
                    let differs = upstream_keys::differs(&mut tx, id, attributes).await?;
                    report.differing += usize::from(differs);
                }
            }
        }
    }
    if keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}

fn show(report: &ImportReport, json: bool, keep: bool, how: &str) -> Result<()> {
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
        odd,
    } = report;
    let counts = format!(
        "{new} new, {restored} restored, {known} known, {duplicates} duplicate, {} odd",
        odd.len()
    );
    let would = if keep { "" } else { "would be " };
    output::line(format!("upstream keys {would}added: {counts}"))?;
    if *updated > 0 {
        output::line(format!("known keys {would}changed: {updated}"))?;
    }
    if *differing > 0 {
        output::line(format!(
            "known keys with other attributes, not changed: {differing}; {how}"
        ))?;
    }
    for odd in odd.iter().take(MAX_LISTED_ODD) {
        let (line, what) = (odd.line, odd.what);
        let start = output::printable(&odd.start);
        output::line(if what == "key" {
            format!("line {line}: not a key: {start}…")
        } else {
            format!("line {line}: invalid {what}, the key is added without it: {start}…")
        })?;
    }
    if odd.len() > MAX_LISTED_ODD {
        let more = odd.len() - MAX_LISTED_ODD;
        output::line(format!("and {more} more; --json prints all"))?;
    }
    if keep && new + restored + updated > 0 {
        output::line("a running server uses them within 2 seconds")?;
    }
    Ok(())
}
