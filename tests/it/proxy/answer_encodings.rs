//! Responses of Google in every content encoding are classified, counted and redacted like plain ones.

use bytes::Bytes;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;
use crate::support::encoding::{encoded, encoded_in_pieces};
use crate::support::requests::TestRequest;

/// Two encodings are applied from the left to the right.
const ENCODINGS: [&str; 9] = [
    "gzip",
    "X-GZip",
    "deflate",
    "br",
    "BR",
    "zstd",
    " Zstd ",
    "br, gzip",
    "identity,zstd",
];
const KEYS: [&str; 3] = [
    "AIza-first-key-00001",
    "AIza-second-key-0002",
    "AIza-third-key-00003",
];
const BAD_ARGUMENT: &str =
    r#"{"error": {"code": 400, "message": "Bad argument.", "status": "INVALID_ARGUMENT"}}"#;
const EXHAUSTED: &str =
    r#"{"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}"#;
const KEY_INVALID: &str = r#"{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}"#;
const SUCCESS: &str = r#"{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}}"#;

#[tokio::test]
async fn a_clients_error_in_any_encoding_passes_once_and_unchanged() {
    let pool = pool().await;
    for encoding in ENCODINGS {
        let body = encoded(BAD_ARGUMENT, encoding);
        pool.google.reset_counts();
        pool.google.replay([response(400, encoding, body.clone())]);

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.status, 400, "{encoding}");
        assert_eq!(response.header("content-encoding"), Some(encoding.trim()));
        assert_eq!(response.body, body, "{encoding}");
        assert_eq!(pool.google.requests(), 1, "{encoding}");
        let row = pool.row_of(&response).await;
        assert_eq!(row.outcome, Some(Outcome::ClientError), "{encoding}");
        assert!(row.error.unwrap().contains("Bad argument."), "{encoding}");
    }
}

#[tokio::test]
async fn an_error_of_a_key_in_any_encoding_is_blamed_on_that_key() {
    for encoding in ENCODINGS {
        for (status, error, state) in [
            (429, EXHAUSTED, "cooling_down"),
            (400, KEY_INVALID, "invalid"),
        ] {
            let pool = pool().await;
            let error = response(status, encoding, encoded(error, encoding));
            pool.google.replay([error]);

            let response = pool.fetch(TestRequest::Generate).await;

            assert_eq!(response.status, 200, "{encoding}");
            assert_eq!(pool.google.requests(), 2, "{encoding}");
            let keys = pool.keys().await;
            let mut states: Vec<_> = keys.iter().map(|key| key.state.as_str()).collect();
            states.sort_unstable_by_key(|found| *found != state);
            assert_eq!(states, [state, "ready", "ready"], "{encoding}");
        }
    }
}

#[tokio::test]
async fn the_usage_in_any_encoding_is_on_the_row() {
    let pool = pool().await;
    for encoding in ENCODINGS {
        let body = encoded(SUCCESS, encoding);
        pool.google.replay([response(200, encoding, body.clone())]);

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.status, 200, "{encoding}");
        assert_eq!(response.header("content-encoding"), Some(encoding.trim()));
        assert_eq!(response.body, body, "{encoding}");
        let row = pool.row_of(&response).await;
        assert_eq!(row.total_tokens, Some(9), "{encoding}");
    }
}

#[tokio::test]
async fn an_encoded_stream_is_read_event_by_event() {
    let pool = pool().await;
    let event = |text| {
        format!(
            "data: {}\r\n\r\n",
            SUCCESS.replace('\n', "").replace("Hi", text)
        )
    };
    for encoding in ["gzip", "br", "zstd"] {
        let events = [event("Hi"), event("there")];
        let chunks = encoded_in_pieces(&events.each_ref().map(String::as_str), encoding);
        let body = chunks.concat();
        let mut stream = response(200, encoding, Bytes::new());
        stream.headers[0].1 = "text/event-stream".to_owned();
        stream.chunks = chunks;
        pool.google.replay([stream]);

        let response = pool.fetch(TestRequest::StreamSse).await;

        assert_eq!(response.body, body, "{encoding}");
        let row = pool.row_of(&response).await;
        assert_eq!(row.outcome, Some(Outcome::Success), "{encoding}");
        assert_eq!(row.total_tokens, Some(9), "{encoding}");
    }
}

