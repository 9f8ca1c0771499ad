//! Processor time, latency and memory of the pool and of nginx under the same load, in one run.
//!
//! `cargo bench --bench nginx_comparison` needs two cores, `taskset`, and `nginx` on the path. The proxy under measurement has one
//! core, and 32 connections saturate it: a proxy that waits between requests pays a wake-up for each. The clients and the
//! upstream have the other core, in one thread that does little per request. Both proxies take turns, and the ratio is
//! that of one round, because a machine's speed drifts. nginx is a plain reverse proxy with upstream keep-alive and its
//! access log on.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::cell::Cell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

const GENERATE_BODY: &str =
    r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;
const UNARY: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
/// A header by which a request says how large the answer shall be, and one for the pause between the chunks of a stream.
const SIZE: &str = "x-bench-size";
const PAUSE: &str = "x-bench-pause";
const CHUNKS: u64 = 50;
const KEYS: usize = 100;
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
/// The cores of the proxy, and of everything else.
const PROXY_CORE: &str = "1";
const CLIENT_CORE: &str = "0";
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// A proxy under measurement.
struct Proxy {
    name: &'static str,
    address: SocketAddr,
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
#[derive(Clone)]
struct Workload {
    name: &'static str,
    path: &'static str,
    answer_bytes: usize,
    /// Between two chunks of a stream.
    pause: Duration,
    body: Bytes,
}

impl Workload {
    fn unary(name: &'static str, body: String, answer_bytes: usize) -> Self {
        Self {
            name,
            path: UNARY,
            answer_bytes,
            pause: Duration::ZERO,
            body: body.into(),
        }
    }

    fn stream(name: &'static str, pause: Duration) -> Self {
        Self {
            path: STREAM,
            pause,
            ..Self::unary(name, GENERATE_BODY.into(), 0)
        }
    }
}

fn main() {
    let pinned = Command::new("taskset")
        .args(["-cp", CLIENT_CORE, &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(pinned.unwrap().success(), "taskset failed");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = start_upstream().await;
    let proxies = [
        start_pool(folder.path(), upstream).await,
        start_nginx(folder.path(), upstream).await,
    ];
    print_memory("idle", &proxies);
    let big = GENERATE_BODY.replace("Why", &"x".repeat(100_000));
    for workload in [
        Workload::unary("unary request", GENERATE_BODY.into(), 1_500),
        Workload::unary("100 KB in", big, 1_500),
        Workload::unary("100 KB out", GENERATE_BODY.into(), 100_000),
        Workload::stream("stream of 50 chunks", Duration::from_millis(1)),
    ] {
        measure(&proxies, &workload).await;
    }
    for proxy in &proxies {
        latency(proxy).await;
    }
    open_streams(&proxies).await;
}

/// Measures the load with each proxy in turn and prints the medians and their ratio.
async fn measure(proxies: &[Proxy], workload: &Workload) {
    let mut costs = vec![Vec::new(); proxies.len()];
    for _ in 0..ROUNDS {
        for (proxy, costs) in proxies.iter().zip(&mut costs) {
            saturate(proxy, workload, WARM_UP).await;
            let before = processor_time(proxy);
            let requests = saturate(proxy, workload, MEASURED).await;
            let spent = processor_time(proxy).saturating_sub(before);
            costs.push(spent.as_secs_f64() * 1e6 / f64_of(requests));
        }
    }
    let ratios = costs[0].iter().zip(&costs[1]);
    let ratios = ratios.map(|(pool, nginx)| pool / nginx).collect();
    println!(
        "processor time of a {}, µs: pool {:.1}, nginx {:.1}, ratio {:.2}",
        workload.name,
        median(costs[0].clone()),
        median(costs[1].clone()),
        median(ratios)
    );
}

/// Sends on all connections, each request when the one before is answered. Returns how many were answered.
async fn saturate(proxy: &Proxy, workload: &Workload, time: Duration) -> u64 {
    let answered = Rc::new(Cell::new(0));
    let end = Instant::now() + time;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, workload, answered) = (proxy.address, workload.clone(), answered.clone());
        clients.spawn_local(async move {
            let mut connection = connect(address).await;
            while Instant::now() < end {
                send(&mut connection, address, &workload).await;
                answered.set(answered.get() + 1);
            }
        });
    }
    clients.join_all().await;
    answered.get()
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let connecting = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (connection, running) = connecting.await.unwrap();
    tokio::task::spawn_local(running);
    connection
}

async fn send(connection: &mut SendRequest<Full<Bytes>>, address: SocketAddr, workload: &Workload) {
    connection.ready().await.unwrap();
    let request = Request::post(workload.path)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        // nginx replaces this key with a Google key.
        .header("x-goog-api-key", "CLIENT_KEY_1")
        .header(SIZE, workload.answer_bytes)
        .header(PAUSE, u64::try_from(workload.pause.as_millis()).unwrap())
        .body(Full::new(workload.body.clone()));
    let answer = connection.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
}

/// The total time of a request at 200 a second, including the upstream's share, and its processor time.
async fn latency(proxy: &Proxy) {
    const REQUESTS: u64 = 2_000;
    let workload = Workload::unary("", GENERATE_BODY.into(), 1_500);
    let before = processor_time(proxy);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut running = JoinSet::new();
    let (mut idle, mut times) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        tick.tick().await;
        while let Some(done) = running.try_join_next() {
            let (connection, time) = done.unwrap();
            idle.push(connection);
            times.push(time);
        }
        let (address, workload, connection) = (proxy.address, workload.clone(), idle.pop());
        running.spawn_local(async move {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect(address).await,
            };
            let began = Instant::now();
            send(&mut connection, address, &workload).await;
            (connection, began.elapsed())
        });
    }
    times.extend(running.join_all().await.into_iter().map(|(_, time)| time));
    let spent = processor_time(proxy).saturating_sub(before);
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    println!(
        "{} at 200 requests/s: p50 {:.2} ms, p99 {:.2} ms, {:.0} µs of the processor",
        proxy.name,
        at(50),
        at(99),
        spent.as_secs_f64() * 1e6 / f64_of(REQUESTS)
    );
}

