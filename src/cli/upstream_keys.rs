//! `upstream-keys`: adds, lists and changes the Gemini keys that requests are sent with.

use std::collections::HashSet;
use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::selected::{RemovedArgs, SelectedArgs};
use crate::cli::test_keys::{self, TestArgs};
use crate::cli::{database, output};
use crate::clock;
use crate::config::{DatabaseArgs, InvalidConfig, is_sendable};
use crate::pool::import::{self, Odd};
use crate::pool::secret::Secret;
use crate::pool::upstream_key::{UpstreamKeyId, default_label};
use crate::storage::db::Db;
use crate::storage::paging::Page;
use crate::storage::upstream_keys::{Added, ListedKey};
use crate::storage::{installation, revision, upstream_keys};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add keys
    Add(AddArgs),
    /// Add the keys that are found in any text: lines, CSV, JSON, an environment file
    Import(ImportArgs),
    /// Show the keys
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn keys on, and clear what held them back
    Enable(SelectedArgs),
    /// Turn keys off
    Disable(SelectedArgs),
    /// Ask Google about keys now; it costs nothing. The exit status is 0 whatever is found
    Test(TestArgs),
    /// Remove keys; their requests stay in the log
    Remove(RemovedArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The keys; read from the standard input, one a line, when not given, which keeps them out of the shell's history
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
    /// What to call them; several get a number
    #[arg(long)]
    label: Option<String>,
    /// Tell the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, or - for the standard input
    file: PathBuf,
    /// Tell what would be added, and add nothing
    #[arg(long)]
    dry_run: bool,
    /// Tell the counts as JSON
    #[arg(long)]
    json: bool,
}

/// What came of adding keys.
#[derive(Debug, Default, Serialize)]
struct Report {
    new: usize,
    /// Removed before, and now in use again.
    restored: usize,
    known: usize,
    /// How often a key came again in what was given.
    duplicates: usize,
    odd: Vec<ReportedOdd>,
}

#[derive(Debug, Serialize)]
struct ReportedOdd {
    line: usize,
    start: String,
}

pub async fn run(args: &DatabaseArgs, command: Command) -> Result<()> {
    match command {
        Command::Add(arguments) => add(args, arguments).await,
        Command::Import(arguments) => import(args, arguments).await,
        Command::List { json } => list(args, json).await,
        Command::Enable(selected) => switch(args, selected.ids(), true).await,
        Command::Disable(selected) => switch(args, selected.ids(), false).await,
        Command::Test(arguments) => test_keys::run(args, arguments).await,
        Command::Remove(removed) => remove(args, removed).await,
    }
}

async fn add(args: &DatabaseArgs, arguments: AddArgs) -> Result<()> {
    let secrets = if arguments.secrets.is_empty() {
        if stdin().is_terminal() {
            eprintln!("paste keys, one a line, and end with Ctrl-D:");
        }
        let text = std::io::read_to_string(stdin()).context("cannot read the standard input")?;
        text.lines().map(|line| line.trim().to_owned()).collect()
    } else {
        arguments.secrets
    };
    let mut keys = Vec::new();
    for (number, text) in (1..).zip(secrets.iter().filter(|text| !text.is_empty())) {
        if !is_sendable(text) {
            let wrong = format!("key {number} has characters that no key has, such as a space");
            return Err(InvalidConfig::new(&wrong).into());
        }
        keys.push(Secret::new(text));
    }
    if keys.is_empty() {
        return Err(InvalidConfig::new("no key was given").into());
    }
    let mut report = Report::default();
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    report.duplicates = secrets.iter().filter(|text| !text.is_empty()).count() - keys.len();
    let labels = labels(&keys, arguments.label.as_deref());
    let db = database::open(args).await?;
    add_all(&db, &keys, &labels, &mut report, true).await?;
    db.close().await;
    show(&report, arguments.json, true)
}

async fn import(args: &DatabaseArgs, arguments: ImportArgs) -> Result<()> {
    let mut bytes = Vec::new();
    if arguments.file.as_os_str() == "-" {
        stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&arguments.file).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let found = import::parse(&String::from_utf8_lossy(&bytes));
    let odd = |Odd { line, start }| ReportedOdd { line, start };
    let mut report = Report {
        duplicates: found.duplicates,
        odd: found.odd.into_iter().map(odd).collect(),
        ..Report::default()
    };
    if arguments.dry_run && !database::path(args)?.exists() {
        report.new = found.keys.len();
    } else if !found.keys.is_empty() {
        let labels = labels(&found.keys, None);
        let db = database::open(args).await?;
        add_all(&db, &found.keys, &labels, &mut report, !arguments.dry_run).await?;
        db.close().await;
    }
    show(&report, arguments.json, !arguments.dry_run)
}

fn labels(keys: &[Secret], label: Option<&str>) -> Vec<String> {
    match label {
        None => keys.iter().map(default_label).collect(),
        Some(label) if keys.len() == 1 => vec![label.to_owned()],
        Some(label) => (1..=keys.len())
            .map(|number| format!("{label}-{number}"))
            .collect(),
    }
}

