//! What is known of quotas saves calls: of a used-up project, of an overloaded model, of an address that Google refuses.

use futures_util::future::join_all;
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::quota::google_clock::{begin_of_google_day, end_of_google_day};
use gemini_pool::pool::quota::limits::{Measure, ObservedLimit};
use gemini_pool::storage::quotas::QuotaUsage;
use gemini_pool::storage::{cooldowns, projects, quotas};

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{TestPool, act, eventually};

const KEY: &str = "AIzaSyTheSecretOfAKeyOfThePoolNumber-";
const MODEL: &str = "gemini-2.5-flash";
const AT_ONCE: (&str, &str) = ("wait_for_key_seconds", "0");
/// Longer than any test takes.
const LONG_QUEUE_WAIT: (&str, &str) = ("wait_for_key_seconds", "300");

/// Rules with `count` keys in as many projects, each with this quota.
fn fake_config(count: u32, quota: Option<&ProjectQuota>) -> FakeConfig {
    let projects = (1..=count).map(|n| n.to_string());
    let keys = projects
        .clone()
        .map(|project| FakeKey::healthy(format!("{KEY}{project:0>3}"), project));
    let mut fake_config = FakeConfig::with_keys(keys);
    for project in projects {
        if let Some(quota) = quota {
            fake_config = fake_config.quota(&project, quota.clone());
        }
    }
    fake_config
}

/// Fails unless Google gets no call for a request that is refused so; returns how long the client shall wait.
async fn assert_refused_here(pool: &TestPool, status: u16) -> u64 {
    let before = pool.google.requests();
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.status, status, "{}", response.text());
    let row = pool.row_of(&response).await;
    assert_eq!((row.attempts, row.wait_ms), (0, 0), "{row:?}");
    assert_eq!(pool.google.requests(), before);
    response.header("retry-after").unwrap().parse().unwrap()
}

async fn assert_nobody_is_blamed(pool: &TestPool) {
    for key in pool.keys().await {
        assert_eq!(key.state, "ready", "{key:?}");
    }
    let cooldowns = cooldowns::list_changed(pool.settled().await, -1, clock::now()).await;
    assert_eq!(cooldowns.unwrap(), []);
}

async fn used_today(pool: &TestPool) -> Vec<QuotaUsage> {
    let day = begin_of_google_day(clock::now());
    let mut used = quotas::list_usage_of_day(pool.settled().await, day)
        .await
        .unwrap();
    used.sort_by_key(|used| used.id.0);
    used
}

#[tokio::test]
async fn ten_keys_of_a_used_up_project_cost_one_call() {
    let project = "424242424242";
    let keys = (0..10).map(|n| FakeKey::healthy(format!("{KEY}{n}"), project));
    let one_a_day = ProjectQuota::free(None, None, Some(1));
    let pool = TestPool::start(FakeConfig::with_keys(keys).quota(project, one_a_day)).await;
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    for key in pool.keys().await {
        let assigned = projects::assign(&mut tx, key.id, project, &act).await;
        assigned.unwrap();
    }
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);

    let reported = pool.fetch(TestRequest::Generate).await;

    assert_eq!(reported.status, 429);
    assert_eq!(pool.row_of(&reported).await.attempts, 1);
    for _ in 0..3 {
        assert_refused_here(&pool, 429).await;
    }
    assert_eq!(pool.google.requests(), 2);
}

