//! Upstream keys: import of many, lists, changes of one and of many, and the two headers that protect changes.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::storage::audit::{self, AuditFilter};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestPool;
use crate::support::api::ApiClient;

fn secret(number: usize) -> String {
    format!("AIzaSyApiKeyOfTheImportTests-{number:010}")
}

/// A pool with so many imported keys, of which every third has the tag `eu`.
async fn imported(count: usize) -> (TestPool, ApiClient) {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let lines = (0..count).map(|number| {
        let tags = if number % 3 == 0 { "eu" } else { "us" };
        format!("{},label-{number},{tags}\n", secret(number))
    });
    let text: String = std::iter::once("key,label,tags\n".to_owned())
        .chain(lines)
        .collect();
    let answer = api.post("/upstream-keys", &json!({ "text": text })).await;
    assert_eq!(answer.json["new"], count, "{answer:?}");
    let job = api.ended_job(&answer).await;
    assert_eq!(
        (&job["kind"], &job["new"]),
        (&json!("import"), &json!(count)),
        "{job}"
    );
    (pool, api)
}

fn ids(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|item| item["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn thousands_of_keys_are_imported_listed_in_pages_and_changed_by_filter() {
    const COUNT: usize = 2_000;
    let (pool, api) = imported(COUNT).await;

    let all = api.all_items("/upstream-keys", 300).await;
    let expected: Vec<i64> = (1..).take(COUNT).collect();
    assert_eq!(ids(&all), expected);
    let mut sorted = api
        .all_items("/upstream-keys?sort=-label&q=label-1", 100)
        .await;
    assert!(sorted.len() > 1_000, "{}", sorted.len());
    assert!(sorted.is_sorted_by_key(|key| std::cmp::Reverse(key["label"].to_string())));
    sorted.dedup_by_key(|key| key["id"].as_i64());
    assert_eq!(
        sorted.len(),
        api.all_items("/upstream-keys?q=label-1", 500).await.len()
    );

    let disable = json!({ "action": "disable", "filter": { "tag": "eu" } });
    let job = api
        .ended_job(&api.post("/upstream-keys/bulk", &disable).await)
        .await;

    assert_eq!(job["changed"], COUNT.div_ceil(3));
    let disabled = api.all_items("/upstream-keys?state=disabled", 500).await;
    assert_eq!(disabled.len(), COUNT.div_ceil(3));
    assert!(disabled.iter().all(|key| key["tags"] == json!(["eu"])));
    let filter = AuditFilter::default();
    let last = audit::list(&pool.app.db.readers, &filter, None, 1)
        .await
        .unwrap();
    assert_eq!(last.items[0].actor, "token:tests");
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("AIza"), "a list contains a secret");
}

