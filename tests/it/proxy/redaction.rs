//! No answer tells a client anything of the pool's keys.

use gemini_pool::demo::fake_gemini::Rules;
use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate};
use gemini_pool::demo::fake_gemini::replay::RawAnswer;
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;
use crate::support::asking::{Ask, Heard};
use crate::support::packing::{deflated, gzipped, gzipped_in_pieces, pieces, unzipped};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const PROJECT: &str = "700000000001";
const SSE: (&str, &str) = ("content-type", "text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const EVENT: &str =
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";

#[tokio::test]
async fn what_google_says_of_our_key_stays_with_us() {
    let fates = [
        Fate::Invalid,
        Fate::InvalidEchoingKey,
        Fate::Expired,
        Fate::NotFound,
        Fate::Unauthenticated,
        Fate::Leaked,
        Fate::Suspended,
        Fate::ServiceDisabled,
        Fate::Restricted,
        Fate::ReferrerBlocked,
        Fate::ProjectDenied,
        Fate::BillingEmpty,
        Fate::SpendingCap,
        Fate::Exhausted,
        Fate::QuotaZero("gemini-2.5-flash".into()),
    ];
    for fate in fates {
        for gzip in [false, true] {
            let key = FakeKey::new(KEY, PROJECT, fate.clone());
            let rules = Rules {
                gzip,
                ..Rules::with_keys([key.clone()])
            };
            let pool = TestPool::start(rules).await;
            for ask in Ask::ALL {
                let request = pool.post(ask.path(), ask.body());
                let request = request.header("accept-encoding", "gzip");
                let heard = Heard::whole(request.send().await.unwrap()).await;

                assert!(
                    matches!(heard.status.as_u16(), 429 | 503),
                    "{fate:?} {heard:?}"
                );
                assert!(heard.text().contains("gemini-pool:"), "{fate:?} {heard:?}");
                heard.assert_tells_nothing_of(std::slice::from_ref(&key));
            }
            for row in pool.finished_rows(Ask::ALL.len()).await {
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
    let told = fault(KEY);
    for (headers, body) in [
        (vec![JSON], told.clone().into_bytes()),
        (vec![JSON, GZIP], gzipped(&told)),
        (vec![JSON, ("content-encoding", "deflate")], deflated(&told)),
    ] {
        for ask in Ask::ALL {
            pool.google
                .replay([RawAnswer::new(400, &headers, body.clone())]);

            let heard = pool.hear(ask).await;

            assert_eq!(heard.status, 400);
            assert_eq!(heard.header("content-encoding"), None);
            assert_eq!(heard.text(), fault("[redacted]"));
            assert_eq!(
                heard.header("content-length"),
                Some(heard.body.len().to_string().as_str())
            );
            let row = pool.row_of(&heard).await;
            assert_eq!(row.outcome, Some(Outcome::ClientError));
            assert!(!row.error.unwrap().contains(KEY));
        }
    }
}

#[tokio::test]
async fn a_compressed_error_that_tells_nothing_passes_byte_by_byte() {
    let pool = pool().await;
    let body =
        gzipped(r#"{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}"#);
    pool.google
        .replay([RawAnswer::new(400, &[JSON, GZIP], body.clone())]);

    let heard = pool.hear(Ask::Whole).await;

    assert_eq!(heard.header("content-encoding"), Some("gzip"));
    assert_eq!(heard.body, body);
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
    for (told, expected) in tail(KEY).into_iter().zip(tail("[redacted]")) {
        let body = format!("{EVENT}{told}");
        for size in [1, 7, 30, 4096] {
            let mut raw = RawAnswer::new(200, &[SSE], "");
            raw.chunks = pieces(body.as_bytes(), size);
            pool.google.replay([raw]);

            let heard = pool.hear(Ask::Events).await;

            assert_eq!(
                heard.text(),
                format!("{EVENT}{expected}"),
                "in pieces of {size}"
            );
            assert!(
                !pool
                    .row_of(&heard)
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
        let mut raw = RawAnswer::new(200, &[JSON], "");
        raw.chunks = pieces(body(KEY).as_bytes(), size);
        pool.google.replay([raw]);

        let heard = pool.hear(Ask::Array).await;

        assert_eq!(heard.text(), body("[redacted]"), "in pieces of {size}");
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
        let mut zipped = RawAnswer::new(200, &[SSE, GZIP], "");
        zipped.chunks = gzipped_in_pieces(&[EVENT, EVENT, &secret, "data: [DONE]\r\n\r\n"]);
        let body = format!("{EVENT}{secret}");
        let length = body.len().to_string();
        let announced = RawAnswer::new(200, &[SSE, ("content-length", length.as_str())], body);
        for raw in [zipped, announced] {
            pool.google.replay([raw]);

            let heard = pool.hear(Ask::Events).await;

            assert!(heard.broke_off);
            let text = match heard.header("content-encoding") {
                Some(_) => unzipped(&heard.body),
                None => heard.text(),
            };
            assert!(!text.contains(KEY), "{text}");
            assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::BrokenOff));
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_with_an_error_that_tells_nothing_passes_byte_by_byte() {
    let pool = pool().await;
    let error = "data: {\"error\": {\"code\": 503,\"message\": \"No\"}}\r\n\r\n";
    let mut raw = RawAnswer::new(200, &[SSE, GZIP], "");
    raw.chunks = gzipped_in_pieces(&[EVENT, EVENT, error, "data: [DONE]\r\n\r\n"]);
    let body = raw.chunks.concat();
    pool.google.replay([raw]);

    let heard = pool.hear(Ask::Events).await;

    assert!(!heard.broke_off);
    assert_eq!(heard.body, body);
    assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::BrokenOff));
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
    for status in [200, 302, 400] {
        pool.google
            .replay([RawAnswer::new(status, &headers, r#"{"candidates":[]}"#)]);

        let heard = pool.hear(Ask::Whole).await;

        assert_eq!(heard.status, status);
        heard.assert_tells_nothing_of(&[FakeKey::healthy(KEY, PROJECT)]);
        assert_eq!(heard.header("x-plain"), Some("kept"));
        assert_eq!(
            heard.header("x-debug"),
            Some("the key is [redacted], indeed")
        );
        assert!(!heard.headers.contains_key("x-goog-api-key"));
        assert!(
            !heard
                .headers
                .contains_key("x-goog-upload-header-x-goog-api-key")
        );
    }
}

async fn pool() -> TestPool {
    TestPool::of([FakeKey::healthy(KEY, PROJECT)]).await
}
