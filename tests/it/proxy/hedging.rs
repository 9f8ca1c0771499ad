//! A second attempt at the same time, for requests whose first byte is late.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{TestPool, eventually};

const SLOW: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool01";
const FAST: &str = "AIzaSyTheSecretOfTheSecondKeyOfThePool2";
const MODEL: &str = "gemini-2.5-flash";

/// A pool whose first key is chosen first and behaves like this, and that hedges after a millisecond.
async fn pool(first: Behaviour, percent: &str) -> TestPool {
    let pool = TestPool::with_keys([
        FakeKey::new(SLOW, "700000000001", first),
        FakeKey::healthy(FAST, "700000000002"),
    ])
    .await;
    pool.set(&[("hedge_percent", percent)]).await;
    hedge_after_a_millisecond(&pool);
    pool
}

/// Makes the pool know that the model usually answers at once.
fn hedge_after_a_millisecond(pool: &TestPool) {
    let mut hedging = pool.app.hedging.lock();
    for _ in 0..100 {
        hedging.add_time(MODEL, Duration::from_millis(1));
    }
}

/// Sends the request until the slow key was chosen first, and returns that response.
async fn hedged(pool: &TestPool, request: TestRequest) -> ClientResponse {
    eventually("a request is hedged", async || {
        let response = pool.fetch(request).await;
        let slow = pool.google.received_with(SLOW);
        (!slow.is_empty()).then_some(response)
    })
    .await
}

#[tokio::test]
async fn the_faster_project_answers_and_the_slower_attempt_is_cancelled() {
    for request in [
        TestRequest::Generate,
        TestRequest::StreamSse,
        TestRequest::Chat,
    ] {
        let pool = pool(Behaviour::NeverRespond, "100").await;

        let response = hedged(&pool, request).await;

        assert_eq!(response.status, 200, "{request:?}: {}", response.text());
        assert_eq!(response.header("x-pool-hedged"), Some("1"), "{request:?}");
        let row = pool.row_of(&response).await;
        assert_eq!(
            (row.attempts, row.outcome),
            (2, Some(Outcome::Success)),
            "{row:?}"
        );
        let list = serde_json::to_value(&row).unwrap()["attempt_list"].clone();
        assert_eq!(list[0]["rule"], "hedge_cancelled", "{list}");
        assert_eq!(list[0]["outcome"], "client_gone", "{list}");
        assert_eq!(list[1]["rule"], "success", "{list}");
        let keys = pool.keys().await;
        assert!(keys.iter().all(|key| key.failures == 0), "{keys:?}");
        pool.assert_sums_agree().await;
        eventually("the slower request ends", async || {
            (pool.google.open_responses() == 0).then_some(())
        })
        .await;
        assert_eq!(pool.leases(), 0, "{request:?}");
    }
}

#[tokio::test]
async fn the_first_attempt_wins_if_it_is_faster_than_the_second() {
    let pool = TestPool::with_keys([
        FakeKey::new(SLOW, "700000000001", Behaviour::SlowFirstByte(300)),
        FakeKey::new(FAST, "700000000002", Behaviour::NeverRespond),
    ])
    .await;
    pool.set(&[("hedge_percent", "100"), ("first_byte_timeout_ms", "50000")])
        .await;
    hedge_after_a_millisecond(&pool);

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 200, "{}", response.text());
    let row = pool.row_of(&response).await;
    let list = serde_json::to_value(&row).unwrap()["attempt_list"].clone();
    assert_eq!(list[0]["rule"], "hedge_cancelled", "{list}");
    assert_eq!(
        (list[1]["rule"].as_str(), row.attempts),
        (Some("success"), 2),
        "{list}"
    );
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_failed_attempt_waits_for_the_other_one() {
    let pool = pool(Behaviour::SlowFirstByte(20), "100").await;
    // The first key is slow and then invalid; the other one answers after it.
    pool.google.set_behaviour(SLOW, Behaviour::Invalid);
    pool.google
        .set_behaviour(FAST, Behaviour::SlowFirstByte(200));

    let response = hedged(&pool, TestRequest::Generate).await;

    assert_eq!(response.status, 200, "{}", response.text());
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn no_request_is_hedged_without_the_setting_or_beyond_its_share() {
    for (percent, at_most) in [("0", 0), ("25", 5)] {
        let pool = TestPool::with_keys([
            FakeKey::new(SLOW, "700000000001", Behaviour::SlowFirstByte(30)),
            FakeKey::new(FAST, "700000000002", Behaviour::SlowFirstByte(30)),
        ])
        .await;
        pool.set(&[("hedge_percent", percent)]).await;
        hedge_after_a_millisecond(&pool);

        let mut hedges = 0;
        for _ in 0..20 {
            let response = pool.fetch(TestRequest::Generate).await;
            hedges += usize::from(response.header("x-pool-hedged").is_some());
        }

        assert!(hedges <= at_most, "{hedges} of 20 at {percent} %");
        // A second attempt may be cancelled before it is sent.
        assert!(pool.google.requests() <= 20 + hedges as u64);
        assert_eq!(hedges > 0, percent == "25");
    }
}
