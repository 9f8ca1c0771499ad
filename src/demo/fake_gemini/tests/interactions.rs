//! Interactions and how they are stored.

use reqwest::Method;
use serde_json::{Value, json};

use super::{KEY, OTHER_PROJECT_KEY, SAME_PROJECT_KEY, client, keys, send, start, two_projects};
use crate::demo::fake_gemini::{FakeConfig, FakeGemini};

const ALL: &str = "/v1beta/interactions";

async fn create(fake: &FakeGemini, more: &Value) -> Value {
    let mut body = json!({"model": "gemini-2.5-flash", "input": "Hello"});
    let body = body.as_object_mut().unwrap();
    body.extend(more.as_object().unwrap().clone());
    let body = json!(body).to_string();
    let (status, response_body) = send(fake, KEY, Method::POST, ALL, &body).await;
    assert_eq!(status, 200, "{response_body}");
    response_body
}

#[tokio::test]
async fn interactions_are_kept_for_their_project() {
    let fake = two_projects().await;
    let first = create(&fake, &json!({})).await;
    let id = first["id"].as_str().unwrap();
    let one = format!("{ALL}/{id}");
    let next = json!({"model": "gemini-2.5-flash", "input": "And?", "previous_interaction_id": id});
    let next = next.to_string();

    for (method, path, body) in [
        (Method::GET, one.as_str(), ""),
        (Method::POST, ALL, next.as_str()),
        (Method::DELETE, one.as_str(), ""),
    ] {
        let (status, response_body) =
            send(&fake, OTHER_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 404, "{method} {path}");
        assert_eq!(
            response_body["error"]["code"], "not_found",
            "{response_body}"
        );
        let (status, response_body) =
            send(&fake, SAME_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {response_body}");
        if method == Method::POST {
            let before = first["usage"]["total_input_tokens"].as_u64();
            assert!(
                response_body["usage"]["total_input_tokens"].as_u64() > before,
                "{response_body}"
            );
        }
    }
    assert_eq!(send(&fake, KEY, Method::GET, &one, "").await.0, 404);
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_forgotten() {
    let fake = two_projects().await;

    let response_body = create(&fake, &json!({"store": false})).await;
    let path = format!("{ALL}/{}", response_body["id"].as_str().unwrap());

    assert_eq!(send(&fake, KEY, Method::GET, &path, "").await.0, 404);
    assert!(fake.resources().is_empty());
}

#[tokio::test]
async fn work_in_the_background_goes_on_until_it_is_cancelled() {
    let fake = start(FakeConfig {
        polls_until_answered: 3,
        ..FakeConfig::with_keys(keys())
    })
    .await;

    let response_body = create(&fake, &json!({"background": true})).await;
    let path = format!("{ALL}/{}", response_body["id"].as_str().unwrap());
    let cancel = format!("{path}/cancel");

    assert_eq!(response_body["status"], "in_progress");
    let (_, polled) = send(&fake, KEY, Method::GET, &path, "").await;
    assert_eq!(polled["status"], "in_progress");
    assert_eq!(
        send(&fake, OTHER_PROJECT_KEY, Method::POST, &cancel, "")
            .await
            .0,
        404
    );
    let (_, cancelled) = send(&fake, KEY, Method::POST, &cancel, "").await;
    assert_eq!(cancelled["status"], "cancelled");
    let (_, polled) = send(&fake, KEY, Method::GET, &path, "").await;
    assert_eq!(polled["status"], "cancelled");
}

#[tokio::test]
async fn a_stream_can_be_taken_up_after_any_event() {
    let fake = two_projects().await;
    let text = async |path: &str, body: Option<&str>| {
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let request = client().request(method, format!("{}{path}", fake.url()));
        let request = request.header("x-goog-api-key", KEY);
        let response = request.body(body.unwrap_or_default().to_owned());
        response.send().await.unwrap().text().await.unwrap()
    };
    let body = r#"{"model":"gemini-2.5-flash","input":"Hi","stream":true,"background":true}"#;
    let whole = text(ALL, Some(body)).await;
    let id = whole.split("\"id\":\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    let events: Vec<_> = whole.split_inclusive("\n\n").collect();
    assert!(events.len() > 6, "{whole}");

    assert_eq!(text(&format!("{ALL}/{id}?stream=true"), None).await, whole);
    for (index, event) in events[..events.len() - 1].iter().enumerate() {
        let mark = event.split("\"event_id\":\"").nth(1).unwrap();
        let mark = mark.split('"').next().unwrap();
        let path = format!("{ALL}/{id}?stream=true&last_event_id={mark}");
        assert_eq!(text(&path, None).await, events[index + 1..].concat());
    }
}
