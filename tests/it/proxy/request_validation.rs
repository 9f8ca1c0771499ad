//! What of a request is let in: paths, browsers, versions of HTTP, sizes.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use futures_util::stream;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::outcome::Outcome;
use http_body::Frame;
use http_body_util::StreamBody;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, eventually, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

#[tokio::test]
async fn browsers_may_ask() {
    let pool = pool().await;
    let url = format!("{}{}", pool.url, TestRequest::Generate.path());
    let preflight = pool.client.request(reqwest::Method::OPTIONS, &url);
    let preflight = preflight
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,x-goog-api-key",
        );

    let allowed = ClientResponse::whole(preflight.send().await.unwrap()).await;

    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    let headers = allowed.header("access-control-allow-headers");
    assert_eq!(headers, Some("content-type,x-goog-api-key"));
    let methods = allowed.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("POST") && methods.contains("DELETE"));
    assert_eq!(pool.google.requests(), 0);

    for status in [200, 401] {
        let key = if status == 200 { CLIENT_KEY } else { "wrong" };
        let request = pool.client.post(&url).header("x-goog-api-key", key);
        let request = request.body(TestRequest::Generate.body());
        let response = ClientResponse::whole(request.send().await.unwrap()).await;
        assert_eq!(response.status, status);
        assert_eq!(
            response
                .headers
                .get_all("access-control-allow-origin")
                .iter()
                .count(),
            1
        );
    }
    // Google may not know which key restrictions a browser's headers would meet.
    assert_eq!(pool.google.last_received().unwrap().header("origin"), None);

    pool.set(&[("cors_allow_origin", "https://app.example.com")])
        .await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    pool.set(&[("cors_allow_origin", "")]).await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.header("access-control-allow-origin"), None);
    let health = pool
        .client
        .get(format!("{}/healthz", pool.url))
        .send()
        .await
        .unwrap();
    assert_eq!(health.headers().get("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_reach_google_altered_or_leave_the_pool_is_refused() {
    let pool = pool().await;
    let bad = [
        "/v1beta/../v1/models",
        "/v1beta/models/./x",
        "/v1beta/%2e%2e/models",
        "/v1beta/%2E/models",
        "/v1beta/models/..%2fx",
        "/v1beta//models",
        "/v1beta/models\\x",
        "/v1beta/models/x%00",
        "/v1beta/models/x%5cy",
        "/v1beta/models/{x}",
        "/v1beta/models/\"x\"",
        "/v1beta/models?callback=f",
        "/v1beta/models?c%61llback=f",
        "/v1beta/models?$httpHeaders=x",
        "/v1beta/models?%24httpMethod=DELETE",
        "/batch",
        "/batch/v1beta",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    ];
    for path in bad {
        let (status, answer) = raw_get(&pool, path);
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    for path in [
        "/v2/models",
        "/admin",
        "/v1betas/models",
        "/gemini/nothing",
        "/favicon.ico",
    ] {
        let (status, answer) = raw_get(&pool, path);
        assert_eq!(status, 404, "{path}: {answer}");
    }
    for row in pool.finished_rows(bad.len()).await {
        assert!(
            matches!(row.outcome, Some(Outcome::Refused | Outcome::ClientError)),
            "{row:?}"
        );
    }
    assert_eq!(pool.google.requests(), 0);
}

/// A GET with exactly this path, which no library has mended. Returns the status and all that was said.
fn raw_get(pool: &TestPool, path: &str) -> (u16, String) {
    let address = pool.url.strip_prefix("http://").unwrap();
    tokio::task::block_in_place(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: pool\r\nx-goog-api-key: {CLIENT_KEY}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    })
}

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    let pool = pool().await;
    let h2c = http_client().http2_prior_knowledge().build().unwrap();
    for (client, version) in [
        (&pool.client, http::Version::HTTP_11),
        (&h2c, http::Version::HTTP_2),
    ] {
        for test_request in TestRequest::ALL {
            let request = client.post(format!("{}{}", pool.url, test_request.path()));
            let request = request
                .header("x-goog-api-key", CLIENT_KEY)
                .body(test_request.body());
            let answer = request.send().await.unwrap();
            assert_eq!((answer.version(), answer.status().as_u16()), (version, 200));
            let response = ClientResponse::whole(answer).await;
            assert!(!response.is_truncated);
            assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Success));
        }
    }
    let unauthenticated = h2c
        .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
        .send()
        .await
        .unwrap();
    assert_eq!(unauthenticated.status(), 401);
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_is_held() {
    let pool = pool().await;
    pool.set(&[("max_request_bytes", "2000")]).await;
    let body = "x".repeat(2_001);
    let announced = pool.post(TestRequest::Generate.path(), &body);
    let piece = |_| Ok::<_, std::io::Error>(Frame::data(Bytes::from("x".repeat(100))));
    let pieces = StreamBody::new(stream::iter((0..21).map(piece)));
    let unannounced = pool
        .post(TestRequest::Chat.path(), "")
        .body(reqwest::Body::wrap(pieces));
    for request in [announced, unannounced] {
        let response = ClientResponse::whole(request.send().await.unwrap()).await;
        assert_eq!(response.status, 413, "{}", response.text());
        assert!(
            response.text().contains("2000 bytes"),
            "{}",
            response.text()
        );
        assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Refused));
    }
    assert_eq!(pool.google.requests(), 0);
    eventually("no body is held", async || {
        let held = pool.app.body_memory.total();
        (held == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bodies_that_together_take_too_much_are_refused_until_others_are_done() {
    let pool = pool().await;
    pool.set(&[("max_held_bytes", "1048576")]).await;
    let large = format!(
        r#"{{"contents":[{{"parts":[{{"text":"{}"}}]}}]}}"#,
        "x".repeat(700_000)
    );
    let slow = pool
        .post(TestRequest::Generate.path(), &large)
        .header("x-fake-gemini", "first_byte=3600000");
    let slow = tokio::spawn(slow.send());
    eventually("the first is with Google", async || {
        (pool.google.open_responses() == 1).then_some(())
    })
    .await;

    let second = pool
        .post(TestRequest::Generate.path(), &large)
        .send()
        .await
        .unwrap();
    let second = ClientResponse::whole(second).await;
    assert_eq!(second.status, 503, "{}", second.text());
    assert!(second.header("retry-after").is_some());
    assert_eq!(
        pool.fetch(TestRequest::Generate).await.status,
        200,
        "a small one still fits"
    );

    slow.abort();
    eventually("there is room again", async || {
        let answer = pool
            .post(TestRequest::Generate.path(), &large)
            .send()
            .await
            .unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;
}

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_on_the_list_changes_what_google_does() {
    let pool = pool().await;
    let generate = TestRequest::Generate.path();
    for query in [
        "$key=x",
        "$userProject=p",
        "bearer_token=t",
        "alt=proto",
        "%24callback=f",
        "quotaUser=u",
    ] {
        let response = pool.post(&format!("{generate}?{query}"), TestRequest::Generate.body());
        let response = ClientResponse::whole(response.send().await.unwrap()).await;
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        assert_eq!(pool.row_of(&response).await.attempts, 0);
    }
    for method in ["TRACE", "PROPFIND"] {
        let url = format!("{}{generate}", pool.url);
        let request = pool.client.request(method.parse().unwrap(), url);
        let request = request.header("x-goog-api-key", CLIENT_KEY);
        let response = ClientResponse::whole(request.send().await.unwrap()).await;
        assert_eq!(response.status, 405, "{method}");
        assert!(response.header("allow").unwrap().contains("PATCH"));
    }
    assert_eq!(pool.google.requests(), 0);

    let sent = pool
        .post(
            &format!("{generate}?$prettyPrint=false&somethingNew=1"),
            TestRequest::Generate.body(),
        )
        .header("x-goog-user-project", "p")
        .header("x-goog-fieldmask", "a")
        .header("x-goog-api-client", "client/1")
        .header("accept-encoding", "br, gzip;q=0.5, zstd");
    let response = ClientResponse::whole(sent.send().await.unwrap()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let received = pool.google.last_received().unwrap();
    assert!(
        received
            .path_and_query
            .ends_with("?$prettyPrint=false&somethingNew=1")
    );
    let headers = [
        "x-goog-user-project",
        "x-goog-fieldmask",
        "x-goog-api-client",
        "accept-encoding",
    ];
    assert_eq!(
        headers.map(|name| received.header(name)),
        [None, None, Some("client/1"), Some("gzip;q=0.5")]
    );
    for stream in [TestRequest::StreamSse, TestRequest::ChatStream] {
        let request = pool
            .post(stream.path(), stream.body())
            .header("accept-encoding", "gzip");
        ClientResponse::whole(request.send().await.unwrap()).await;
        let received = pool.google.last_received().unwrap();
        assert_eq!(received.header("accept-encoding"), Some("identity"));
    }
}

#[tokio::test]
async fn a_selection_of_fields_passes_only_where_nothing_depends_on_the_others() {
    let pool = pool().await;
    let generate = format!("{}?fields=candidates", TestRequest::Generate.path());
    let create = "/v1beta/cachedContents?$fields=ttl";
    let status = async |path: &str| {
        let body = TestRequest::Generate.body();
        pool.post(path, body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status(&generate).await, 200);
    assert_eq!(status(create).await, 400);
    let list = pool
        .client
        .get(format!("{}/v1beta/files?fields=files", pool.url));
    let list = list
        .header("x-goog-api-key", CLIENT_KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(list.status(), 400);
    pool.allow(|terms| terms.limits.tokens_per_day = Some(1_000_000))
        .await;
    assert_eq!(status(&generate).await, 400);
}
