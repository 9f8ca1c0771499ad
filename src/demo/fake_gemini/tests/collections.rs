//! File search stores, and the collections that are only stored.

use reqwest::Method;
use serde_json::{Value, json};

use super::{KEY, OTHER_PROJECT_KEY, SAME_PROJECT_KEY, client, send, two_projects, upload};
use crate::demo::fake_gemini::FakeGemini;

const STORES: &str = "/v1beta/fileSearchStores";

async fn store(fake: &FakeGemini) -> String {
    let create_body = r#"{"displayName":"Test store"}"#;
    let (status, store) = send(fake, KEY, Method::POST, STORES, create_body).await;
    assert_eq!(status, 200, "{store}");
    let name = store["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("fileSearchStores/teststore-"), "{name}");
    name
}

/// Uploads a text to a store in two requests, the second without a key.
async fn upload_to(fake: &FakeGemini, key: &str, store: &str) -> (u16, Value) {
    let url = format!(
        "{}/upload/v1beta/{store}:uploadToFileSearchStore",
        fake.url()
    );
    let begun = client()
        .post(url)
        .header("x-goog-api-key", key)
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .body(r#"{"mimeType":"text/plain"}"#);
    let begun = begun.send().await.unwrap();
    let Some(url) = begun.headers().get("x-goog-upload-url") else {
        return (begun.status().as_u16(), Value::Null);
    };
    let done = client()
        .post(url.to_str().unwrap())
        .header("x-goog-upload-command", "upload, finalize")
        .header("x-goog-upload-offset", "0")
        .body("Paris is the capital of France.");
    let done = done.send().await.unwrap();
    let status = done.status().as_u16();
    let text = done.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn stores_and_what_is_in_them_belong_to_their_project() {
    let fake = two_projects().await;
    let store = store(&fake).await;

    assert_eq!(upload_to(&fake, OTHER_PROJECT_KEY, &store).await.0, 404);
    let (status, uploaded) = upload_to(&fake, SAME_PROJECT_KEY, &store).await;
    assert_eq!(status, 200, "{uploaded}");
    assert_eq!(uploaded["response"]["sizeBytes"], "31");
    let document = uploaded["response"]["documentName"].as_str().unwrap();
    let uploading = uploaded["name"].as_str().unwrap();
    let file = upload(&fake, KEY, "London").await;
    let import = json!({"fileName": file["name"]}).to_string();
    let path = format!("/v1beta/{store}:importFile");
    let (_, importing) = send(&fake, KEY, Method::POST, &path, &import).await;
    let importing = importing["name"].as_str().unwrap();
    let prompt = json!({
        "contents": [{"parts": [{"text": "Why?"}]}],
        "tools": [{"fileSearch": {"fileSearchStoreNames": [store]}}],
    })
    .to_string();
    let generate = "/v1beta/models/gemini-2.5-pro:generateContent";

    for (method, path, body) in [
        (Method::GET, format!("/v1beta/{store}"), ""),
        (Method::GET, format!("/v1beta/{store}/documents"), ""),
        (Method::GET, format!("/v1beta/{document}"), ""),
        (Method::GET, format!("/v1beta/{uploading}"), ""),
        (Method::GET, format!("/v1beta/{importing}"), ""),
        (Method::POST, generate.to_owned(), prompt.as_str()),
        (Method::DELETE, format!("/v1beta/{document}"), ""),
        (Method::DELETE, format!("/v1beta/{store}?force=True"), ""),
    ] {
        let (status, _) = send(&fake, OTHER_PROJECT_KEY, method.clone(), &path, body).await;
        assert_eq!(status, 404, "{method} {path}");
        let (status, response_body) =
            send(&fake, SAME_PROJECT_KEY, method.clone(), &path, body).await;
        assert_eq!(status, 200, "{method} {path}: {response_body}");
        if path.ends_with("/documents") {
            assert_eq!(response_body["documents"].as_array().unwrap().len(), 2);
        }
    }
    assert_eq!(send(&fake, KEY, Method::GET, STORES, "").await.1, json!({}));
    assert_eq!(fake.resources().len(), 1, "{:?}", fake.resources());
}

#[tokio::test]
async fn a_store_with_documents_must_be_forced() {
    let fake = two_projects().await;
    let store = store(&fake).await;
    upload_to(&fake, KEY, &store).await;
    let path = format!("/v1beta/{store}");

    assert_eq!(send(&fake, KEY, Method::DELETE, &path, "").await.0, 400);
    let forced = format!("{path}?force=true");
    assert_eq!(send(&fake, KEY, Method::DELETE, &forced, "").await.0, 200);
}

#[tokio::test]
async fn other_things_are_kept_for_their_project() {
    let fake = two_projects().await;

    for collection in ["agents", "environments", "webhooks", "corpora"] {
        let all = format!("/v1beta/{collection}");
        let create_body = r#"{"id":"mine","displayName":"x"}"#;
        let (status, made) = send(&fake, KEY, Method::POST, &all, create_body).await;
        assert_eq!(status, 200, "{made}");
        let one = format!("{all}/mine");
        for (key, method, path, expected) in [
            (OTHER_PROJECT_KEY, Method::GET, &one, 404),
            (OTHER_PROJECT_KEY, Method::DELETE, &one, 404),
            (SAME_PROJECT_KEY, Method::GET, &one, 200),
            (SAME_PROJECT_KEY, Method::GET, &all, 200),
            (SAME_PROJECT_KEY, Method::DELETE, &one, 200),
            (KEY, Method::GET, &one, 404),
        ] {
            let (status, response_body) = send(&fake, key, method.clone(), path, "").await;
            assert_eq!(status, expected, "{method} {path}: {response_body}");
        }
    }
}

#[tokio::test]
async fn a_tuned_model_answers_its_project_only() {
    let fake = two_projects().await;
    let create_body = r#"{"id":"poet","baseModel":"models/gemini-2.5-flash"}"#;
    let (_, begun) = send(&fake, KEY, Method::POST, "/v1beta/tunedModels", create_body).await;
    assert_eq!(begun["metadata"]["tunedModel"], "tunedModels/poet");
    let path = format!("/v1beta/{}", begun["name"].as_str().unwrap());
    assert_eq!(send(&fake, KEY, Method::GET, &path, "").await.0, 200);

    for (key, expected) in [(KEY, 200), (OTHER_PROJECT_KEY, 404)] {
        let path = "/v1beta/tunedModels/poet:generateContent";
        let (status, response_body) = send(&fake, key, Method::POST, path, super::PROMPT).await;
        assert_eq!(status, expected, "{response_body}");
    }
}
