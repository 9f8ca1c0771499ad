//! No answer tells a client anything of the pool's keys.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;
use crate::support::encoding::{encoded, encoded_in_pieces, pieces, unzipped};
use crate::support::requests::{ClientResponse, TestRequest};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const PROJECT: &str = "700000000001";
const SSE: (&str, &str) = ("content-type", "text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const EVENT: &str =
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";

#[tokio::test]
async fn what_google_says_of_our_key_stays_with_us() {
    let behaviours = [
        Behaviour::Invalid,
        Behaviour::InvalidEchoingKey,
        Behaviour::Expired,
        Behaviour::NotFound,
        Behaviour::Unauthenticated,
        Behaviour::Leaked,
        Behaviour::Suspended,
        Behaviour::ServiceDisabled,
        Behaviour::ServiceBlocked,
        Behaviour::ReferrerBlocked,
        Behaviour::ProjectDenied,
        Behaviour::BillingEmpty,
        Behaviour::SpendingCap,
        Behaviour::Exhausted,
        Behaviour::QuotaZero("gemini-2.5-flash".into()),
    ];
    for behaviour in behaviours {
        for gzip in [false, true] {
            let key = FakeKey::new(KEY, PROJECT, behaviour.clone());
            let fake_config = FakeConfig {
                gzip,
                ..FakeConfig::with_keys([key.clone()])
            };
            let pool = TestPool::start(fake_config).await;
            for test_request in TestRequest::ALL {
                let request = pool.post(test_request.path(), test_request.body());
                let request = request.header("accept-encoding", "gzip");
                let response = ClientResponse::whole(request.send().await.unwrap()).await;

                assert!(
                    matches!(response.status.as_u16(), 429 | 503),
                    "{behaviour:?} {response:?}"
                );
                assert!(
                    response.text().contains("gemini-pool:"),
                    "{behaviour:?} {response:?}"
                );
                response.assert_reveals_nothing_of(std::slice::from_ref(&key));
            }
            for row in pool.finished_rows(TestRequest::ALL.len()).await {
                let row = format!("{row:?}");
                assert!(!row.contains(KEY), "{row}");
            }
            for key in pool.keys().await {
                let key = format!("{key:?}");
                assert!(!key.contains(KEY), "{key}");
            }
        }
    }
}

#[tokio::test]
async fn a_clients_own_fault_is_told_without_our_key() {
    let pool = pool().await;
    let fault = |key| {
        format!(
            r#"{{"error": {{"code": 400, "message": "No {key}.", "status": "INVALID_ARGUMENT"}}}}"#
        )
    };
    let reported = fault(KEY);
    for (headers, body) in [
        (vec![JSON], reported.clone().into_bytes()),
        (vec![JSON, GZIP], encoded(&reported, "gzip")),
        (
            vec![JSON, ("content-encoding", "deflate")],
            encoded(&reported, "deflate"),
        ),
    ] {
        for test_request in TestRequest::ALL {
            pool.google
                .replay([ReplayedResponse::new(400, &headers, body.clone())]);

            let response = pool.fetch(test_request).await;

            assert_eq!(response.status, 400);
            assert_eq!(response.header("content-encoding"), None);
            assert_eq!(response.text(), fault("[redacted]"));
            assert_eq!(
                response.header("content-length"),
                Some(response.body.len().to_string().as_str())
            );
            let row = pool.row_of(&response).await;
            assert_eq!(row.outcome, Some(Outcome::ClientError));
            assert!(!row.error.unwrap().contains(KEY));
        }
    }
}

#[tokio::test]
async fn a_good_answer_loses_nothing_but_a_whole_upstream_key() {
    let pool = pool().await;
    pool.set(&[("client_isolation", "off")]).await;
    let answer = |key: &str| {
        format!(
            r#"{{"done": true, "error": {{"code": 3, "message": "api_key:{key}"}}, "project": "projects/{PROJECT}", "text": "AIzaSyThe short"}}"#
        )
    };
    let masked = format!("[redacted]{}", "*".repeat(KEY.len() - "[redacted]".len()));
    for (headers, body) in [
        (vec![JSON], answer(KEY).into_bytes()),
        (vec![JSON, GZIP], encoded(&answer(KEY), "gzip")),
    ] {
        pool.google
            .replay([ReplayedResponse::new(200, &headers, body.clone())]);
        let response = pool
            .client
            .get(format!("{}/v1beta/models/m/operations/o", pool.url));
        let response = response.header("x-goog-api-key", crate::support::CLIENT_KEY);
        let response = ClientResponse::whole(response.send().await.unwrap()).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.text(), answer(&masked));
    }

    // Each byte by itself, as a stream of text.
    let stream = format!("data: {{\"text\": \"{KEY} AIzaSyThe\"}}\r\n\r\n");
    let mut replayed = ReplayedResponse::new(200, &[SSE], "");
    replayed.chunks = stream.bytes().map(|byte| vec![byte].into()).collect();
    pool.google.replay([replayed]);
    let response = pool.fetch(TestRequest::StreamSse).await;
    assert_eq!(response.text(), stream.replace(KEY, &masked));

    // The content of a file passes unchanged.
    let file = [("content-type", "text/plain")];
    let content = format!("my own note: {KEY}");
    pool.google
        .replay([ReplayedResponse::new(200, &file, content.clone())]);
    let url = format!("{}/v1beta/files/f:download?alt=media", pool.url);
    let request = pool.client.get(url);
    let request = request.header("x-goog-api-key", crate::support::CLIENT_KEY);
    let response = ClientResponse::whole(request.send().await.unwrap()).await;
    assert_eq!(response.text(), content);
}

