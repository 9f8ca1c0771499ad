//! Clients go, and Google's side goes with them.

use std::collections::HashMap;

use futures_util::future::join_all;
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;
use gemini_pool::pool::outcome::Outcome;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{TestPool, eventually};

const CHUNKS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn google_hears_at_once_of_clients_that_hang_up() {
    let keys: Vec<_> = (0..200)
        .map(|number| {
            FakeKey::healthy(
                format!("AIzaSyTheSecretOfKey-{number:04}"),
                number.to_string(),
            )
        })
        .collect();
    let fake_config = FakeConfig {
        response_shape: ResponseShape {
            chunks: CHUNKS,
            chunk_delay_ms: 100,
            ..ResponseShape::default()
        },
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(keys)
    };
    let pool = TestPool::start(fake_config).await;

    // One in four goes half-way.
    let clients = (0..200).map(|number| open_stream(&pool, number % 4 == 0));
    let gone_at: HashMap<String, i64> = join_all(clients).await.into_iter().flatten().collect();
    assert_eq!(gone_at.len(), 50);

    let disconnects = eventually("the fake has noticed every hang-up", async || {
        Some(pool.google.disconnects()).filter(|disconnects| disconnects.len() >= 50)
    })
    .await;
    let rows = pool.finished_rows(200).await;
    let mut slowest = 0;
    for row in &rows {
        let Some(gone_at) = gone_at.get(&row.id.to_string()) else {
            assert_eq!(row.outcome, Some(Outcome::Success), "{row:?}");
            continue;
        };
        assert_eq!(row.outcome, Some(Outcome::ClientGone), "{row:?}");
        let attempt = &row.attempt_list.as_ref().unwrap()[0];
        assert_eq!(attempt.outcome, Some(Outcome::ClientGone));
        assert!(row.total_tokens.unwrap() > 0, "{row:?}");
        assert!(row.response_bytes > 0);
        // Each stream has a key of its own.
        let last4 = row.upstream_key.as_ref().unwrap().replace("key-", "-");
        let disconnect = disconnects
            .iter()
            .find(|disconnect| disconnect.key.as_ref().unwrap().ends_with(&last4))
            .unwrap();
        assert!(disconnect.chunks_sent < CHUNKS, "{disconnect:?}");
        slowest = slowest.max(disconnect.at_ms - gone_at);
    }
    println!("Google heard of every hang-up within {slowest} ms");
    assert_eq!(disconnects.len(), 50);
    assert_eq!(pool.leases(), 0);
    assert_eq!(pool.google.open_responses(), 0);
    pool.assert_sums_agree().await;
}

/// Streams an answer, whole or half. Returns the id of one that was left, and when.
async fn open_stream(pool: &TestPool, leaves: bool) -> Option<(String, i64)> {
    let mut answer = pool.send(TestRequest::StreamSse).await;
    if !leaves {
        let response = ClientResponse::whole(answer).await;
        assert_eq!(response.text().matches("\r\n\r\n").count(), CHUNKS);
        return None;
    }
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    for _ in 0..CHUNKS / 2 {
        answer.chunk().await.unwrap().unwrap();
    }
    let gone_at = clock::now().as_millis();
    drop(answer);
    Some((id, gone_at))
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_begins_frees_the_key() {
    for behaviour in [
        Behaviour::NeverRespond,
        Behaviour::StallStream(2),
        Behaviour::Overloaded,
    ] {
        let pool =
            TestPool::with_keys([FakeKey::new("AIzaSyTheOnlyKey", "1", behaviour.clone())]).await;

        let waits = tokio::spawn(
            pool.post(TestRequest::StreamSse.path(), TestRequest::StreamSse.body())
                .send(),
        );
        eventually("the request is with Google", async || {
            (pool.google.requests() > 0).then_some(())
        })
        .await;
        // An answer that has begun is in the task's hands.
        waits.abort();
        drop(waits.await);

        let row = pool.row().await;
        assert_eq!(row.outcome, Some(Outcome::ClientGone), "{behaviour:?}");
        eventually("the key is free", async || {
            (pool.leases() == 0 && pool.google.open_responses() == 0).then_some(())
        })
        .await;
        pool.assert_sums_agree().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_while_it_sends_is_a_row() {
    use tokio::io::AsyncWriteExt;
    let pool = TestPool::with_keys([FakeKey::healthy("AIzaSyTheOnlyKey", "1")]).await;
    let address = pool.url.strip_prefix("http://").unwrap();

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: pool\r\nx-goog-api-key: {}\r\ncontent-length: 1000\r\n\r\n{{\"con",
        TestRequest::Generate.path(),
        crate::support::CLIENT_KEY
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);

    let row = pool.row().await;
    assert_eq!(row.outcome, Some(Outcome::ClientGone));
    assert_eq!(pool.google.requests(), 0);
}
