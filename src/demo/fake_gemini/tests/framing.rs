//! Answers, byte by byte.

use std::io::Read;

use super::*;
use crate::demo::fake_gemini::replay::ReplayedResponse;

#[tokio::test]
async fn a_stream_is_events_and_nothing_else() {
    let fake = fake(Behaviour::Healthy).await;

    let (status, content_type, body) = post_and_read(&fake, STREAM, PROMPT).await;

    assert_eq!((status, content_type.as_str()), (200, "text/event-stream"));
    let events: Vec<_> = body.split_terminator("\r\n\r\n").collect();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| {
        event.starts_with("data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"")
    }));
    assert!(events[3].contains("\"finishReason\": \"STOP\",\"index\": 0}]"));
    assert!(!events[2].contains("finishReason"));
    assert!(body.ends_with("\"}\r\n\r\n"));
}

#[tokio::test]
async fn headers_are_those_of_recordings() {
    let fake = fake(Behaviour::Healthy).await;

    let unary = post(&fake, GENERATE, PROMPT).await.unwrap();
    let stream = post(&fake, STREAM, PROMPT).await.unwrap();

    let vary: Vec<_> = unary.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["Origin", "Referer", "X-Origin"]);
    assert_eq!(unary.headers()["server"], "scaffolding on HTTPServer2");
    assert_eq!(unary.headers()["x-gemini-service-tier"], "standard");
    assert_eq!(unary.headers()["transfer-encoding"], "chunked");
    assert!(unary.headers().contains_key("date"));
    assert_eq!(stream.headers()["content-disposition"], "attachment");
    assert!(!stream.headers().contains_key("x-gemini-service-tier"));
}

#[tokio::test]
async fn the_manner_can_be_asked_for_in_a_header() {
    let fake = fake(Behaviour::Healthy).await;

    let request = client().post(fake.url() + STREAM).body(PROMPT);
    let request = request.header("x-fake-gemini", "chunks=50, chunk_bytes=7, delay=0");
    let response = request.header("x-goog-api-key", KEY).send().await.unwrap();

    let body = response.text().await.unwrap();
    assert_eq!(body.matches("data: ").count(), 50);
}

#[tokio::test]
async fn gzip_is_for_those_who_accept_it_and_flushed_by_piece() {
    let mut config = FakeConfig::with_keys([FakeKey::new(KEY, PROJECT, Behaviour::AbortStream(2))]);
    config.gzip = true;
    let fake = start(config).await;

    let plain = post_and_read(&fake, GENERATE, PROMPT).await.2;
    let request = client()
        .post(fake.url() + STREAM)
        .body(PROMPT)
        .header("x-goog-api-key", KEY);
    let mut response = request
        .header("accept-encoding", "gzip, deflate")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut zipped = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        zipped.extend_from_slice(&chunk);
    }

    assert!(plain.starts_with('{'));
    let mut unzipped = vec![0; 100_000];
    let mut decoder = flate2::read::GzDecoder::new(zipped.as_slice());
    let mut length = 0;
    while let Ok(more @ 1..) = decoder.read(&mut unzipped[length..]) {
        length += more;
    }
    let text = std::str::from_utf8(&unzipped[..length]).unwrap();
    assert_eq!(text.matches("\r\n\r\n").count(), 2, "{text}");
}

#[tokio::test]
async fn a_replay_is_exact_and_what_came_is_kept_raw() {
    let fake = fake(Behaviour::Healthy).await;
    fake.replay([ReplayedResponse::new(
        302,
        &[
            ("Vary", "Origin"),
            ("Vary", "Referer"),
            ("Transfer-Encoding", "chunked"),
            ("X-Odd", "as it is"),
            ("Content-Length", "3"),
        ],
        "é!",
    )]);

    let url = fake.url() + "/v1beta/files/a%2Fb:download?alt=media&%24x=1";
    let request = client().post(url).header("x-goog-api-key", KEY);
    let response = request.body("the body").send().await.unwrap();

    assert_eq!(response.status(), 302);
    let names: Vec<_> = response
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["vary", "x-odd", "content-length"]);
    assert_eq!(response.headers().get_all("vary").iter().count(), 2);
    assert_eq!(response.text().await.unwrap(), "é!");
    let received = fake.last_received().unwrap();
    assert_eq!(
        received.path_and_query,
        "/v1beta/files/a%2Fb:download?alt=media&%24x=1"
    );
    assert_eq!(received.body, "the body");
    assert_eq!(received.header("x-goog-api-key"), Some(KEY));
    assert_eq!(
        post_and_read(&fake, GENERATE, PROMPT).await.0,
        200,
        "then by the rules again"
    );
}

