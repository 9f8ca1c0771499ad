//! Downloads: the pool follows Google's redirect itself, and nobody else's.

use bytes::Bytes;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;
use http::Method;

use crate::support::requests::ClientResponse;
use crate::support::{CLIENT_KEY, TestPool};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const PATH: &str = "/v1beta/files/abc:download?alt=media";
const BEHIND: &str = "/download/v1beta/files/abc:download?alt=media";
/// What would be an error about a key, were it not the content of a file.
const FILE: &str =
    r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}"#;

#[tokio::test]
async fn a_download_is_followed_to_its_bytes() {
    let pool = pool().await;
    for location in [
        format!("https://generativelanguage.googleapis.com{BEHIND}"),
        format!("{}{BEHIND}", pool.google.url()),
        BEHIND.to_owned(),
    ] {
        pool.google.replay([redirect(302, &location), bytes(200)]);

        let response = download(&pool, Method::GET, PATH, &[("range", "bytes=0-80")]).await;

        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.text(), FILE);
        assert_eq!(response.header("location"), None);
        assert_eq!(response.header("x-guploader-uploadid"), None);
        assert!(!format!("{:?}", response.headers).contains(KEY));
        let received = pool.google.received();
        let [.., first, second] = received.as_slice() else {
            panic!("{received:?}")
        };
        let paths = (
            first.path_and_query.as_str(),
            second.path_and_query.as_str(),
        );
        assert_eq!(paths, (PATH, BEHIND));
        for request in [first, second] {
            assert_eq!(request.key.as_deref(), Some(KEY));
            assert_eq!(request.header("range"), Some("bytes=0-80"));
        }
        let row = pool.row_of(&response).await;
        assert_eq!(row.operation.as_deref(), Some("files.download"));
        assert_eq!(row.outcome, Some(Outcome::Success));
        assert_eq!(row.response_bytes, i64::try_from(FILE.len()).unwrap());
        assert_eq!(row.attempts, 1);
    }
}

#[tokio::test]
async fn parts_of_a_file_and_its_head_can_be_asked_for() {
    let pool = pool().await;
    let part = ReplayedResponse::new(
        206,
        &[
            ("content-type", "video/mp4"),
            ("content-range", "bytes 2-4/9"),
            ("content-length", "3"),
        ],
        "cde",
    );
    pool.google.replay([redirect(302, BEHIND), part]);
    let response = download(&pool, Method::GET, PATH, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (206, "cde")
    );
    assert_eq!(response.header("content-range"), Some("bytes 2-4/9"));

    // Behind the redirect, as some clients ask.
    pool.google.replay([bytes(200)]);
    let response = download(&pool, Method::GET, BEHIND, &[]).await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, FILE)
    );

    let length = FILE.len().to_string();
    let bare = ReplayedResponse::new(200, &[("content-length", length.as_str())], Bytes::new());
    pool.google.replay([redirect(302, BEHIND), bare]);
    let response = download(&pool, Method::HEAD, PATH, &[]).await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "")
    );
    assert_eq!(pool.google.last_received().unwrap().method, "HEAD");
}

#[tokio::test]
async fn no_redirect_leads_a_key_or_a_client_elsewhere() {
    let pool = pool().await;
    for location in [
        "https://storage.googleapis.com/bucket/file",
        "http://generativelanguage.googleapis.com/download/v1beta/files/abc:download",
        "https://generativelanguage.googleapis.com@127.0.0.1/",
        "//example.com/x",
        "file:///etc/passwd",
        "not a url",
    ] {
        for answers in [
            vec![redirect(302, location)],
            vec![redirect(302, BEHIND), redirect(307, location)],
        ] {
            let hops = answers.len();
            pool.google.reset_counts();
            pool.google.replay(answers);

            let response = download(&pool, Method::GET, PATH, &[]).await;

            assert_eq!(response.status, 502, "{location}: {}", response.text());
            assert_eq!(response.header("location"), None);
            assert_eq!(pool.google.requests(), hops as u64, "{location}");
            let row = pool.row_of(&response).await;
            assert_eq!(row.outcome, Some(Outcome::UpstreamError));
        }
    }
    assert_eq!(pool.keys().await[0].state, "ready");

    // A second one on the right host is the client's to follow, through the pool.
    let second = format!("https://generativelanguage.googleapis.com{BEHIND}&again=1");
    pool.google
        .replay([redirect(302, BEHIND), redirect(302, &second)]);
    let response = download(&pool, Method::GET, PATH, &[]).await;
    assert_eq!(response.status, 302);
    let ours = format!("{BEHIND}&again=1");
    assert_eq!(response.header("location"), Some(ours.as_str()));
}

#[tokio::test]
async fn an_error_behind_the_redirect_is_an_error() {
    let pool = pool().await;
    let missing = r#"{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}"#;
    let json = [("content-type", "application/json")];
    pool.google.replay([
        redirect(302, BEHIND),
        ReplayedResponse::new(404, &json, missing),
    ]);

    let response = download(&pool, Method::GET, PATH, &[]).await;

    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (404, missing)
    );
    let refused = format!(
        r#"{{"error":{{"code":400,"message":"API key not valid: {KEY}","status":"INVALID_ARGUMENT",
        "details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}}]}}}}"#
    );
    pool.google.replay([
        redirect(302, BEHIND),
        ReplayedResponse::new(400, &json, refused),
    ]);
    let response = download(&pool, Method::GET, PATH, &[]).await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(!response.text().contains(KEY));
}

async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    // Nobody has made the file that these answers are about.
    pool.set(&[("wait_for_key_seconds", "0"), ("client_isolation", "off")])
        .await;
    pool
}

async fn download(
    pool: &TestPool,
    method: Method,
    path: &str,
    more: &[(&str, &str)],
) -> ClientResponse {
    let url = format!("{}{path}", pool.url);
    let mut request = pool.client.request(method, url);
    request = request.header("x-goog-api-key", CLIENT_KEY);
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    ClientResponse::whole(request.send().await.unwrap()).await
}

/// As recorded: it repeats the request's headers.
fn redirect(status: u16, location: &str) -> ReplayedResponse {
    let headers = [
        ("x-goog-api-key", KEY),
        ("host", "generativelanguage.googleapis.com"),
        ("user-agent", "a"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip,gzip(gfe)"),
        ("location", location),
        ("content-type", "application/json; charset=UTF-8"),
    ];
    let body = r#"{"error":{"code":302,"message":"Unknown Error.","status":"UNKNOWN"}}"#;
    ReplayedResponse::new(status, &headers, body)
}

fn bytes(status: u16) -> ReplayedResponse {
    let headers = [
        ("content-type", "application/json"),
        ("cache-control", "private"),
        ("x-guploader-uploadid", "internal"),
    ];
    ReplayedResponse::new(status, &headers, FILE)
}
