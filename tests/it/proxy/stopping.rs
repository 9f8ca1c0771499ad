//! A server that stops waits for answers, but not for clients that have not sent their request.

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::uploads::FILES;
use crate::support::{CLIENT_KEY, TestPool, eventually};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

async fn pool(behaviour: Behaviour) -> TestPool {
    TestPool::with_keys([FakeKey::new(KEY, "1", behaviour)]).await
}

async fn connect(pool: &TestPool, beginning: &str) -> TcpStream {
    let address = pool.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(beginning.as_bytes()).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_do_not_hold_the_stop() {
    let pool = pool(Behaviour::Healthy).await;
    let half_body = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: pool\r\nx-goog-api-key: {CLIENT_KEY}\r\n\
             x-goog-upload-protocol: raw\r\ncontent-length: 100\r\n\r\n{{"
        )
    };
    let mut heads = Vec::new();
    for beginning in ["", "PRI", "POST /v1beta", "POST / HTTP/1.1\r\nhost: "] {
        heads.push(connect(&pool, beginning).await);
    }
    let mut bodies = Vec::new();
    for path in [TestRequest::Generate.path(), FILES] {
        bodies.push(connect(&pool, &half_body(path)).await);
    }
    eventually("both requests have begun", async || {
        let is_held = pool.app.body_memory.total() > 0;
        (is_held && pool.leases() == 1).then_some(())
    })
    .await;

    pool.begin_stop();

    for mut connection in heads {
        let mut rest = Vec::new();
        // Reset or closed, without an answer.
        let _ = connection.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
    for mut connection in bodies {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let is_refused = answer.starts_with("HTTP/1.1 503") || answer.starts_with("HTTP/1.1 408");
        assert!(is_refused, "{answer}");
    }
    assert!(
        !pool.app.cutting_off.is_cancelled(),
        "nothing had to be cut off"
    );
    let pool = pool.restart().await;
    let outcomes: Vec<_> = pool.rows().await.iter().map(|row| row.outcome).collect();
    assert!(
        outcomes.contains(&Some(Outcome::Interrupted))
            && outcomes.contains(&Some(Outcome::Refused)),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_off_ends_with_an_error_event() {
    let pool = pool(Behaviour::StallStream(2)).await;
    let request = pool.post(TestRequest::StreamSse.path(), TestRequest::StreamSse.body());
    let mut response = request.send().await.unwrap();
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"data: "));

    pool.begin_stop();

    let response = ClientResponse::whole(response).await;
    assert!(!response.is_truncated, "{}", response.text());
    let last = response.text();
    let last = last.trim_end().rsplit("\n\n").next().unwrap_or_default();
    assert!(last.contains("the pool is stopping"), "{last}");
    assert!(last.contains("\"code\""), "{last}");
    let pool = pool.restart().await;
    let row = pool.row().await;
    assert_eq!(
        (row.id.to_string(), row.outcome),
        (id, Some(Outcome::Interrupted))
    );
    pool.assert_sums_agree().await;
}
