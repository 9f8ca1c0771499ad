//! Checks of upstream keys: unavailable keys become available again, new keys are proved.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::LogKind;
use gemini_pool::storage::request_logs::listed::RequestLog;
use gemini_pool::storage::upstream_keys::listed::ListedUpstreamKey;
use gemini_pool::tasks::recheck_keys;

use crate::support::requests::TestRequest;
use crate::support::{TestPool, eventually};

const KEYS: [&str; 5] = [
    "AIza-secret-of-key-0001",
    "AIza-secret-of-key-0002",
    "AIza-secret-of-key-0003",
    "AIza-secret-of-key-0004",
    "AIza-secret-of-key-0005",
];
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_key_that_is_restored_at_google_becomes_available_again_by_itself() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEYS[0], "1")]).await;
    pool.google.set_behaviour(KEYS[0], Behaviour::Invalid);
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 503);
    let before = in_state(&pool, "invalid").await.remove(0);
    assert!(before.next_check_at.is_some());

    // No other key answered: the key is checked at once.
    checks_finished(&pool, 1).await;
    assert_eq!(run_checks_in(&pool, 9 * MINUTE).await, 0);
    assert_eq!(run_checks_in(&pool, 11 * MINUTE).await, 1);
    let after = in_state(&pool, "invalid").await.remove(0);
    assert_eq!(after.state_since, before.state_since);
    pool.google.set_behaviour(KEYS[0], Behaviour::Healthy);
    assert_eq!(run_checks_in(&pool, 59 * MINUTE).await, 0);
    assert_eq!(run_checks_in(&pool, 61 * MINUTE).await, 1);
    let trial = in_state(&pool, "trial").await.remove(0);
    // The reason of the earlier state is kept.
    assert!(trial.state_reason.unwrap().starts_with("api_key_invalid: "));
    assert_eq!(trial.next_check_at, None);

    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    in_state(&pool, "ready").await;
    let checks = checks(&pool).await;
    let reported = checks.iter().map(|check| {
        let operations = check.operation.as_deref();
        (operations, check.outcome, check.attempts)
    });
    assert_eq!(
        reported.collect::<Vec<_>>(),
        [
            (Some("models.list"), Some(Outcome::KeyFault), 1),
            (Some("models.list"), Some(Outcome::KeyFault), 1),
            (Some("countTokens"), Some(Outcome::Success), 2)
        ]
    );
    for check in &checks {
        assert_eq!((&check.client_key, &check.client_ip), (&None, &None));
        assert!(!format!("{check:?}").contains(KEYS[0]));
    }
    // Only requests count in statistics.
    pool.assert_sums_agree().await;
    assert_eq!(pool.keys().await[0].requests, 2);
}

#[tokio::test]
async fn listing_models_alone_does_not_make_a_key_available() {
    let pool = TestPool::with_keys([FakeKey::new(KEYS[0], "1", Behaviour::Unauthenticated)]).await;
    pool.fetch(TestRequest::Generate).await;
    in_state(&pool, "invalid").await;

    checks_finished(&pool, 1).await;
    for (wait, next) in [(11 * MINUTE, HOUR), (61 * MINUTE, 6 * HOUR)] {
        assert_eq!(run_checks_in(&pool, wait).await, 1);
        eventually("the next check is later", async || {
            let key = pool.keys().await.remove(0);
            let remaining = key.next_check_at? - clock::now();
            (key.state == "invalid" && remaining + MINUTE > next && remaining <= next).then_some(())
        })
        .await;
    }

    for check in checks(&pool).await {
        let attempts = check.attempt_list.unwrap();
        let rules: Vec<_> = attempts
            .iter()
            .map(|attempt| attempt.rule.as_deref())
            .collect();
        assert_eq!(rules, [Some("success"), Some("unauthenticated")]);
    }
}

#[tokio::test]
async fn a_check_that_generates_proves_the_key_and_is_counted() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEYS[0], "1")]);
    let pool = TestPool::start_with(fake_config, &[("check_with_generate", "on")]).await;
    pool.google.set_behaviour(KEYS[0], Behaviour::Invalid);
    pool.fetch(TestRequest::Generate).await;
    checks_finished(&pool, 1).await;
    pool.google.set_behaviour(KEYS[0], Behaviour::Healthy);

    run_checks_in(&pool, 11 * MINUTE).await;

    in_state(&pool, "ready").await;
    let check = checks(&pool).await.pop().unwrap();
    assert_eq!(
        (check.operation.as_deref(), check.attempts),
        (Some("generateContent"), 3)
    );
    assert!(check.total_tokens > Some(0), "{check:?}");
    let counted: (i64, i64) = sqlx::query_as("SELECT upstream_key_id, requests FROM quota_days")
        .fetch_one(pool.settled().await)
        .await
        .unwrap();
    assert_eq!(counted, (1, 1));
}

