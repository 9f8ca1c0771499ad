//! Makes scheduled backups, and deletes the oldest ones.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::pool::backup_schedule::BackupSchedule;
use crate::pool::retention::DiskSpace;
use crate::storage::audit::Actor;
use crate::storage::backups::{self, Backup, BackupKind, BackupRun};
use crate::storage::error::Error;
use crate::storage::file_space::disk_of;

/// The longest sleep: timers do not count the time that a machine is suspended, and clocks are corrected.
const MAX_SLEEP: Duration = Duration::from_hours(1);
/// The shortest one, in which a running backup of an admin may end.
const MIN_SLEEP: Duration = Duration::from_secs(10);

/// Runs for ever: sleeps until the next backup is due or that time changes. Without a schedule it sleeps until there is one.
pub async fn run(app: Arc<App>) {
    let mut reported = None;
    loop {
        let schedule = BackupSchedule::of(&app.settings());
        let next_at = pass(&app, schedule, clock::now(), &mut reported).await;
        let sleep = next_at.map(|next| (next - clock::now()).clamp(MIN_SLEEP, MAX_SLEEP));
        let sleeping = async {
            match sleep {
                Some(sleep) => tokio::time::sleep(sleep).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleeping => {}
            () = app.backups.wait_for_schedule_change() => {}
        }
    }
}

/// Makes a backup if one is due at `now`. Returns when the next one is due; `None`: none is scheduled.
///
/// `reported` is the reason of the last failure that the log has, so that each reason is logged once.
pub async fn pass(
    app: &App,
    schedule: BackupSchedule,
    now: Timestamp,
    reported: &mut Option<String>,
) -> Option<Timestamp> {
    let status = match backups::status(app.db.path(), &app.backups, schedule, now) {
        Ok(status) => status,
        Err(error) => {
            report(
                reported,
                Some(format!("the backups cannot be listed: {error}")),
            );
            return Some(now + MAX_SLEEP);
        }
    };
    let next_at = status.next_at?;
    if next_at > now {
        return Some(next_at);
    }
    let Some(run) = app.backups.begin(now) else {
        // It is the next backup.
        return Some(next_at);
    };
    if let Some(last) = status.last.filter(|_| status.is_overdue) {
        tracing::info!("the last backup is of {}: one is overdue", last.made_at);
    }
    backups::remove_abandoned_copies(app.db.path(), now);
    match make(app, run).await {
        Ok(backup) => {
            report(reported, None);
            let (name, bytes) = (&backup.name, backup.bytes);
            tracing::info!(bytes, "created the scheduled backup {name}");
            delete_excess(app, schedule, now).await;
        }
        Err(reason) => report(reported, Some(reason)),
    }
    let status = backups::status(app.db.path(), &app.backups, schedule, now).ok();
    status.map_or(Some(now + MAX_SLEEP), |status| status.next_at)
}

/// The reason as text where it fails.
async fn make(app: &App, run: BackupRun) -> Result<Backup, String> {
    if let Some(reason) = lack_of_space(app) {
        run.fail(reason.clone());
        return Err(reason);
    }
    let actor = Actor::schedule();
    let made = run.create(&app.db, BackupKind::Scheduled, &actor);
    made.await.map_err(|error: Error| error.to_string())
}

/// Why a copy would leave too little room for the database itself.
fn lack_of_space(app: &App) -> Option<String> {
    let database = app.db.path();
    let bytes = fs::metadata(database).map_or(0, |file| file.len());
    let disk = disk_of(&backups::folder(database)).or_else(|| app.db.disk_space())?;
    let after = DiskSpace {
        free_bytes: disk.free_bytes.saturating_sub(bytes),
        ..disk
    };
    after.is_nearly_full().then(|| {
        let free = disk.free_bytes;
        format!(
            "the disk has {free} bytes left, and would be nearly full with a copy of about {bytes} bytes"
        )
    })
}

/// Deletes the oldest scheduled backups beyond the number to keep. Only after a backup that succeeded.
async fn delete_excess(app: &App, schedule: BackupSchedule, now: Timestamp) {
    let scheduled = match backups::list(app.db.path()) {
        Ok(all) => all,
        Err(error) => return tracing::warn!("the backups cannot be listed: {error}"),
    };
    let scheduled = scheduled.into_iter();
    let scheduled = scheduled.filter(|backup| backup.kind == BackupKind::Scheduled);
    let excess = schedule.excess(scheduled.collect(), |backup| backup.made_at, now);
    for backup in excess {
        let name = &backup.name;
        match backups::delete(&app.db, name, &Actor::schedule(), now).await {
            Ok(_) => tracing::info!("deleted the scheduled backup {name}"),
            Err(error) => tracing::warn!("the scheduled backup {name} was not deleted: {error}"),
        }
    }
}

/// Logs a new reason, and the end of failures.
fn report(reported: &mut Option<String>, reason: Option<String>) {
    if *reported == reason {
        return;
    }
    if let Some(reason) = &reason {
        tracing::error!("a scheduled backup failed, and is tried again within an hour: {reason}");
    } else {
        tracing::info!("scheduled backups succeed again");
    }
    *reported = reason;
}
