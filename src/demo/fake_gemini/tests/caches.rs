//! Cached contents.

use reqwest::Method;
use serde_json::json;

use super::{KEY, OTHER_PROJECT_KEY, SAME_PROJECT_KEY, send, two_projects};

const CACHES: &str = "/v1beta/cachedContents";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

#[tokio::test]
async fn caches_belong_to_their_project() {
    let fake = two_projects().await;
    let handbook = json!({
        "model": "models/gemini-2.5-flash",
        "contents": [{"role": "user", "parts": [{"text": "x".repeat(4000)}]}],
        "ttl": "60s",
    });
    let (status, cache) = send(&fake, KEY, Method::POST, CACHES, &handbook.to_string()).await;
    assert_eq!(status, 200, "{cache}");
    assert_eq!(cache["usageMetadata"]["totalTokenCount"], 1000);
    let path = format!("/v1beta/{}", cache["name"].as_str().unwrap());
    let prompt = json!({
        "contents": [{"parts": [{"text": "Why?"}]}],
        "cachedContent": cache["name"],
    });
    let prompt = prompt.to_string();

    for (method, path, body) in [
        (Method::GET, path.as_str(), ""),
        (Method::PATCH, path.as_str(), r#"{"ttl":"600s"}"#),
        (Method::POST, GENERATE, prompt.as_str()),
        (Method::DELETE, path.as_str(), ""),
    ] {
        let (status, response_body) =
            send(&fake, OTHER_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 403, "{method} {path}");
        assert_eq!(
            response_body["error"]["message"],
            "CachedContent not found (or permission denied)"
        );
        let (status, response_body) =
            send(&fake, SAME_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {response_body}");
    }
    assert_eq!(send(&fake, KEY, Method::GET, CACHES, "").await.1, json!({}));
}

#[tokio::test]
async fn a_prompt_counts_what_it_has_from_its_cache() {
    let fake = two_projects().await;
    let handbook =
        r#"{"model":"models/gemini-2.5-flash","contents":[{"parts":[{"text":"12345678"}]}]}"#;
    let (_, cache) = send(&fake, KEY, Method::POST, CACHES, handbook).await;
    let prompt = |more: &str| {
        let name = &cache["name"];
        format!(r#"{{"contents":[{{"parts":[{{"text":"Why?"}}]}}],"cached_content":{name}{more}}}"#)
    };

    let (_, response_body) = send(&fake, KEY, Method::POST, GENERATE, &prompt("")).await;
    let usage = &response_body["usageMetadata"];
    assert_eq!(usage["cachedContentTokenCount"], 2);
    assert_eq!(usage["promptTokenCount"], 3);
    let tools = prompt(r#","tools":[]"#);
    for (path, body) in [
        (GENERATE, tools.as_str()),
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            prompt("").as_str(),
        ),
    ] {
        let (status, response_body) = send(&fake, KEY, Method::POST, path, body).await;
        assert_eq!(status, 400, "{path} {body}: {response_body}");
    }
}
