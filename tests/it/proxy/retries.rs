//! What is tried again, what is not, and who is blamed.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey, StreamErrorFormat};
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::cooldowns;
use serde_json::Value;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{TestPool, eventually};

const FIRST: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool01";
const SECOND: &str = "AIzaSyTheSecretOfTheSecondKeyOfThePool2";
const PROJECT: &str = "700000000001";

#[tokio::test]
async fn a_bad_request_costs_one_attempt_and_blames_nobody() {
    let pool = two_keys(Behaviour::Healthy, Behaviour::Healthy).await;

    for (test_request, body) in [
        (TestRequest::Generate, r#"{"contents":"no list"}"#),
        (TestRequest::StreamSse, r#"{"contents":"no list"}"#),
        (TestRequest::Chat, r#"{"model":"gemini-2.5-flash"}"#),
    ] {
        let answer = pool.post(test_request.path(), body).send().await.unwrap();
        let response = ClientResponse::whole(answer).await;
        assert_eq!(response.status, 400, "{test_request:?} {}", response.text());
    }

    let rows = pool.finished_rows(3).await;
    for row in &rows {
        assert_eq!(row.attempts, 1, "{row:?}");
        assert_eq!(row.outcome, Some(Outcome::ClientError), "{row:?}");
    }
    assert_eq!(pool.google.requests(), 3);
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_told_in_googles_own_words() {
    let pool = two_keys(Behaviour::Healthy, Behaviour::Healthy).await;

    let path = "/v1beta/models/gemini-9:generateContent";
    let answer = pool
        .post(path, TestRequest::Generate.body())
        .send()
        .await
        .unwrap();
    let through_the_pool = ClientResponse::whole(answer).await;
    let direct = pool
        .client
        .post(format!("{}{path}", pool.google.url()))
        .header("x-goog-api-key", FIRST)
        .body(TestRequest::Generate.body())
        .send()
        .await
        .unwrap();
    let direct = ClientResponse::whole(direct).await;

    assert_eq!(through_the_pool.status, 404);
    assert_eq!(through_the_pool.text(), direct.text());
    assert_eq!(pool.row().await.attempts, 1);
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn an_overload_is_tried_twice_more_and_blames_nobody() {
    let pool = TestPool::with_keys([
        FakeKey::new(FIRST, PROJECT, Behaviour::Overloaded),
        FakeKey::new(SECOND, "700000000002", Behaviour::Overloaded),
        FakeKey::new(
            "AIzaSyTheThird-Key-0003",
            "700000000003",
            Behaviour::Overloaded,
        ),
        FakeKey::new(
            "AIzaSyTheFourth-Key-0004",
            "700000000004",
            Behaviour::Overloaded,
        ),
    ])
    .await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("high demand"),
        "{}",
        response.text()
    );
    let row = pool.row().await;
    assert_eq!(
        (row.attempts, row.outcome),
        (3, Some(Outcome::UpstreamError))
    );
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn a_single_key_outlives_an_overload_and_a_broken_connection_unseen() {
    for behaviour in [
        Behaviour::Overloaded,
        Behaviour::OverloadedLegacyText,
        Behaviour::InternalError,
        Behaviour::BadGatewayHtml,
        Behaviour::ResetConnection,
        Behaviour::CloseConnection,
        Behaviour::MalformedResponse,
        Behaviour::TruncatedHead,
    ] {
        for test_request in [TestRequest::Generate, TestRequest::StreamSse] {
            let once = Behaviour::Sequence(vec![behaviour.clone(), Behaviour::Healthy]);
            let pool = TestPool::with_keys([FakeKey::new(FIRST, PROJECT, once)]).await;

            let response = pool.fetch(test_request).await;

            assert_eq!(response.status, 200, "{behaviour:?}: {}", response.text());
            let row = pool.row().await;
            assert_eq!(row.attempts, 2, "{behaviour:?}: {row:?}");
            assert_eq!(row.outcome, Some(Outcome::Success), "{behaviour:?}");
            assert_eq!(pool.google.requests(), 2, "{behaviour:?}");
            assert_nobody_is_blamed(&pool).await;
        }
    }
}

#[tokio::test]
async fn a_failure_of_googles_is_tried_once_more() {
    for (behaviour, status, outcome) in [
        (Behaviour::InternalError, 500, Outcome::UpstreamError),
        (Behaviour::BadGatewayHtml, 502, Outcome::UpstreamError),
        (Behaviour::ResetConnection, 503, Outcome::Network),
        (Behaviour::CloseConnection, 503, Outcome::Network),
    ] {
        let pool = TestPool::with_keys([
            FakeKey::new(FIRST, PROJECT, behaviour.clone()),
            FakeKey::new(SECOND, "700000000002", behaviour.clone()),
            FakeKey::new("AIzaSyTheThird-Key-0003", "700000000003", behaviour.clone()),
        ])
        .await;

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(
            response.status,
            status,
            "{behaviour:?}: {}",
            response.text()
        );
        let row = pool.row().await;
        assert_eq!(
            (row.attempts, row.outcome),
            (2, Some(outcome)),
            "{behaviour:?}"
        );
        assert_eq!(pool.google.requests(), 2, "{behaviour:?}");
        assert_nobody_is_blamed(&pool).await;
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_told_as_unreachable() {
    let pool = two_keys(Behaviour::Healthy, Behaviour::Healthy).await;
    pool.google.shutdown().await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    let row = pool.row().await;
    assert_eq!((row.attempts, row.outcome), (2, Some(Outcome::Network)));
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn what_was_sent_and_got_no_answer_in_time_is_not_sent_again() {
    let fake_config = FakeConfig::with_keys([
        FakeKey::new(FIRST, PROJECT, Behaviour::NeverRespond),
        FakeKey::new(SECOND, "700000000002", Behaviour::NeverRespond),
    ]);
    let pool = TestPool::start_with(fake_config, &[("first_byte_timeout_ms", "300")]).await;

    for test_request in TestRequest::SURFACES {
        let response = pool.fetch(test_request).await;
        assert_eq!(
            response.status,
            504,
            "{test_request:?}: {}",
            response.text()
        );
    }

    let rows = pool.finished_rows(3).await;
    for row in rows {
        assert_eq!((row.attempts, row.outcome), (1, Some(Outcome::Network)));
        let attempt = &row.attempt_list.as_ref().unwrap()[0];
        assert_eq!(attempt.rule.as_deref(), Some("answer_timeout"));
    }
    assert_eq!(pool.google.requests(), 3);
    // Google's side is let go at once.
    eventually("the fake is rid of the requests", async || {
        (pool.google.open_responses() == 0).then_some(())
    })
    .await;
    assert_nobody_is_blamed(&pool).await;
}

#[tokio::test]
async fn a_deadline_of_the_clients_own_is_no_reason_to_try_again() {
    let pool = two_keys(Behaviour::DeadlineExceeded, Behaviour::DeadlineExceeded).await;

    let request = pool.post(TestRequest::Generate.path(), TestRequest::Generate.body());
    let answer = request
        .header("x-server-timeout", "2")
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), 504);
    assert_eq!(pool.row().await.attempts, 1);
    assert_eq!(
        pool.google
            .last_received()
            .unwrap()
            .header("x-server-timeout"),
        Some("2")
    );
}

#[tokio::test]
async fn nothing_is_sent_again_after_the_first_byte() {
    for test_request in [
        TestRequest::StreamSse,
        TestRequest::StreamArray,
        TestRequest::ChatStream,
        TestRequest::InteractionStream,
    ] {
        for behaviour in [
            Behaviour::AbortStream(2),
            error_after(2, 503),
            error_after(2, 429),
        ] {
            let pool = TestPool::with_keys([
                FakeKey::new(FIRST, PROJECT, behaviour.clone()),
                FakeKey::new(SECOND, "700000000002", behaviour.clone()),
            ])
            .await;

            let response = pool.fetch(test_request).await;

            assert_eq!(response.status, 200);
            let row = pool.row().await;
            assert_eq!(row.attempts, 1, "{test_request:?} {behaviour:?}");
            assert_eq!(
                row.outcome,
                Some(Outcome::BrokenOff),
                "{test_request:?} {behaviour:?}"
            );
            assert_eq!(pool.google.requests(), 1);
        }
    }
}

#[tokio::test]
async fn a_stream_that_begins_with_an_error_is_carried_by_another_key() {
    for test_request in [
        TestRequest::StreamSse,
        TestRequest::StreamArray,
        TestRequest::ChatStream,
        TestRequest::InteractionStream,
    ] {
        for code in [429, 500, 503] {
            let once =
                Behaviour::Sequence(vec![Behaviour::FirstEventError(code), Behaviour::Healthy]);
            let pool = two_keys(once, Behaviour::Healthy).await;

            let mut attempts = 0;
            for _ in 0..2 {
                let response = pool.fetch(test_request).await;
                assert_eq!(response.status, 200);
                assert!(
                    !response.text().contains("error"),
                    "{test_request:?} {code}: {}",
                    response.text()
                );
            }

            for row in pool.finished_rows(2).await {
                assert_eq!(
                    row.outcome,
                    Some(Outcome::Success),
                    "{test_request:?} {code}"
                );
                attempts += row.attempts;
            }
            assert_eq!(attempts, 3, "{test_request:?} {code}");
        }
    }
}

#[tokio::test]
async fn an_empty_stream_that_broke_before_its_first_event_is_tried_again() {
    let behaviour = Behaviour::Sequence(vec![Behaviour::AbortStream(0), Behaviour::Healthy]);
    let pool = TestPool::with_keys([FakeKey::new(FIRST, PROJECT, behaviour)]).await;

    let response = pool.fetch(TestRequest::StreamSse).await;

    assert!(!response.text().contains("error"), "{}", response.text());
    let row = pool.row().await;
    assert_eq!((row.attempts, row.outcome), (2, Some(Outcome::Success)));
}

#[tokio::test]
async fn with_all_keys_resting_clients_are_told_how_long() {
    let fake_config = FakeConfig::with_keys([FakeKey::new(FIRST, PROJECT, Behaviour::Exhausted)]);
    let pool = TestPool::start_with(fake_config, &[("wait_for_key_seconds", "0")]).await;

    // The first meets the 429 itself, the second knows of it.
    for _ in 0..2 {
        let native = pool.fetch(TestRequest::Generate).await;
        let seconds = seconds_to_wait(&native);
        assert!((1..=10).contains(&seconds), "{seconds}");
        let details = &native.json()["error"]["details"];
        assert_eq!(native.json()["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(retry_delay(details), format!("{seconds}s"));
        assert!(violations(details).is_none(), "{details}");
    }
    let openai = pool.fetch(TestRequest::Chat).await;
    seconds_to_wait(&openai);
    assert_eq!(openai.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(openai.json()["error"]["type"], "rate_limit_error");
    let interaction = pool.fetch(TestRequest::Interaction).await;
    seconds_to_wait(&interaction);
    assert_eq!(interaction.json()["error"]["code"], "rate_limit_exceeded");

    let rows = pool.finished_rows(4).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Quota)));
    assert_eq!(rows.iter().map(|row| row.attempts).sum::<i64>(), 1);
    for response in [pool.fetch(TestRequest::Generate).await, openai, interaction] {
        response.assert_reveals_nothing_of(&[FakeKey::healthy(FIRST, PROJECT)]);
    }
}

#[tokio::test]
async fn with_the_day_used_up_sdks_are_told_to_stop() {
    let day = ProjectQuota::free(None, None, Some(1));
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(FIRST, PROJECT)]).quota(PROJECT, day);
    let pool = TestPool::start(fake_config).await;
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);

    for _ in 0..2 {
        let native = pool.fetch(TestRequest::Generate).await;
        let details = &native.json()["error"]["details"];
        let seconds = seconds_to_wait(&native);
        assert_eq!(retry_delay(details), format!("{seconds}s"));
        let violation = &violations(details).unwrap()[0];
        let quota = violation["quotaId"].as_str().unwrap();
        assert!(quota.contains("PerDay"), "{quota}");
    }
    let interaction = pool.fetch(TestRequest::Interaction).await;
    assert_eq!(interaction.json()["error"]["code"], "quota_exceeded");
    let openai = pool.fetch(TestRequest::Chat).await;
    let message = openai.json()["error"]["message"].to_string();
    assert!(message.contains("for today"), "{message}");
    // Another model is not concerned.
    let path = "/v1beta/models/gemini-2.5-pro:generateContent";
    let other = pool
        .post(path, TestRequest::Generate.body())
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn a_pool_without_keys_or_without_a_usable_one_says_so() {
    let pool = TestPool::with_keys([]).await;
    for test_request in TestRequest::SURFACES {
        let response = pool.fetch(test_request).await;
        assert_eq!(response.status, 503, "{test_request:?}");
        assert!(
            response.text().contains("no upstream key"),
            "{}",
            response.text()
        );
    }

    let pool = two_keys(Behaviour::Leaked, Behaviour::Suspended).await;
    for test_request in TestRequest::SURFACES {
        let response = pool.fetch(test_request).await;
        assert_eq!(response.status, 503, "{test_request:?}");
        assert!(response.header("retry-after").is_some());
        response.assert_reveals_nothing_of(&keys(Behaviour::Leaked, Behaviour::Suspended));
    }
    let rows = pool.finished_rows(3).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::NoKey)));
    let said = rows[0].error.as_deref().unwrap();
    assert!(!said.contains(FIRST) && !said.contains(SECOND), "{said}");
}

fn error_after(after: usize, code: u16) -> Behaviour {
    Behaviour::StreamError {
        after,
        code,
        format: StreamErrorFormat::Event,
    }
}

fn keys(first: Behaviour, second: Behaviour) -> [FakeKey; 2] {
    [
        FakeKey::new(FIRST, PROJECT, first),
        FakeKey::new(SECOND, "700000000002", second),
    ]
}

async fn two_keys(first: Behaviour, second: Behaviour) -> TestPool {
    TestPool::with_keys(keys(first, second)).await
}

/// What `retry-after` says; fails unless the answer is a 429.
fn seconds_to_wait(response: &ClientResponse) -> u64 {
    assert_eq!(response.status, 429, "{}", response.text());
    response.header("retry-after").unwrap().parse().unwrap()
}

fn retry_delay(details: &Value) -> &str {
    detail(details, "RetryInfo").unwrap()["retryDelay"]
        .as_str()
        .unwrap()
}

fn violations(details: &Value) -> Option<&Value> {
    detail(details, "QuotaFailure").map(|detail| &detail["violations"])
}

fn detail<'a>(details: &'a Value, kind: &str) -> Option<&'a Value> {
    let details = details.as_array().unwrap();
    details
        .iter()
        .find(|detail| detail["@type"].as_str().unwrap().ends_with(kind))
}

