//! Files and the upload protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, Response};
use serde_json::Value;

use super::{
    GENERATE, KEY, OTHER_PROJECT_KEY, PROJECT, SAME_PROJECT_KEY, client, keys, send, start,
    two_projects, upload,
};
use crate::demo::fake_gemini::resources::uploads::UploadStatus;
use crate::demo::fake_gemini::{FakeConfig, FakeGemini};

const MEBIBYTES_8: usize = 8 * 1024 * 1024;

async fn begin(fake: &FakeGemini, key: &str, metadata: &str) -> Response {
    let request = client().post(fake.url() + "/upload/v1beta/files");
    let request = request
        .header("x-goog-api-key", key)
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .header("x-goog-upload-header-content-type", "text/plain");
    request.body(metadata.to_owned()).send().await.unwrap()
}

/// A later request of an upload, without any key.
async fn go_on(url: &str, command: &str, offset: usize, bytes: &[u8]) -> Response {
    let request = client()
        .post(url)
        .header("x-goog-upload-command", command)
        .header("x-goog-upload-offset", offset);
    request.body(bytes.to_vec()).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_resumable_upload_ends_as_a_file() {
    let fake = two_projects().await;
    let mut bytes = vec![b'a'; MEBIBYTES_8];
    bytes.extend_from_slice(b"the end");

    let begun = begin(&fake, KEY, r#"{"file":{"display_name":"long.txt"}}"#).await;
    let url = header(&begun, "x-goog-upload-url").to_owned();
    assert!(url.starts_with(&fake.url()), "{url}");
    assert!(url.ends_with("&upload_protocol=resumable"), "{url}");
    assert_eq!(header(&begun, "x-goog-upload-control-url"), url);
    assert_eq!(header(&begun, "x-goog-upload-status"), "active");
    assert_eq!(header(&begun, "x-goog-upload-chunk-granularity"), "8388608");
    assert_eq!(header(&begun, "server"), "UploadServer");

    let first = go_on(&url, "upload", 0, &bytes[..MEBIBYTES_8]).await;
    assert_eq!(header(&first, "x-goog-upload-status"), "active");
    let state = go_on(&url, "query", 0, b"").await;
    assert_eq!(header(&state, "x-goog-upload-size-received"), "8388608");
    for (command, offset, chunk) in [
        ("upload", 0, &b"x"[..]),
        ("upload", MEBIBYTES_8, b"not 8 MiB"),
        ("dance", MEBIBYTES_8, b""),
    ] {
        let refused = go_on(&url, command, offset, chunk).await;
        assert_eq!(refused.status(), 400, "{command} {offset}");
    }
    let last = go_on(&url, "upload, finalize", MEBIBYTES_8, &bytes[MEBIBYTES_8..]).await;
    assert_eq!(header(&last, "x-goog-upload-status"), "final");
    let response_body: Value = serde_json::from_str(&last.text().await.unwrap()).unwrap();
    let again = go_on(&url, "upload, finalize", bytes.len(), b"more").await;
    assert_eq!(again.status(), 400);

    let name = response_body["file"]["name"].as_str().unwrap();
    assert_eq!(response_body["file"]["displayName"], "long.txt");
    assert_eq!(response_body["file"]["mimeType"], "text/plain");
    assert_eq!(response_body["file"]["sizeBytes"], bytes.len().to_string());
    let resources = fake.resources();
    assert_eq!(resources.len(), 1);
    assert_eq!(resources[0].name, name);
    assert_eq!(resources[0].project, PROJECT);
    assert_eq!(resources[0].bytes, Some(bytes.len() as u64));
    assert_eq!(
        resources[0].sha256.as_deref(),
        Some("3ff9fdfcc2ac0c886dbe96b7624ef116829945838b34c535c1bb0addd16f5dbc")
    );
}

#[tokio::test]
async fn a_cancelled_upload_takes_nothing_more() {
    let fake = two_projects().await;

    let begun = begin(&fake, KEY, "{}").await;
    let url = header(&begun, "x-goog-upload-url").to_owned();
    let cancelled = go_on(&url, "cancel", 0, b"").await;
    let late = go_on(&url, "upload, finalize", 0, b"late").await;
    let unknown = go_on(&url.replace("upload_id=", "upload_id=x"), "query", 0, b"").await;

    assert_eq!(header(&cancelled, "x-goog-upload-status"), "cancelled");
    assert_eq!(late.status(), 400);
    assert_eq!(unknown.status(), 404);
    assert_eq!(fake.uploads()[0].status, UploadStatus::Cancelled);
    assert_eq!(fake.uploads()[0].received_bytes, 0);
    assert!(fake.resources().is_empty());
}

#[tokio::test]
async fn a_file_can_be_uploaded_with_its_metadata_in_one_request() {
    let fake = two_projects().await;

    let request = client()
        .post(fake.url() + "/upload/v1beta/files?uploadType=multipart")
        .header("x-goog-api-key", KEY)
        .header("content-type", "multipart/related; boundary=cut");
    let body = "--cut\r\nContent-Type: application/json\r\n\r\n{\"file\":{\"name\":\"files/my-own\",\"displayName\":\"d\"}}\r\n\
        --cut\r\nContent-Type: text/csv\r\n\r\na,b\n\r\n--cut--\r\n";
    let response = request.body(body).send().await.unwrap();
    let response_body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();

    assert_eq!(response_body["file"]["name"], "files/my-own");
    assert_eq!(response_body["file"]["displayName"], "d");
    assert_eq!(response_body["file"]["mimeType"], "text/csv");
    assert_eq!(response_body["file"]["sizeBytes"], "4");
    let taken = begin(
        &fake,
        OTHER_PROJECT_KEY,
        r#"{"file":{"name":"files/my-own"}}"#,
    )
    .await;
    assert_eq!(taken.status(), 409);
    let wrong = begin(&fake, KEY, r#"{"file":{"name":"files/My own"}}"#).await;
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn files_belong_to_their_project() {
    let fake = two_projects().await;
    let file = upload(&fake, KEY, "mine").await;
    let path = format!("/v1beta/{}", file["name"].as_str().unwrap());
    let prompt = format!(
        r#"{{"contents":[{{"parts":[{{"text":"Why?"}},{{"file_data":{{"file_uri":{}}}}}]}}]}}"#,
        file["uri"]
    );
    let generate = "/v1beta/models/gemini-2.5-flash:generateContent";
    let count = "/v1/models/gemini-2.5-flash:countTokens";
    let refusal = format!(
        "You do not have permission to access the File {} or it may not exist.",
        path.rsplit('/').next().unwrap()
    );

    for (method, path, body) in [
        (Method::GET, path.as_str(), ""),
        (Method::POST, generate, prompt.as_str()),
        (Method::POST, count, prompt.as_str()),
        (Method::DELETE, path.as_str(), ""),
    ] {
        let (status, response_body) =
            send(&fake, OTHER_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 403, "{method} {path}");
        assert_eq!(response_body["error"]["message"], *refusal);
        assert_eq!(response_body["error"]["status"], "PERMISSION_DENIED");
        let (status, response_body) =
            send(&fake, SAME_PROJECT_KEY, method.clone(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {response_body}");
    }
    assert_eq!(send(&fake, KEY, Method::GET, &path, "").await.0, 403);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_project_only() {
    let fake = two_projects().await;
    for (key, count) in [(KEY, 3), (OTHER_PROJECT_KEY, 1)] {
        for _ in 0..count {
            upload(&fake, key, "text").await;
        }
    }
    let list = |key, query: String| {
        let fake = fake.clone();
        async move {
            send(
                &fake,
                key,
                Method::GET,
                &format!("/v1beta/files{query}"),
                "",
            )
            .await
        }
    };

    let (_, first) = list(KEY, "?pageSize=2".to_owned()).await;
    let token = first["nextPageToken"].as_str().unwrap();
    let (_, second) = list(SAME_PROJECT_KEY, format!("?pageSize=2&pageToken={token}")).await;
    let (_, other) = list(OTHER_PROJECT_KEY, String::new()).await;
    let (stolen, _) = list(OTHER_PROJECT_KEY, format!("?pageToken={token}")).await;

    assert_eq!(first["files"].as_array().unwrap().len(), 2);
    assert_eq!(second["files"].as_array().unwrap().len(), 1);
    assert!(second.get("nextPageToken").is_none());
    assert_eq!(other["files"].as_array().unwrap().len(), 1);
    assert_eq!(stolen, 400);
}

#[tokio::test]
async fn files_are_gone_after_two_days() {
    let now = Arc::new(AtomicI64::new(1_790_000_000_000));
    let clock = now.clone();
    let fake = start(FakeConfig {
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        ..FakeConfig::with_keys(keys())
    })
    .await;
    let file = upload(&fake, KEY, "text").await;
    let path = format!("/v1beta/{}", file["name"].as_str().unwrap());

    let before = send(&fake, KEY, Method::GET, &path, "").await.0;
    now.fetch_add(48 * 3600 * 1000, Ordering::Relaxed);
    let after = send(&fake, KEY, Method::GET, &path, "").await.0;

    assert_eq!((before, after), (200, 403));
    assert!(fake.resources().is_empty());
    assert_eq!(file["expirationTime"], "2026-09-23T14:13:20Z");
}

#[tokio::test]
async fn what_was_uploaded_cannot_be_downloaded() {
    let fake = two_projects().await;
    let file = upload(&fake, KEY, "text").await;
    let path = format!(
        "/v1beta/{}:download?alt=media",
        file["name"].as_str().unwrap()
    );

    assert_eq!(send(&fake, KEY, Method::GET, &path, "").await.0, 400);
    assert_eq!(
        send(&fake, OTHER_PROJECT_KEY, Method::GET, &path, "")
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn lenient_json_is_accepted_only_when_switched_on() {
    let fake = two_projects().await;
    let file = upload(&fake, OTHER_PROJECT_KEY, "secret").await;
    let uri = file["uri"].as_str().unwrap();
    let body = format!("{{contents: [{{parts: [{{'file_data': {{file_uri: '{uri}',}}}}]}}]}}");
    let uri_of_another_host = body.replace(uri, "https://example.com/a");

    let (strict, refusal) = send(&fake, KEY, Method::POST, GENERATE, &body).await;
    fake.set_lenient_json(true);
    let (lenient, _) = send(&fake, KEY, Method::POST, GENERATE, &uri_of_another_host).await;
    let (foreign_file, _) = send(&fake, KEY, Method::POST, GENERATE, &body).await;

    assert_eq!(strict, 400);
    assert!(
        refusal
            .to_string()
            .contains("Invalid JSON payload received.")
    );
    assert_eq!((lenient, foreign_file), (200, 403));
    assert_eq!(fake.last_received().unwrap().body, body.as_bytes());
}
