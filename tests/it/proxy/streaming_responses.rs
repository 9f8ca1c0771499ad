//! Answers pass as they come, and end so that nobody takes a broken one for a whole one.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey, StreamErrorFormat};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;
use gemini_pool::pool::outcome::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::TestPool;
use crate::support::encoding::pieces;
use crate::support::requests::{ClientResponse, TestRequest};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const EVENT_STREAMS: [TestRequest; 3] = [
    TestRequest::StreamSse,
    TestRequest::ChatStream,
    TestRequest::InteractionStream,
];
const STREAMS: [TestRequest; 4] = [
    TestRequest::StreamSse,
    TestRequest::StreamArray,
    TestRequest::ChatStream,
    TestRequest::InteractionStream,
];

#[tokio::test]
async fn each_chunk_is_with_the_client_before_the_next_is_sent() {
    for (test_request, end) in [
        (TestRequest::StreamSse, "\r\n\r\n"),
        (TestRequest::StreamArray, "responseId"),
        (TestRequest::ChatStream, "\n\n"),
        (TestRequest::InteractionStream, "\n\n"),
    ] {
        for chunks in [1, 2, 3] {
            let key = FakeKey::new(KEY, "1", Behaviour::StallStream(chunks));
            // It would pack what may be packed.
            let fake_config = FakeConfig {
                gzip: true,
                ..FakeConfig::with_keys([key])
            };
            let pool = TestPool::start(fake_config).await;

            let request = pool.post(test_request.path(), test_request.body());
            let request = request.header("accept-encoding", "gzip");
            let mut answer = request.send().await.unwrap();
            let mut received = String::new();
            // The stream stalls for ever after these.
            while received.matches(end).count() < chunks {
                let chunk = answer.chunk().await.unwrap().unwrap();
                received.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn the_row_is_there_when_the_client_has_the_answer() {
    for has_content_length in [true, false] {
        let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
        pool.google.set_response_shape(ResponseShape {
            has_content_length,
            ..ResponseShape::default()
        });
        for test_request in TestRequest::ALL.into_iter().cycle().take(70) {
            let response = pool.fetch(test_request).await;

            let row = pool.row_of(&response).await;
            assert_eq!(row.outcome, Some(Outcome::Success), "{test_request:?}");
            assert_eq!(
                row.response_bytes.unsigned_abs(),
                response.body.len() as u64
            );
            assert!(row.total_tokens.unwrap() > 0, "{test_request:?}");
            let length = response.header("content-length");
            let is_known = length.is_some_and(|length| length == response.body.len().to_string());
            let is_whole = matches!(
                test_request,
                TestRequest::Generate | TestRequest::Chat | TestRequest::Interaction
            );
            // An answer that was here whole before it went out may have its length told in any case.
            assert!(
                is_known || !(has_content_length && is_whole),
                "{test_request:?} {length:?}"
            );
            assert!(is_whole || !is_known, "{test_request:?} {length:?}");
        }
        pool.assert_sums_agree().await;
    }
}

#[tokio::test]
async fn a_large_answer_of_known_length_keeps_its_length_and_its_bytes() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    let body = format!(
        r#"{{"candidates":[],"padding":"{}"}}"#,
        "x".repeat(3_000_000)
    );
    let json = ("content-type", "application/json");
    let length = body.len().to_string();
    let announced = [json, ("content-length", length.as_str())];
    pool.google.replay([
        ReplayedResponse::new(200, &announced, body.clone()),
        ReplayedResponse::new(200, &[json], body.clone()),
    ]);

    for length in [Some(length.as_str()), None] {
        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.header("content-length"), length);
        assert!(response.body == body.as_bytes());
        assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Success));
    }
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_error_event_in_its_own_form() {
    for test_request in EVENT_STREAMS {
        for (behaviour, settings, rule) in [
            (
                Behaviour::AbortStream(2),
                [("idle_timeout_ms", "60000")],
                "connection_broken",
            ),
            (
                Behaviour::StallStream(2),
                [("idle_timeout_ms", "300")],
                "answer_timeout",
            ),
        ] {
            let fake_config = FakeConfig::with_keys([FakeKey::new(KEY, "1", behaviour.clone())]);
            let pool = TestPool::start_with(fake_config, &settings).await;

            let response = pool.fetch(test_request).await;

            assert!(!response.is_truncated, "{test_request:?} {behaviour:?}");
            assert_ends_with_error(test_request, &response.text());
            let row = pool.row_of(&response).await;
            assert_eq!(row.outcome, Some(Outcome::BrokenOff));
            let attempt = &row.attempt_list.unwrap()[0];
            assert_eq!(
                attempt.rule.as_deref(),
                Some(rule),
                "{test_request:?} {behaviour:?}"
            );
            assert_eq!(pool.leases(), 0);
            pool.assert_sums_agree().await;
        }
    }
}

#[tokio::test]
async fn a_half_event_is_closed_before_the_error_event() {
    let begins =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\n";
    let half = "data: {\"candidates\":[{\"content\":{\"par";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let upstream = upstream_that_says(format!("{begins}{}{}", chunk(event), chunk(half))).await;
    let pool = TestPool::with_upstream_url(upstream, KEY).await;

    let response = pool.fetch(TestRequest::StreamSse).await;

    let text = response.text();
    let rest = text
        .strip_prefix(event)
        .unwrap()
        .strip_prefix(half)
        .unwrap();
    assert!(rest.starts_with("\r\n\r\ndata: {\"error\":"), "{rest}");
    assert_ends_with_error(TestRequest::StreamSse, &text);
}

#[tokio::test]
async fn an_answer_that_dies_without_a_way_to_say_so_is_cut_off() {
    let pool = TestPool::with_keys([FakeKey::new(KEY, "1", Behaviour::AbortStream(2))]).await;
    let response = pool.fetch(TestRequest::StreamArray).await;
    assert!(response.is_truncated, "{}", response.text());
    assert_eq!(
        pool.row_of(&response).await.outcome,
        Some(Outcome::BrokenOff)
    );

    pool.google.set_behaviour(KEY, Behaviour::TruncatedBody);
    for test_request in TestRequest::SURFACES {
        let response = pool.fetch(test_request).await;
        assert_cut_off(&pool, &response).await;
    }

    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"candidates\":[";
    let pool = TestPool::with_upstream_url(upstream_that_says(half.to_owned()).await, KEY).await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_cut_off(&pool, &response).await;
}

/// The answer broke off, or that it would was known before its first byte went out, and then the pool said so.
async fn assert_cut_off(pool: &TestPool, response: &ClientResponse) {
    let outcome = if response.is_truncated {
        Outcome::BrokenOff
    } else {
        Outcome::Network
    };
    assert!(
        response.is_truncated || response.status == 503,
        "{}",
        response.text()
    );
    assert_eq!(pool.row_of(response).await.outcome, Some(outcome));
}

#[tokio::test]
async fn an_error_inside_a_stream_passes_and_is_on_the_row() {
    for test_request in STREAMS {
        for (code, rule) in [
            (503, "overloaded"),
            (500, "internal_error"),
            (429, "quota_without_detail"),
        ] {
            for format in [StreamErrorFormat::Event, StreamErrorFormat::RawTail] {
                let behaviour = Behaviour::StreamError {
                    after: 2,
                    code,
                    format,
                };
                if test_request != TestRequest::StreamSse && format == StreamErrorFormat::RawTail {
                    continue;
                }
                let pool = TestPool::with_keys([FakeKey::new(KEY, "1", behaviour.clone())]).await;

                let response = pool.fetch(test_request).await;

                assert!(!response.is_truncated);
                let errors = response.text().matches("error\":").count();
                assert_eq!(
                    errors,
                    1,
                    "{test_request:?} {behaviour:?} {}",
                    response.text()
                );
                let row = pool.row_of(&response).await;
                assert_eq!(
                    row.outcome,
                    Some(Outcome::BrokenOff),
                    "{test_request:?} {behaviour:?}"
                );
                assert_eq!(row.status, Some(200));
                assert!(row.error.is_some());
                let attempt = &row.attempt_list.unwrap()[0];
                // The Interactions API has a word for it.
                let rule = match (test_request, code) {
                    (TestRequest::InteractionStream, 429) => "quota_per_minute",
                    _ => rule,
                };
                assert_eq!(
                    attempt.rule.as_deref(),
                    Some(rule),
                    "{test_request:?} {behaviour:?}"
                );
                assert_eq!(attempt.status, Some(i64::from(code)));
                pool.assert_sums_agree().await;
            }
        }
    }
}

#[tokio::test]
async fn errors_inside_a_stream_pass_byte_by_byte() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    let begun =
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";
    for tail in [
        "data: {\"error\": {\"code\": 503,\"message\": \"No\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n",
        "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"No\"\n  }\n}\n",
        "event: error\ndata: {\"error\":{\"code\":503}}\n\ndata: [DONE]\n\n",
    ] {
        let body = format!("{begun}{tail}");
        for size in [1, 7, 4096] {
            let mut raw = ReplayedResponse::new(200, &[("content-type", "text/event-stream")], "");
            raw.chunks = pieces(body.as_bytes(), size);
            pool.google.replay([raw]);

            let response = pool.fetch(TestRequest::StreamSse).await;

            assert_eq!(response.text(), body, "in pieces of {size}");
            assert_eq!(
                pool.row_of(&response).await.outcome,
                Some(Outcome::BrokenOff)
            );
        }
    }
}

/// Fails unless the last event is an error in the form of what was asked.
fn assert_ends_with_error(test_request: TestRequest, body: &str) {
    let body = body.replace("\r\n", "\n");
    let body = body.strip_suffix("\n\n").expect("the last event is whole");
    let last = body.rsplit("\n\n").next().unwrap();
    let data = match test_request {
        TestRequest::InteractionStream => last.strip_prefix("event: error\n").unwrap(),
        _ => last,
    };
    let data: serde_json::Value =
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    let error = &data["error"];
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("gemini-pool:"),
        "{data}"
    );
    match test_request {
        TestRequest::ChatStream => assert_eq!(error["type"], "server_error"),
        TestRequest::InteractionStream => assert_eq!(data["event_type"], "error"),
        _ => assert_eq!(error["status"], "UNAVAILABLE"),
    }
}

/// The URL of a server that answers every request with these bytes and closes the connection.
async fn upstream_that_says(bytes: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let mut read = 0;
            while !request[..read].ends_with(TestRequest::Generate.body().as_bytes()) {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            stream.write_all(bytes.as_bytes()).await.unwrap();
        }
    });
    url
}
