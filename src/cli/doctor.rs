//! `doctor`: checks the database, the machine and the egress, and prints a remedy for each finding. `--rebuild-rollups`
//! first computes the rollups again.

mod database_checks;
mod encryption_check;
mod google_checks;
mod report;
mod system_checks;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::doctor::report::{Check, Finding, Report, Severity};
use crate::cli::progress::spinner;
use crate::cli::{database, output};
use crate::config::{DatabaseArgs, UpstreamArgs};
use crate::storage::lock::ServerLock;
use crate::storage::recorder::rebuild::rebuild_rollups;
use crate::storage::recorder::table_writer::TableWriter;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Send nothing: Google's reachability is not checked
    #[arg(long)]
    offline: bool,
    /// First compute the rollups of hours that are not pruned again from the log; the server must be stopped
    #[arg(long)]
    rebuild_rollups: bool,
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Diagnosis<'a> {
    findings: &'a [Finding],
    /// What is not wrong, but good to know.
    notes: &'a [String],
    checked: Vec<Check>,
    skipped: Vec<Check>,
    /// The requests whose rollups were computed again; `None` without `--rebuild-rollups`.
    rebuilt_requests: Option<u64>,
}

pub async fn run(args: &DatabaseArgs, arguments: DoctorArgs) -> Result<()> {
    let upstream = arguments.upstream.url()?;
    let path = database::path(args)?;
    database::refuse_missing(&path)?;
    let rebuilt_requests = if arguments.rebuild_rollups {
        Some(rebuild(args, &path).await?)
    } else {
        None
    };
    let mut report = Report::default();
    let progress = spinner("checking the database and the way to Google");
    // Before the database is opened, which makes files beside it.
    system_checks::run(&mut report, &path);
    let config = database_checks::run(&mut report, args, &path).await;
    google_checks::run(&mut report, &upstream, &config, arguments.offline).await;

    report.finish();
    progress.finish_and_clear();

    let (checked, skipped) = report.checks();
    let diagnosis = Diagnosis {
        findings: report.findings(),
        notes: report.notes(),
        checked,
        skipped,
        rebuilt_requests,
    };
    if arguments.json {
        output::json(&diagnosis)?;
    } else {
        show(&diagnosis)?;
    }
    let errors = report.findings().iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    match errors.count() {
        0 => Ok(()),
        count => bail!("{} found", output::count(count, "problem")),
    }
}

/// Computes the rollups again. A running server would wait for the whole transaction, so it must be stopped.
async fn rebuild(args: &DatabaseArgs, path: &Path) -> Result<u64> {
    let lock = ServerLock::acquire(path);
    let _lock = lock.context("rollups are rebuilt only while no server uses the database")?;
    let db = database::open_as_it_is(args).await?;
    let rebuilt = async {
        database::refuse_other_version(&db).await?;
        TableWriter::default().fold_journal(&db).await?;
        anyhow::Ok(rebuild_rollups(&db).await?)
    };
    let rebuilt = rebuilt.await;
    db.close().await;
    rebuilt
}

fn show(diagnosis: &Diagnosis<'_>) -> Result<()> {
    if let Some(count) = diagnosis.rebuilt_requests {
        let requests = output::count(usize::try_from(count).unwrap_or(usize::MAX), "request");
        output::line(format!("rebuilt the rollups of {requests}"))?;
    }
    for finding in diagnosis.findings {
        let (severity, check) = (finding.severity.name(), finding.check.name());
        let message = output::printable(&finding.message);
        output::line(format!("{severity}: {check}: {message}"))?;
        output::line(format!("  → {}", output::printable(&finding.remedy)))?;
    }
    for note in diagnosis.notes {
        output::line(format!("note: {}", output::printable(note)))?;
    }
    let names = |checks: &[Check]| {
        checks
            .iter()
            .map(|check| check.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    output::line(format!("checked: {}", names(&diagnosis.checked)))?;
    if !diagnosis.skipped.is_empty() {
        output::line(format!("not checked: {}", names(&diagnosis.skipped)))?;
    }
    if diagnosis.findings.is_empty() {
        output::line("nothing wrong was found")?;
    }
    Ok(())
}
