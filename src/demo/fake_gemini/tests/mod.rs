//! The fake through its front door.

mod batches;
mod caches;
mod collections;
mod errors;
mod faults;
mod files;
mod framing;
mod interactions;
mod openai_files;
mod quotas;

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::behaviour::{Behaviour, FakeKey};
use super::{FakeConfig, FakeGemini};

const KEY: &str = "AIzaSyFakeFakeFakeFakeFakeFakeFakeFake0";
const PROJECT: &str = "100000000001";
/// Another key of the same project.
const SAME_PROJECT_KEY: &str = "AIzaTwin";
/// A key of another project.
const OTHER_PROJECT_KEY: &str = "AIzaUnknown";
const PROMPT: &str = r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const CHAT: &str = "/v1beta/openai/chat/completions";
const CHAT_BODY: &str =
    r#"{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"Hello"}]}"#;

async fn fake(behaviour: Behaviour) -> FakeGemini {
    start(FakeConfig::with_keys([FakeKey::new(
        KEY, PROJECT, behaviour,
    )]))
    .await
}

/// Two projects, the first with two keys.
async fn two_projects() -> FakeGemini {
    start(FakeConfig::with_keys(keys())).await
}

fn keys() -> [FakeKey; 3] {
    [
        FakeKey::healthy(KEY, PROJECT),
        FakeKey::healthy(SAME_PROJECT_KEY, PROJECT),
        FakeKey::healthy(OTHER_PROJECT_KEY, "100000000002"),
    ]
}

/// One request with a key; the path may be a whole URL.
async fn send(
    fake: &FakeGemini,
    key: &str,
    method: Method,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let request = client().request(method, format!("{}{path}", fake.url()));
    let request = request.header("x-goog-api-key", key).body(body.to_owned());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Uploads a small file in one request.
async fn upload(fake: &FakeGemini, key: &str, text: &str) -> Value {
    let request = client().post(fake.url() + "/upload/v1beta/files");
    let request = request
        .header("x-goog-api-key", key)
        .header("x-goog-upload-protocol", "raw")
        .header("content-type", "text/plain");
    let response = request.body(text.to_owned()).send().await.unwrap();
    serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap()["file"].take()
}

async fn start(config: FakeConfig) -> FakeGemini {
    FakeGemini::start(config).await.unwrap()
}

fn client() -> reqwest::Client {
    // Refused when it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn post(
    fake: &FakeGemini,
    path: &str,
    body: &str,
) -> Result<reqwest::Response, reqwest::Error> {
    let request = client().post(fake.url() + path).body(body.to_owned());
    request.header("x-goog-api-key", KEY).send().await
}

/// Status, content type and body.
async fn post_and_read(fake: &FakeGemini, path: &str, body: &str) -> (u16, String, String) {
    let response = post(fake, path, body).await.unwrap();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (
        response.status().as_u16(),
        content_type,
        response.text().await.unwrap(),
    )
}

async fn wait_until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came to pass");
}
