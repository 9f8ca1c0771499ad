//! One request is one piece of evidence: a client cannot make keys unavailable that work.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::storage::request_logs::LogKind;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{TestPool, eventually};

const OTHER_CLIENT: &str = "CLIENT_KEY_2";
const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");

fn secret(number: usize) -> String {
    format!("AIzaSyTheSecretOfOneOfManyKeysOfThePool{number:03}")
}

fn keys(count: usize, behaviour: impl Fn(usize) -> Behaviour) -> Vec<FakeKey> {
    let key = |number| FakeKey::new(secret(number), number.to_string(), behaviour(number));
    (0..count).map(key).collect()
}

/// Errors that speak of a key or of its project, as Google sends them.
fn refusals() -> Vec<(u16, String)> {
    let error = |code: u16, status: &str, reason: &str, message: &str| {
        let details = format!(
            r#"[{{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "{reason}", "domain": "googleapis.com"}}]"#
        );
        let body = format!(
            r#"{{"error": {{"code": {code}, "message": "{message}", "status": "{status}", "details": {details}}}}}"#
        );
        (code, body)
    };
    vec![
        error(
            400,
            "INVALID_ARGUMENT",
            "API_KEY_INVALID",
            "API key not valid. Please pass a valid API key.",
        ),
        error(
            401,
            "UNAUTHENTICATED",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "Request had invalid authentication credentials.",
        ),
        error(
            403,
            "PERMISSION_DENIED",
            "API_KEY_SERVICE_BLOCKED",
            "Requests to this API are blocked.",
        ),
        error(
            403,
            "PERMISSION_DENIED",
            "CONSUMER_SUSPENDED",
            "Permission denied: Consumer has been suspended.",
        ),
        error(
            403,
            "PERMISSION_DENIED",
            "SERVICE_DISABLED",
            "Generative Language API has not been used in project.",
        ),
    ]
}

async fn states(pool: &TestPool) -> HashMap<String, usize> {
    let mut states = HashMap::new();
    for key in pool.keys().await {
        *states.entry(key.state).or_default() += 1;
    }
    states
}

#[tokio::test]
async fn a_request_that_google_refuses_whatever_the_key_sets_few_keys_aside() {
    for (status, body) in refusals() {
        let pool = TestPool::start(FakeConfig::with_keys(keys(20, |_| Behaviour::Healthy))).await;
        let refusal = ReplayedResponse::new(status, &[JSON], body.clone());
        pool.google.respond_to_marked("marked=1", refusal);
        let marked = format!("{}?marked=1", TestRequest::Generate.path());
        for _ in 0..100 {
            let request = pool.post(&marked, TestRequest::Generate.body());
            let response = ClientResponse::whole(request.send().await.unwrap()).await;
            assert_eq!(response.status, 503, "{}", response.text());
            let aside = 20 - states(&pool).await.get("ready").copied().unwrap_or(0);
            assert!(aside <= 4, "{body}: {:?}", states(&pool).await);
        }
        // The next good request is served at once.
        assert_eq!(
            pool.fetch(TestRequest::Generate).await.status,
            200,
            "{body}"
        );
        let mut rows = pool.rows().await;
        rows.retain(|row| row.kind == LogKind::Check);
        assert!(rows.len() <= 4, "{body}: {} checks", rows.len());
        eventually("every key is back", async || {
            pool.fetch(TestRequest::Generate).await;
            (states(&pool).await.get("ready") == Some(&20)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_half_of_the_keys_dead_every_request_succeeds_and_each_dead_key_is_out_soon() {
    let behaviour = |number: usize| match number % 6 {
        0 => Behaviour::Invalid,
        2 => Behaviour::Suspended,
        4 => Behaviour::Leaked,
        _ => Behaviour::Healthy,
    };
    let pool = TestPool::start(FakeConfig::with_keys(keys(60, behaviour))).await;

    let answers = stream::iter(0..1_000).map(|_| pool.fetch(TestRequest::Generate));
    let failed = answers
        .buffer_unordered(32)
        .filter(|answer| std::future::ready(answer.status != 200));
    assert_eq!(failed.count().await, 0);

    let mut met: HashMap<_, u32> = HashMap::new();
    for row in pool.finished_rows(1_000).await {
        for attempt in row.attempt_list.iter().flatten() {
            if attempt.rule.as_deref() != Some("success") {
                *met.entry(attempt.upstream_key_id).or_default() += 1;
            }
        }
    }
    assert_eq!(met.len(), 30, "{met:?}");
    // Requests that ran at the same time may meet a key before the first of them ends.
    assert!(met.values().all(|count| *count <= 5), "{met:?}");
    assert_eq!(states(&pool).await.get("ready"), Some(&30));
}

#[tokio::test]
async fn a_pool_of_one_key_learns_that_it_is_dead() {
    let pool = TestPool::start(FakeConfig::with_keys(keys(1, |_| Behaviour::Invalid))).await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("can serve this request"),
        "{}",
        response.text()
    );
    eventually("the key is invalid", async || {
        (states(&pool).await.get("invalid") == Some(&1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn soft_faults_that_one_client_draws_cool_no_key_down() {
    let pool = TestPool::start(FakeConfig::with_keys(keys(6, |_| Behaviour::Healthy))).await;
    pool.add_client_key(OTHER_CLIENT).await;
    let fault = r#"{"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}}"#;
    let fault = ReplayedResponse::new(500, &[JSON], fault);
    pool.google.respond_to_marked("marked=1", fault);
    let marked = format!("{}{}?marked=1", pool.url, TestRequest::Generate.path());

    for _ in 0..60 {
        let request = pool
            .client
            .post(&marked)
            .header("x-goog-api-key", OTHER_CLIENT);
        let request = request.body(TestRequest::Generate.body());
        assert_eq!(request.send().await.unwrap().status(), 500);
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    }

    assert_eq!(states(&pool).await.get("ready"), Some(&6));
}

#[tokio::test]
async fn a_key_that_fails_where_another_serves_the_same_client_cools_down() {
    let behaviour = |number| match number {
        0 => Behaviour::InternalError,
        _ => Behaviour::Healthy,
    };
    let pool = TestPool::start(FakeConfig::with_keys(keys(2, behaviour))).await;

    eventually("the key that fails cools down", async || {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
        (states(&pool).await.get("cooling_down") == Some(&1)).then_some(())
    })
    .await;

    let failed = pool.google.counts(&secret(0)).requests;
    assert!((5..=6).contains(&failed), "{failed} requests failed");
}
