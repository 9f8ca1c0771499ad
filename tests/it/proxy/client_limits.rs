//! What a client key may spend.

use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;
use gemini_pool::pool::outcome::Outcome;
use http::StatusCode;
use serde_json::Value;

use crate::support::process::{PoolProcess, command};
use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};
use crate::support::{CLIENT_ID, CLIENT_KEY, RequestLog, TestPool, eventually, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
/// A shape by which all requests of a test are under way before the first is answered, however busy the machine.
const SLOW: &str = "first_byte=1500";

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await
}

/// Asks `count` times at once.
async fn send_concurrently(pool: &TestPool, count: usize, shape: &str) -> Vec<ClientResponse> {
    let requests = (0..count).map(|n| async move {
        let test_request = TestRequest::SURFACES[n % TestRequest::SURFACES.len()];
        let request = pool.post(test_request.path(), test_request.body());
        let answer = request.header("x-fake-gemini", shape).send();
        ClientResponse::whole(answer.await.unwrap()).await
    });
    join_all(requests).await
}

fn with_status(response: &[ClientResponse], status: u16) -> Vec<&ClientResponse> {
    let response = response.iter();
    response
        .filter(|response| response.status == status)
        .collect()
}

fn retry_after(response: &ClientResponse) -> u64 {
    response.header("retry-after").unwrap().parse().unwrap()
}

/// The row of a request that was refused for a limit, which says so.
fn assert_refused(row: &RequestLog, why: &str) {
    assert_eq!(row.outcome, Some(Outcome::Refused), "{row:?}");
    assert_eq!(row.status, Some(429), "{row:?}");
    assert_eq!((row.attempts, row.client_key_id), (0, Some(CLIENT_ID)));
    let error = row.error.as_deref().unwrap();
    assert!(error.contains(why), "{error}");
}