#[tokio::test]
async fn models_are_paged_and_gotten() {
    let fake = fake(Behaviour::Unauthenticated).await;
    let get = async |path: &str| {
        let request = client()
            .get(fake.url() + path)
            .header("x-goog-api-key", KEY);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };

    let (_, first) = get("/v1beta/models").await;
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let token = first["nextPageToken"].as_str().unwrap();
    let (_, second) = get(&format!("/v1beta/models?pageToken={token}")).await;
    let second: serde_json::Value = serde_json::from_str(&second).unwrap();

    // The token of the recorded list, whose 50th model is the same.
    assert_eq!(token, "Ch9tb2RlbHMvdmVvLTMuMS1nZW5lcmF0ZS1wcmV2aWV3");
    assert_eq!(first["models"].as_array().unwrap().len(), 50);
    assert_eq!(
        second["models"][0]["name"],
        "models/veo-3.1-fast-generate-preview"
    );
    assert!(second.get("nextPageToken").is_none());
    assert_eq!(
        get("/v1beta/models/gemini-2.5-flash").await.0,
        401,
        "lists answer such a key, nothing else does"
    );
    fake.set_behaviour(KEY, Behaviour::Healthy);
    let (status, model) = get("/v1beta/models/gemini-2.5-flash").await;
    assert_eq!(status, 200);
    assert!(
        model.starts_with("{\n  \"name\": \"models/gemini-2.5-flash\",\n")
            && model.ends_with("\n}\n"),
        "{model}"
    );
    assert_eq!(get("/v1beta/openai/models").await.0, 200);
}

#[tokio::test]
async fn interactions_belong_to_their_project() {
    let fake = start(FakeConfig::with_keys([
        FakeKey::healthy(KEY, PROJECT),
        FakeKey::healthy("AIzaUnknown", "100000000002"),
    ]))
    .await;
    let body = r#"{"agent":"deep-research-pro-preview-12-2025","input":"Hi","background":true}"#;

    let (status, _, begun) = post_and_read(&fake, "/v1beta/interactions", body).await;
    let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
    let poll = async |key: &str| {
        let url = format!(
            "{}/v1beta/interactions/{}",
            fake.url(),
            begun["id"].as_str().unwrap()
        );
        let response = client()
            .get(url)
            .header("x-goog-api-key", key)
            .send()
            .await
            .unwrap();
        response.text().await.unwrap()
    };

    assert_eq!((status, &begun["status"]), (200, &"in_progress".into()));
    assert!(poll(KEY).await.contains("\"status\":\"completed\""));
    assert!(
        poll("AIzaUnknown")
            .await
            .contains("\"code\": \"not_found\"")
    );
}

#[tokio::test]
async fn embeddings_and_counts_answer() {
    let fake = fake(Behaviour::Healthy).await;

    let count = post_and_read(&fake, "/v1beta/models/gemini-2.5-flash:countTokens", PROMPT)
        .await
        .2;
    let embed = r#"{"model":"gemini-embedding-2","input":["a","b"],"encoding_format":"base64","dimensions":3}"#;
    let embedded = post_and_read(&fake, "/v1beta/openai/embeddings", embed)
        .await
        .2;
    let embedded: serde_json::Value = serde_json::from_str(&embedded).unwrap();

    assert_eq!(
        count,
        "{\n  \"totalTokens\": 5,\n  \"promptTokensDetails\": [\n    {\n      \"modality\": \"TEXT\",\n      \
        \"tokenCount\": 5\n    }\n  ]\n}\n"
    );
    assert_eq!(embedded["data"].as_array().unwrap().len(), 2);
    assert_eq!(embedded["data"][1]["embedding"].as_str().unwrap().len(), 16);
}