#[tokio::test]
async fn our_key_in_an_error_in_any_encoding_is_replaced() {
    let pool = pool().await;
    let error = |key| BAD_ARGUMENT.replace("argument", key);
    for encoding in ENCODINGS {
        let body = encoded(&error(KEYS[0]), encoding);
        pool.google.replay([response(400, encoding, body)]);

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.header("content-encoding"), None, "{encoding}");
        assert_eq!(response.text(), error("[redacted]"), "{encoding}");
    }
}

/// Such an answer is sent while it arrives, so that it cannot be edited: it ends before the key.
#[tokio::test]
async fn our_key_in_a_long_good_answer_in_any_encoding_is_not_sent() {
    let pool = pool().await;
    // Text that hardly shrinks.
    let noise = |count: u64| -> String {
        let words =
            (0..count).map(|n| format!("{:x} ", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        words.collect()
    };
    for kind in ["application/json", "text/plain"] {
        for encoding in ["gzip", "br", "zstd", "br, gzip"] {
            for key in ["AIza-first-key-0000", KEYS[0]] {
                let text = format!("{}{key}{}", noise(60_000), noise(20_000));
                let body = encoded(&SUCCESS.replace("Hi", &text), encoding);
                assert!(body.len() > 400_000);
                let mut answer = response(200, encoding, body.clone());
                answer.headers[0].1 = kind.to_owned();
                pool.google.replay([answer]);

                let response = pool.fetch(TestRequest::Generate).await;

                let row = pool.row_of(&response).await;
                if key == KEYS[0] {
                    assert!(response.is_truncated, "{kind} {encoding}");
                    assert!(body.starts_with(&response.body) && response.body.len() < 500_000);
                    assert_eq!(row.outcome, Some(Outcome::BrokenOff), "{kind} {encoding}");
                    assert!(row.error.unwrap().contains("may contain an upstream key"));
                } else {
                    assert!(
                        !response.is_truncated && response.body == body,
                        "{kind} {encoding}"
                    );
                    assert_eq!(row.outcome, Some(Outcome::Success), "{kind} {encoding}");
                }
            }
        }
    }
}

#[tokio::test]
async fn encodings_in_two_header_lines_are_undone_in_turn() {
    let pool = pool().await;
    let mut twice = response(400, "br", encoded(BAD_ARGUMENT, "br, gzip"));
    twice
        .headers
        .push(("content-encoding".to_owned(), "gzip".to_owned()));
    pool.google.replay([twice]);

    let response = pool.fetch(TestRequest::Generate).await;

    assert_eq!(response.status, 400);
    let encodings = response.headers.get_all("content-encoding").iter();
    assert_eq!(encodings.count(), 2);
}

#[tokio::test]
async fn an_error_in_an_unknown_or_broken_encoding_is_not_shown() {
    let pool = pool().await;
    for (encoding, body) in [
        ("compress", encoded(BAD_ARGUMENT, "gzip")),
        (
            "br, br, br, br, br",
            encoded(BAD_ARGUMENT, "br, br, br, br, br"),
        ),
        ("zstd", encoded(BAD_ARGUMENT, "gzip")),
        ("br", vec![0xff; 100]),
        ("br", encoded(&" ".repeat(16 << 20), "br")),
    ] {
        let error = response(400, encoding, body);
        pool.google.replay(std::iter::repeat_n(error, KEYS.len()));

        let response = pool.fetch(TestRequest::Generate).await;

        assert!(
            response.text().contains("gemini-pool:"),
            "{encoding} {response:?}"
        );
        pool.google.replay([]);
    }
}

async fn pool() -> TestPool {
    let keys = KEYS.iter().zip(["1", "2", "3"]);
    TestPool::with_keys(keys.map(|(key, project)| FakeKey::healthy(*key, project))).await
}

fn response(status: u16, encoding: &str, body: impl Into<Bytes>) -> ReplayedResponse {
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", encoding),
    ];
    ReplayedResponse::new(status, &headers, body)
}