#[tokio::test]
async fn one_check_is_enough_for_a_suspended_project() {
    let suspended = KEYS.map(|secret| FakeKey::new(secret, "1", Behaviour::Suspended));
    let pool = TestPool::with_keys(suspended).await;
    into_one_project(&pool).await;
    pool.fetch(TestRequest::Generate).await;
    checks_finished(&pool, 1).await;
    assert_eq!(in_state(&pool, "suspended").await.len(), 5);
    pool.google.reset_counts();

    assert_eq!(run_checks_in(&pool, 61 * MINUTE).await, 1);

    assert_eq!(pool.google.requests(), 1);
    assert_eq!(run_checks_in(&pool, 5 * HOUR).await, 0);
    for secret in KEYS {
        pool.google.set_behaviour(secret, Behaviour::Healthy);
    }
    assert_eq!(run_checks_in(&pool, 7 * HOUR).await, 1);
    assert_eq!(in_state(&pool, "trial").await.len(), 5);
}

#[tokio::test]
async fn a_leaked_key_is_never_checked_again() {
    let pool = TestPool::with_keys([FakeKey::new(KEYS[0], "1", Behaviour::Leaked)]).await;
    pool.fetch(TestRequest::Generate).await;
    in_state(&pool, "leaked").await;

    assert_eq!(run_checks_in(&pool, 1_000 * HOUR).await, 0);
}

#[tokio::test]
async fn an_invalid_new_key_is_found_before_a_request_uses_it() {
    let fake_config = FakeConfig::with_keys([
        FakeKey::new(KEYS[0], "1", Behaviour::Expired),
        FakeKey::healthy(KEYS[1], "2"),
    ]);
    let pool = TestPool::start_with(fake_config, &[("check_new_keys", "on")]).await;

    let invalid = in_state(&pool, "invalid").await;

    assert_eq!((invalid.len(), invalid[0].requests), (1, 0));
    assert_eq!(in_state(&pool, "ready").await.len(), 1);
    eventually("both keys were checked", async || {
        (checks(&pool).await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(run_checks_in(&pool, MINUTE).await, 0);
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(pool.row_of(&response).await.attempts, 1);
}

#[tokio::test]
async fn checks_pause_while_google_limits_the_address() {
    let dead = KEYS.map(|secret| FakeKey::new(secret, secret, Behaviour::Invalid));
    let good = FakeKey::healthy("AIza-secret-of-the-good-key", "good");
    let pool = TestPool::with_keys(dead.into_iter().chain([good])).await;
    eventually("all dead keys are unavailable", async || {
        pool.fetch(TestRequest::Generate).await;
        let keys = pool.keys().await;
        let invalid = keys.iter().filter(|key| key.state == "invalid");
        (invalid.count() == KEYS.len()).then_some(())
    })
    .await;
    for secret in KEYS {
        let limited = Behaviour::FixedResponse(429, "Resource has been exhausted".to_owned());
        pool.google.set_behaviour(secret, limited);
    }

    let looked = recheck_keys::pass(&pool.app, clock::now() + 11 * MINUTE).await;

    assert_eq!((looked.keys, looked.limited), (KEYS.len(), KEYS.len()));
}

/// Runs the checks that are due after `wait`. Returns the number of checked keys.
async fn run_checks_in(pool: &TestPool, wait: Duration) -> usize {
    recheck_keys::pass(&pool.app, clock::now() + wait)
        .await
        .keys
}

/// The keys in this state, once there are some.
async fn in_state(pool: &TestPool, state: &str) -> Vec<ListedUpstreamKey> {
    eventually("a key has the state", async || {
        let mut keys = pool.keys().await;
        keys.retain(|key| key.state == state);
        (!keys.is_empty()).then_some(keys)
    })
    .await
}

/// Waits for checks that requests have caused.
async fn checks_finished(pool: &TestPool, count: usize) {
    eventually("the checks are finished", async || {
        (checks(pool).await.len() == count).then_some(())
    })
    .await;
}

async fn checks(pool: &TestPool) -> Vec<RequestLog> {
    let mut rows = pool.rows().await;
    rows.retain(|row| row.kind == LogKind::Check);
    rows
}

async fn into_one_project(pool: &TestPool) {
    // Together: the server reloads what has a new revision as soon as it sees one.
    let mut tx = pool.app.db.begin().await.unwrap();
    for statement in [
        "UPDATE revision SET value = value + 1",
        "UPDATE upstream_keys SET project_id = 1, revision = (SELECT value FROM revision)",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
}