/// Adds keys in one transaction; without `keep` it is taken back, and only the counts stay.
async fn add_all(
    db: &Db,
    keys: &[Secret],
    labels: &[String],
    report: &mut Report,
    keep: bool,
) -> Result<()> {
    let now = clock::now();
    let mut tx = db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let revision = revision::bump(&mut tx).await?;
    for (key, label) in keys.iter().zip(labels) {
        match upstream_keys::insert(&mut tx, &hash_key, key, label, true, now, revision).await? {
            Added::New(_) => report.new += 1,
            Added::Restored(_) => report.restored += 1,
            Added::Known(_) => report.known += 1,
        }
    }
    if keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}

fn show(report: &Report, json: bool, kept: bool) -> Result<()> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    let Report {
        new,
        restored,
        known,
        duplicates,
        odd,
    } = report;
    let counts = format!(
        "{new} new, {restored} restored, {known} known, {duplicates} duplicate, {} odd",
        odd.len()
    );
    let verb = if kept { "added" } else { "would be added" };
    output::line(format!("upstream keys {verb}: {counts}"))?;
    for odd in odd {
        output::line(format!(
            "line {}: not a key: {}…",
            odd.line,
            output::printable(&odd.start)
        ))?;
    }
    if kept && new + restored > 0 {
        output::line("a running server lends them within 2 seconds")?;
    }
    Ok(())
}

async fn list(args: &DatabaseArgs, json: bool) -> Result<()> {
    let db = database::open_existing(args).await?;
    let keys = upstream_keys::list(&db.readers, clock::now()).await?;
    db.close().await;
    if json {
        output::json(&Page::whole(keys))?;
        return Ok(());
    }
    let count = output::count(keys.len(), "upstream key");
    let is_empty = keys.is_empty();
    let states = states(&keys);
    output::table(
        [
            "ID",
            "LABEL",
            "SECRET",
            "PROJECT",
            "STATE",
            "UNTIL",
            "REQUESTS",
            "FAILURES",
            "TOKENS",
            "LAST USED",
            "WHY",
        ],
        keys.into_iter().map(row),
    )?;
    output::line(if is_empty {
        "no upstream keys yet: `gemini-pool upstream-keys add` adds one".to_owned()
    } else {
        format!("{count}: {states}")
    })?;
    Ok(())
}

fn row(key: ListedKey) -> [String; 11] {
    let why = why(&key);
    [
        key.id.0.to_string(),
        key.label,
        format!("…{}", key.last4),
        key.project.unwrap_or_default(),
        key.state,
        output::moment(key.state_until.or(key.next_check_at)),
        key.requests.to_string(),
        key.failures.to_string(),
        key.total_tokens.to_string(),
        output::moment(key.last_used_at),
        why,
    ]
}

/// `9 ready, 4 cooling_down, 1 invalid`.
fn states(keys: &[ListedKey]) -> String {
    let mut counts: Vec<(&str, usize)> = vec![("ready", 0)];
    for key in keys {
        match counts.iter_mut().find(|(state, _)| *state == key.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((&key.state, 1)),
        }
    }
    let counts = counts.into_iter();
    let counts = counts.map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// Why a key does not serve, or for which models: short enough for a line.
fn why(key: &ListedKey) -> String {
    const LENGTH: usize = 80;
    let why = match (key.state.as_str(), key.state_reason.as_deref()) {
        ("cooling_down", Some(models)) => {
            format!("only for {models}").replace("only for *:", "for every model:")
        }
        ("cooling_down", None) => "failed several times in a row while others did not".to_owned(),
        (_, reason) => reason.unwrap_or_default().to_owned(),
    };
    match why.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why,
    }
}

async fn switch(args: &DatabaseArgs, ids: Option<Vec<i64>>, enabled: bool) -> Result<()> {
    let db = database::open_existing(args).await?;
    let mut tx = db.begin().await?;
    let ids = match ids {
        Some(ids) => ids.into_iter().map(UpstreamKeyId).collect(),
        // Those that are on already keep their states.
        None => upstream_keys::list_ids(&mut tx, !enabled).await?,
    };
    let revision = revision::bump(&mut tx).await?;
    let now = clock::now();
    for id in &ids {
        upstream_keys::update_enabled(&mut tx, *id, enabled, now, revision).await?;
    }
    tx.commit().await?;
    db.close().await;
    let done = if enabled { "enabled" } else { "disabled" };
    let count = output::count(ids.len(), "upstream key");
    output::line(format!(
        "{done} {count}; a running server notices within 2 seconds"
    ))?;
    Ok(())
}

async fn remove(args: &DatabaseArgs, removed: RemovedArgs) -> Result<()> {
    let db = database::open_existing(args).await?;
    let ids = removed.confirmed("upstream key")?;
    let mut tx = db.begin().await?;
    let revision = revision::bump(&mut tx).await?;
    let now = clock::now();
    for id in &ids {
        upstream_keys::delete(&mut tx, UpstreamKeyId(*id), now, revision).await?;
    }
    tx.commit().await?;
    db.close().await;
    let count = output::count(ids.len(), "upstream key");
    output::line(format!(
        "removed {count}: its secret is wiped after 24 hours; adding it again brings it back"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_keys_with_one_label_are_numbered() {
        let keys = [Secret::new("opaque-key-1234"), Secret::new("short")];

        assert_eq!(labels(&keys, Some("team")), ["team-1", "team-2"]);
        assert_eq!(labels(&keys[..1], Some("team")), ["team"]);
        assert_eq!(labels(&keys, None), ["key-234", "key-t"]);
    }
}