/// The ids of the quotas that a native refusal names.
fn quota_ids(response: &ClientResponse) -> Vec<String> {
    let body = response.json();
    let details = body["error"]["details"].as_array().unwrap();
    let violations = details
        .iter()
        .filter_map(|detail| detail["violations"].as_array());
    let ids = violations
        .flatten()
        .filter_map(|violation| violation["quotaId"].as_str());
    ids.map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_five_hundred_at_once_exactly_as_many_are_served_as_the_minute_allows() {
    let pool = pool().await;
    pool.allow(|terms| terms.limits.requests_per_minute = Some(120))
        .await;
    let began = clock::instant();

    let response = send_concurrently(&pool, 500, "").await;

    let took = began.elapsed().as_secs() + 1;
    let refused = with_status(&response, 429);
    assert_eq!(with_status(&response, 200).len(), 120);
    assert_eq!(refused.len(), 380);
    assert_eq!(pool.google.requests(), 120);
    for response in &refused {
        let wait = retry_after(response);
        assert!(
            (60_u64.saturating_sub(took)..=61).contains(&wait),
            "{wait} s after {took} s"
        );
        let row = pool.row_of(response).await;
        assert_refused(
            &row,
            "has sent 120 requests in the last minute and may send 120",
        );
    }
    assert_eq!(pool.rows().await.len(), 500);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_refusal_speaks_the_dialect_that_was_asked() {
    let pool = pool().await;
    pool.record_past_request(Duration::from_secs(10)).await;
    pool.allow(|terms| terms.limits.requests_per_minute = Some(1))
        .await;

    for test_request in TestRequest::SURFACES {
        let response = pool.fetch(test_request).await;

        assert_eq!(response.status, 429, "{test_request:?}");
        let wait = retry_after(&response);
        assert!((20..=51).contains(&wait), "{wait}");
        let error = &response.json()["error"];
        let expected = match test_request {
            TestRequest::Generate => Value::from(429),
            _ => "rate_limit_exceeded".into(),
        };
        assert_eq!(error["code"], expected, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.ends_with(&format!("Please retry in {wait}s.")),
            "{message}"
        );
        if test_request == TestRequest::Generate {
            assert_eq!(quota_ids(&response), ["ClientKeyRequestsPerMinute"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_under_way_than_allowed() {
    let pool = pool().await;
    pool.allow(|terms| terms.limits.concurrency = Some(3)).await;

    let response = send_concurrently(&pool, 30, SLOW).await;

    let refused = with_status(&response, 429);
    assert_eq!(refused.len() + with_status(&response, 200).len(), 30);
    assert!(!refused.is_empty());
    assert_eq!(pool.google.counts(KEY).max_in_flight, 3);
    for response in refused {
        assert_eq!(retry_after(response), 1);
        assert_refused(
            &pool.row_of(response).await,
            "has 3 requests in progress and may have 3",
        );
    }

    // However a request ends, its slot comes back.
    pool.google.set_response_shape(ResponseShape {
        chunks: 1_000,
        chunk_delay_ms: 10,
        ..ResponseShape::default()
    });
    for _ in 0..3 {
        let mut answer = pool.send(TestRequest::StreamSse).await;
        assert_eq!(answer.status(), 200);
        answer.chunk().await.unwrap();
    }
    eventually("the slots of those who went are free", async || {
        (pool.google.open_responses() == 0).then_some(())
    })
    .await;
    pool.google.set_response_shape(ResponseShape::default());
    pool.google.set_behaviour(
        KEY,
        Behaviour::Sequence(vec![
            Behaviour::AbortStream(1),
            Behaviour::CloseConnection,
            Behaviour::Healthy,
        ]),
    );
    for _ in 0..2 {
        pool.fetch(TestRequest::StreamSse).await;
    }
    pool.google.reset_counts();
    let response = send_concurrently(&pool, 3, SLOW).await;
    assert_eq!(with_status(&response, 200).len(), 3);
    assert_eq!(pool.google.counts(KEY).max_in_flight, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_pass_their_limit_by_no_more_than_one_request() {
    let pool = pool().await;
    pool.allow(|terms| {
        terms.limits.tokens_per_minute = Some(1);
        terms.limits.tokens_per_day = Some(1);
    })
    .await;

    let response = send_concurrently(&pool, 5, SLOW).await;
    let refused = pool.fetch(TestRequest::Generate).await;

    // The first one reserves what it will use.
    assert_eq!(with_status(&response, 200).len(), 1);
    let rows = pool.rows().await;
    let spent: i64 = rows.iter().filter_map(|row| row.total_tokens).sum();
    assert!(spent > 1);
    let reported = format!("has used {spent} tokens today and may use 1");
    assert_refused(&pool.row_of(&refused).await, &reported);
    assert_eq!(quota_ids(&refused), ["ClientKeyTokensPerDay"]);

    pool.allow(|terms| terms.limits.tokens_per_day = None).await;
    let refused = pool.fetch(TestRequest::Generate).await;
    let reported = format!("has used {spent} tokens in the last minute and may use 1");
    assert_refused(&pool.row_of(&refused).await, &reported);
    assert_eq!(quota_ids(&refused), ["ClientKeyTokensPerMinute"]);
    assert_eq!(pool.google.requests(), 1);
}

#[tokio::test]
async fn a_limit_that_is_new_counts_what_was_spent_before() {
    let pool = pool().await;
    for _ in 0..2 {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    }
    let rows = pool.rows().await;
    let cost: f64 = rows.iter().filter_map(|row| row.cost_usd).sum();
    assert!(cost > 0.0);

    pool.allow(|terms| terms.limits.cost_per_month_nano_usd = Some(1))
        .await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_refused(
        &pool.row_of(&response).await,
        "USD this month and may spend 0.000000001",
    );
    assert_eq!(quota_ids(&response), ["ClientKeyCostPerDaysOfMonth"]);

    pool.allow(|terms| {
        terms.limits.cost_per_month_nano_usd = None;
        terms.limits.requests_per_day = Some(3);
    })
    .await;
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    let response = pool.fetch(TestRequest::Generate).await;
    assert_refused(
        &pool.row_of(&response).await,
        "has sent 3 requests today and may send 3",
    );

    pool.allow(|terms| terms.limits.requests_per_day = None)
        .await;
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
}

#[tokio::test]
async fn what_never_went_to_google_does_not_count() {
    let pool = TestPool::start(FakeConfig::default()).await;
    pool.allow(|terms| {
        terms.limits.requests_per_minute = Some(1);
        terms.limits.requests_per_day = Some(1);
    })
    .await;

    for _ in 0..3 {
        let response = pool.fetch(TestRequest::Generate).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn what_went_to_google_counts_however_it_ended() {
    let behaviours = vec![
        Behaviour::CloseConnection,
        Behaviour::TruncatedBody,
        Behaviour::Healthy,
    ];
    let pool = TestPool::with_keys([FakeKey::new(KEY, "1", Behaviour::Sequence(behaviours))]).await;
    pool.allow(|terms| terms.limits.requests_per_day = Some(2))
        .await;

    // Whether the head of the answer that breaks off has gone out by then is a race.
    let [cut, good, refused]: [&[u16]; 3] = [&[200, 503], &[200], &[429]];
    for statuses in [cut, good, refused] {
        let response = pool.fetch(TestRequest::Generate).await;
        let status = response.status.as_u16();
        assert!(statuses.contains(&status), "{status}: {}", response.text());
    }
}

#[tokio::test]
async fn the_day_goes_on_after_a_crash_and_ends_when_it_is_lifted() {
    let keys = [KEY.to_owned()];
    let pool = pool().await;
    let google = pool.google.url();
    let folder = tempfile::tempdir().unwrap();
    let send_request = async |process: &PoolProcess| {
        let client = http_client().build().unwrap();
        let request = client.post(format!("{}{}", process.url, TestRequest::Generate.path()));
        let request = request
            .header("x-goog-api-key", CLIENT_KEY)
            .body(GENERATE_BODY);
        ClientResponse::whole(request.send().await.unwrap()).await
    };
    let update = |limit: &str| {
        let mut update = command(folder.path());
        update.args(["client-keys", "update", "1", "--requests-per-day", limit]);
        assert!(update.status().unwrap().success());
    };
    // The first start makes the client key.
    PoolProcess::start(folder.path(), &google, &keys)
        .await
        .kill();
    update("3");

    let process = PoolProcess::start(folder.path(), &google, &keys).await;
    for _ in 0..2 {
        assert_eq!(send_request(&process).await.status, 200);
    }
    process.kill();
    let process = PoolProcess::start(folder.path(), &google, &keys).await;
    assert_eq!(send_request(&process).await.status, 200);
    let response = send_request(&process).await;

    assert_eq!(response.status, 429);
    let second = clock::now().as_millis() / 1_000;
    let midnight = 86_400 - u64::try_from(second % 86_400).unwrap();
    let wait = retry_after(&response);
    assert!(
        (midnight..midnight + 60).contains(&wait),
        "{wait}, midnight is in {midnight} s"
    );
    assert_eq!(quota_ids(&response), ["ClientKeyRequestsPerDay"]);
    let wrong = command(folder.path())
        .args(["client-keys", "update", "1", "--requests-per-day", "0"])
        .stderr(std::process::Stdio::null())
        .status();
    assert_eq!(wrong.unwrap().code(), Some(2));

    update("none");
    eventually("the running server has noticed", async || {
        (send_request(&process).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_usage_is_charged_by_an_estimate() {
    let pool = pool().await;
    pool.allow(|terms| terms.limits.tokens_per_day = Some(3_000))
        .await;
    // As OpenAI's clients ask by default: about 2,000 tokens, and no usage in the stream.
    let body = serde_json::json!({
        "model": "gemini-2.5-flash",
        "stream": true,
        "messages": [{"role": "user", "content": "word ".repeat(1_600)}],
    });
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let request = pool.post(TestRequest::ChatStream.path(), &body.to_string());
        let response = ClientResponse::whole(request.send().await.unwrap()).await;
        assert!(
            !response.text().contains("\"usage\""),
            "{}",
            response.text()
        );
        statuses.push(response.status.as_u16());
        if response.status == 200 {
            let row = pool.row_of(&response).await;
            assert!(row.usage_estimated, "{row:?}");
            assert!(
                (2_000..2_400).contains(&row.total_tokens.unwrap()),
                "{row:?}"
            );
            assert!(
                row.output_tokens > Some(0) && row.cost_usd.is_some(),
                "{row:?}"
            );
        }
    }
    assert_eq!(statuses[..3], [200, 200, 429]);
    assert!(statuses[3..].iter().all(|status| *status == 429));
    pool.assert_sums_agree().await;

    // All at once.
    let pool = self::pool().await;
    pool.allow(|terms| terms.limits.tokens_per_day = Some(3_000))
        .await;
    let requests = (0..12).map(|_| async {
        let request = pool.post(TestRequest::ChatStream.path(), &body.to_string());
        let request = request.header("x-fake-gemini", SLOW).send();
        ClientResponse::whole(request.await.unwrap()).await
    });
    let responses = join_all(requests).await;
    assert_eq!(with_status(&responses, 200).len(), 2);
    assert_eq!(with_status(&responses, 429).len(), 10);
}

#[tokio::test]
async fn usage_that_google_reports_is_no_estimate_and_other_work_is_not_charged() {
    let pool = pool().await;
    let counted = pool.fetch(TestRequest::Generate).await;
    assert!(!pool.row_of(&counted).await.usage_estimated);
    for path in [
        "/v1beta/models/imagen-4.0:predict",
        "/v1beta/models/gemini-2.5-flash:countTokens",
    ] {
        let response = pool.post(path, GENERATE_BODY).send().await.unwrap();
        let row = pool.row_of(&ClientResponse::whole(response).await).await;
        assert!(!row.usage_estimated, "{path}: {row:?}");
    }
}