async fn assert_nobody_is_blamed(pool: &TestPool) {
    for key in pool.keys().await {
        assert_eq!(key.state, "ready", "{key:?}");
    }
    let cooldowns = cooldowns::list_changed(pool.settled().await, -1, clock::now()).await;
    assert_eq!(cooldowns.unwrap().len(), 0);
    assert_eq!(pool.leases(), 0);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn the_row_says_why_there_was_no_further_attempt() {
    let conflict = r#"{"error":{"code":409,"message":"Conflict.","status":"ABORTED"}}"#;
    let conflict = Behaviour::FixedResponse(409, conflict.to_owned());
    for (behaviours, reason) in [
        (vec![Behaviour::Healthy], "answered"),
        (vec![Behaviour::Invalid; 2], "no_other_key"),
        (vec![Behaviour::InternalError; 3], "repeated_fault"),
        (vec![conflict], "not_retryable"),
    ] {
        let keys = (1..).zip(&behaviours).map(|(number, behaviour)| {
            let key = format!("AIzaSyOfTheReasons-Key-{number:04}");
            FakeKey::new(key, format!("70000000000{number}"), behaviour.clone())
        });
        let pool = TestPool::with_keys(keys).await;
        // No wait for keys that will not come back.
        pool.set(&[("wait_for_key_seconds", "0")]).await;

        pool.fetch(TestRequest::Generate).await;

        let row = pool.row().await;
        assert_eq!(row.stop_reason.as_deref(), Some(reason), "{behaviours:?}");
    }
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, PROJECT)]).await;
    let refused = pool
        .client
        .post(format!("{}/v1beta/models/m:generateContent", pool.url));
    assert_eq!(refused.send().await.unwrap().status(), 401);
    assert_eq!(pool.row().await.stop_reason, None);
}
