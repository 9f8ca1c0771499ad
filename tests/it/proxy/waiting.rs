//! Requests wait for a key that will soon be ready, in fair turns, and no longer than they shall.

use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::Rules;
use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate};
use gemini_pool::pool::health::cooldown::EVERY_MODEL;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::registry::Cooldown;
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::outcome::Outcome;
use tokio::task::JoinHandle;

use crate::support::asking::{Ask, Heard};
use crate::support::{CLIENT_KEY, TestPool, eventually};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const PROJECT: &str = "700000000001";
const OTHER_CLIENT: &str = "CLIENT_KEY_2";
/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(5);
const PATIENT: (&str, &str) = ("wait_for_key_seconds", "3600");

/// A pool of `count` keys in as many projects.
async fn pool_of(count: i64, settings: &[(&str, &str)]) -> TestPool {
    let keys = (1..=count).map(|n| FakeKey::healthy(format!("{KEY}-{n}"), n.to_string()));
    TestPool::start_with(Rules::with_keys(keys), settings).await
}

/// Lets every project rest for all models, and whoever waits notice.
fn rest(pool: &TestPool, wait: Duration) -> Timestamp {
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
fn ask(pool: &TestPool, client_key: &str, name: &str) -> JoinHandle<Heard> {
    let request = pool
        .client
        .post(format!("{}{}", pool.url, Ask::Whole.path()))
        .header("x-goog-api-key", client_key)
        .header("user-agent", name)
        .body(Ask::Whole.body());
    tokio::spawn(async move { Heard::whole(request.send().await.unwrap()).await })
}

async fn until_waiting(pool: &TestPool, count: usize) {
    eventually(&format!("{count} requests wait"), async || {
        (pool.app.key_queue.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_wait_for_a_rest_to_end_and_are_served_in_fair_turns() {
    let pool = pool_of(4, &[PATIENT, ("per_key_concurrency", "1")]).await;
    pool.add_client(OTHER_CLIENT).await;
    rest(&pool, LONG);
    let crowd: Vec<_> = (0..190).map(|_| ask(&pool, CLIENT_KEY, "crowd")).collect();
    until_waiting(&pool, 190).await;
    let few: Vec<_> = (0..10).map(|_| ask(&pool, OTHER_CLIENT, "few")).collect();
    until_waiting(&pool, 200).await;

    // Nobody rings when it ends.
    let ends = rest(&pool, Duration::from_secs(3));

    for heard in join_all(crowd.into_iter().chain(few)).await {
        let heard = heard.unwrap();
        assert_eq!(heard.status, 200, "{}", heard.text());
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
    let fate = Fate::SlowFirstByte(100);
    let rules = Rules::with_keys([FakeKey::new(KEY, PROJECT, fate)]);
    let pool = TestPool::start_with(rules, &[PATIENT, ("per_key_concurrency", "1")]).await;

    let heard = join_all((0..8).map(|_| pool.hear(Ask::Events))).await;

    assert!(heard.iter().all(|heard| heard.status == 200), "{heard:?}");
    let rows = pool.finished_rows(8).await;
    let waited = rows.iter().filter(|row| row.wait_ms > 0).count();
    assert_eq!(waited, 7);
}

#[tokio::test]
async fn who_leaves_the_queue_frees_a_place_and_who_finds_none_is_told_when_to_come_back() {
    let pool = pool_of(2, &[PATIENT, ("wait_queue_limit", "5")]).await;
    let ends = rest(&pool, LONG);
    let mut waiting: Vec<_> = (0..5).map(|_| ask(&pool, CLIENT_KEY, "early")).collect();
    until_waiting(&pool, 5).await;

    let before = clock::now();
    let refused = pool.hear(Ask::Whole).await;

    assert_eq!(refused.status, 429, "{}", refused.text());
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    let true_wait = (ends - clock::now()).as_secs()..=(ends - before).as_secs() + 1;
    assert!(true_wait.contains(&seconds), "{seconds} in {true_wait:?}");

    waiting.pop().unwrap().abort();
    until_waiting(&pool, 4).await;
    waiting.push(ask(&pool, CLIENT_KEY, "late"));
    until_waiting(&pool, 5).await;
    rest(&pool, Duration::ZERO);

    for heard in join_all(waiting).await {
        assert_eq!(heard.unwrap().status, 200);
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
    let fate = Fate::Sequence(vec![Fate::Says(429, used_up.to_string()), Fate::Healthy]);
    let pool = TestPool::of([FakeKey::new(KEY, PROJECT, fate)]).await;

    let heard = pool.hear(Ask::Whole).await;

    assert_eq!(heard.status, 200, "{}", heard.text());
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
        rest(&pool, rests);

        let heard = pool.hear(Ask::Whole).await;

        assert_eq!(heard.status, 429, "{}", heard.text());
        let row = pool.row().await;
        assert_eq!((row.wait_ms, row.attempts), (0, 0), "{row:?}");
        assert_eq!(row.outcome, Some(Outcome::Quota));
        assert_eq!(pool.google.requests(), 0);
    }
}

#[tokio::test]
async fn who_waits_is_told_as_soon_as_it_is_in_vain() {
    let pool = pool_of(1, &[("wait_for_key_seconds", "60")]).await;
    rest(&pool, Duration::from_secs(50));
    let asked = ask(&pool, CLIENT_KEY, "patient");
    until_waiting(&pool, 1).await;

    rest(&pool, LONG);

    let heard = asked.await.unwrap();
    assert_eq!(heard.status, 429, "{}", heard.text());
    let seconds: u64 = heard.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 60, "{seconds}");
}

#[tokio::test]
async fn a_key_that_is_added_serves_those_who_wait() {
    let pool = pool_of(1, &[PATIENT]).await;
    rest(&pool, LONG);
    let asked = ask(&pool, CLIENT_KEY, "patient");
    until_waiting(&pool, 1).await;

    pool.google
        .add_key(FakeKey::healthy("AIza-added-key-0002", "2"));
    pool.add_upstream_key("AIza-added-key-0002").await;

    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_stops_still_serves_those_whose_wait_ends() {
    let pool = pool_of(1, &[PATIENT]).await;
    rest(&pool, LONG);
    let served = ask(&pool, CLIENT_KEY, "served");
    until_waiting(&pool, 1).await;

    pool.begin_stop();
    rest(&pool, Duration::from_secs(1));

    assert_eq!(served.await.unwrap().status, 200);
    let pool = pool.restart().await;
    assert_eq!(pool.row().await.outcome, Some(Outcome::Success));
}

#[tokio::test]
async fn a_server_that_stops_cuts_off_who_would_wait_longer_and_says_so() {
    let pool = pool_of(1, &[PATIENT]).await;
    rest(&pool, LONG);
    let asked = tokio::spawn(pool.post(Ask::Whole.path(), Ask::Whole.body()).send());
    until_waiting(&pool, 1).await;

    let pool = pool.restart().await;

    assert!(asked.await.unwrap().is_err());
    let row = pool.row().await;
    assert_eq!((row.attempts, row.outcome), (0, Some(Outcome::Interrupted)));
    assert_eq!(pool.google.requests(), 0);
    pool.assert_sums_agree().await;
}
