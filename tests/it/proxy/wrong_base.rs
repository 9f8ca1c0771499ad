//! Clients with a wrong base URL.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::tasks::sweep;
use serde_json::Value;

use crate::support::{CLIENT_KEY, TestPool};

async fn body(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_base_url_gets_the_right_one_in_the_clients_form_and_nothing_is_sent() {
    let pool = TestPool::start(FakeConfig::default()).await;
    let native = [
        "/models/gemini-2.5-flash:generateContent",
        "/v1beta/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/%76%31beta/models/gemini-2.5-flash:generateContent",
        "/api/v1beta/models/gemini-2.5-flash:generateContent",
        "//v1beta/models/gemini-2.5-flash:generateContent",
    ];
    for path in native {
        let answer = pool
            .post(path, "{}")
            .header("origin", "https://example.com")
            .send()
            .await
            .unwrap();

        let status: u16 = if path.starts_with("//") { 400 } else { 404 };
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "*",
            "{path}"
        );
        let id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = body(answer).await;
        assert_eq!(body["error"]["code"], status, "{path}");
        let message = body["error"]["message"].as_str().unwrap();
        let base = format!("Set it to {} for clients of Gemini", pool.url);
        assert!(message.contains(&base), "{message}");
        assert!(
            message.contains("/v1beta/models/gemini-2.5-flash:generateContent"),
            "{message}"
        );
        let rows = pool.rows().await;
        let row = rows.iter().find(|row| row.id.to_string() == id);
        assert_eq!(row.unwrap().status, Some(i64::from(status)), "{path}");
    }
    for path in [
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/openai/chat/completions",
        "/v1beta/openai/v1/chat/completions",
    ] {
        let request = pool
            .client
            .post(format!("{}{path}", pool.url))
            .bearer_auth(CLIENT_KEY);
        let answer = request.body("{}").send().await.unwrap();

        assert_eq!(answer.status(), 404, "{path}");
        let body = body(answer).await;
        assert_eq!(body["error"]["param"], Value::Null, "OpenAI's form: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("{}/v1beta/openai for clients of OpenAI", pool.url)),
            "{message}"
        );
    }
    assert_eq!(pool.google.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_and_pages_of_a_browser_are_not_concerned() {
    let pool = TestPool::start(FakeConfig::default()).await;
    let url = format!("{}/chat/completions", pool.url);

    let preflight = pool
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://example.com")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");

    let page = pool
        .client
        .get(format!("{}/models", pool.url))
        .header("accept", "text/html,*/*");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 303);
    assert_eq!(page.headers()["location"], "/login?next=/models");
    assert_eq!(page.headers().get("x-request-id"), None);
    assert_eq!(pool.rows().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_a_minute_get_a_row_and_the_others_one_together() {
    let pool = TestPool::start(FakeConfig::default()).await;
    for _ in 0..14 {
        let answer = pool
            .client
            .post(format!("{}/chat/completions", pool.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
    }
    assert_eq!(pool.finished_rows(10).await.len(), 10);

    sweep::pass(&pool.app, clock::now() + Duration::from_mins(2)).await;

    let rows = pool.finished_rows(11).await;
    let sum = rows.last().unwrap().error.as_ref().unwrap();
    assert!(
        sum.starts_with("4 more requests below a wrong base URL"),
        "{sum}"
    );
}
