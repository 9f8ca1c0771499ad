//! Deletion of old log rows, without any effect on requests.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::quota::google_clock::begin_of_google_day;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::pool::retention::DiskSpace;
use gemini_pool::storage::request_logs::NewRequestLog;
use gemini_pool::storage::{log_size, quotas};
use gemini_pool::tasks::prune_logs;

use crate::support::admin::AdminClient;
use crate::support::requests::TestRequest;
use crate::support::{RequestLog, TestPool, eventually};

const OLD_ROWS: u32 = 1_000;

#[tokio::test]
async fn a_lowered_age_acts_at_once_while_requests_are_served_and_sums_are_kept() {
    let pool = pool_without_retention().await;
    record_rows(&pool, Duration::from_hours(100 * 24), OLD_ROWS).await;

    pool.set(&[("log_retention_days", "90")]).await;
    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 200);
    wait_for_rows(&pool, 1).await;
    let rows = pool.finished_rows(1).await;
    assert_eq!(rows[0].id.to_string(), response.id());
    pool.assert_sums_agree().await;
    let summed: i64 = sqlx::query_scalar("SELECT sum(requests) FROM model_hours")
        .fetch_one(pool.settled().await)
        .await
        .unwrap();
    assert_eq!(summed, i64::from(OLD_ROWS) + 1);
}

#[tokio::test]
async fn a_lowered_number_of_rows_acts_at_once_and_keeps_the_newest() {
    let pool = pool_without_retention().await;
    record_rows(&pool, Duration::from_hours(2), 300).await;
    let newest = pool.rows().await.split_off(200);

    pool.set(&[("log_max_rows", "100")]).await;
    wait_for_rows(&pool, 100).await;

    let ids = |rows: &[RequestLog]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&pool.rows().await), ids(&newest));
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_lowered_size_acts_at_once() {
    let pool = pool_without_retention().await;
    record_rows(&pool, Duration::from_hours(2), 3_000).await;
    let db = pool.settled().await;
    let before = log_size::find(db).await.unwrap();
    let limit = before.used_bytes - 200_000;

    pool.set(&[("log_max_bytes", &limit.to_string())]).await;
    eventually("the content has shrunk", async || {
        let size = log_size::find(db).await.unwrap();
        (size.used_bytes <= limit - limit / 50).then_some(())
    })
    .await;

    let after = log_size::find(db).await.unwrap();
    assert!(
        (500..before.rows).contains(&after.rows),
        "{before:?} {after:?}"
    );
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_nearly_full_disk_costs_all_rows_but_those_of_the_last_day_and_is_shown() {
    let pool = pool_without_retention().await;
    let day = Duration::from_hours(24);
    record_rows(&pool, 3 * day, 100).await;
    record_rows(&pool, day / 2, 50).await;
    let disk = |free_bytes| {
        Some(DiskSpace {
            total_bytes: 1 << 40,
            free_bytes,
        })
    };
    let prune = async |disk| {
        prune_logs::prune(&pool.app, clock::now(), disk, true)
            .await
            .unwrap()
    };
    let mut admin = AdminClient::sign_in(&pool).await;

    assert_eq!(prune(disk(1 << 30)).await, 0);
    assert!(!admin.get_page("/status").await.contains("is nearly full"));
    assert_eq!(prune(disk(1 << 20)).await, 100);

    let shown = admin.get_page("/status").await;
    assert!(
        shown.contains(
            "is nearly full (1 MiB are free), and the log has only entries of the last day"
        )
    );
    assert_eq!(pool.rows().await.len(), 50);
    pool.assert_sums_agree().await;
    assert_eq!(prune(disk(1 << 30)).await, 0);
    assert!(!admin.get_page("/status").await.contains("is nearly full"));
}

#[tokio::test]
async fn limits_of_a_client_key_survive_the_deletion_of_its_rows_and_a_restart() {
    let pool = pool_without_retention().await;
    pool.set(&[("day_zone", &zone_at_noon())]).await;
    for minutes in [30, 20, 10] {
        pool.record_past_request(Duration::from_mins(minutes)).await;
    }
    pool.allow(|terms| terms.limits.requests_per_day = Some(4))
        .await;

    pool.set(&[("log_max_rows", "1")]).await;
    wait_for_rows(&pool, 1).await;
    let pool = pool.restart().await;

    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 429);
}

#[tokio::test]
async fn a_retention_of_no_days_keeps_everything() {
    let pool = pool_without_retention().await;
    pool.fetch(TestRequest::Generate).await;
    let much_later = clock::now() + Duration::from_hours(24 * 365);

    assert_eq!(prune_logs::pass(&pool.app, much_later).await.unwrap(), 0);
    pool.set(&[("log_retention_days", "366")]).await;
    assert_eq!(prune_logs::pass(&pool.app, much_later).await.unwrap(), 0);
    pool.set(&[("log_retention_days", "364")]).await;
    assert_eq!(prune_logs::pass(&pool.app, much_later).await.unwrap(), 1);
}

#[tokio::test]
async fn old_daily_usage_is_deleted_even_where_rows_are_kept() {
    let pool = pool_without_retention().await;
    pool.fetch(TestRequest::Generate).await;
    let (now, day) = (clock::now(), Duration::from_hours(24));
    let used = async || {
        let today = begin_of_google_day(now);
        let used = quotas::list_usage_of_day(pool.settled().await, today).await;
        used.unwrap().len()
    };

    prune_logs::pass(&pool.app, now + 7 * day).await.unwrap();
    assert_eq!(used().await, 1);
    prune_logs::pass(&pool.app, now + 10 * day).await.unwrap();

    assert_eq!(used().await, 0);
    assert_eq!(pool.rows().await.len(), 1);
}

/// A pool whose own pruning at the start finds nothing to delete.
async fn pool_without_retention() -> TestPool {
    let fake_config =
        FakeConfig::with_keys([FakeKey::healthy("AIza-healthy-key-0001", "projects/1")]);
    TestPool::start_with(fake_config, &[("log_retention_days", "0")]).await
}

/// Records so many refused requests, the first one so long ago, the others a second later each.
async fn record_rows(pool: &TestPool, ago: Duration, count: u32) {
    let first = clock::now() - ago;
    for number in 0..count {
        let began = first + Duration::from_secs(number.into());
        let row = NewRequestLog {
            status: Some(401),
            outcome: Some(Outcome::Refused),
            ..NewRequestLog::started(
                RequestId::first_at(began),
                began,
                "POST".to_owned(),
                "*".to_owned(),
            )
        };
        drop(pool.app.recorder.record_finished(Box::new(row)));
    }
    eventually("the rows are written", async || {
        (pool.app.recorder.pending() == 0).then_some(())
    })
    .await;
    pool.settled().await;
}

/// Waits until the log has so many rows.
async fn wait_for_rows(pool: &TestPool, count: u64) {
    let db = pool.settled().await;
    eventually("the rows are deleted", async || {
        let size = log_size::find(db).await.unwrap();
        (size.rows == count).then_some(())
    })
    .await;
}

/// A time zone in which it is about noon, so that no day begins during a test.
fn zone_at_noon() -> String {
    let hour = clock::now()
        .to_jiff()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .hour();
    // The names of these zones have the opposite sign.
    format!("Etc/GMT{:+}", hour - 12)
}
