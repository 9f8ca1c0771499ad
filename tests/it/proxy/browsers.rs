//! No answer of the proxied surface is anything to a browser but data: it is on the dashboard's origin, and no part of it.

use bytes::Bytes;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;
use http::{HeaderMap, Method};

use crate::support::live::PATH as LIVE;
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::uploads::FILES;
use crate::support::{CLIENT_KEY, TestPool};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const DOWNLOAD: &str = "/v1beta/files/abc:download?alt=media";
/// What an upstream might say to the browsers of its own origin.
const TO_BROWSERS: [(&str, &str); 15] = [
    ("content-security-policy", "script-src *"),
    ("content-security-policy", "img-src *"),
    ("content-security-policy-report-only", "script-src 'none'"),
    ("x-content-type-options", "sniff"),
    ("set-cookie", "gemini_pool_csrf=0; Path=/"),
    ("set-cookie2", "a=b"),
    ("clear-site-data", "\"*\""),
    ("service-worker-allowed", "/"),
    ("refresh", "0; url=/account"),
    ("nel", "{\"report_to\":\"a\",\"max_age\":60}"),
    (
        "report-to",
        "{\"group\":\"a\",\"max_age\":60,\"endpoints\":[]}",
    ),
    ("strict-transport-security", "max-age=60"),
    ("x-accel-redirect", "/etc/passwd"),
    ("x-accel-buffering", "yes"),
    ("x-sendfile", "/etc/passwd"),
];
const OURS: [&str; 3] = [
    "content-security-policy",
    "x-content-type-options",
    "x-accel-buffering",
];

#[tokio::test]
async fn every_answer_of_google_is_sandboxed_in_place_of_what_google_says_of_it() {
    let pool = pool().await;
    let json = "application/json";
    let get = |path: &str| pool.client.get(format!("{}{path}", pool.url));
    let large = "x".repeat(1_000_000);
    for (status, kind, body, path) in [
        (200, "text/html", "<script>1</script>", DOWNLOAD),
        (200, "image/svg+xml", "<svg/>", DOWNLOAD),
        (200, "text/javascript", "1", "/v1beta/x"),
        (200, "text/html", &large, DOWNLOAD),
        (206, "video/mp4", "x", DOWNLOAD),
        (404, "text/html", "<h1>Not found</h1>", "/v1beta/x"),
        (400, json, "{}", "/v1beta/openai/x"),
        (200, json, "{}", "/v1beta/interactions/x"),
        (304, json, "", "/v1beta/models"),
        (200, json, "{}", "/download/v1beta/files/abc:download"),
    ] {
        let mut headers = TO_BROWSERS.to_vec();
        headers.extend([("content-type", kind), ("x-frame-options", "SAMEORIGIN")]);
        pool.google.replay([ReplayedResponse::new(
            status,
            &headers,
            Bytes::from(body.to_owned()),
        )]);

        let request = get(path).header("x-goog-api-key", CLIENT_KEY);
        let response = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(response.status, status, "{kind}: {}", response.text());
        assert!(response.body == body.as_bytes(), "{kind}");
        assert_eq!(response.header("content-type"), Some(kind));
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"));
        assert_sandboxed(&response.headers);
        assert_eq!(response.header("x-accel-buffering"), None, "{kind}");
    }
}

#[tokio::test]
async fn streams_are_sandboxed_and_not_held_back_by_a_proxy_in_front() {
    for behaviour in [Behaviour::Healthy, Behaviour::AbortStream(2)] {
        let pool = TestPool::with_keys([FakeKey::new(KEY, "1", behaviour)]).await;
        for test_request in TestRequest::ALL {
            let response = pool.fetch(test_request).await;

            assert_sandboxed(&response.headers);
            let is_whole = matches!(
                test_request,
                TestRequest::Generate | TestRequest::Chat | TestRequest::Interaction
            );
            let buffering = (!is_whole).then_some("no");
            assert_eq!(
                response.header("x-accel-buffering"),
                buffering,
                "{test_request:?}"
            );
        }
    }
    let pool = pool().await;
    let event = "data: {\"candidates\": []}\r\n\r\n";
    let mut headers = TO_BROWSERS.to_vec();
    headers.push(("content-type", "text/event-stream"));
    pool.google
        .replay([ReplayedResponse::new(200, &headers, event)]);
    let response = pool.fetch(TestRequest::StreamSse).await;
    assert_eq!(response.text(), event);
    assert_sandboxed(&response.headers);
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
}

