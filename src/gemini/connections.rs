//! `Connections`: the connections to the upstream over one egress, directly or through a proxy.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::RwLock;
use rustls::ClientConfig;

use crate::gemini::egress::{Egress, Proxy};
use crate::gemini::name_lookup::NameLookup;
use crate::pool::settings::Settings;

/// How many streams one HTTP/2 connection carries: Google's front ends allow about a hundred, and what is over the
/// limit waits unseen.
const STREAMS_PER_CONNECTION: usize = 80;

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The body of a request: held, or sent while it arrives.
pub type RequestBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>>;

/// The connections over one egress.
#[derive(Debug)]
pub struct Connections(RwLock<ConnectionPool>);

/// The connections, as the settings want them.
#[derive(Debug)]
struct ConnectionPool {
    connect_timeout_ms: u64,
    http2: bool,
    /// `None`: they are direct.
    proxy: Option<Proxy>,
    tls: ClientConfig,
    names: NameLookup,
    /// With HTTP/1.1 one client, which opens a connection for each request under way. An HTTP/2 client keeps to one
    /// connection, so there are as many as the load needs.
    clients: Vec<Arc<PooledClient>>,
    /// Speaks HTTP/1.1, which alone can be left for a WebSocket.
    upgrade_client: Arc<PooledClient>,
}

#[derive(Debug)]
struct PooledClient {
    client: Client<Egress, RequestBody>,
    streams: AtomicUsize,
}

/// Keeps count of a stream on its connection until it ends.
#[derive(Debug)]
pub struct StreamGuard(Arc<PooledClient>);

impl StreamGuard {
    /// Sends a request and waits for the head of the answer.
    pub async fn request(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.0.client.request(request).await
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub fn new(
        settings: &Settings,
        proxy: Option<Proxy>,
        tls: ClientConfig,
        names: NameLookup,
    ) -> Self {
        Self(RwLock::new(ConnectionPool::new(
            settings, proxy, tls, names,
        )))
    }

    /// The client for one more request, which is counted on it.
    pub fn claim_stream(&self) -> StreamGuard {
        if let Some(pooled) = self.0.read().claim_stream() {
            return StreamGuard(pooled);
        }
        let mut connections = self.0.write();
        if let Some(pooled) = connections.claim_stream() {
            return StreamGuard(pooled);
        }
        let pooled = connections.client(connections.http2);
        pooled.streams.fetch_add(1, Ordering::Relaxed);
        connections.clients.push(pooled.clone());
        StreamGuard(pooled)
    }

    /// Sends a request for a connection that is no longer HTTP's.
    pub async fn upgrade(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ClientError> {
        let pooled = self.0.read().upgrade_client.clone();
        pooled.client.request(request).await
    }

    /// Host and port of the proxy.
    pub fn proxy_host(&self) -> Option<String> {
        self.0.read().proxy.as_ref()?.host_and_port()
    }

    /// Takes over settings; connections in use end in their own time.
    pub fn apply_settings(&self, settings: &Settings) {
        let mut connections = self.0.write();
        if connections.connect_timeout_ms != settings.connect_timeout_ms
            || connections.http2 != settings.upstream_http2
        {
            *connections = ConnectionPool::new(
                settings,
                connections.proxy.clone(),
                connections.tls.clone(),
                connections.names.clone(),
            );
        }
    }
}

impl ConnectionPool {
    fn new(
        settings: &Settings,
        proxy: Option<Proxy>,
        tls: ClientConfig,
        names: NameLookup,
    ) -> Self {
        let (connect_timeout_ms, http2) = (settings.connect_timeout_ms, settings.upstream_http2);
        let client = |http2| {
            let (proxy, tls, names) = (proxy.clone(), tls.clone(), names.clone());
            PooledClient::new(connect_timeout_ms, http2, proxy, tls, names)
        };
        let first = client(http2);
        let upgrade_client = if http2 { client(false) } else { first.clone() };
        Self {
            connect_timeout_ms,
            http2,
            clients: vec![first],
            upgrade_client,
            proxy,
            tls,
            names,
        }
    }

    fn client(&self, http2: bool) -> Arc<PooledClient> {
        PooledClient::new(
            self.connect_timeout_ms,
            http2,
            self.proxy.clone(),
            self.tls.clone(),
            self.names.clone(),
        )
    }

    fn claim_stream(&self) -> Option<Arc<PooledClient>> {
        let most = if self.http2 {
            STREAMS_PER_CONNECTION
        } else {
            usize::MAX
        };
        let claim = |pooled: &&Arc<PooledClient>| {
            let more = |streams| Some(streams + 1).filter(|_| streams < most);
            pooled
                .streams
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok()
        };
        self.clients.iter().find(claim).cloned()
    }
}

impl PooledClient {
    fn new(
        connect_timeout_ms: u64,
        http2: bool,
        proxy: Option<Proxy>,
        mut tls: ClientConfig,
        names: NameLookup,
    ) -> Arc<Self> {
        let protocol = if http2 { "h2" } else { "http/1.1" };
        tls.alpn_protocols = vec![protocol.into()];
        let egress = Egress::new(tls, names, proxy, Duration::from_millis(connect_timeout_ms));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            // Known beforehand: while it still has to be found out, every request of a burst opens a connection.
            .http2_only(http2)
            .http2_adaptive_window(http2)
            .build(egress);
        Arc::new(Self {
            client,
            streams: AtomicUsize::new(0),
        })
    }
}
