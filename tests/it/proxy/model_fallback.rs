//! Another model in place of one that no key can serve now.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::model_fallback::ModelFallback;
use gemini_pool::pool::outcome::Outcome;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::admin::AdminClient;
use crate::support::process::{run_command, run_remotely};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_ID, TestPool};

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
async fn the_chains_of_a_client_key_replace_those_of_the_setting() {
    let chains = |text: &str| ModelFallback::parse_own(text).unwrap();
    for (setting, own, expected) in [
        ("", "gemini-2.5-flash > gemini-2.5-flash-lite", Some(OTHER)),
        (CHAIN.1, "", Some(OTHER)),
        (CHAIN.1, "none", None),
        (CHAIN.1, "gemini-2.5-pro > gemini-2.5-flash-lite", None),
        (
            "gemini-2.5-flash > gemini-2.5-pro",
            "gemini-2.5-flash > gemini-2.5-flash-lite",
            Some(OTHER),
        ),
    ] {
        let pool = pool(&[("model_fallback", setting)]).await;
        pool.allow(|terms| terms.model_fallback = chains(own)).await;

        let response = pool.fetch(TestRequest::Generate).await;

        let status = if expected.is_some() { 200 } else { 429 };
        assert_eq!(response.status, status, "{setting:?} {own:?}");
        assert_eq!(response.header("x-pool-model"), expected, "{own:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chains_of_a_client_key_are_set_by_page_api_and_command_and_undone() {
    let pool = pool(&[]).await;
    let api = pool.admin_api().await;
    let path = format!("/client-keys/{}", CLIENT_ID.0);
    let now = async || api.get(&path).await["model_fallback"].clone();
    assert_eq!(now().await, Value::Null);

    let body = json!({ "model_fallback": "a>b" });
    let changed = api.submit(Method::PATCH, &path, &body).await;
    assert_eq!(changed.json["model_fallback"], "a > b", "{changed:?}");
    let wrong = json!({ "model_fallback": "a" });
    let refused = api.submit(Method::PATCH, &path, &wrong).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let id = CLIENT_ID.0.to_string();
    for (run, flag, expected) in [
        (false, "none", json!("")),
        (true, "c > d, e > f", json!("c > d, e > f")),
        (true, "default", Value::Null),
        (false, "g > h", json!("g > h")),
    ] {
        let arguments = ["clients", "update", &id, "--model-fallback", flag];
        let folder = pool.folder.path();
        let output = if run {
            run_remotely(&api, folder, &arguments)
        } else {
            run_command(folder, &arguments)
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(now().await, expected, "{flag}");
    }
    let listed = run_command(pool.folder.path(), &["clients", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("fallback g > h"), "{listed}");

    let acts = run_command(pool.folder.path(), &["undo", "--json", "--limit", "1"]);
    let acts: Value = serde_json::from_slice(&acts.stdout).unwrap();
    let act = acts["items"][0]["id"].to_string();
    let undone = run_command(pool.folder.path(), &["undo", &act, "--yes"]);
    assert!(undone.status.success(), "{undone:?}");
    assert_eq!(now().await, Value::Null);
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page(&format!("{path}/edit")).await;
    assert!(page.contains("name=\"model_fallback\""), "{page}");
    let audit = admin.get_page("/audit").await;
    assert!(audit.contains("Models that may answer instead"), "{audit}");
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