#[tokio::test]
async fn the_url_of_an_upload_session_at_google_is_not_shown() {
    let pool = pool().await;
    let url = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=SECRET";
    let headers = [
        JSON,
        ("x-goog-upload-url", url),
        ("x-goog-upload-control-url", url),
    ];
    for test_request in [TestRequest::Generate, TestRequest::StreamSse] {
        pool.google
            .replay([ReplayedResponse::new(200, &headers, "{}")]);
        let response = pool.fetch(test_request).await;
        assert!(!format!("{:?}", response.headers).contains("SECRET"));
    }
}

#[tokio::test]
async fn a_compressed_error_that_tells_nothing_passes_byte_by_byte() {
    let pool = pool().await;
    let body = encoded(
        r#"{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}"#,
        "gzip",
    );
    pool.google
        .replay([ReplayedResponse::new(400, &[JSON, GZIP], body.clone())]);

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(response.body, body);
}

#[tokio::test]
async fn an_error_inside_a_stream_is_told_without_our_key() {
    let pool = pool().await;
    let tail = |key| {
        [
            format!(
                "data: {{\"error\": {{\"code\": 503,\"message\": \"No {key}\",\"status\": \"UNAVAILABLE\"}}}}\r\n\r\n"
            ),
            format!(
                "{{\n  \"error\": {{\n    \"code\": 503,\n    \"details\": [{{\"detail\": \"{key}\"}}]\n  }}\n}}\n"
            ),
            format!(
                "event: error\ndata: {{\"event_type\":\"error\",\"error\":{{\"message\":\"{key}\"}}}}\n\n"
            ),
            // It breaks off inside the error.
            format!("data: {{\"error\": {{\"code\": 503,\"message\": \"No {key}"),
        ]
    };
    for (reported, expected) in tail(KEY).into_iter().zip(tail("[redacted]")) {
        let body = format!("{EVENT}{reported}");
        for size in [1, 7, 30, 4096] {
            let mut raw = ReplayedResponse::new(200, &[SSE], "");
            raw.chunks = pieces(body.as_bytes(), size);
            pool.google.replay([raw]);

            let response = pool.fetch(TestRequest::StreamSse).await;

            let text = response.text();
            let rest = text.strip_prefix(&format!("{EVENT}{expected}"));
            let rest = rest.unwrap_or_else(|| panic!("in pieces of {size}: {text}"));
            if expected.ends_with('\n') {
                assert_eq!(rest, "", "in pieces of {size}");
            } else {
                // The pool closes the half event and says that the stream broke off.
                assert!(
                    rest.starts_with("\r\n\r\ndata: ") && rest.contains("broke off"),
                    "{rest}"
                );
            }
            assert!(
                !pool
                    .row_of(&response)
                    .await
                    .error
                    .unwrap_or_default()
                    .contains(KEY)
            );
        }
    }
}

#[tokio::test]
async fn an_error_inside_an_array_is_told_without_our_key() {
    let pool = pool().await;
    let body = |key| {
        format!(
            "[{{\"candidates\": []}}\n,\r\n{{\"error\": {{\"code\": 503, \"message\": \"No {key}\"}}}}\n]"
        )
    };
    for size in [1, 7, 4096] {
        let mut raw = ReplayedResponse::new(200, &[JSON], "");
        raw.chunks = pieces(body(KEY).as_bytes(), size);
        pool.google.replay([raw]);

        let response = pool.fetch(TestRequest::StreamArray).await;

        assert_eq!(response.text(), body("[redacted]"), "in pieces of {size}");
    }
}

