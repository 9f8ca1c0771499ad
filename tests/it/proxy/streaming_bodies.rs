//! Bodies of uploads that pass as they come: of any size, slow, broken, refused in the middle.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::outcome::Outcome;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::process::PoolProcess;
use crate::support::requests::ClientResponse;
use crate::support::uploads::{FILES, file_name};
use crate::support::{CLIENT_KEY, TestPool, eventually, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn files_in_one_request_pass_whole() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    // Only what is held is limited.
    pool.set(&[("max_request_bytes", "1024")]).await;
    let file = "x".repeat(100_000);
    let parts = format!(
        "--B\r\ncontent-type: application/json\r\n\r\n{{\"file\":{{\"displayName\":\"d\"}}}}\r\n\
         --B\r\ncontent-type: text/plain\r\n\r\n{file}\r\n--B--\r\n"
    );
    let cases = [
        ("?uploadType=media", "", "text/plain", &file),
        ("", "raw", "text/plain", &file),
        ("", "multipart", "multipart/related; boundary=B", &parts),
    ];
    for (query, protocol, kind, body) in cases {
        for has_content_length in [true, false] {
            let mut request = pool
                .client
                .post(format!("{}{FILES}{query}", pool.url))
                .header("x-goog-api-key", CLIENT_KEY)
                .header("content-type", kind);
            if !protocol.is_empty() {
                request = request.header("x-goog-upload-protocol", protocol);
            }
            let request = if has_content_length {
                request.body(body.clone())
            } else {
                request.body(in_pieces(body.clone().into(), 1))
            };

            let response = ClientResponse::whole(request.send().await.unwrap()).await;

            let name = file_name(&response);
            let resources = pool.google.resources();
            let kept = resources.iter().find(|kept| kept.name == name).unwrap();
            assert_eq!(kept.bytes, Some(100_000), "{query}{protocol}");
            let received = pool.google.last_received().unwrap();
            let length = body.len().to_string();
            let length = Some(length.as_str()).filter(|_| has_content_length);
            assert_eq!(received.header("content-length"), length);
            let row = pool.row_of(&response).await;
            assert_eq!(row.request_bytes, i64::try_from(body.len()).unwrap());
            assert_eq!(row.operation.as_deref(), Some("files.upload"));
            let got = pool.client.get(format!("{}/v1beta/{name}", pool.url));
            let got = got.header("x-goog-api-key", CLIENT_KEY).send().await;
            assert_eq!(got.unwrap().status(), 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_passes_without_being_held() {
    const LARGE: usize = 200 * MIB;
    let google = FakeGemini::start(FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let client = http_client().build().unwrap();
    let send = async |bytes: usize| {
        let request = client
            .post(format!("{}{FILES}", pool.url))
            .header("x-goog-api-key", CLIENT_KEY)
            .header("x-goog-upload-protocol", "raw")
            .header("content-type", "text/plain");
        let piece = Bytes::from(vec![b'x'; MIB]);
        let body = in_pieces(piece, bytes / MIB);
        let response = ClientResponse::whole(request.body(body).send().await.unwrap()).await;
        file_name(&response)
    };
    send(MIB).await;
    let before = pool.peak_memory_kib();

    send(LARGE).await;

    let grown = pool.peak_memory_kib() - before;
    assert!(grown < 16 * 1024, "{before} KiB, and then {grown} more");
    let bytes: Vec<_> = google.resources().iter().map(|kept| kept.bytes).collect();
    assert!(bytes.contains(&Some(LARGE as u64)), "{bytes:?}");
}

#[tokio::test]
async fn a_client_that_goes_or_stops_in_the_middle_is_not_its_keys_fault() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.set(&[("idle_timeout_ms", "300")]).await;
    let upload = pool.begin_upload().await;

    let mut stuck = half_a_part(&pool, &upload.url).await;
    let mut answer = String::new();
    stuck.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let state = pool.send_command(&upload, "query", 0, b"").await;
    assert_eq!(state.header("x-goog-upload-size-received"), Some("500"));
    let gone = half_a_part(&pool, &upload.url).await;
    eventually("the bytes are on their way", async || {
        (pool.app.keys.lock().in_flight() == 1).then_some(())
    })
    .await;
    drop(gone);

    let rows = pool.finished_rows(4).await;
    assert_eq!(rows[1].outcome, Some(Outcome::Refused), "{:?}", rows[1]);
    assert_eq!(rows[1].request_bytes, 500);
    assert_eq!(rows[3].outcome, Some(Outcome::ClientGone), "{:?}", rows[3]);
    for row in [&rows[1], &rows[3]] {
        let attempt = &row.attempt_list.as_ref().unwrap()[0];
        assert_eq!(attempt.outcome, Some(Outcome::ClientGone));
    }
    eventually("no key is held", async || {
        (pool.leases() == 0).then_some(())
    })
    .await;
    assert_eq!(pool.keys().await[0].failures, 0);
    // What came is there, and the rest can follow.
    let received = pool.google.uploads()[0].received_bytes;
    let received = usize::try_from(received).unwrap();
    let rest = pool
        .send_command(&upload, "upload, finalize", received, b"the rest")
        .await;
    file_name(&rest);
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_or_never_answers_is_given_up() {
    for (takes_all, message) in [(false, "stopped taking"), (true, "did not answer in time")] {
        let pool = TestPool::with_upstream_url(silent_upstream(takes_all).await, KEY).await;
        pool.set(&[("idle_timeout_ms", "300"), ("first_byte_timeout_ms", "600")])
            .await;
        let size = if takes_all { 1 } else { 64 };
        let request = pool
            .post(FILES, "")
            .header("x-goog-upload-protocol", "raw")
            .body(in_pieces(vec![b'x'; MIB].into(), size));

        let response = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(response.status, 504, "{}", response.text());
        let row = pool.row_of(&response).await;
        assert_eq!(row.outcome, Some(Outcome::Network));
        assert!(row.error.as_ref().unwrap().contains(message), "{row:?}");
    }
}

#[tokio::test]
async fn a_body_that_passes_is_sent_once() {
    for (behaviour, status) in [
        (Behaviour::InternalError, 500),
        (Behaviour::Invalid, 503),
        (Behaviour::CloseConnection, 503),
    ] {
        let pool = TestPool::with_keys([
            FakeKey::new(KEY, "1", behaviour.clone()),
            FakeKey::new(
                "AIzaSyTheSecretOfAnotherKeyOfThePool02",
                "2",
                behaviour.clone(),
            ),
        ])
        .await;
        let request = pool
            .post(FILES, "")
            .header("x-goog-upload-protocol", "raw")
            .body("once");

        let response = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(
            response.status,
            status,
            "{behaviour:?}: {}",
            response.text()
        );
        assert_eq!(pool.google.requests(), 1, "{behaviour:?}");
        assert_eq!(pool.row_of(&response).await.attempts, 1);
        assert_eq!(pool.app.body_memory.total(), 0);
    }
}

/// A body of so many pieces, whose length is not told.
fn in_pieces(piece: Bytes, count: usize) -> reqwest::Body {
    let pieces =
        stream::iter(0..count).map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
    reqwest::Body::wrap(StreamBody::new(pieces))
}

/// Sends the head of a part of a thousand bytes, and half of them.
async fn half_a_part(pool: &TestPool, url: &str) -> TcpStream {
    let host = pool.url.strip_prefix("http://").unwrap();
    let path = url.strip_prefix(&pool.url).unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let received = pool.google.uploads()[0].received_bytes;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\nconnection: close\r\n\
         x-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: {received}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 500]).await.unwrap();
    stream
}

/// Somebody who takes all that is sent, or nothing, and says nothing.
async fn silent_upstream(takes_all: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if takes_all {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                    tokio::time::sleep(Duration::from_mins(1)).await;
                });
            } else {
                open.push(stream);
            }
        }
    });
    url
}
