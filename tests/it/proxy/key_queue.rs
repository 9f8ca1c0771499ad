//! Requests wait for a key that will soon be ready, in fair turns, and no longer than they shall.

use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::health::cooldown::Cooldown;
use gemini_pool::pool::health::cooldown::EVERY_MODEL;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::outcome::Outcome;
use tokio::task::JoinHandle;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, eventually};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const PROJECT: &str = "700000000001";
const OTHER_CLIENT: &str = "CLIENT_KEY_2";
/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(5);
const LONG_QUEUE_WAIT: (&str, &str) = ("wait_for_key_seconds", "3600");

/// A pool of `count` keys in as many projects.
async fn pool_of(count: i64, settings: &[(&str, &str)]) -> TestPool {
    let keys = (1..=count).map(|n| FakeKey::healthy(format!("{KEY}-{n}"), n.to_string()));
    TestPool::start_with(FakeConfig::with_keys(keys), settings).await
}

/// Lets every project rest for all models, and whoever waits notice.
fn put_cooldowns(pool: &TestPool, wait: Duration) -> Timestamp {
    let since = clock::now();
    let until = since + wait;
    let cooldown = Cooldown {
        rule: Rule::QuotaPerMinute,
        step: 0,
        since,
        until,
    };
    let mut keys = pool.app.keys.lock();
    for id in 1..=i64::try_from(keys.len()).unwrap() {
        keys.set_cooldown(ProjectId(id), EVERY_MODEL, cooldown);
    }
    drop(keys);
    pool.app.key_queue.notify();
    until
}

/// A client's question, asked in the background; `name` is its user agent.
fn send_in_background(pool: &TestPool, client_key: &str, name: &str) -> JoinHandle<ClientResponse> {
    let request = pool
        .client
        .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
        .header("x-goog-api-key", client_key)
        .header("user-agent", name)
        .body(TestRequest::Generate.body());
    tokio::spawn(async move { ClientResponse::whole(request.send().await.unwrap()).await })
}

async fn wait_until_queued(pool: &TestPool, count: usize) {
    eventually(&format!("{count} requests wait"), async || {
        (pool.app.key_queue.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_wait_for_a_rest_to_end_and_are_served_in_fair_turns() {
    let pool = pool_of(4, &[LONG_QUEUE_WAIT, ("per_key_concurrency", "1")]).await;
    pool.add_client_key(OTHER_CLIENT).await;
    put_cooldowns(&pool, LONG);
    let crowd: Vec<_> = (0..190)
        .map(|_| send_in_background(&pool, CLIENT_KEY, "crowd"))
        .collect();
    wait_until_queued(&pool, 190).await;
    let few: Vec<_> = (0..10)
        .map(|_| send_in_background(&pool, OTHER_CLIENT, "few"))
        .collect();
    wait_until_queued(&pool, 200).await;

    // Nobody rings when it ends.
    let ends = put_cooldowns(&pool, Duration::from_secs(3));

    for response in join_all(crowd.into_iter().chain(few)).await {
        let response = response.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let received = pool.google.received();
    assert_eq!(received.len(), 200);
    assert!(received[0].at_ms >= ends.as_millis());
    let last_of_few = received
        .iter()
        .rposition(|request| request.header("user-agent") == Some("few"));
    // Every second of the first twenty, but for those that are under way together.
    assert!(last_of_few.unwrap() < 24, "{last_of_few:?}");
    let rows = pool.finished_rows(200).await;
    assert_eq!(rows.len(), 200);
    for row in &rows {
        assert!(row.wait_ms > 0, "{row:?}");
        assert_eq!((row.attempts, row.outcome), (1, Some(Outcome::Success)));
    }
    assert!(pool.app.key_queue.is_empty());
    assert_eq!(pool.leases(), 0);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn busy_keys_are_waited_for_too() {
    let behaviour = Behaviour::SlowFirstByte(100);
    let fake_config = FakeConfig::with_keys([FakeKey::new(KEY, PROJECT, behaviour)]);
    let pool = TestPool::start_with(
        fake_config,
        &[LONG_QUEUE_WAIT, ("per_key_concurrency", "1")],
    )
    .await;

    let response = join_all((0..8).map(|_| pool.fetch(TestRequest::StreamSse))).await;

    assert!(
        response.iter().all(|response| response.status == 200),
        "{response:?}"
    );
    let rows = pool.finished_rows(8).await;
    let waited = rows.iter().filter(|row| row.wait_ms > 0).count();
    assert_eq!(waited, 7);
}

#[tokio::test]
async fn who_leaves_the_queue_frees_a_place_and_who_finds_none_is_told_when_to_come_back() {
    let pool = pool_of(2, &[LONG_QUEUE_WAIT, ("wait_queue_limit", "5")]).await;
    let ends = put_cooldowns(&pool, LONG);
    let mut waiting: Vec<_> = (0..5)
        .map(|_| send_in_background(&pool, CLIENT_KEY, "early"))
        .collect();
    wait_until_queued(&pool, 5).await;

    let before = clock::now();
    let refused = pool.fetch(TestRequest::Generate).await;

    assert_eq!(refused.status, 429, "{}", refused.text());
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    let true_wait = (ends - clock::now()).as_secs()..=(ends - before).as_secs() + 1;
    assert!(true_wait.contains(&seconds), "{seconds} in {true_wait:?}");

    waiting.pop().unwrap().abort();
    wait_until_queued(&pool, 4).await;
    waiting.push(send_in_background(&pool, CLIENT_KEY, "late"));
    wait_until_queued(&pool, 5).await;
    put_cooldowns(&pool, Duration::ZERO);

    for response in join_all(waiting).await {
        assert_eq!(response.unwrap().status, 200);
    }
    let rows = pool.finished_rows(7).await;
    let count = |outcome| {
        let rows = rows.iter();
        rows.filter(|row| row.outcome == Some(outcome)).count()
    };
    assert_eq!(count(Outcome::Success), 5);
    assert_eq!(count(Outcome::ClientGone), 1);
    assert_eq!(count(Outcome::Quota), 1);
    let gone = rows
        .iter()
        .find(|row| row.outcome == Some(Outcome::ClientGone));
    assert!(gone.unwrap().wait_ms > 0, "{gone:?}");
    assert_eq!(pool.google.requests(), 5);
}

#[tokio::test]
async fn a_full_queue_has_room_for_a_client_with_fewer_requests() {
    let pool = pool_of(2, &[LONG_QUEUE_WAIT, ("wait_queue_limit", "5")]).await;
    pool.add_client_key(OTHER_CLIENT).await;
    put_cooldowns(&pool, LONG);
    let mut crowd: Vec<_> = (0..5)
        .map(|_| send_in_background(&pool, CLIENT_KEY, "crowd"))
        .collect();
    wait_until_queued(&pool, 5).await;

    let few = [1, 2].map(|_| send_in_background(&pool, OTHER_CLIENT, "few"));

    let displaced = eventually("two requests are displaced", async || {
        (crowd.iter().filter(|request| request.is_finished()).count() == 2).then_some(())
    });
    displaced.await;
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 429);
    put_cooldowns(&pool, Duration::ZERO);
    let mut statuses = Vec::new();
    for request in crowd.drain(..).chain(few) {
        statuses.push(request.await.unwrap().status);
    }
    statuses[..5].sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200, 200]);
}

#[tokio::test]
async fn a_single_key_outlives_a_minute_that_is_used_up_unseen() {
    let used_up = serde_json::json!({"error": {
        "code": 429,
        "message": "You exceeded your current quota. Please retry in 2s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                    "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                    "quotaValue": "5",
                }],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"},
        ],
    }});
    let behaviour = Behaviour::Sequence(vec![
        Behaviour::FixedResponse(429, used_up.to_string()),
        Behaviour::Healthy,
    ]);
    let pool = TestPool::with_keys([FakeKey::new(KEY, PROJECT, behaviour)]).await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 200, "{}", response.text());
    let row = pool.row().await;
    assert_eq!((row.attempts, row.outcome), (2, Some(Outcome::Success)));
    assert!(row.wait_ms > 0, "{row:?}");
    let received = pool.google.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].at_ms - received[0].at_ms >= 2_000);
    assert_eq!(pool.keys().await[0].state, "ready");
}

