//! Joins the routers, binds, starts the tasks, shuts down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::api::health;
use crate::app::App;
use crate::proxy::{self, Peer};
use crate::storage::recorder::Writer;
use crate::tasks;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers may go on once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// How long the last rows may take to be written.
const LAST_ROWS: Duration = Duration::from_mins(1);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    writer: Writer,
}

impl Server {
    /// Takes the address of the configuration.
    pub async fn bind(app: Arc<App>, writer: Writer) -> std::io::Result<Self> {
        let listener = TcpListener::bind(app.config.listen).await?;
        Ok(Self {
            app,
            listener,
            writer,
        })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets what runs end. Fails when a task dies.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            app,
            listener,
            writer,
        } = self;
        let writer = tokio::spawn(writer.run());
        let mut tasks = JoinSet::new();
        let ended = CancellationToken::new();
        tasks.spawn(
            ended
                .clone()
                .run_until_cancelled_owned(tasks::reload::run(app.clone())),
        );
        tasks.spawn(
            ended
                .clone()
                .run_until_cancelled_owned(tasks::record_running::run(app.clone())),
        );
        tasks.spawn(
            ended
                .clone()
                .run_until_cancelled_owned(tasks::checkpoint::run(app.clone())),
        );
        tasks.spawn(
            ended
                .clone()
                .run_until_cancelled_owned(tasks::sweep::run(app.clone())),
        );

        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let died = accept(
            &app,
            listener,
            &graceful,
            &mut connections,
            &mut tasks,
            &stop,
        )
        .await;

        let open = connections.len();
        tracing::info!(
            connections = open,
            "stopping: no new connections; answers under way may end"
        );
        let drained = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
        if drained.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "cutting off what still runs"
            );
        }
        app.cutting_off.store(true, Ordering::Relaxed);
        connections.shutdown().await;
        ended.cancel();
        tasks.join_all().await;
        let lost = write_last_rows(&app).await;
        writer.abort();
        app.db.close().await;
        anyhow::ensure!(
            lost == 0,
            "{lost} log rows could not be written before the end"
        );
        died
    }
}

/// Takes connections until told to stop, or until a task dies.
async fn accept(
    app: &Arc<App>,
    listener: TcpListener,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
    tasks: &mut JoinSet<Option<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(proxy::serve)
        .with_state(app.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_connection(stream, peer, router.clone(), graceful.watcher()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others will end.
                    tracing::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            Some(ended) = tasks.join_next() => {
                return Err(anyhow::anyhow!("a background task ended: {ended:?}"));
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    // Chunks go out as they come; where this fails the connection is dead anyway.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
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

/// Waits until every row is committed. Returns how many were not.
async fn write_last_rows(app: &App) -> usize {
    let written = async {
        while app.recorder.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(LAST_ROWS, written).await.is_err() {
        tracing::error!(
            rows = app.recorder.pending(),
            "the last log rows could not be written"
        );
    }
    app.recorder.pending()
}
