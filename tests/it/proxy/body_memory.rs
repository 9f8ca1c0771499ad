//! The memory for request bodies and live messages: one client cannot take it from the others, and what is slow ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt, stream};
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::clients::client_key::ClientLimits;
use gemini_pool::pool::outcome::Outcome;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::support::live::{
    PATH, begin, connect, open_session, question, receive, receive_close, setup,
};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::uploads::FILES;
use crate::support::{CLIENT_KEY, TestPool, eventually};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const OTHER_CLIENT: &str = "CLIENT_KEY_2";
const KIB: usize = 1024;
/// What all bodies together may take; a client's share of it is 256 KiB.
const MEMORY: (&str, &str) = ("max_held_bytes", "1048576");
const NO_WAIT: (&str, &str) = ("wait_for_key_seconds", "0");

async fn pool_with(settings: &[(&str, &str)]) -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.add_client_key(OTHER_CLIENT).await;
    pool.set(settings).await;
    pool
}

fn request(pool: &TestPool, client_key: &str, bytes: usize) -> reqwest::RequestBuilder {
    let text = "x".repeat(bytes);
    pool.client
        .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
        .header("x-goog-api-key", client_key)
        .body(json!({"contents": [{"parts": [{"text": text}]}]}).to_string())
}

async fn send(pool: &TestPool, client_key: &str, bytes: usize) -> ClientResponse {
    let sent = request(pool, client_key, bytes).send().await;
    ClientResponse::whole(sent.unwrap()).await
}

/// A request whose answer never begins, so that its body stays held.
async fn hold(pool: &TestPool, client_key: &str, bytes: usize) -> JoinHandle<()> {
    let before = pool.google.open_responses();
    let request = request(pool, client_key, bytes).header("x-fake-gemini", "first_byte=3600000");
    let held = tokio::spawn(async move { drop(request.send().await) });
    eventually("the body is held", async || {
        (pool.google.open_responses() == before + 1).then_some(())
    })
    .await;
    held
}

