//! The checks of the database's content, which change nothing.

use std::path::Path;
use std::time::Duration;

use crate::cli::doctor::encryption_check;
use crate::cli::doctor::report::{Check, Report};
use crate::cli::output;
use crate::clock::{self, Timestamp};
use crate::config::DatabaseArgs;
use crate::pool::egress::proxy::EgressProxy;
use crate::pool::health::clock_watch::CLOCK_TOLERANCE;
use crate::pool::quota::google_clock::begin_of_google_day;
use crate::pool::settings::{InvalidSetting, Settings};
use crate::storage::consistency::find_inconsistencies;
use crate::storage::db::Db;
use crate::storage::error::{self, Error, Result};
use crate::storage::{egress_proxies, integrity, quotas, request_logs, settings};

/// How many damages or counters a message names.
const EXAMPLES: usize = 5;
/// A running server deletes what has expired every hour.
const DELETION_DELAY: Duration = Duration::from_hours(24);

/// What other checks need of the database; of one that cannot be read, the defaults.
#[derive(Debug, Default)]
pub struct StoredConfig {
    pub settings: Settings,
    /// The enabled egress proxies.
    pub egress: Vec<EgressProxy>,
}

/// Checks the database.
pub async fn run(report: &mut Report, args: &DatabaseArgs, path: &Path) -> StoredConfig {
    match open(args).await {
        Ok(db) => {
            report.done(Check::Database);
            let config = check(report, &db).await;
            db.close().await;
            config
        }
        Err(error) => {
            add_unreadable(report, Check::Database, path, &error);
            StoredConfig::default()
        }
    }
}

async fn open(args: &DatabaseArgs) -> Result<Db> {
    let db = Db::open(&args.database_url).await?;
    db.data_keys.set_master_key(args.master_key.clone());
    db.forbid_changes().await?;
    db.sort_on_disk();
    Ok(db)
}

async fn check(report: &mut Report, db: &Db) -> StoredConfig {
    check_file(report, db).await;
    if let Err(error) = db.check_not_newer().await {
        report.error(Check::Database, error, "run the program of that version");
        return StoredConfig::default();
    }
    match db.pending().await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => {
            let count = output::count(pending.len(), "migration");
            report.warning(
                Check::Database,
                format!("the database is of an older version: {count} to apply"),
                "run `gemini-pool migrate` or start the server of this version, then check again",
            );
            return StoredConfig::default();
        }
        Err(error) => {
            add_unreadable(report, Check::Database, db.path(), &error);
            return StoredConfig::default();
        }
    }
    if let Err(error) = encryption_check::run(report, db).await {
        add_unreadable(report, Check::Encryption, db.path(), &error);
    }
    let now = clock::now();
    let checks = [
        (Check::Database, check_auto_vacuum(report, db).await),
        (Check::Journal, check_journal(report, db).await),
        (Check::Statistics, check_statistics(report, db).await),
        (Check::Strings, check_strings(report, db).await),
        (Check::Resources, check_resources(report, db, now).await),
        (Check::Projects, check_projects(report, db, now).await),
        (
            Check::Clock,
            check_newest_row(report, db, clock::now()).await,
        ),
    ];
    for (check, result) in checks {
        match result {
            Ok(()) => report.done(check),
            Err(error) => add_unreadable(report, check, db.path(), &error),
        }
    }
    let settings = check_settings(report, db).await.unwrap_or_else(|error| {
        add_unreadable(report, Check::Settings, db.path(), &error);
        Settings::default()
    });
    // Without the master key, the check of the encryption has reported that.
    let mut egress = egress_proxies::list(db).await.unwrap_or_default();
    egress.retain(|proxy| proxy.enabled);
    StoredConfig { settings, egress }
}

fn add_unreadable(report: &mut Report, check: Check, path: &Path, error: &Error) {
    let causes =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
            error.source()
        });
    let remedy = error::remedy(causes, path);
    let remedy = remedy.unwrap_or_else(|| damage_remedy().to_owned());
    let path = path.display();
    report.error(check, format!("{path} cannot be read: {error}"), remedy);
}

fn damage_remedy() -> &'static str {
    "stop the server, keep a copy of the file, and put a backup in its place with `gemini-pool restore`"
}

/// Files that this program made have it.
async fn check_auto_vacuum(report: &mut Report, db: &Db) -> Result<()> {
    if !db.can_shrink().await? {
        report.warning(
            Check::Database,
            "the file was made without auto_vacuum: it does not shrink when log rows are deleted",
            "stop the server, copy the file with `gemini-pool backup`, and put the copy in its place with `gemini-pool restore`",
        );
    }
    Ok(())
}

/// SQLite's own checks, which need no version.
async fn check_file(report: &mut Report, db: &Db) {
    report.begin(Check::Integrity);
    match integrity::list_damages(&db.readers).await {
        Ok(damages) if damages.is_empty() => report.done(Check::Integrity),
        Ok(damages) => {
            let first = examples(damages.iter().map(ToString::to_string));
            let message = format!("the file is damaged: {first}");
            report.error(Check::Integrity, message, damage_remedy());
        }
        Err(error) => add_unreadable(report, Check::Integrity, db.path(), &error),
    }
    report.begin(Check::ForeignKeys);
    match integrity::list_broken_references(&db.readers).await {
        Ok(broken) => {
            report.done(Check::ForeignKeys);
            for references in broken {
                let (table, parent, rows) = (references.table, references.parent, references.rows);
                let message =
                    format!("rows of {table} that refer to missing rows of {parent}: {rows}");
                report.error(Check::ForeignKeys, message, damage_remedy());
            }
        }
        Err(error) => add_unreadable(report, Check::ForeignKeys, db.path(), &error),
    }
}

