//! Processor time and memory of the pool and of nginx under the same load, in one run.
//!
//! `cargo bench --bench nginx_comparison` needs `nginx` on the path. Both use the same fake Gemini and get the same
//! load in turns. The processor time is the kernel's count for each, so that a busy machine has little influence. nginx
//! is a plain reverse proxy with upstream keep-alive, without buffering, with its access log on.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const GENERATE_BODY: &str =
    r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;
const UNARY: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const KEYS: usize = 100;
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;

type Http = Client<HttpConnector, Full<Bytes>>;

/// A proxy under measurement.
struct Proxy {
    name: &'static str,
    url: String,
    child: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// A kind of load.
struct Workload {
    name: &'static str,
    path: &'static str,
    shape: &'static str,
    body: String,
    requests: u64,
    /// The unit of the figure: requests, or chunks.
    units_per_request: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let keys =
        (0..KEYS).map(|n| FakeKey::healthy(format!("AIzaSyBench{n:028}"), format!("projects/{n}")));
    let google = FakeGemini::start(FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(keys)
    })
    .await
    .unwrap();
    let proxies = [
        start_pool(folder.path(), &google).await,
        start_nginx(folder.path(), &google).await,
    ];
    let http: Http = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(2_000)
        .build_http();

    println!(
        "memory idle, MiB: {}",
        describe_each(&proxies, |proxy| format!("{:.1}", memory_mib(proxy)))
    );
    let big = "x".repeat(100_000);
    let workloads = [
        Workload {
            name: "unary request, µs",
            path: UNARY,
            shape: "",
            body: GENERATE_BODY.into(),
            requests: 8_000,
            units_per_request: 1,
        },
        Workload {
            name: "stream of 50 chunks, µs a chunk",
            path: STREAM,
            shape: "chunks=50,delay=1",
            body: GENERATE_BODY.into(),
            requests: 1_000,
            units_per_request: 50,
        },
        Workload {
            name: "100 KB in, µs",
            path: UNARY,
            shape: "",
            body: GENERATE_BODY.replace("Why", &big),
            requests: 2_000,
            units_per_request: 1,
        },
        Workload {
            name: "100 KB out, µs",
            path: UNARY,
            shape: "bytes=100000",
            body: GENERATE_BODY.into(),
            requests: 2_000,
            units_per_request: 1,
        },
    ];
    for workload in &workloads {
        measure(&http, &proxies, workload).await;
    }
    latency(&http, &proxies).await;
    open_streams(&http, &proxies).await;
}

/// Measures the load with each proxy in turn and prints the medians and their ratio.
async fn measure(http: &Http, proxies: &[Proxy], workload: &Workload) {
    let mut costs = vec![Vec::new(); proxies.len()];
    for round in 0..=ROUNDS {
        for (proxy, costs) in proxies.iter().zip(&mut costs) {
            let before = processor_time(proxy);
            load(http, proxy, workload).await;
            let spent = processor_time(proxy).saturating_sub(before);
            // The first round is a warm-up.
            if round > 0 {
                costs.push(
                    spent.as_secs_f64() * 1e6
                        / f64_of(workload.requests * workload.units_per_request),
                );
            }
        }
    }
    let ratios: Vec<_> = costs[0]
        .iter()
        .zip(&costs[1])
        .map(|(pool, nginx)| pool / nginx)
        .collect();
    let medians: Vec<_> = costs.iter().map(|costs| median(costs.clone())).collect();
    println!(
        "processor time, {}: pool {:.1}, nginx {:.1}, ratio {:.2}",
        workload.name,
        medians[0],
        medians[1],
        median(ratios)
    );
}

async fn load(http: &Http, proxy: &Proxy, workload: &Workload) {
    let left = Arc::new(AtomicU64::new(workload.requests));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (http, left) = (http.clone(), left.clone());
        let (url, shape, body) = (
            format!("{}{}", proxy.url, workload.path),
            workload.shape,
            Bytes::from(workload.body.clone()),
        );
        clients.spawn(async move {
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                send(&http, &url, shape, body.clone()).await;
            }
        });
    }
    clients.join_all().await;
}