/// Memory with 1,000 open streams.
async fn open_streams(proxies: &[Proxy]) {
    for proxy in proxies {
        let mut streams = JoinSet::new();
        for _ in 0..1_000 {
            let address = proxy.address;
            streams.spawn_local(async move {
                let workload = Workload::stream("", Duration::from_millis(200));
                send(&mut connect(address).await, address, &workload).await;
            });
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        print_memory("with 1,000 open streams", std::slice::from_ref(proxy));
        streams.join_all().await;
    }
}

/// An upstream that answers at once what the request asks for.
async fn start_upstream() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A proxy that ends cuts its connections.
            tokio::task::spawn_local(async { drop(served.await) });
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let number =
        |name: &str| -> Option<u64> { request.headers().get(name)?.to_str().ok()?.parse().ok() };
    let (size, pause) = (number(SIZE).unwrap_or(0), number(PAUSE).unwrap_or(0));
    let is_stream = request.uri().path().ends_with(":streamGenerateContent");
    request.into_body().collect().await?;
    let text = |length: u64| "a".repeat(usize::try_from(length).unwrap());
    let usage =
        r#""usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":40,"totalTokenCount":49}"#;
    let candidates = move |text: String, end: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{end},"index":0}}],{usage}}}"#
        )
    };
    let stop = r#","finishReason":"STOP""#;
    if !is_stream {
        let body = Full::from(candidates(text(size.saturating_sub(200)), stop)).boxed();
        return Ok(Response::builder()
            .header("content-type", "application/json; charset=UTF-8")
            .body(body)
            .unwrap());
    }
    let chunks = stream::iter(1..=CHUNKS).then(move |number| async move {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let end = if number == CHUNKS { stop } else { "" };
        let chunk = format!("data: {}\r\n\r\n", candidates(text(40), end));
        Ok(Frame::data(Bytes::from(chunk)))
    });
    let body = BodyExt::boxed(StreamBody::new(chunks));
    Ok(Response::builder()
        .header("content-type", "text/event-stream")
        .body(body)
        .unwrap())
}

async fn start_pool(folder: &Path, upstream: SocketAddr) -> Proxy {
    let address = free_address();
    let keys: Vec<_> = (0..KEYS).map(|n| format!("AIzaSyBench{n:028}")).collect();
    let child = Command::new("taskset")
        .args(["-c", PROXY_CORE, env!("CARGO_BIN_EXE_gemini-pool")])
        .env("LISTEN", address.to_string())
        .env(
            "DATABASE_URL",
            format!("sqlite://{}", folder.join("pool.db").display()),
        )
        .env("UPSTREAM_URL", format!("http://{upstream}"))
        .env("ALLOWED_API_KEYS", "CLIENT_KEY_1")
        .env("GEMINI_API_KEYS", keys.join(","))
        .env("RUST_LOG", "warn")
        .current_dir(folder)
        .spawn()
        .unwrap();
    wait_for(address).await;
    Proxy {
        name: "pool",
        address,
        child,
    }
}

async fn start_nginx(folder: &Path, upstream: SocketAddr) -> Proxy {
    let address = free_address();
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
                 proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffers 16 16k;
                 proxy_set_header x-goog-api-key AIzaSyBench{:028};
                 location / {{ proxy_pass http://google; }}
                 location ~ :streamGenerateContent {{ proxy_buffering off; proxy_pass http://google; }}
             }}
         }}",
        0
    );
    std::fs::write(format!("{folder}/nginx.conf"), config).unwrap();
    let child = Command::new("taskset")
        .args([
            "-c",
            PROXY_CORE,
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
        address,
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

fn print_memory(when: &str, proxies: &[Proxy]) {
    for proxy in proxies {
        println!(
            "memory of {} {when}: {:.1} MiB",
            proxy.name,
            memory_mib(proxy)
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn f64_of(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