async fn check_journal(report: &mut Report, db: &Db) -> Result<()> {
    let unreadable = integrity::count_unreadable_entries(&db.readers).await?;
    if unreadable > 0 {
        report.warning(
            Check::Journal,
            format!("entries of the journal that could not be read, so that their requests are not in the log: {unreadable}"),
            "if another version wrote them, start it once; they are kept in request_journal under negative ids",
        );
    }
    Ok(())
}

async fn check_statistics(report: &mut Report, db: &Db) -> Result<()> {
    report.begin(Check::Statistics);
    let differ = find_inconsistencies(&db.readers).await?;
    if differ.is_empty() {
        return Ok(());
    }
    let first = examples(differ.iter().map(|one| {
        let (from_rows, stored) = (one.from_rows, one.from_statistics);
        format!("{}: {from_rows} from rows, {stored} stored", one.counter)
    }));
    report.error(
        Check::Statistics,
        format!("sums and indexes that differ from their rows: {first}"),
        "stop the server and run `gemini-pool doctor --rebuild-rollups`",
    );
    Ok(())
}

async fn check_strings(report: &mut Report, db: &Db) -> Result<()> {
    report.begin(Check::Strings);
    let counts = integrity::count_strings(&db.readers).await?;
    if counts.rows_without_string > 0 {
        let rows = counts.rows_without_string;
        report.error(
            Check::Strings,
            format!("log rows that name missing strings, so that lists may leave them out: {rows}"),
            damage_remedy(),
        );
    }
    if counts.unused > 0 {
        let strings = counts.unused;
        report.warning(
            Check::Strings,
            format!("addresses, user agents, paths and models that no log row names: {strings}"),
            "nothing: a running server deletes them within an hour; see its log if they stay",
        );
    }
    Ok(())
}

async fn check_resources(report: &mut Report, db: &Db, now: Timestamp) -> Result<()> {
    report.begin(Check::Resources);
    let counts = integrity::count_resources(&db.readers, now - DELETION_DELAY).await?;
    let expired = counts.expired_resources + counts.expired_sessions;
    if expired > 0 {
        report.warning(
            Check::Resources,
            format!("resources and upload sessions that expired more than a day ago: {expired}"),
            "a running server deletes them every hour: start it, or see its log",
        );
    }
    if counts.unreachable_resources > 0 {
        let resources = counts.unreachable_resources;
        report.warning(
            Check::Resources,
            format!("resources of projects without an upstream key, so that requests that name them fail: {resources}"),
            "add a key of the same project, or the removed key again",
        );
    }
    if counts.unreachable_sessions > 0 {
        let sessions = counts.unreachable_sessions;
        report.warning(
            Check::Resources,
            format!(
                "upload sessions of removed upstream keys, which cannot be continued: {sessions}"
            ),
            "add the removed key again, or let the clients begin their uploads again",
        );
    }
    Ok(())
}

/// Only the quota shows that keys share a project: Google's answers to good requests do not name it.
async fn check_projects(report: &mut Report, db: &Db, now: Timestamp) -> Result<()> {
    let day = begin_of_google_day(now);
    let found = quotas::list_foreign_usage(&db.readers, day, now).await?;
    if !found.is_empty() {
        let first = examples(found.iter().map(|one| {
            let (key, model, used, limit) = (&one.key, &one.model, one.used, one.limit);
            format!("{key}, {model}: after {used} of {limit} requests")
        }));
        report.warning(
            Check::Projects,
            format!("today's quota ended long before the pool had used it: {first}"),
            "if these keys belong to the same Google project, set the same project for them, so that their quota is counted together; \
             otherwise another program uses their projects",
        );
    }
    Ok(())
}

async fn check_newest_row(report: &mut Report, db: &Db, now: Timestamp) -> Result<()> {
    let newest = request_logs::last_id(&db.readers).await?.time();
    if newest > now + CLOCK_TOLERANCE {
        report.warning(
            Check::Clock,
            format!("the newest request began at {newest}, which is in the future: the clock was ahead then, or is behind now"),
            "synchronize the clock of this machine, as with NTP",
        );
    }
    Ok(())
}

async fn check_settings(report: &mut Report, db: &Db) -> Result<Settings> {
    let mut settings = Settings::default();
    for (name, value) in settings::list(&db.readers).await? {
        match settings.set(&name, &value) {
            Ok(()) => {}
            Err(error @ InvalidSetting::Value { .. }) => report.error(
                Check::Settings,
                format!("{error}: the default applies"),
                format!("run `gemini-pool settings reset {name}`, or set a value that is allowed"),
            ),
            Err(error @ InvalidSetting::UnknownName(_)) => report.warning(
                Check::Settings,
                format!("{error}: the row has no effect"),
                "nothing, if another version of the program stored it",
            ),
        }
    }
    report.done(Check::Settings);
    Ok(settings)
}

/// The first few, and how many more there are.
fn examples(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(EXAMPLES);
    let first = all.take(EXAMPLES).collect::<Vec<_>>().join("; ");
    match more {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