async fn send(http: &Http, url: &str, shape: &str, body: Bytes) {
    let answer = http.request(request(url, shape, body)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
}

fn request(url: &str, shape: &str, body: Bytes) -> http::Request<Full<Bytes>> {
    let request = http::Request::post(url).header("content-type", "application/json");
    // nginx replaces this key with a Google key.
    let request = request
        .header("x-goog-api-key", "CLIENT_KEY_1")
        .header("x-fake-gemini", shape);
    request.body(Full::new(body)).unwrap()
}

/// The total time of a request at 200 a second, including the fake Gemini's share.
async fn latency(http: &Http, proxies: &[Proxy]) {
    let mut lines = Vec::new();
    for proxy in proxies {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..2_000 {
            tick.tick().await;
            let (http, url) = (http.clone(), format!("{}{UNARY}", proxy.url));
            requests.spawn(async move {
                let began = Instant::now();
                send(&http, &url, "", Bytes::from(GENERATE_BODY)).await;
                began.elapsed()
            });
        }
        let mut times = requests.join_all().await;
        times.sort();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
        lines.push(format!(
            "{} p50 {:.2} p99 {:.2}",
            proxy.name,
            at(50),
            at(99)
        ));
    }
    println!("total time at 200 requests/s, ms: {}", lines.join(", "));
}

/// Memory with 1,000 open streams.
async fn open_streams(http: &Http, proxies: &[Proxy]) {
    let mut lines = Vec::new();
    for proxy in proxies {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let (http, url) = (http.clone(), format!("{}{STREAM}", proxy.url));
            streams.spawn(async move {
                send(
                    &http,
                    &url,
                    "chunks=40,delay=250",
                    Bytes::from(GENERATE_BODY),
                )
                .await;
            });
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        lines.push(format!("{} {:.1}", proxy.name, memory_mib(proxy)));
        streams.join_all().await;
    }
    println!("memory with 1,000 open streams, MiB: {}", lines.join(", "));
}

async fn start_pool(folder: &Path, google: &FakeGemini) -> Proxy {
    let address = free_address();
    let keys: Vec<_> = (0..KEYS).map(|n| format!("AIzaSyBench{n:028}")).collect();
    let child = Command::new("taskset")
        .args(["-c", "0", env!("CARGO_BIN_EXE_gemini-pool")])
        .env("LISTEN", address.to_string())
        .env(
            "DATABASE_URL",
            format!("sqlite://{}", folder.join("pool.db").display()),
        )
        .env("UPSTREAM_URL", google.url())
        .env("ALLOWED_API_KEYS", "CLIENT_KEY_1")
        .env("GEMINI_API_KEYS", keys.join(","))
        .env("RUST_LOG", "warn")
        .current_dir(folder)
        .spawn()
        .unwrap();
    wait_for(address).await;
    Proxy {
        name: "pool",
        url: format!("http://{address}"),
        child,
    }
}

async fn start_nginx(folder: &Path, google: &FakeGemini) -> Proxy {
    let address = free_address();
    let upstream = google.url().replace("http://", "");
    let folder = folder.display();
    let config = format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
         events {{ worker_connections 8192; }}
         http {{
             access_log {folder}/access.log combined;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
             uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             client_max_body_size 0; client_body_buffer_size 1m; keepalive_requests 1000000;
             upstream google {{ server {upstream}; keepalive 2000; keepalive_requests 1000000; }}
             server {{
                 listen {address};
                 location / {{
                     proxy_pass http://google; proxy_http_version 1.1; proxy_buffering off;
                     proxy_set_header Connection ''; proxy_set_header x-goog-api-key AIzaSyBench{:028};
                 }}
             }}
         }}",
        0
    );
    std::fs::write(format!("{folder}/nginx.conf"), config).unwrap();
    let child = Command::new("taskset")
        .args([
            "-c",
            "0",
            "nginx",
            "-c",
            &format!("{folder}/nginx.conf"),
            "-e",
            &format!("{folder}/start.log"),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(address).await;
    Proxy {
        name: "nginx",
        url: format!("http://{address}"),
        child,
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

async fn wait_for(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process and its children.
fn processes(proxy: &Proxy) -> Vec<u32> {
    let id = proxy.child.id();
    let children =
        std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .chain([id])
        .collect()
}

fn processor_time(proxy: &Proxy) -> Duration {
    let ticks = processes(proxy).into_iter().map(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may contain spaces: user time is the 12th field, system time the 13th.
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| {
            fields
                .get(at)
                .and_then(|ticks| ticks.parse::<u64>().ok())
                .unwrap_or(0)
        };
        ticks(11) + ticks(12)
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn memory_mib(proxy: &Proxy) -> f64 {
    let resident = processes(proxy).into_iter().map(|id| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or("0");
        line.split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok())
            .unwrap_or(0)
    });
    f64_of(resident.sum()) / 1024.0
}

fn describe_each(proxies: &[Proxy], figure: impl Fn(&Proxy) -> String) -> String {
    proxies
        .iter()
        .map(|proxy| format!("{} {}", proxy.name, figure(proxy)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn f64_of(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