#[tokio::test]
async fn a_client_keeps_to_its_share_while_another_holds_memory() {
    let pool = pool_with(&[MEMORY, NO_WAIT]).await;
    assert_eq!(send(&pool, CLIENT_KEY, 900 * KIB).await.status, 200);
    let held = hold(&pool, OTHER_CLIENT, KIB).await;

    let refused = send(&pool, CLIENT_KEY, 300 * KIB).await;

    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(send(&pool, CLIENT_KEY, 200 * KIB).await.status, 200);
    assert_eq!(send(&pool, OTHER_CLIENT, 200 * KIB).await.status, 200);
    held.abort();
    eventually("the client may use everything again", async || {
        (send(&pool, CLIENT_KEY, 900 * KIB).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_body_waits_for_memory_and_the_client_that_fills_it_gets_no_more() {
    let pool = pool_with(&[MEMORY, ("wait_for_key_seconds", "3600")]).await;
    let held = hold(&pool, CLIENT_KEY, 1020 * KIB).await;
    let other = pool
        .client
        .post(format!("{}{}", pool.url, TestRequest::Generate.path()));
    let (more, pieces) = tokio::sync::mpsc::channel(1);
    let pieces = stream::unfold(pieces, async |mut pieces| {
        Some((pieces.recv().await?, pieces))
    });
    let growing = other
        .header("x-goog-api-key", CLIENT_KEY)
        .body(streamed(pieces));
    let growing = tokio::spawn(growing.send());
    more.send("[").await.unwrap();
    eventually("its first byte is held", async || {
        (pool.app.body_memory.total() > 1020 * KIB as u64).then_some(())
    })
    .await;

    let waiting = tokio::spawn(request(&pool, OTHER_CLIENT, 100 * KIB).send());
    // Once the other client waits, the next byte is above the share.
    while more.send("[").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let refused = ClientResponse::whole(growing.await.unwrap().unwrap()).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    held.abort();
    let served = ClientResponse::whole(waiting.await.unwrap().unwrap()).await;
    assert_eq!(served.status, 200, "{}", served.text());
    no_memory_is_held(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_given_up() {
    let pool = pool_with(&[("body_min_bytes_per_second", "1000000")]).await;
    let drip = async |path| {
        let drops = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Some(("x", ()))
        });
        let request = pool
            .client
            .post(format!("{}{path}", pool.url))
            .header("x-goog-api-key", CLIENT_KEY)
            .header("x-goog-upload-protocol", "raw")
            .body(streamed(drops));

        let refused = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(refused.status, 408, "{path}: {}", refused.text());
        let row = pool.row_of(&refused).await;
        assert_eq!(row.outcome, Some(Outcome::Refused), "{path}");
    };
    tokio::join!(drip(TestRequest::Generate.path()), drip(FILES));
    assert_eq!(pool.leases(), 0);
    no_memory_is_held(&pool).await;
}

#[tokio::test]
async fn the_first_message_of_a_session_has_a_limit_of_its_own() {
    let pool = pool_with(&[("live_setup_max_bytes", "2000")]).await;
    let text = "x".repeat(3_000);
    let large = setup(json!({"systemInstruction": {"parts": [{"text": text}]}}));
    // The last is refused before it has arrived.
    let huge = Message::text("x".repeat(8 * KIB * KIB));
    for message in [large, huge] {
        let mut socket = connect(&pool).await;
        let _ = socket.send(message).await;

        let (code, reason) = receive_close(&mut socket).await.unwrap();

        assert_eq!(code, 1009, "{reason}");
        assert!(reason.contains("live_setup_max_bytes"), "{reason}");
    }
    assert_eq!(pool.google.requests(), 0);
    let mut socket = begin(&pool).await;
    socket.send(question()).await.unwrap();
    receive(&mut socket).await;
    drop(socket);
    no_memory_is_held(&pool).await;
}

#[tokio::test]
async fn live_messages_count_as_memory_in_whole_and_in_part() {
    let pool = pool_with(&[MEMORY, NO_WAIT]).await;
    let mut socket = begin(&pool).await;
    let large = json!({"realtimeInput": {"text": "x".repeat(2 * KIB * KIB)}});
    let _ = socket.send(Message::text(large.to_string())).await;

    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1011, "{reason}");
    assert!(reason.contains("large requests"), "{reason}");
    drop(socket);
    no_memory_is_held(&pool).await;

    // A message that never ends takes memory from others while it arrives.
    let held = hold(&pool, OTHER_CLIENT, 900 * KIB).await;
    let mut socket = begin(&pool).await;
    let _ = socket.send(Message::text(large.to_string())).await;
    assert_eq!(receive_close(&mut socket).await.unwrap().0, 1011);
    held.abort();
    no_memory_is_held(&pool).await;
}

#[tokio::test]
async fn a_session_has_its_slot_before_its_socket() {
    let pool = pool_with(&[]).await;
    pool.allow(|terms| {
        terms.limits = ClientLimits {
            concurrency: Some(1),
            ..ClientLimits::default()
        };
    })
    .await;
    let silent = connect(&pool).await;

    let headers = [("x-goog-api-key", CLIENT_KEY)];
    let refused = open_session(&pool.url, PATH, &headers).await.unwrap_err();

    assert_eq!(refused.status, 429);
    drop(silent);
    eventually("the slot is free again", async || {
        open_session(&pool.url, PATH, &headers).await.ok().map(drop)
    })
    .await;
}

fn streamed(pieces: impl Stream<Item = &'static str> + Send + Sync + 'static) -> reqwest::Body {
    let frames =
        pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes()))));
    reqwest::Body::wrap(StreamBody::new(frames))
}

async fn no_memory_is_held(pool: &TestPool) {
    eventually("no memory is held", async || {
        (pool.app.body_memory.total() == 0).then_some(())
    })
    .await;
}
