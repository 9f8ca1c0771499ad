//! Replies without content: passed on as they are, or sent again where the setting says so.

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;
use serde_json::Value;

use crate::support::TestPool;
use crate::support::requests::TestRequest;

const FIRST: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool01";
const SECOND: &str = "AIzaSyTheSecretOfTheSecondKeyOfThePool2";
const REPLIES: [TestRequest; 5] = [
    TestRequest::Generate,
    TestRequest::StreamSse,
    TestRequest::StreamArray,
    TestRequest::Chat,
    TestRequest::ChatStream,
];

/// A pool whose first two requests get these.
async fn pool(behaviours: [Behaviour; 2], setting: &str) -> TestPool {
    let [first, second] = behaviours;
    let sequence = Behaviour::Sequence(vec![first, second]);
    let pool = TestPool::with_keys([FakeKey::new(FIRST, "700000000001", sequence)]).await;
    pool.set(&[("empty_reply_retry", setting)]).await;
    pool
}

#[tokio::test]
async fn an_empty_reply_is_sent_again_before_any_byte_reached_the_client() {
    for reason in ["STOP", "MALFORMED_FUNCTION_CALL"] {
        for request in REPLIES {
            let pool = pool([Behaviour::EmptyReply(reason), Behaviour::Healthy], "on").await;

            let response = pool.fetch(request).await;

            let text = response.text();
            assert_eq!(response.status, 200, "{reason} {request:?}");
            assert!(!text.contains("MALFORMED"), "{request:?}: {text}");
            assert!(
                text.contains("sky is blue") || text.len() > 300,
                "{request:?}: {text}"
            );
            assert_eq!(
                response.header("x-pool-empty-replies"),
                Some("1"),
                "{request:?}"
            );
            let row = pool.row().await;
            assert_eq!(
                (row.attempts, row.outcome),
                (2, Some(Outcome::Success)),
                "{row:?}"
            );
            let attempts = attempts(&pool, &response).await;
            assert_eq!(attempts[0]["rule"], "empty_reply", "{attempts:?}");
            assert!(
                attempts[0]["error"]
                    .as_str()
                    .unwrap()
                    .contains("no content"),
                "{attempts:?}"
            );
            assert_eq!(attempts[1]["rule"], "success", "{attempts:?}");
            pool.assert_sums_agree().await;
        }
    }
}

#[tokio::test]
async fn the_row_has_the_tokens_of_both_replies_and_the_client_is_charged_for_one() {
    let empty = Behaviour::EmptyReply("STOP");
    let pool = pool([empty, Behaviour::Healthy], "on").await;
    pool.allow(|terms| terms.limits.tokens_per_day = Some(100_000))
        .await;

    let response = pool.fetch(TestRequest::Generate).await;

    let usage = &response.json()["usageMetadata"];
    let prompt = usage["promptTokenCount"].as_i64().unwrap();
    let total = usage["totalTokenCount"].as_u64().unwrap();
    let row = pool.row().await;
    assert_eq!(row.prompt_tokens, Some(2 * prompt), "{row:?}");
    let client = pool.app.client_keys().find_by_id(crate::support::CLIENT_ID);
    let left = pool
        .app
        .admission
        .lock()
        .remaining(&client.unwrap(), gemini_pool::clock::now());
    assert_eq!(left[0].1, 100_000 - total);
}

#[tokio::test]
async fn a_second_empty_reply_is_passed_on_as_it_is() {
    for request in REPLIES {
        let empty = Behaviour::EmptyReply("STOP");
        let guarded = pool([empty.clone(), empty.clone()], "on").await;
        let plain = pool([empty.clone(), empty], "off").await;

        let response = guarded.fetch(request).await;
        let expected = plain.fetch(request).await;

        assert_eq!(response.status, 200, "{request:?}");
        let length = |text: String| text.lines().map(str::len).sum::<usize>();
        assert_eq!(
            length(response.text()),
            length(expected.text()),
            "{request:?}"
        );
        let row = guarded.row().await;
        assert_eq!(
            (row.attempts, row.outcome),
            (2, Some(Outcome::Success)),
            "{row:?}"
        );
        assert_eq!(plain.row().await.attempts, 1, "{request:?}");
    }
}

#[tokio::test]
async fn a_reply_with_content_passes_with_the_guard_as_without() {
    for request in TestRequest::ALL {
        let pool = pool([Behaviour::Healthy, Behaviour::InternalError], "on").await;

        let response = pool.fetch(request).await;

        assert_eq!(response.status, 200, "{request:?}");
        assert_eq!(response.header("x-pool-empty-replies"), None, "{request:?}");
        assert_eq!(pool.row().await.attempts, 1, "{request:?}");
    }
}

#[tokio::test]
async fn an_empty_reply_goes_to_another_project_where_one_is_ready() {
    let pool = TestPool::with_keys([
        FakeKey::new(FIRST, "700000000001", Behaviour::EmptyReply("STOP")),
        FakeKey::healthy(SECOND, "700000000002"),
    ])
    .await;
    pool.set(&[("empty_reply_retry", "on")]).await;

    for _ in 0..4 {
        let response = pool.fetch(TestRequest::Generate).await;
        assert!(response.text().len() > 300, "{}", response.text());
    }

    let keys = pool.keys().await;
    assert!(keys.iter().all(|key| key.failures == 0), "{keys:?}");
}

async fn attempts(
    pool: &TestPool,
    response: &crate::support::requests::ClientResponse,
) -> Vec<Value> {
    let row = serde_json::to_value(pool.row_of(response).await).unwrap();
    row["attempt_list"].as_array().unwrap().clone()
}