#[tokio::test]
async fn an_import_reports_what_it_takes_and_a_dry_run_imports_nothing() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let text = format!(
        "{}\nsk-proj-0123456789abcdefABCDEF\n{}\n",
        secret(1),
        secret(1)
    );

    let dry = api
        .post("/upstream-keys", &json!({ "text": text, "dry_run": true }))
        .await;
    assert_eq!(dry.status, 200, "{dry:?}");
    assert_eq!(
        (&dry.json["new"], &dry.json["duplicates"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(dry.json["not_taken"][0]["line"], 2);
    assert_eq!(api.get("/upstream-keys").await["items"], json!([]));

    let defaults = json!({ "label": "imported", "priority": 3, "tags": ["a"], "billing": "paid" });
    let body = json!({ "text": text, "defaults": defaults });
    api.ended_job(&api.post("/upstream-keys", &body).await)
        .await;
    let key = api.get("/upstream-keys/1").await;
    assert_eq!(
        (&key["label"], &key["priority"], &key["billing"]),
        (&json!("imported"), &json!(3), &json!("paid"))
    );
    assert_eq!(
        (&key["state"], &key["in_flight"]),
        (&json!("ready"), &json!(0))
    );
    let again = api.post("/upstream-keys", &body).await;
    assert_eq!(
        (&again.json["new"], &again.json["known"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn a_key_is_changed_only_with_its_current_tag() {
    let (_pool, api) = imported(1).await;
    let read = api.send(api.request(Method::GET, "/upstream-keys/1")).await;
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    let patch = async |etag: &str, body: Value| {
        let request = api
            .request(Method::PATCH, "/upstream-keys/1")
            .header("if-match", etag)
            .header("content-type", "application/json");
        api.send(request.body(body.to_string())).await
    };

    let first = patch(
        &etag,
        json!({ "label": "a", "weight": 2, "tags": ["x", "y"] }),
    )
    .await;
    let second = patch(&etag, json!({ "label": "b" })).await;

    assert_eq!(first.status, 200, "{first:?}");
    assert_ne!(first.headers["etag"], etag.as_str());
    assert_eq!(second.status, 412, "{second:?}");
    assert!(
        second.json["detail"]
            .as_str()
            .unwrap()
            .contains("read it again")
    );
    let key = api.get("/upstream-keys/1").await;
    assert_eq!(
        (&key["label"], &key["weight"], &key["tags"]),
        (&json!("a"), &json!(2), &json!(["x", "y"]))
    );
    let last = patch("*", json!({ "label": "c" })).await;
    assert_eq!(last.json["label"], "c");
    for wrong in [
        json!({ "weight": 0 }),
        json!({ "label": "" }),
        json!({ "tags": ["a b"] }),
    ] {
        assert_eq!(patch("*", wrong).await.status, 422);
    }
    let delete = api.request(Method::DELETE, "/upstream-keys/1");
    let refused = api.send(delete.header("if-match", etag)).await;
    assert_eq!(refused.status, 412);
}

#[tokio::test]
async fn a_key_is_disabled_enabled_cleared_deleted_and_restored() {
    let (_pool, api) = imported(1).await;
    let act = async |act: &str| {
        let path = format!("/upstream-keys/1/{act}");
        api.send(api.request(Method::POST, &path)).await
    };

    assert_eq!(act("disable").await.json["state"], "disabled");
    assert_eq!(act("enable").await.json["state"], "ready");
    assert_eq!(act("clear").await.status, 200);
    assert_eq!(act("restore").await.status, 409);
    let deleted = api
        .send(api.request(Method::DELETE, "/upstream-keys/1"))
        .await;
    assert_eq!(deleted.status, 204);
    assert_eq!(act("enable").await.status, 404);
    assert_eq!(act("restore").await.json["id"], 1);
    assert_eq!(api.get("/upstream-keys/1").await["enabled"], true);
}

#[tokio::test]
async fn keys_are_tested_by_jobs() {
    let good = FakeKey::healthy("AIza-key-that-is-tested-ok-001", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;

    let one = api
        .send(api.request(Method::POST, "/upstream-keys/1/test"))
        .await;
    let one = api.ended_job(&one).await;
    let all = api
        .post("/upstream-keys/test", &json!({ "filter": {} }))
        .await;
    let all = api.ended_job(&all).await;

    for job in [one, all] {
        assert_eq!(
            (&job["kind"], &job["alive"]),
            (&json!("test"), &json!(1)),
            "{job}"
        );
        assert_eq!(job["results"][0]["result"], "alive");
    }
}

#[tokio::test]
async fn a_repeated_import_with_the_same_key_starts_one_job() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let import = async |key: &str, text: &str| {
        let body = json!({ "text": text }).to_string();
        let request = api
            .request(Method::POST, "/upstream-keys")
            .header("idempotency-key", key)
            .header("content-type", "application/json");
        api.send(request.body(body)).await
    };

    let first = import("one", &secret(1)).await;
    let repeated = import("one", &secret(1)).await;
    let other_body = import("one", &secret(2)).await;
    let other_key = import("two", &secret(1)).await;

    assert_eq!(
        (first.status.as_u16(), repeated.status.as_u16()),
        (202, 202)
    );
    assert_eq!(first.json, repeated.json);
    assert_eq!(first.headers["location"], repeated.headers["location"]);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(repeated.headers["idempotency-replayed"], "true");
    assert_eq!(other_body.status, 422, "{other_body:?}");
    assert_ne!(other_key.json["job"]["id"], first.json["job"]["id"]);
    let refused = import("three", "no key at all").await;
    assert_eq!(refused.json["not_taken_count"], 1, "{refused:?}");
}
