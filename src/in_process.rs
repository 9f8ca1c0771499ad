//! `ProxyService`: sends requests of the dashboard through the request path within the process, on behalf of a client
//! key.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// The client that a request acts for, without its secret. It is an extension of the request, so that nothing that arrives
/// over the network can contain it.
#[derive(Debug, Clone, Copy)]
pub struct ActingClient {
    pub client: ClientKeyId,
    /// The only upstream key that may serve the request; `None`: any that the client may use.
    pub upstream_key: Option<UpstreamKeyId>,
}

/// Sends a request through the whole request path: limits, scopes and the log apply as for a client.
#[derive(Clone)]
pub struct ProxyService(Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl ProxyService {
    pub fn new(
        serve: impl Fn(Request) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(serve))
    }

    /// Answers a request that carries an [`ActingClient`] and the connection it came by.
    pub async fn send(&self, request: Request) -> Response {
        (self.0)(request).await
    }
}
