//! Another model in place of one that no key can serve now.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;
use crate::support::requests::{ClientResponse, TestRequest};

const KEY: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool01";
const PROJECT: &str = "700000000001";
const ASKED: &str = "gemini-2.5-flash";
const OTHER: &str = "gemini-2.5-flash-lite";

/// A pool without quota for the model that tests ask for.
async fn pool(changed: &[(&str, &str)]) -> TestPool {
    let config = FakeConfig::with_keys([FakeKey::healthy(KEY, PROJECT)]);
    let limits = vec![ModelLimit::new(ASKED, Some(0), None, Some(0))];
    let quota = ProjectQuota {
        tier: Tier::Free,
        limits,
    };
    let pool = TestPool::start(config.quota(PROJECT, quota)).await;
    pool.set(changed).await;
    pool
}

const CHAIN: (&str, &str) = ("model_fallback", "gemini-2.5-flash > gemini-2.5-flash-lite");

#[tokio::test]
async fn the_next_model_of_the_chain_answers_when_the_pool_is_out_for_one() {
    for request in TestRequest::ALL {
        let pool = pool(&[CHAIN]).await;

        let response = pool.fetch(request).await;

        let creates = matches!(
            request,
            TestRequest::Interaction | TestRequest::InteractionStream
        );
        if creates {
            // It creates a resource, which belongs to the project that made it.
            assert_eq!(response.status, 429, "{request:?}");
            continue;
        }
        assert_eq!(response.status, 200, "{request:?}: {}", response.text());
        assert_eq!(response.header("x-pool-model"), Some(OTHER), "{request:?}");
        assert!(response.text().contains(OTHER), "{request:?}");
        let row = pool.row().await;
        assert_eq!(row.model.as_deref(), Some(ASKED), "{row:?}");
        assert_eq!(row.fallback_model.as_deref(), Some(OTHER), "{row:?}");
        assert_eq!(row.outcome, Some(Outcome::Success), "{row:?}");
        let received = pool.google.last_received().unwrap();
        let expected = request.body().replace(ASKED, OTHER);
        assert_eq!(
            String::from_utf8_lossy(&received.body),
            expected,
            "{request:?}"
        );
        pool.assert_sums_agree().await;
    }
}

#[tokio::test]
async fn an_overloaded_model_falls_back_too() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, PROJECT)]).await;
    pool.set(&[CHAIN]).await;
    pool.google.set_overload(ASKED, Some(1));

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-pool-model"), Some(OTHER));
}

#[tokio::test]
async fn without_the_setting_nothing_changes() {
    let pool = pool(&[]).await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 429);
    assert_eq!(response.header("x-pool-model"), None);
    assert_eq!(pool.row().await.fallback_model, None);
}

#[tokio::test]
async fn a_model_outside_the_clients_scope_is_not_asked() {
    let pool = pool(&[CHAIN]).await;
    pool.allow(|terms| terms.models = vec![ASKED.to_owned()])
        .await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 429, "{}", response.text());
    assert_eq!(pool.row().await.fallback_model, None);
}

#[tokio::test]
async fn a_request_that_names_a_resource_keeps_its_model() {
    let pool = pool(&[CHAIN]).await;
    let upload = pool
        .post("/upload/v1beta/files?uploadType=media", "some text")
        .header("x-goog-upload-protocol", "raw")
        .send()
        .await
        .unwrap();
    let file = ClientResponse::whole(upload).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let uri = file.json()["file"]["uri"].as_str().unwrap().to_owned();
    let body = format!(
        r#"{{"contents":[{{"parts":[{{"fileData":{{"mimeType":"text/plain","fileUri":"{uri}"}}}}]}}]}}"#
    );

    let answer = pool.post(TestRequest::Generate.path(), &body).send().await;
    let response = ClientResponse::whole(answer.unwrap()).await;

    assert_eq!(response.status, 429, "{}", response.text());
    assert_eq!(response.header("x-pool-model"), None);
}
