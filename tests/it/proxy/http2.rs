//! The connections to Google: as many as the streams need, over HTTP/2 and TLS too.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::settings;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::support::process::{PoolProcess, database};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, act, eventually, http_client, newest_rows, tls};

const EVENT: &str =
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";
const STREAMS: usize = 500;
/// As Google's front ends allow.
const STREAMS_PER_CONNECTION: u32 = 100;

/// An upstream whose streams stay open until it lets them end.
#[derive(Default)]
struct Upstream {
    connections: AtomicUsize,
    open_streams: AtomicUsize,
    end: CancellationToken,
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_streams_are_open_at_once_over_several_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, url) = start_upstream(folder.path()).await;
    let db = database(folder.path()).await;
    db.migrate().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let act = act(&mut tx).await;
    settings::change(&mut tx, "upstream_http2", Some("on"), &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let authority = folder.path().join("ca.pem");
    let trust = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let keys = ["AIzaSyTheSecretOfTheOnlyKeyOfThePool001".to_owned()];
    let pool = PoolProcess::start_with(folder.path(), &url, &keys, &trust).await;

    // The clients speak HTTP/2 too, to spare sockets.
    let clients: Vec<_> = (0..10)
        .map(|_| http_client().http2_prior_knowledge().build().unwrap())
        .collect();
    let streams = (0..STREAMS).map(|number| {
        let request = clients[number % clients.len()]
            .post(format!("{}{}", pool.url, TestRequest::StreamSse.path()))
            .header("x-goog-api-key", CLIENT_KEY);
        tokio::spawn(async move {
            let answer = request
                .body(TestRequest::StreamSse.body())
                .send()
                .await
                .unwrap();
            ClientResponse::whole(answer).await
        })
    });
    let streams: Vec<_> = streams.collect();
    eventually("all streams are open at once", async || {
        let open = upstream.open_streams.load(Ordering::Relaxed);
        assert!(open <= STREAMS);
        (open == STREAMS).then_some(())
    })
    .await;
    let connections = upstream.connections.load(Ordering::Relaxed);
    println!("{STREAMS} streams over {connections} connections");
    assert!((5..=10).contains(&connections), "{connections}");
    upstream.end.cancel();

    for response in join_all(streams).await {
        let response = response.unwrap();
        assert_eq!(response.text(), format!("{EVENT}{EVENT}"));
        assert!(!response.is_truncated);
    }
    let rows = newest_rows(&db).await;
    assert_eq!(rows.len(), STREAMS);
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Success)));
}

#[tokio::test]
async fn connections_that_google_closes_between_requests_cost_nobody_an_answer() {
    for http2 in ["on", "off"] {
        let keys = (0..20).map(|n| FakeKey::healthy(format!("AIzaSyTheKey-{n:04}"), n.to_string()));
        let fake_config = FakeConfig::with_keys(keys);
        let pool = TestPool::start_with(fake_config, &[("upstream_http2", http2)]).await;
        for _ in 0..10 {
            let answers = join_all((0..16).map(|_| pool.fetch(TestRequest::StreamSse))).await;
            for response in answers {
                assert_eq!(response.status, 200, "{}", response.text());
            }
            pool.google.cut_off_connections();
            eventually("the connections are closed", async || {
                (pool.google.open_connections() == 0).then_some(())
            })
            .await;
        }

        for row in pool.finished_rows(160).await {
            assert_eq!(row.outcome, Some(Outcome::Success));
        }
        let received = pool.google.last_received().unwrap();
        assert_eq!(received.version == http::Version::HTTP_2, http2 == "on");
        assert!(pool.keys().await.iter().all(|key| key.state == "ready"));
    }
}

/// Starts it with a certificate of its own, which is put into `folder` as `ca.pem`. Returns its URL too.
async fn start_upstream(folder: &Path) -> (Arc<Upstream>, String) {
    let mut config = tls::server_config(&folder.join("ca.pem"));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tls::acceptor(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let upstream = Arc::new(Upstream::default());
    tokio::spawn({
        let upstream = upstream.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(upstream.clone(), acceptor.clone(), stream));
            }
        }
    });
    (upstream, url)
}

async fn serve(upstream: Arc<Upstream>, acceptor: TlsAcceptor, stream: TcpStream) {
    let stream = acceptor.accept(stream).await.unwrap();
    upstream.connections.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(|request: Request<Incoming>| {
        let upstream = upstream.clone();
        async move {
            request.into_body().collect().await?;
            upstream.open_streams.fetch_add(1, Ordering::Relaxed);
            let end = upstream.end.clone();
            let event = || Ok::<_, Infallible>(Frame::data(Bytes::from(EVENT)));
            let last = stream::once(async move {
                end.cancelled().await;
                event()
            });
            let events = stream::iter([event()]).chain(last);
            let answer = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, hyper::Error>(answer.body(StreamBody::new(events)).unwrap())
        }
    });
    // How the connection ends is the client's business.
    let _ = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
