//! Joins the routers, binds, starts the tasks, shuts down.

pub mod connection;
pub mod service_manager;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::api::{self, health, metrics};
use crate::app::App;
use crate::auth::session;
use crate::client_connections::{ClientConnection, ClientConnections};
use crate::dashboard;
use crate::in_process::ProxyService;
use crate::peer::is_trusted_proxy;
use crate::proxy;
use crate::server::connection::{ConnectionTasks, serve_connection};
use crate::storage::recorder::LogWriter;
use crate::tasks;

/// How many silent connections are cut when none can be accepted any more.
const CONNECTIONS_CUT_AT_ONCE: usize = 100;
/// Time limit for running responses after the server was stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a stopped server waits for connections without a request.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long streams that are cut off may take to send their last event.
const LAST_EVENTS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stopped server stores the last bodies that are kept.
const LAST_BODIES_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last traces may take to be exported.
const LAST_TRACES_TIMEOUT: Duration = Duration::from_secs(2);
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
        tasks.spawn(tasks::reseal_secrets::run(app.clone()));
        tasks.spawn(tasks::dispatch_queue::run(app.clone()));
        tasks.spawn(tasks::record_running::run(app.clone()));
        tasks.spawn(tasks::keep_bodies::run(app.clone()));
        tasks.spawn(tasks::export_traces::run(app.clone()));
        tasks.spawn(tasks::checkpoint::run(app.clone()));
        tasks.spawn(tasks::sweep::run(app.clone()));
        tasks.spawn(tasks::probe_database::run(app.clone()));
        tasks.spawn(tasks::probe_egress::run(app.clone()));
        tasks.spawn(tasks::recheck_keys::run(app.clone()));
        tasks.spawn(tasks::list_models::run(app.clone()));
        tasks.spawn(tasks::prune_logs::run(app.clone()));
        tasks.spawn(tasks::back_up::run(app.clone()));
        tasks.spawn(tasks::send_alerts::run(app.clone()));
        tasks.spawn(tasks::change_keys::run(app.clone()));
        tasks.spawn(tasks::test_keys::run(app.clone()));
        tasks.spawn(tasks::what_if::run(app.clone()));
        tasks.spawn(service_manager::answer_watchdog());

        let graceful = GracefulShutdown::new();
        let connections = ConnectionTasks {
            running: TaskTracker::new(),
            cut_off: cut_off.clone(),
        };
        let clients = ClientConnections::default();
        let accepting = accept(
            &app,
            &listener,
            &graceful,
            &connections,
            &clients,
            &mut tasks,
            &stop,
        );
        service_manager::report_ready();
        let result = accepting.await;
        service_manager::report_stopping();
        drop(listener);
        app.stopping.cancel();

        let open = graceful.count();
        tracing::info!(
            connections = open,
            "stopping: no new connections; running responses may finish"
        );
        app.live_sessions.close();
        let mut all_ended = std::pin::pin!(async {
            tokio::join!(graceful.shutdown(), app.live_sessions.wait());
        });
        // A client that has not sent its first request by now is not waited for.
        if timeout(SILENCE_TIMEOUT, &mut all_ended).await.is_err() {
            clients.cut_unproven();
            if timeout(DRAIN_TIMEOUT, &mut all_ended).await.is_err() {
                tracing::warn!("cutting off the remaining requests");
                app.cutting_off.cancel();
                let _ = timeout(LAST_EVENTS_TIMEOUT, &mut all_ended).await;
            }
        }
        cut_off.cancel();
        connections.running.close();
        connections.running.wait().await;
        let lost = write_last_rows(&app).await;
        let _ = timeout(LAST_BODIES_TIMEOUT, app.body_log.settle()).await;
        let _ = timeout(LAST_TRACES_TIMEOUT, app.traces.settle()).await;
        tasks.shutdown().await;
        app.db.close().await;
        anyhow::ensure!(
            lost == 0,
            "{lost} log rows could not be written before the end"
        );
        result
    }
}

/// Accepts connections until the server is stopped or a task ends.
async fn accept(
    app: &Arc<App>,
    listener: &TcpListener,
    graceful: &GracefulShutdown,
    connections: &ConnectionTasks,
    clients: &ClientConnections,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let proxy_service = ProxyService::new({
        let app = app.clone();
        move |request| {
            let app = app.clone();
            let connection = request.extensions().get::<ClientConnection>().cloned();
            let connection = connection.expect("every request has its connection");
            Box::pin(async move { proxy::serve(app, connection, request).await })
        }
    });
    let unknown_page: Router = dashboard::unknown_page(app).with_state(app.clone());
    let (api, document) = api::router(app);
    let router = Router::new()
        .route("/healthz", get(health::liveness))
        .route(
            "/readyz",
            get(health::readiness).layer(session::layer(&app.db)),
        )
        .route("/metrics", get(metrics::show))
        .merge(
            dashboard::router(app)
                .layer(Extension(document))
                .layer(Extension(proxy_service)),
        )
        .merge(api)
        .fallback(
            async move |State(app): State<Arc<App>>,
                        Extension(connection): Extension<ClientConnection>,
                        request: Request| {
                if dashboard::opens_page(&request) {
                    let answered = unknown_page.clone().call(request).await;
                    return answered.unwrap_or_else(|never| match never {});
                }
                proxy::serve(app, connection, request).await
            },
        )
        .with_state(app.clone());
    // One line in the log when it begins to fail, and one when it is over.
    let mut is_failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("connections are accepted again");
                    }
                    let (router, watcher) = (router.clone(), graceful.watcher());
                    // For this one and its connection to Google.
                    clients.make_room(2);
                    let is_proxy = is_trusted_proxy(peer.ip(), &app.config.trusted_proxies);
                    let client = clients.open(peer, is_proxy);
                    let serving = serve_connection(
                        stream, client.clone(), app.clone(), router, watcher, connections.clone(),
                    );
                    client.set_task(connections.spawn(serving));
                }
                Err(error) => {
                    // Usually too many open files, some of which will be closed.
                    clients.make_room(CONNECTIONS_CUT_AT_ONCE);
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!("connections cannot be accepted: {error}");
                    }
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

/// Waits until every row is committed. Returns the number of rows that were not.
async fn write_last_rows(app: &App) -> usize {
    let written = async {
        while app.recorder.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What stays in the journal is folded at the next start.
        let _ = app.recorder.flush().await;
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