#[tokio::test]
async fn nobody_waits_for_what_comes_too_late_or_where_nobody_shall_wait() {
    for (seconds, rests) in [("0", Duration::from_secs(30)), ("5", LONG)] {
        let pool = pool_of(1, &[("wait_for_key_seconds", seconds)]).await;
        put_cooldowns(&pool, rests);

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.status, 429, "{}", response.text());
        let row = pool.row().await;
        assert_eq!((row.wait_ms, row.attempts), (0, 0), "{row:?}");
        assert_eq!(row.outcome, Some(Outcome::Quota));
        assert_eq!(pool.google.requests(), 0);
    }
}

#[tokio::test]
async fn who_waits_is_told_as_soon_as_it_is_in_vain() {
    let pool = pool_of(1, &[("wait_for_key_seconds", "60")]).await;
    put_cooldowns(&pool, Duration::from_secs(50));
    let queued = send_in_background(&pool, CLIENT_KEY, "patient");
    wait_until_queued(&pool, 1).await;

    put_cooldowns(&pool, LONG);

    let response = queued.await.unwrap();
    assert_eq!(response.status, 429, "{}", response.text());
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 60, "{seconds}");
}

#[tokio::test]
async fn a_key_that_is_added_serves_those_who_wait() {
    let pool = pool_of(1, &[LONG_QUEUE_WAIT]).await;
    put_cooldowns(&pool, LONG);
    let queued = send_in_background(&pool, CLIENT_KEY, "patient");
    wait_until_queued(&pool, 1).await;

    pool.google
        .add_key(FakeKey::healthy("AIza-added-key-0002", "2"));
    pool.add_upstream_key("AIza-added-key-0002").await;

    assert_eq!(queued.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_stops_still_serves_those_whose_wait_ends() {
    let pool = pool_of(1, &[LONG_QUEUE_WAIT]).await;
    put_cooldowns(&pool, LONG);
    let served = send_in_background(&pool, CLIENT_KEY, "served");
    wait_until_queued(&pool, 1).await;

    pool.begin_stop();
    put_cooldowns(&pool, Duration::from_secs(1));

    assert_eq!(served.await.unwrap().status, 200);
    let pool = pool.restart().await;
    assert_eq!(pool.row().await.outcome, Some(Outcome::Success));
}

#[tokio::test]
async fn a_server_that_stops_cuts_off_who_would_wait_longer_and_says_so() {
    let pool = pool_of(1, &[LONG_QUEUE_WAIT]).await;
    put_cooldowns(&pool, LONG);
    let queued = tokio::spawn(
        pool.post(TestRequest::Generate.path(), TestRequest::Generate.body())
            .send(),
    );
    wait_until_queued(&pool, 1).await;

    let pool = pool.restart().await;

    assert!(queued.await.unwrap().is_err());
    let row = pool.row().await;
    assert_eq!((row.attempts, row.outcome), (0, Some(Outcome::Interrupted)));
    assert_eq!(pool.google.requests(), 0);
    pool.assert_sums_agree().await;
}
