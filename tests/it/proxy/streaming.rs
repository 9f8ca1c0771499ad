//! Answers pass as they come, and end so that nobody takes a broken one for a whole one.

use gemini_pool::demo::fake_gemini::Rules;
use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate, StreamErrorForm};
use gemini_pool::demo::fake_gemini::manner::Manner;
use gemini_pool::demo::fake_gemini::replay::RawAnswer;
use gemini_pool::pool::outcome::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::TestPool;
use crate::support::asking::{Ask, Heard};
use crate::support::packing::{pieces, unzipped};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const EVENT_STREAMS: [Ask; 3] = [Ask::Events, Ask::OpenAiEvents, Ask::InteractionEvents];
const STREAMS: [Ask; 4] = [
    Ask::Events,
    Ask::Array,
    Ask::OpenAiEvents,
    Ask::InteractionEvents,
];

#[tokio::test]
async fn each_chunk_is_with_the_client_before_the_next_is_sent() {
    for gzip in [false, true] {
        for (ask, end) in [
            (Ask::Events, "\r\n\r\n"),
            (Ask::Array, "responseId"),
            (Ask::OpenAiEvents, "\n\n"),
            (Ask::InteractionEvents, "\n\n"),
        ] {
            for chunks in [1, 2, 3] {
                let rules = Rules {
                    gzip,
                    ..Rules::with_keys([FakeKey::new(KEY, "1", Fate::StallStream(chunks))])
                };
                let pool = TestPool::start(rules).await;

                let request = pool.post(ask.path(), ask.body());
                let request = request.header("accept-encoding", "gzip");
                let mut answer = request.send().await.unwrap();
                let mut plain = Decompressor::new(&answer);
                // The stream stalls for ever after these.
                while plain.text().matches(end).count() < chunks {
                    plain.push(&answer.chunk().await.unwrap().unwrap());
                }

                assert_eq!(plain.is_gzip, gzip, "{ask:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_row_is_there_when_the_client_has_the_answer() {
    for known_length in [true, false] {
        let pool = TestPool::of([FakeKey::healthy(KEY, "1")]).await;
        pool.google.set_manner(Manner {
            known_length,
            ..Manner::default()
        });
        for ask in Ask::ALL.into_iter().cycle().take(70) {
            let heard = pool.hear(ask).await;

            let row = pool.row_of(&heard).await;
            assert_eq!(row.outcome, Some(Outcome::Success), "{ask:?}");
            assert_eq!(row.response_bytes.unsigned_abs(), heard.body.len() as u64);
            assert!(row.total_tokens.unwrap() > 0, "{ask:?}");
            let length = heard.header("content-length");
            let is_known = length.is_some_and(|length| length == heard.body.len().to_string());
            let is_whole = matches!(ask, Ask::Whole | Ask::OpenAi | Ask::Interaction);
            // An answer that was here whole before it went out may have its length told in any case.
            assert!(
                is_known || !(known_length && is_whole),
                "{ask:?} {length:?}"
            );
            assert!(is_whole || !is_known, "{ask:?} {length:?}");
        }
        pool.assert_sums_agree().await;
    }
}

#[tokio::test]
async fn a_large_answer_of_known_length_keeps_its_length_and_its_bytes() {
    let pool = TestPool::of([FakeKey::healthy(KEY, "1")]).await;
    let body = format!(
        r#"{{"candidates":[],"padding":"{}"}}"#,
        "x".repeat(3_000_000)
    );
    let json = ("content-type", "application/json");
    let length = body.len().to_string();
    let announced = [json, ("content-length", length.as_str())];
    pool.google.replay([
        RawAnswer::new(200, &announced, body.clone()),
        RawAnswer::new(200, &[json], body.clone()),
    ]);

    for length in [Some(length.as_str()), None] {
        let heard = pool.hear(Ask::Whole).await;

        assert_eq!(heard.header("content-length"), length);
        assert!(heard.body == body.as_bytes());
        assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::Success));
    }
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_error_event_in_its_own_form() {
    for ask in EVENT_STREAMS {
        for (fate, settings, rule) in [
            (
                Fate::CutStream(2),
                [("idle_timeout_ms", "60000")],
                "connection_broken",
            ),
            (
                Fate::StallStream(2),
                [("idle_timeout_ms", "300")],
                "answer_timeout",
            ),
        ] {
            let rules = Rules::with_keys([FakeKey::new(KEY, "1", fate.clone())]);
            let pool = TestPool::start_with(rules, &settings).await;

            let heard = pool.hear(ask).await;

            assert!(!heard.broke_off, "{ask:?} {fate:?}");
            assert_ends_with_error(ask, &heard.text());
            let row = pool.row_of(&heard).await;
            assert_eq!(row.outcome, Some(Outcome::BrokenOff));
            let attempt = &row.attempt_list.unwrap()[0];
            assert_eq!(attempt.rule.as_deref(), Some(rule), "{ask:?} {fate:?}");
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
    let pool = TestPool::sending_to(upstream, KEY).await;

    let heard = pool.hear(Ask::Events).await;

    let text = heard.text();
    let rest = text
        .strip_prefix(event)
        .unwrap()
        .strip_prefix(half)
        .unwrap();
    assert!(rest.starts_with("\r\n\r\ndata: {\"error\":"), "{rest}");
    assert_ends_with_error(Ask::Events, &text);
}

#[tokio::test]
async fn an_answer_that_dies_without_a_way_to_say_so_is_cut_off() {
    let pool = TestPool::of([FakeKey::new(KEY, "1", Fate::CutStream(2))]).await;
    let heard = pool.hear(Ask::Array).await;
    assert!(heard.broke_off, "{}", heard.text());
    assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::BrokenOff));

    pool.google.set_fate(KEY, Fate::CutBody);
    for ask in Ask::SURFACES {
        let heard = pool.hear(ask).await;
        assert_cut_off(&pool, &heard).await;
    }

    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"candidates\":[";
    let pool = TestPool::sending_to(upstream_that_says(half.to_owned()).await, KEY).await;
    let heard = pool.hear(Ask::Whole).await;
    assert_cut_off(&pool, &heard).await;
}

/// The answer broke off, or that it would was known before its first byte went out, and then the pool said so.
async fn assert_cut_off(pool: &TestPool, heard: &Heard) {
    let outcome = if heard.broke_off {
        Outcome::BrokenOff
    } else {
        Outcome::Network
    };
    assert!(heard.broke_off || heard.status == 503, "{}", heard.text());
    assert_eq!(pool.row_of(heard).await.outcome, Some(outcome));
}

#[tokio::test]
async fn an_error_inside_a_stream_passes_and_is_on_the_row() {
    for ask in STREAMS {
        for (code, rule) in [
            (503, "overloaded"),
            (500, "internal_error"),
            (429, "quota_without_detail"),
        ] {
            for form in [StreamErrorForm::Event, StreamErrorForm::RawTail] {
                let fate = Fate::StreamError {
                    after: 2,
                    code,
                    form,
                };
                if ask != Ask::Events && form == StreamErrorForm::RawTail {
                    continue;
                }
                let pool = TestPool::of([FakeKey::new(KEY, "1", fate.clone())]).await;

                let heard = pool.hear(ask).await;

                assert!(!heard.broke_off);
                let errors = heard.text().matches("error\":").count();
                assert_eq!(errors, 1, "{ask:?} {fate:?} {}", heard.text());
                let row = pool.row_of(&heard).await;
                assert_eq!(row.outcome, Some(Outcome::BrokenOff), "{ask:?} {fate:?}");
                assert_eq!(row.status, Some(200));
                assert!(row.error.is_some());
                let attempt = &row.attempt_list.unwrap()[0];
                // The Interactions API has a word for it.
                let rule = match (ask, code) {
                    (Ask::InteractionEvents, 429) => "quota_per_minute",
                    _ => rule,
                };
                assert_eq!(attempt.rule.as_deref(), Some(rule), "{ask:?} {fate:?}");
                assert_eq!(attempt.status, Some(i64::from(code)));
                pool.assert_sums_agree().await;
            }
        }
    }
}

#[tokio::test]
async fn errors_inside_a_stream_pass_byte_by_byte() {
    let pool = TestPool::of([FakeKey::healthy(KEY, "1")]).await;
    let begun =
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";
    for tail in [
        "data: {\"error\": {\"code\": 503,\"message\": \"No\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n",
        "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"No\"\n  }\n}\n",
        "event: error\ndata: {\"error\":{\"code\":503}}\n\ndata: [DONE]\n\n",
    ] {
        let body = format!("{begun}{tail}");
        for size in [1, 7, 4096] {
            let mut raw = RawAnswer::new(200, &[("content-type", "text/event-stream")], "");
            raw.chunks = pieces(body.as_bytes(), size);
            pool.google.replay([raw]);

            let heard = pool.hear(Ask::Events).await;

            assert_eq!(heard.text(), body, "in pieces of {size}");
            assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::BrokenOff));
        }
    }
}

/// What is here of an answer, its gzip undone.
struct Decompressor {
    is_gzip: bool,
    bytes: Vec<u8>,
}

impl Decompressor {
    fn new(answer: &reqwest::Response) -> Self {
        Self {
            is_gzip: answer.headers().contains_key("content-encoding"),
            bytes: Vec::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn text(&self) -> String {
        if self.is_gzip {
            unzipped(&self.bytes)
        } else {
            String::from_utf8_lossy(&self.bytes).into_owned()
        }
    }
}

/// Fails unless the last event is an error in the form of what was asked.
fn assert_ends_with_error(ask: Ask, body: &str) {
    let body = body.replace("\r\n", "\n");
    let body = body.strip_suffix("\n\n").expect("the last event is whole");
    let last = body.rsplit("\n\n").next().unwrap();
    let data = match ask {
        Ask::InteractionEvents => last.strip_prefix("event: error\n").unwrap(),
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
    match ask {
        Ask::OpenAiEvents => assert_eq!(error["type"], "server_error"),
        Ask::InteractionEvents => assert_eq!(data["event_type"], "error"),
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
            while !request[..read].ends_with(Ask::Whole.body().as_bytes()) {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            stream.write_all(bytes.as_bytes()).await.unwrap();
        }
    });
    url
}
