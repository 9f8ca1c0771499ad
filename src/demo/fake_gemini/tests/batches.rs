//! Batches and videos: long work.

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::{KEY, OTHER_PROJECT_KEY, SAME_PROJECT_KEY, send, two_projects, upload};
use crate::demo::fake_gemini::FakeGemini;

const CREATE: &str = "/v1beta/models/gemini-2.5-flash:batchGenerateContent";

/// Begins long work and polls it until it is done, without an error.
async fn done(fake: &FakeGemini, path: &str, body: &Value) -> Value {
    let (status, begun) = send(fake, KEY, Method::POST, path, &body.to_string()).await;
    assert_eq!(status, 200, "{begun}");
    assert!(begun.get("done").is_none(), "{begun}");
    let path = format!("/v1beta/{}", begun["name"].as_str().unwrap());
    assert_eq!(
        send(fake, OTHER_PROJECT_KEY, Method::GET, &path, "")
            .await
            .0,
        404
    );
    let (_, running) = send(fake, KEY, Method::GET, &path, "").await;
    assert!(running.get("done").is_none(), "{running}");
    let (_, done) = send(fake, SAME_PROJECT_KEY, Method::GET, &path, "").await;
    assert_eq!(done["done"], true, "{done}");
    done
}

/// Downloads from a path, as a client that follows redirects by itself.
async fn download(fake: &FakeGemini, key: &str, path: &str) -> Vec<u8> {
    let client = reqwest::Client::builder().no_proxy();
    let client = client.redirect(Policy::none()).build().unwrap();
    let get = async |url: &str| {
        let request = client.get(url).header("x-goog-api-key", key);
        request.send().await.unwrap()
    };
    let redirect = get(&format!("{}{path}", fake.url())).await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.headers()["x-goog-api-key"], key);
    let location = redirect.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&fake.url()), "{location}");
    get(location).await.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn a_batch_answers_in_its_own_answer() {
    let fake = two_projects().await;
    let request = json!({"contents": [{"parts": [{"text": "What is 2 + 2?"}]}]});
    let body = json!({"batch": {"displayName": "sums", "inputConfig": {"requests": {"requests": [
        {"request": request, "metadata": {"custom_id": "0"}},
        {"request": request, "metadata": {"custom_id": "1"}},
    ]}}}});

    let done = done(&fake, CREATE, &body).await;

    assert_eq!(done["metadata"]["state"], "BATCH_STATE_SUCCEEDED");
    assert_eq!(
        done["metadata"]["batchStats"]["successfulRequestCount"],
        "2"
    );
    let answers = &done["response"]["inlinedResponses"]["inlinedResponses"];
    assert_eq!(answers[1]["metadata"]["custom_id"], "1");
    assert_eq!(
        answers[1]["response"]["usageMetadata"]["promptTokenCount"],
        4
    );
    assert_eq!(
        &done["metadata"]["output"]["inlinedResponses"]["inlinedResponses"],
        answers
    );
    let (_, list) = send(&fake, KEY, Method::GET, "/v1beta/batches", "").await;
    assert_eq!(list["operations"][0]["name"], done["name"]);
    let (_, none) = send(&fake, OTHER_PROJECT_KEY, Method::GET, "/v1beta/batches", "").await;
    assert_eq!(none, json!({}));
}

#[tokio::test]
async fn a_batch_from_a_file_answers_in_a_file() {
    let fake = two_projects().await;
    let line = r#"{"key":"a","request":{"contents":[{"parts":[{"text":"Why?"}]}]}}"#;
    let input = upload(&fake, KEY, &format!("{line}\n{line}\n")).await;
    let body = json!({"batch": {"input_config": {"file_name": input["name"]}}});

    let stolen = send(
        &fake,
        OTHER_PROJECT_KEY,
        Method::POST,
        CREATE,
        &body.to_string(),
    )
    .await;
    let done = done(&fake, CREATE, &body).await;

    assert_eq!(stolen.0, 403, "{}", stolen.1);
    let output = done["response"]["responsesFile"].as_str().unwrap();
    let path = format!("/v1beta/{output}:download?alt=media");
    assert_eq!(
        send(&fake, OTHER_PROJECT_KEY, Method::GET, &path, "")
            .await
            .0,
        403
    );
    let lines = String::from_utf8(download(&fake, SAME_PROJECT_KEY, &path).await).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["key"], "a");
    assert_eq!(lines[0]["response"]["usageMetadata"]["promptTokenCount"], 1);
}

#[tokio::test]
async fn a_batch_of_embeddings_answers_with_vectors() {
    let fake = two_projects().await;
    let path = "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent";
    let body = json!({"batch": {"inputConfig": {"requests": {"requests": [
        {"request": {"content": {"parts": [{"text": "tea"}]}, "outputDimensionality": 3}},
    ]}}}});

    let done = done(&fake, path, &body).await;

    let answers = &done["response"]["inlinedEmbedContentResponses"]["inlinedResponses"];
    let values = &answers[0]["response"]["embedding"]["values"];
    assert_eq!(values.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_cancelled_batch_is_over_and_a_deleted_one_gone() {
    let fake = two_projects().await;
    let request = json!({"request": {"contents": [{"parts": [{"text": "Why?"}]}]}});
    let body = json!({"batch": {"inputConfig": {"requests": {"requests": [request]}}}});
    let (_, begun) = send(&fake, KEY, Method::POST, CREATE, &body.to_string()).await;
    let path = format!("/v1beta/{}", begun["name"].as_str().unwrap());

    for (method, path, key, expected) in [
        (
            Method::POST,
            format!("{path}:cancel"),
            OTHER_PROJECT_KEY,
            404,
        ),
        (Method::POST, format!("{path}:cancel"), KEY, 200),
        (Method::GET, path.clone(), KEY, 200),
        (Method::DELETE, path.clone(), OTHER_PROJECT_KEY, 404),
        (Method::DELETE, path.clone(), KEY, 200),
        (Method::GET, path.clone(), KEY, 404),
    ] {
        let (status, response_body) = send(&fake, key, method.clone(), &path, "").await;
        assert_eq!(status, expected, "{method} {path}: {response_body}");
        if method == Method::GET && status == 200 {
            assert_eq!(response_body["metadata"]["state"], "BATCH_STATE_CANCELLED");
        }
    }
}

#[tokio::test]
async fn a_video_is_a_file_to_download() {
    let fake = two_projects().await;
    let path = "/v1beta/models/veo-3.1-generate-preview:predictLongRunning";
    let body = json!({"instances": [{"prompt": "a calm ocean wave"}]});

    let done = done(&fake, path, &body).await;

    let samples = &done["response"]["generateVideoResponse"]["generatedSamples"];
    let uri = samples[0]["video"]["uri"].as_str().unwrap();
    let path = uri.strip_prefix("https://generativelanguage.googleapis.com");
    let video = download(&fake, KEY, path.unwrap()).await;
    assert_eq!(&video[4..8], b"ftyp");
}
