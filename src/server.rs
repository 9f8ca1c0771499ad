//! Joins the routers, binds, starts the tasks, shuts down.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::api::health;
use crate::app::App;
use crate::auth::session;
use crate::dashboard;
use crate::peer::Peer;
use crate::proxy;
use crate::storage::recorder::LogWriter;
use crate::tasks;

/// Time limit for a request's head, including the idle time between two requests: longer than the idle timeout of usual
/// proxies in front, so that none sends a request on a connection that is just being closed.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);
/// The beginning of an HTTP/2 connection (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time limit for running responses after the server was stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Time limit for writing the last rows.
const LAST_ROWS_TIMEOUT: Duration = Duration::from_mins(1);

/// Binds the address. From then on clients can connect, and wait until the server runs.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "another program listens there: end it, or choose another port",
            ErrorKind::PermissionDenied => "ports below 1024 are for root: choose a higher one",
            ErrorKind::AddrNotAvailable => {
                "this machine has no such address: choose one of its own, or 0.0.0.0 for all of them,"
            }
            _ => "choose another address",
        };
        let message = format!("cannot listen on {address}: {remedy} with --listen or LISTEN ({error})");
        anyhow::Error::from(error).context(message)
    })
}

/// A server with a bound listener.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    writer: LogWriter,
}

impl Server {
    pub fn new(app: Arc<App>, listener: TcpListener, writer: LogWriter) -> Self {
        Self {
            app,
            listener,
            writer,
        }
    }

    /// Serves until `stop`, then waits for running requests. Fails when a task ends.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            app,
            listener,
            writer,
        } = self;
        let cut_off = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run());
        tasks.spawn(tasks::reload::run(app.clone()));
        tasks.spawn(tasks::dispatch_queue::run(app.clone()));
        tasks.spawn(tasks::record_running::run(app.clone()));
        tasks.spawn(tasks::checkpoint::run(app.clone()));
        tasks.spawn(tasks::sweep::run(app.clone()));
        tasks.spawn(tasks::probe_database::run(app.clone()));
        tasks.spawn(tasks::recheck_keys::run(app.clone()));
        tasks.spawn(tasks::prune_logs::run(app.clone()));
        tasks.spawn(tasks::change_keys::run(app.clone()));
        tasks.spawn(tasks::test_keys::run(app.clone()));

        let graceful = GracefulShutdown::new();
        let connections = Connections {
            running: TaskTracker::new(),
            cut_off: cut_off.clone(),
        };
        let result = accept(&app, &listener, &graceful, &connections, &mut tasks, &stop).await;
        drop(listener);
        app.stopping.cancel();

        let open = graceful.count();
        tracing::info!(
            connections = open,
            "stopping: no new connections; running responses may finish"
        );
        app.live_sessions.close();
        let all_ended = async { tokio::join!(graceful.shutdown(), app.live_sessions.wait()) };
        if tokio::time::timeout(DRAIN_TIMEOUT, all_ended)
            .await
            .is_err()
        {
            tracing::warn!("cutting off the remaining requests");
        }
        app.is_cutting_off.store(true, Ordering::Relaxed);
        cut_off.cancel();
        connections.running.close();
        connections.running.wait().await;
        let lost = write_last_rows(&app).await;
        tasks.shutdown().await;
        app.db.close().await;
        anyhow::ensure!(
            lost == 0,
            "{lost} log rows could not be written before the end"
        );
        result
    }
}

/// Spawns everything that serves clients: connections, and the streams of HTTP/2 connections.
#[derive(Debug, Clone)]
struct Connections {
    running: TaskTracker,
    cut_off: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Connections
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.running
            .spawn(self.cut_off.clone().run_until_cancelled_owned(task));
    }
}

/// Accepts connections until the server is stopped or a task ends.
async fn accept(
    app: &Arc<App>,
    listener: &TcpListener,
    graceful: &GracefulShutdown,
    connections: &Connections,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(health::liveness))
        .route(
            "/readyz",
            get(health::readiness).layer(session::layer(&app.db)),
        )
        .merge(dashboard::router(app))
        .fallback(proxy::serve)
        .with_state(app.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (router, watcher) = (router.clone(), graceful.watcher());
                    connections.execute(serve_connection(stream, peer, router, watcher, connections.clone()));
                }
                Err(error) => {
                    // Usually too many open files, some of which will be closed.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(ended) = tasks.join_next() => {
                return Err(anyhow::anyhow!("a background task ended: {ended:?}"));
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    connections: Connections,
) {
    // Chunks are sent immediately; if this fails the connection is already broken.
    let _ = stream.set_nodelay(true);
    if !matches!(
        timeout(HEAD_TIMEOUT, wait_for_preface(&stream)).await,
        Ok(Ok(()))
    ) {
        return;
    }
    let mut builder = auto::Builder::new(connections);
    let http1 = &mut builder.http1();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let http2 = &mut builder.http2();
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20));
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(client.address = %peer, "a connection ended early: {error}");
    }
}

/// Waits until the client has sent enough to distinguish HTTP/1 from HTTP/2.
async fn wait_for_preface(stream: &TcpStream) -> std::io::Result<()> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let is_undecided = length < first.len() && HTTP2_PREFACE.starts_with(&first[..length]);
        if length == 0 || !is_undecided {
            return Ok(());
        }
        // An incomplete preface stays readable, so polling would spin.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until every row is committed. Returns the number of rows that were not.
async fn write_last_rows(app: &App) -> usize {
    let written = async {
        while app.recorder.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(LAST_ROWS_TIMEOUT, written)
        .await
        .is_err()
    {
        tracing::error!(
            rows = app.recorder.pending(),
            "the last log rows could not be written"
        );
    }
    app.recorder.pending()
}