#[tokio::test]
async fn where_nothing_can_be_replaced_the_answer_is_cut_off_before_our_key() {
    let pool = pool().await;
    let secrets = [
        format!("data: {{\"error\": {{\"code\": 503,\"message\": \"No {KEY}\"}}}}\r\n\r\n"),
        format!(
            "data: {{\"error\": {{\"code\": 503,\"details\": [{{\"detail\": \"{KEY}\"}}]}}}}\r\n\r\n"
        ),
    ];
    for secret in secrets {
        let mut zipped = ReplayedResponse::new(200, &[SSE, GZIP], "");
        zipped.chunks = encoded_in_pieces(&[EVENT, EVENT, &secret, "data: [DONE]\r\n\r\n"], "gzip");
        let body = format!("{EVENT}{secret}");
        let length = body.len().to_string();
        let announced =
            ReplayedResponse::new(200, &[SSE, ("content-length", length.as_str())], body);
        for raw in [zipped, announced] {
            pool.google.replay([raw]);

            let response = pool.fetch(TestRequest::StreamSse).await;

            assert!(response.is_truncated);
            let text = match response.header("content-encoding") {
                Some(_) => unzipped(&response.body),
                None => response.text(),
            };
            assert!(!text.contains(KEY), "{text}");
            assert_eq!(
                pool.row_of(&response).await.outcome,
                Some(Outcome::BrokenOff)
            );
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_with_an_error_that_tells_nothing_passes_byte_by_byte() {
    let pool = pool().await;
    let error = "data: {\"error\": {\"code\": 503,\"message\": \"No\"}}\r\n\r\n";
    let mut raw = ReplayedResponse::new(200, &[SSE, GZIP], "");
    raw.chunks = encoded_in_pieces(&[EVENT, EVENT, error, "data: [DONE]\r\n\r\n"], "gzip");
    let body = raw.chunks.concat();
    pool.google.replay([raw]);

    let response = pool.fetch(TestRequest::StreamSse).await;

    assert!(!response.is_truncated);
    assert_eq!(response.body, body);
    assert_eq!(
        pool.row_of(&response).await.outcome,
        Some(Outcome::BrokenOff)
    );
}

#[tokio::test]
async fn headers_that_repeat_our_key_do_not_pass() {
    let pool = pool().await;
    let location = format!("https://example.com/?key={KEY}");
    let headers = [
        JSON,
        ("x-goog-api-key", KEY),
        ("x-goog-upload-header-x-goog-api-key", KEY),
        ("x-debug", &format!("the key is {KEY}, indeed")),
        ("location", &location),
        ("x-plain", "kept"),
    ];
    for status in [200, 400] {
        pool.google.replay([ReplayedResponse::new(
            status,
            &headers,
            r#"{"candidates":[]}"#,
        )]);

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.status, status);
        response.assert_reveals_nothing_of(&[FakeKey::healthy(KEY, PROJECT)]);
        assert_eq!(response.header("x-plain"), Some("kept"));
        assert_eq!(
            response.header("x-debug"),
            Some("the key is [redacted], indeed")
        );
        assert!(!response.headers.contains_key("x-goog-api-key"));
        assert!(
            !response
                .headers
                .contains_key("x-goog-upload-header-x-goog-api-key")
        );
    }
    let redirect = ReplayedResponse::new(302, &headers, "");
    pool.google.replay([redirect]);
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.status, 502);
    response.assert_reveals_nothing_of(&[FakeKey::healthy(KEY, PROJECT)]);
    let error = pool.row_of(&response).await.error.unwrap();
    assert!(
        error.contains("https://example.com/?key=[redacted]"),
        "{error}"
    );
}

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, PROJECT)]).await
}

#[tokio::test]
async fn an_error_of_any_length_keeps_its_status_and_class() {
    let error = |code: u16, status: &str, mib: usize| {
        let text = format!("{KEY}{}", "x".repeat(mib * 1024 * 1024));
        let body = format!(
            r#"{{"error": {{"code": {code}, "message": "{text}", "status": "{status}"}}}}"#
        );
        ReplayedResponse::new(code, &[JSON], body)
    };
    for mib in [2, 5, 20] {
        for (code, status, outcome) in [
            (400, "INVALID_ARGUMENT", Outcome::ClientError),
            (404, "NOT_FOUND", Outcome::ClientError),
            (500, "INTERNAL", Outcome::UpstreamError),
        ] {
            let pool = TestPool::with_keys([FakeKey::healthy(KEY, PROJECT)]).await;
            pool.set(&[("max_attempts", "1")]).await;
            pool.google.replay([error(code, status, mib)]);

            let response = pool.fetch(TestRequest::Generate).await;

            assert_eq!(response.status, code, "{mib} MiB");
            assert!(!response.is_truncated && !response.text().contains(KEY));
            if mib < 8 {
                assert!(response.body.len() > mib * 1024 * 1024);
            }
            let row = pool.row_of(&response).await;
            assert_eq!(row.outcome, Some(outcome), "{mib} MiB of {code}");
        }
    }
}
