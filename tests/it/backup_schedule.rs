//! Scheduled backups: made when the last one is too old, kept in the number of the setting, and shown.

use std::fs;
use std::time::Duration;

use gemini_pool::clock::{self, Timestamp};
use gemini_pool::pool::backup_schedule::BackupSchedule;
use gemini_pool::storage::audit::{self, Action, AuditFilter};
use gemini_pool::storage::backup::{self, BackupProgress};
use gemini_pool::storage::backups::{self, Backup, BackupKind};
use gemini_pool::storage::db::Db;
use gemini_pool::tasks::back_up;

use crate::support::admin::AdminClient;
use crate::support::{TestPool, eventually};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_schedule_makes_a_backup_at_once_and_the_next_an_interval_later() {
    let pool = TestPool::with_keys([]).await;
    pool.record_past_request(HOUR).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert_eq!(made(&pool), []);

    pool.set(&[("backup_interval_hours", "6")]).await;
    let first = eventually("the first backup is made", async || {
        made(&pool).into_iter().next()
    })
    .await;

    assert_eq!(first.kind, BackupKind::Scheduled);
    let copy = backups::folder(&pool.database()).join(&first.name);
    let copy = Db::open_file(&copy).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM request_logs")
        .fetch_one(&copy.readers)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    copy.close().await;
    let changes = eventually("the backup is in the audit", async || {
        let changes = changes_of_backups(&pool).await;
        (!changes.is_empty()).then_some(changes)
    });
    assert_eq!(changes.await, [(Action::Create, first.name.clone())]);
    for page in ["/status", "/backups"] {
        let page = admin.get_page(page).await;
        assert!(page.contains("Next scheduled backup"), "{page}");
        let is_shown = page.contains("in 6 h") || page.contains("in 5 h");
        assert!(is_shown, "{page}");
    }
    // As at the next start: what is due follows from the files.
    let next_at = pass_at(&pool, first.made_at + HOUR).await;
    assert_eq!(next_at, Some(first.made_at + 6 * HOUR));
    assert_eq!(made(&pool), std::slice::from_ref(&first));
    let due = first.made_at + 6 * HOUR;
    assert_eq!(pass_at(&pool, due).await, Some(due + 6 * HOUR));
    assert_eq!(made(&pool).len(), 2);
}

#[tokio::test]
async fn only_the_oldest_scheduled_backups_are_deleted_and_none_after_a_failure() {
    let pool = TestPool::with_keys([]).await;
    pool.set(&[("backup_keep", "2")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let (now, actor) = (clock::now(), audit::Actor::cli());
    let progress = BackupProgress::default();
    let manual = backups::create(
        &pool.app.db,
        BackupKind::Manual,
        &actor,
        now - 200 * HOUR,
        &progress,
    );
    let manual = manual.await.unwrap();
    // The task itself sees none of this: it sleeps, because nothing is scheduled.
    let times = [90, 60, 30, 0].map(|hours| now - hours * HOUR);
    for time in times {
        scheduled_pass(&pool, time, &mut None).await;
    }

    let left: Vec<_> = made(&pool).into_iter().map(|backup| backup.name).collect();
    let name = |time| format!("pool-{}-scheduled.db", backup::file_time(time));
    assert_eq!(left, [name(times[3]), name(times[2]), manual.name]);

    // A file has the name of the next one, so that it fails.
    let next = now + 30 * HOUR;
    fs::create_dir(backups::folder(&pool.database()).join(name(next))).unwrap();
    let mut reported = None;
    let retry_at = scheduled_pass(&pool, next, &mut reported).await;

    let reason = reported.unwrap();
    assert!(reason.contains("exists already"), "{reason}");
    assert_eq!(retry_at, Some(next + HOUR));
    assert_eq!(made(&pool).len(), 3);
    let shown = admin.get_page("/status").await;
    assert!(shown.contains("The last backup failed: "), "{shown}");
    assert!(shown.contains("exists already"), "{shown}");
    let mut reported = None;
    scheduled_pass(&pool, next + HOUR, &mut reported).await;
    assert_eq!(reported, None);
    assert!(!admin.get_page("/status").await.contains("backup failed"));
}

#[tokio::test]
async fn an_overdue_backup_is_shown() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let (made_at, actor) = (clock::now() - 3 * HOUR, audit::Actor::cli());
    let progress = BackupProgress::default();
    let made = backups::create(&pool.app.db, BackupKind::Manual, &actor, made_at, &progress);
    made.await.unwrap();
    // Another backup runs, and does not end.
    let run = pool.app.backups.begin(clock::now()).unwrap();
    pool.set(&[("backup_interval_hours", "1")]).await;

    for page in ["/status", "/backups"] {
        assert!(admin.get_page(page).await.contains("overdue"), "{page}");
    }
    let made = run.create(&pool.app.db, BackupKind::Manual, &actor);
    made.await.unwrap();
    for page in ["/status", "/backups"] {
        assert!(!admin.get_page(page).await.contains("overdue"), "{page}");
    }
}

fn made(pool: &TestPool) -> Vec<Backup> {
    backups::list(&pool.database()).unwrap()
}

async fn pass_at(pool: &TestPool, now: Timestamp) -> Option<Timestamp> {
    let schedule = BackupSchedule::of(&pool.app.settings());
    back_up::pass(&pool.app, schedule, now, &mut None).await
}

/// A pass with an interval of a day, while the server has no schedule.
async fn scheduled_pass(
    pool: &TestPool,
    now: Timestamp,
    reported: &mut Option<String>,
) -> Option<Timestamp> {
    let mut settings = (*pool.app.settings()).clone();
    settings.backup_interval_hours = 24;
    back_up::pass(&pool.app, BackupSchedule::of(&settings), now, reported).await
}

/// Actions on backups and the names of their files, newest first.
async fn changes_of_backups(pool: &TestPool) -> Vec<(Action, String)> {
    let filter = AuditFilter {
        actor: Some("schedule".to_owned()),
        ..AuditFilter::default()
    };
    let changes = audit::list(&pool.app.db.readers, &filter, None, 10).await;
    let changes = changes.unwrap().items.into_iter();
    changes.map(|change| (change.action, change.name)).collect()
}
