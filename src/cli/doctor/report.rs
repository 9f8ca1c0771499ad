//! `Report`: the findings of the checks.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// The period of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// A check, in the order of the report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Check {
    /// It can be opened, and has this program's version.
    Database,
    /// SQLite's own check of the whole file.
    Integrity,
    ForeignKeys,
    /// The master key opens the secrets.
    Encryption,
    /// Entries that no fold could read.
    Journal,
    /// Statistics, rollups and log rows have the same sums.
    Statistics,
    Strings,
    Resources,
    /// Quotas that end before the pool has used them.
    Projects,
    Settings,
    FileModes,
    DiskSpace,
    OpenFiles,
    Clock,
    Proxy,
    TlsRoots,
    Google,
}

impl Check {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// The server works, but an admin should know.
    Warning,
    /// Something is wrong.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub severity: Severity,
    pub message: String,
    pub remedy: String,
}

/// The findings of all checks.
#[derive(Debug)]
pub struct Report {
    findings: Vec<Finding>,
    notes: Vec<String>,
    checked: BTreeSet<Check>,
    /// Visible only on a terminal.
    progress: ProgressBar,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            notes: Vec::new(),
            checked: BTreeSet::new(),
            progress: ProgressBar::new_spinner(),
        }
    }
}

impl Report {
    /// Shows which check is being done.
    pub fn begin(&self, check: Check) {
        self.progress.enable_steady_tick(TICK);
        self.progress
            .set_message(format!("checking {}", check.name()));
    }

    /// Shows no check any more.
    pub fn finish(&self) {
        self.progress.finish_and_clear();
    }

    /// Notes that a check was done.
    pub fn done(&mut self, check: Check) {
        self.checked.insert(check);
    }

    pub fn error(&mut self, check: Check, message: impl Display, remedy: impl Display) {
        self.add(check, Severity::Error, message, remedy);
    }

    pub fn warning(&mut self, check: Check, message: impl Display, remedy: impl Display) {
        self.add(check, Severity::Warning, message, remedy);
    }

    /// Says what is not wrong, but good to know.
    pub fn note(&mut self, note: impl Display) {
        self.notes.push(note.to_string());
    }

    fn add(
        &mut self,
        check: Check,
        severity: Severity,
        message: impl Display,
        remedy: impl Display,
    ) {
        self.done(check);
        self.findings.push(Finding {
            check,
            severity,
            message: message.to_string(),
            remedy: remedy.to_string(),
        });
        self.findings.sort_by_key(|finding| finding.check);
    }

    /// By check.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The checks that were done, and those that were not.
    pub fn checks(&self) -> (Vec<Check>, Vec<Check>) {
        let all = Check::VARIANTS.iter().copied();
        all.partition(|check| self.checked.contains(check))
    }
}
