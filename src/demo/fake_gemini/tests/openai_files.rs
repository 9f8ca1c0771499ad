//! Files and batches of the OpenAI layer.

use reqwest::Method;
use serde_json::{Value, json};

use super::{KEY, OTHER_PROJECT_KEY, SAME_PROJECT_KEY, client, send, two_projects};
use crate::demo::fake_gemini::FakeGemini;

const FILES: &str = "/v1beta/openai/files";
const BATCHES: &str = "/v1beta/openai/batches";

async fn upload(fake: &FakeGemini, text: &str) -> Value {
    let form = format!(
        "--cut\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--cut\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"in.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n{text}\r\n--cut--\r\n"
    );
    let request = client()
        .post(format!("{}{FILES}", fake.url()))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "multipart/form-data; boundary=cut");
    let response = request.body(form).send().await.unwrap();
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_batch_goes_from_file_to_file() {
    let fake = two_projects().await;
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body":
        {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hello"}]}});
    let file = upload(&fake, &format!("{line}\n")).await;
    assert_eq!(file["filename"], "in.jsonl", "{file}");
    let body = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions",
        "completion_window": "24h"});
    let body = body.to_string();

    let stolen = send(&fake, OTHER_PROJECT_KEY, Method::POST, BATCHES, &body).await;
    assert_eq!(stolen.0, 403);
    let (_, batch) = send(&fake, KEY, Method::POST, BATCHES, &body).await;
    assert_eq!(batch["status"], "validating", "{batch}");
    // As OpenAI's own client sends an id that is a whole name.
    let id = batch["id"].as_str().unwrap().replace('/', "%2F");
    let path = format!("{BATCHES}/{id}");
    assert_eq!(
        send(&fake, OTHER_PROJECT_KEY, Method::GET, &path, "")
            .await
            .0,
        404
    );
    let (_, batch) = send(&fake, KEY, Method::GET, &path, "").await;
    assert_eq!(batch["status"], "in_progress");
    let (_, batch) = send(&fake, SAME_PROJECT_KEY, Method::GET, &path, "").await;
    assert_eq!(batch["status"], "completed");

    let output = batch["output_file_id"].as_str().unwrap();
    let content = format!("{FILES}/{output}/content");
    assert_eq!(
        send(&fake, OTHER_PROJECT_KEY, Method::GET, &content, "")
            .await
            .0,
        403
    );
    let (_, answered) = send(&fake, KEY, Method::GET, &content, "").await;
    assert_eq!(answered["custom_id"], "a", "{answered}");
    assert_eq!(answered["response"]["body"]["object"], "chat.completion");
    let (_, list) = send(&fake, KEY, Method::GET, BATCHES, "").await;
    assert_eq!(list["data"][0]["id"], batch["id"]);
}

#[tokio::test]
async fn files_of_the_layer_are_files() {
    let fake = two_projects().await;
    let file = upload(&fake, "text").await;
    let id = file["id"].as_str().unwrap();
    let one = format!("{FILES}/{id}");
    let native = format!("/v1beta/{id}");

    for (key, method, path, expected) in [
        (OTHER_PROJECT_KEY, Method::GET, &one, 403),
        (OTHER_PROJECT_KEY, Method::DELETE, &one, 403),
        (KEY, Method::GET, &one, 200),
        (KEY, Method::GET, &native, 200),
        (KEY, Method::GET, &format!("{one}/content"), 400),
        (KEY, Method::DELETE, &one, 200),
        (KEY, Method::GET, &native, 403),
    ] {
        let (status, response_body) = send(&fake, key, method.clone(), path, "").await;
        assert_eq!(status, expected, "{method} {path}: {response_body}");
        if status == 403 && path == &one {
            assert!(
                response_body[0]["error"]["message"].is_string(),
                "{response_body}"
            );
        }
    }
}
