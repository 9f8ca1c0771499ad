//! Latency of ordinary requests while a crowd holds connections: silent ones, half prefaces, slow heads, slow bodies.
//!
//! `cargo bench --bench connections`. The server starts with a soft limit of 1,024 open files, which it raises itself; this
//! program needs a hard limit of 20,000.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use gemini_pool::cli::open_files::raise_limit;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const BODY: &str = r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;
const REQUESTS_PER_SECOND: u32 = 200;
const SECONDS: u32 = 15;

/// A kind of connection in the crowd.
struct Crowd {
    count: usize,
    beginning: &'static str,
    /// What follows, a byte at a time; empty: nothing.
    more: &'static str,
}

const CROWDS: [Crowd; 4] = [
    Crowd {
        count: 10_000,
        beginning: "",
        more: "",
    },
    Crowd {
        count: 5_000,
        beginning: "PRI * HTTP",
        more: "",
    },
    Crowd {
        count: 2_000,
        beginning: "POST /v1beta/models/gemini-2.5-flash:generateContent HTTP/1.1\r\nhost: pool\r\n",
        more: "x-slow: ",
    },
    Crowd {
        count: 500,
        beginning: "POST /v1beta/models/gemini-2.5-flash:generateContent HTTP/1.1\r\nhost: pool\r\n\
            x-goog-api-key: BENCH_CLIENT_KEY\r\ncontent-length: 1000000\r\n\r\n",
        more: "{",
    },
];

type Http = Client<HttpConnector, Full<Bytes>>;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    raise_limit();
    let folder = tempfile::tempdir().unwrap();
    let keys = (0..100).map(|n| FakeKey::healthy(format!("AIzaSyBench{n:028}"), n.to_string()));
    let google = FakeGemini::start(FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(keys)
    })
    .await
    .unwrap();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let secrets: Vec<_> = (0..100).map(|n| format!("AIzaSyBench{n:028}")).collect();
    let _server = Server(
        Command::new("/bin/sh")
            .args(["-c", r#"ulimit -Sn 1024; exec "$0" serve"#])
            .arg(env!("CARGO_BIN_EXE_gemini-pool"))
            .current_dir(folder.path())
            .env("LISTEN", address.to_string())
            .env("UPSTREAM_URL", google.url())
            .env("GEMINI_API_KEYS", secrets.join(","))
            .env("ALLOWED_API_KEYS", "BENCH_CLIENT_KEY")
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    while TcpStream::connect(address).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://{address}{PATH}");
    // The new keys are checked meanwhile.
    measure("warming up", &client, &url).await;
    measure("alone", &client, &url).await;

    let mut crowd = JoinSet::new();
    let mut count = 0;
    for kind in &CROWDS {
        for _ in 0..kind.count {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection
                .write_all(kind.beginning.as_bytes())
                .await
                .unwrap();
            crowd.spawn(hold(connection, kind.more));
            count += 1;
        }
    }
    measure(&format!("with {count} connections"), &client, &url).await;
}

/// Holds a connection, and sends a byte every half second if there is more.
async fn hold(mut connection: TcpStream, more: &'static str) {
    loop {
        for byte in more.bytes() {
            sleep(Duration::from_millis(500)).await;
            if connection.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        if more.is_empty() {
            std::future::pending::<()>().await;
        }
    }
}

/// Sends requests at a fixed rate and prints how long they took, from the time at which each was due.
async fn measure(name: &str, client: &Http, url: &str) {
    let mut due = interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS_PER_SECOND * SECONDS {
        let due = due.tick().await;
        let request = Request::post(url)
            .header("x-goog-api-key", "BENCH_CLIENT_KEY")
            .body(Full::from(BODY))
            .unwrap();
        let sent = client.request(request);
        requests.spawn(async move {
            let response = sent.await.unwrap();
            let status = response.status().as_u16();
            response.into_body().collect().await.unwrap();
            (status, due.into_std().elapsed())
        });
    }
    let mut times = Vec::new();
    let mut failed = 0;
    while let Some(answered) = requests.join_next().await {
        let (status, time) = answered.unwrap();
        failed += u32::from(status != 200);
        times.push(time);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!(
        "{name}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms, {failed} of {} failed",
        at(50),
        at(99),
        at(100),
        times.len()
    );
}