#[tokio::test]
async fn what_the_pool_itself_answers_is_sandboxed() {
    let pool = pool().await;
    let empty = TestPool::start(FakeConfig::default()).await;
    let upload = pool.begin_upload().await;
    let url = |path: &str| format!("{}{path}", pool.url);
    let get = |path: &str| pool.client.get(url(path));
    let with_key = |path: &str| get(path).header("x-goog-api-key", CLIENT_KEY);
    let preflight = pool
        .client
        .request(Method::OPTIONS, url(TestRequest::Generate.path()))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    pool.set(&[("max_request_bytes", "2000")]).await;
    let answers = [
        (401, get("/v1beta/models")),
        (401, get("/v1beta/openai/models")),
        (400, with_key("/v1beta/models?callback=f")),
        (400, with_key("/batch")),
        (
            413,
            pool.post(TestRequest::Generate.path(), &"x".repeat(2_001)),
        ),
        (
            503,
            empty.post(TestRequest::Generate.path(), TestRequest::Generate.body()),
        ),
        (404, get("/v2/models")),
        (404, get("/favicon.ico")),
        (404, get("/nowhere/<script>")),
        (204, preflight),
        (
            404,
            get("/upload/v1beta/files?upload_id=none&upload_protocol=resumable"),
        ),
        (200, pool.part(&upload, "query", 0)),
        (200, pool.part(&upload, "upload, finalize", 0).body("x")),
        // Not a WebSocket, and nobody's.
        (400, with_key(LIVE)),
        (401, get(LIVE)),
    ];
    for (status, request) in answers {
        let response = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(response.status, status, "{}", response.text());
        assert_sandboxed(&response.headers);
    }
    let begun = pool.request_upload(CLIENT_KEY, FILES).await;
    assert_eq!(begun.status, 200);
    assert_sandboxed(&begun.headers);

    // A page put together from those of the projects.
    pool.set(&[("client_isolation", "on")]).await;
    let list = with_key("/v1beta/files").send().await.unwrap();
    let list = ClientResponse::whole(list).await;
    assert_eq!(list.json()["files"].as_array().unwrap().len(), 1);
    assert_sandboxed(&list.headers);
}

#[tokio::test]
async fn nothing_is_answered_to_what_a_browser_would_run() {
    let pool = pool().await;
    let upload = pool.begin_upload().await;
    pool.google.reset_counts();
    let asked = [
        ("sec-fetch-dest", "script"),
        ("sec-fetch-dest", "worker"),
        ("sec-fetch-dest", "sharedworker"),
        ("sec-fetch-dest", "serviceworker"),
        ("sec-fetch-dest", "audioworklet"),
        ("sec-fetch-dest", "paintworklet"),
        ("sec-fetch-dest", "Script"),
        ("sec-fetch-dest", "\tWORKER "),
        ("sec-fetch-dest", "script;a=1"),
        ("service-worker", "script"),
    ];
    for (name, value) in asked {
        for test_request in TestRequest::SURFACES {
            let request = pool
                .post(test_request.path(), test_request.body())
                .header(name, value);
            let response = ClientResponse::whole(request.send().await.unwrap()).await;

            assert_eq!(response.status, 403, "{value:?}: {}", response.text());
            let error = &response.json()["error"];
            match test_request {
                TestRequest::Chat => assert_eq!(error["type"], "permission_error"),
                TestRequest::Interaction => assert_eq!(error["code"], "permission_denied"),
                _ => assert_eq!(error["status"], "PERMISSION_DENIED"),
            }
            assert_sandboxed(&response.headers);
            let row = pool.row_of(&response).await;
            assert_eq!(
                (row.status, row.outcome),
                (Some(403), Some(Outcome::Refused))
            );
            assert_eq!(row.client_key.as_deref(), Some("env-1"));
        }
        // Whatever it shows, and wherever it is sent.
        let get = |path: &str| pool.client.get(format!("{}{path}", pool.url));
        for request in [
            get(&format!("{DOWNLOAD}&key={CLIENT_KEY}")),
            get(&format!("{LIVE}?key={CLIENT_KEY}")),
            get(DOWNLOAD),
            pool.part(&upload, "query", 0),
            pool.client.head(format!("{}{DOWNLOAD}", pool.url)),
        ] {
            let answer = request.header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{value:?} {}", answer.url());
        }
    }
    assert_eq!(pool.google.requests(), 0);

    for destination in ["empty", "document", "image", "video", "scripted", ""] {
        let request = pool.post(TestRequest::Generate.path(), TestRequest::Generate.body());
        let request = request.header("sec-fetch-dest", destination);
        assert_eq!(request.send().await.unwrap().status(), 200, "{destination}");
    }
}

#[tokio::test]
async fn strangers_do_not_fill_the_log_as_scripts() {
    let pool = pool().await;
    for _ in 0..30 {
        let request = pool.client.get(format!("{}{DOWNLOAD}", pool.url));
        let answer = request.header("sec-fetch-dest", "script").send().await;
        assert_eq!(answer.unwrap().status(), 403);
    }
    assert_eq!(pool.rows().await.len(), 10);
}

/// Fails unless a browser does nothing with the answer.
fn assert_sandboxed(headers: &HeaderMap) {
    let all = |name: &str| {
        let values = headers.get_all(name).into_iter();
        let values = values.map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(
        all("content-security-policy"),
        ["sandbox; default-src 'none'"],
        "{headers:?}"
    );
    assert_eq!(all("x-content-type-options"), ["nosniff"]);
    for (name, _) in TO_BROWSERS {
        if !OURS.contains(&name) {
            assert_eq!(all(name), [""; 0], "{name}");
        }
    }
}

async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    // Nobody has made the file that some of these answers are about.
    pool.set(&[("wait_for_key_seconds", "0"), ("client_isolation", "off")])
        .await;
    pool
}