#[tokio::test]
async fn a_used_up_day_rests_until_midnight_whatever_seconds_google_names() {
    let five_seconds = serde_json::json!({"error": {
        "code": 429,
        "message": "You exceeded your current quota. Please retry in 5s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                    "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                    "quotaDimensions": {"location": "global", "model": MODEL},
                    "quotaValue": "20",
                }],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"},
        ],
    }});
    let says = Behaviour::FixedResponse(429, five_seconds.to_string());
    let says = FakeConfig::with_keys([FakeKey::new(KEY, "1", says)]);
    // The fake's own names 38 seconds.
    let used_up = fake_config(1, Some(&ProjectQuota::free(None, None, Some(1))));
    for (fake_config, good) in [(says, 0), (used_up, 1)] {
        let pool = TestPool::start(fake_config).await;
        for _ in 0..good {
            assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
        }

        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 429);

        let rests = cooldowns::list_changed(pool.settled().await, -1, clock::now()).await;
        let [(_, model, cooldown)] = &rests.unwrap()[..] else {
            panic!("one cooldown");
        };
        assert_eq!((model.as_str(), cooldown.rule), (MODEL, Rule::QuotaPerDay));
        assert_eq!(cooldown.until, end_of_google_day(cooldown.since));
        let seconds = assert_refused_here(&pool, 429).await;
        let left = (cooldown.until - clock::now()).as_secs();
        assert!((left..left + 120).contains(&seconds), "{seconds} {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_google_refuses_costs_a_handful_of_calls_and_blames_no_key() {
    let pool = TestPool::start_with(fake_config(100, None), &[AT_ONCE]).await;
    pool.google.set_egress_behaviour(Some(Behaviour::Exhausted));

    for _ in 0..20 {
        let response = pool.fetch(TestRequest::Generate).await;
        assert_eq!(response.status, 429);
        assert!(response.text().contains("address"), "{}", response.text());
        assert!(response.header("retry-after").is_some());
    }
    pool.set(&[LONG_QUEUE_WAIT]).await;
    let many = async { join_all((0..50).map(|_| pool.fetch(TestRequest::Generate))).await };
    let all_wait = eventually("all wait", async || {
        (pool.app.key_queue.len() == 50).then_some(())
    });
    let lifted = async {
        all_wait.await;
        let calls = pool.google.requests();
        assert!(calls <= 10, "{calls}");
        assert_nobody_is_blamed(&pool).await;
        pool.google.set_egress_behaviour(None);
    };
    let (response, ()) = tokio::join!(many, lifted);

    for response in response {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_nobody_is_blamed(&pool).await;
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_that_strikes_many_requests_at_once_blames_no_key_either() {
    let pool = TestPool::start_with(fake_config(100, None), &[AT_ONCE]).await;
    pool.google.set_egress_behaviour(Some(Behaviour::Exhausted));

    let response = join_all((0..100).map(|_| pool.fetch(TestRequest::Generate))).await;

    assert!(response.iter().all(|response| response.status == 429));
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn an_overloaded_model_is_left_alone_while_others_are_served() {
    let settings = [
        AT_ONCE,
        ("max_attempts", "1"),
        ("overload_pause_ms", "60000"),
    ];
    let pool = TestPool::start_with(fake_config(20, None), &settings).await;
    pool.google.set_overload(MODEL, Some(1));
    for _ in 0..5 {
        let response = pool.fetch(TestRequest::Generate).await;
        assert_eq!(response.status, 503);
        assert!(
            response.text().contains("high demand"),
            "{}",
            response.text()
        );
    }

    for _ in 0..3 {
        let seconds = assert_refused_here(&pool, 503).await;
        assert!((1..=76).contains(&seconds), "{seconds}");
    }

    assert_eq!(pool.google.requests(), 5);
    let path = "/v1beta/models/gemini-2.5-pro:generateContent";
    let other = pool
        .post(path, TestRequest::Generate.body())
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn an_overload_that_is_over_is_noticed_by_those_who_wait() {
    let settings = [
        LONG_QUEUE_WAIT,
        ("max_attempts", "1"),
        ("overload_pause_ms", "100"),
    ];
    let pool = TestPool::start_with(fake_config(3, None), &settings).await;
    pool.google.set_overload(MODEL, Some(1));
    for _ in 0..7 {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 503);
    }
    pool.google.set_overload(MODEL, None);

    let response = join_all((0..20).map(|_| pool.fetch(TestRequest::Generate))).await;

    for response in response {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(pool.google.requests(), 27);
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn what_was_learnt_of_limits_is_known_after_a_restart() {
    let three_a_day = ProjectQuota::free(None, None, Some(3));
    let pool = TestPool::start(fake_config(2, Some(&three_a_day))).await;
    for _ in 0..6 {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    }
    // Each project is told once. What is known of the one, which is free, says nothing of the other until that is too.
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 429);
    assert_eq!(pool.google.requests(), 8);
    let limits = quotas::list_limits(pool.settled().await).await.unwrap();
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| (limit.model.as_str(), limit.measure, limit.observed))
        .collect();
    let three = (MODEL, Measure::RequestsPerDay, ObservedLimit::Limit(3));
    assert_eq!(limits, [three, three]);
    let counted: Vec<_> = used_today(&pool)
        .await
        .iter()
        .map(|used| (used.id.0, used.amount.requests))
        .collect();
    assert_eq!(counted, [(1, 3), (2, 3)]);
    let rests = cooldowns::list_changed(pool.settled().await, -1, clock::now()).await;
    assert_eq!(rests.unwrap().len(), 2);

    let pool = pool.restart().await;

    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.status, 429);
    assert!(response.text().contains("for today"), "{}", response.text());
    assert_eq!(pool.google.requests(), 8);
}

#[tokio::test]
async fn each_text_of_a_batch_counts() {
    let pool = TestPool::start(fake_config(1, None)).await;
    let text = serde_json::json!({
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "Why is the sky blue?"}]},
    });
    let batch = serde_json::json!({ "requests": vec![text; 7] });
    let path = "/v1beta/models/gemini-embedding-001:batchEmbedContents";

    for _ in 0..2 {
        let answer = pool.post(path, &batch.to_string()).send().await.unwrap();
        let response = ClientResponse::whole(answer).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }

    let used = used_today(&pool).await;
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].model, "gemini-embedding-001");
    assert_eq!(used[0].amount.requests, 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_admins_own_are_kept_before_google_says_no() {
    let five_a_minute = ProjectQuota::free(Some(5), None, None);
    let settings = [AT_ONCE, ("key_requests_per_minute", "5")];
    let pool = TestPool::start_with(fake_config(4, Some(&five_a_minute)), &settings).await;

    // All at once, for a model that the pool has never met.
    let response = join_all((0..40).map(|_| pool.fetch(TestRequest::Generate))).await;

    let served = response
        .iter()
        .filter(|response| response.status == 200)
        .count();
    let refused = response
        .iter()
        .filter(|response| response.status == 429)
        .count();
    assert_eq!((served, refused), (20, 20));
    assert_eq!(pool.google.requests(), 20);
    let rows = pool.finished_rows(40).await;
    let outcomes = rows
        .iter()
        .filter(|row| row.outcome == Some(Outcome::Quota));
    assert!(outcomes.clone().all(|row| row.attempts == 0));
    assert_eq!(outcomes.count(), 20);
}
