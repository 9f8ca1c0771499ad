//! `ImportReport`: what an import of upstream keys did, or would do.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::cli::output;
use crate::pool::keys::import::Expected;
use crate::pool::keys::imported_keys::{ImportedKey, KeyImport, NotTaken, NotTakenReason};

/// How many entries that were not taken are printed one by one.
const MAX_LISTED_NOT_TAKEN: usize = 20;

/// The result of an import.
#[derive(Debug, Default, Serialize)]
pub struct ImportReport {
    pub new: usize,
    /// Keys that were removed earlier and are in use again.
    pub restored: usize,
    pub known: usize,
    /// Known keys whose attributes were changed.
    pub updated: usize,
    /// Known keys whose attributes differ and were not changed.
    pub differing: usize,
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

impl ImportReport {
    /// The report before anything is added.
    pub fn of(read: &KeyImport, dry_run: bool) -> Self {
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

    /// Prints it. `how` says how known keys get other attributes.
    pub fn show(&self, json: bool, how: &str) -> Result<()> {
        if json {
            return output::json(self);
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
        } = self;
        let counts = format!(
            "{new} new, {restored} restored, {known} known, {duplicates} duplicate, {} not taken",
            not_taken.len()
        );
        // A dry run lists the keys.
        let is_kept = keys.is_none();
        let would = if is_kept { "" } else { "would be " };
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
        if is_kept && new + restored + updated > 0 {
            output::line("a running server uses them within 2 seconds")?;
        }
        Ok(())
    }
}

/// An import without a key fails, with the option that may help.
pub fn refuse_nothing(read: &KeyImport, expected: Expected) -> Result<()> {
    if !read.keys.is_empty() {
        return Ok(());
    }
    let is_other_form = |entry: &NotTaken| entry.reason == NotTakenReason::UnknownForm;
    if expected == Expected::AnyText && read.not_taken.iter().any(is_other_form) {
        bail!("the text contains no Google key; --any takes keys of other forms");
    }
    bail!("the text contains no key")
}
