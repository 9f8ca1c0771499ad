//! The log: filters, pages, the detail, exports, and following it.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use reqwest::Method;
use serde_json::Value;

use crate::support::api::ApiClient;
use crate::support::{TIMEOUT, TestPool};

async fn pool() -> (TestPool, ApiClient) {
    let good = FakeKey::healthy("AIza-key-behind-the-log-000001", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;
    (pool, api)
}

#[tokio::test]
async fn requests_are_listed_in_pages_found_by_filters_and_exported() {
    let (pool, api) = pool().await;
    for hours in 1..=7 {
        pool.record_past_request(Duration::from_hours(hours)).await;
    }
    assert_eq!(pool.generate().await.status(), 200);

    let all = api.all_items("/logs", 3).await;

    assert_eq!(all.len(), 8);
    assert!(all.is_sorted_by_key(|row| std::cmp::Reverse(row["id"].as_str().unwrap().to_owned())));
    assert!(all[0].get("attempt_list").is_none(), "{}", all[0]);
    let newest = api
        .get(&format!("/logs/{}", all[0]["id"].as_str().unwrap()))
        .await;
    assert_eq!(newest["attempt_list"][0]["outcome"], "success", "{newest}");
    for (filter, count) in [
        ("outcome=failed", 0),
        (
            "outcome=success&status=2xx&client_key=env-1&streamed=false",
            8,
        ),
        ("model=gemini-2.5-flash", 1),
        (
            "client_key_id=1&upstream_key_id=1&retried=false&kind=any",
            8,
        ),
        ("min_first_byte_ms=100000", 0),
        ("since=2999-01-01T00:00:00Z", 0),
        ("q=generateContent&limit=2", 2),
    ] {
        let found = api.get(&format!("/logs?{filter}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{filter}");
    }

    let lines = api
        .send(api.request(Method::GET, "/logs/export.jsonl?outcome=success"))
        .await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    let lines = lines.json.as_str().unwrap().to_owned();
    assert_eq!(lines.lines().count(), 8);
    let csv = api.send(api.request(Method::GET, "/logs/export.csv")).await;
    assert_eq!(csv.json.as_str().unwrap().lines().count(), 9);
    let exports = api.get("/audit?action=export").await;
    assert_eq!(exports["items"].as_array().unwrap().len(), 2);
    assert_eq!(exports["items"][0]["actor"], "token:tests");
}

#[tokio::test]
async fn the_log_is_followed_until_the_token_is_revoked() {
    let (pool, api) = pool().await;
    let mut tail = api
        .request(Method::GET, "/logs/tail?status=200")
        .send()
        .await
        .unwrap();
    assert_eq!(tail.headers()["content-type"], "text/event-stream");
    let mut text = String::new();

    assert_eq!(pool.generate().await.status(), 200);
    while !text.contains("\n\n") {
        let chunk = tokio::time::timeout(TIMEOUT, tail.chunk()).await.unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }

    assert!(text.starts_with("event: finished\n"), "{text}");
    let (_, json) = text.trim_end().split_once("data: ").unwrap();
    let row: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&row["outcome"], &row["status"]),
        (&"success".into(), &200.into())
    );
    let token = api.get("/tokens").await["items"][0]["id"].clone();
    let revoked = api
        .send(api.request(Method::DELETE, &format!("/tokens/{token}")))
        .await;
    assert_eq!(revoked.status, 204);
    let rest = tokio::time::timeout(TIMEOUT, tail.text()).await.unwrap();
    assert!(rest.is_ok(), "{rest:?}");
}
