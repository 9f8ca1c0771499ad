//! Deletion of old log rows, without any effect on requests.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::quota::google_clock::begin_of_google_day;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::storage::quotas;
use gemini_pool::storage::request_logs::NewRequestLog;
use gemini_pool::tasks::prune_logs;

use crate::support::requests::TestRequest;
use crate::support::{TestPool, eventually};

const OLD_ROWS: u32 = 1_000;

#[tokio::test]
async fn old_rows_are_deleted_while_requests_are_served_and_their_sums_are_kept() {
    let pool = pool_without_retention().await;
    let now = clock::now();
    for number in 0..OLD_ROWS {
        let began = now - Duration::from_hours(100 * 24) + Duration::from_secs(number.into());
        let id = RequestId::first_at(began);
        let row = NewRequestLog {
            status: Some(401),
            outcome: Some(Outcome::Refused),
            ..NewRequestLog::started(id, began, "POST".to_owned(), "*".to_owned())
        };
        drop(pool.app.recorder.record_finished(Box::new(row)));
    }
    eventually("the old rows are written", async || {
        (pool.app.recorder.pending() == 0).then_some(())
    })
    .await;
    pool.set(&[("log_retention_days", "90")]).await;

    let (deleted, response) = tokio::join!(
        prune_logs::pass(&pool.app, now),
        pool.fetch(TestRequest::Generate)
    );

    assert_eq!(deleted.unwrap(), u64::from(OLD_ROWS));
    assert_eq!(response.status, 200);
    let rows = pool.finished_rows(1).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id.to_string(), response.id());
    pool.assert_sums_agree().await;
    let summed: i64 = sqlx::query_scalar("SELECT sum(requests) FROM model_hours")
        .fetch_one(pool.settled().await)
        .await
        .unwrap();
    assert_eq!(summed, i64::from(OLD_ROWS) + 1);
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
