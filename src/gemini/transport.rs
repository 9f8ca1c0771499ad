//! `GeminiClient`: the one place that sends to Google.

use parking_lot::RwLock;
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use reqwest::{Body, Client, Request, Url, redirect};
use rustix::io::Errno;
use rustls::ClientConfig;

use crate::gemini::headers::{self, API_KEY};
use crate::gemini::name_lookup::NameLookup;
use crate::gemini::proxy_variables::{self, InvalidProxy};
use crate::gemini::resources::name::{GOOGLE_HOST, ResourceName};
use crate::gemini::tls::{self, NoCertificates};
use crate::pool::health::verdict::Rule;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// How many streams one HTTP/2 connection carries: Google's front ends allow about a hundred, and what is over the
/// limit waits unseen.
const STREAMS_PER_CONNECTION: usize = 80;

/// The client that sends to Google.
#[derive(Debug)]
pub struct GeminiClient {
    /// Parsed once: a host goes through the rules for international names each time.
    base: Url,
    /// The path of `base`, without a slash at its end.
    prefix: String,
    connections: RwLock<ConnectionPool>,
}

/// The connections, as the settings want them.
#[derive(Debug)]
struct ConnectionPool {
    connect_timeout_ms: u64,
    http2: bool,
    /// Google is played on this machine, where no proxy of the environment leads.
    is_local: bool,
    /// Read once: the certificates may be replaced on the disk at any moment.
    tls: ClientConfig,
    names: NameLookup,
    /// With HTTP/1.1 one client, which opens a connection for each request under way. An HTTP/2 client keeps to one
    /// connection, so there are as many as the load needs.
    clients: Vec<PooledClient>,
    /// Speaks HTTP/1.1, which alone can be left for a WebSocket.
    upgrade_client: Client,
}

#[derive(Debug, Clone)]
struct PooledClient {
    client: Client,
    streams: Arc<AtomicUsize>,
}

/// Keeps count of a stream on its connection until it ends.
#[derive(Debug)]
pub struct StreamGuard(Arc<AtomicUsize>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why no connection to the upstream can be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(transparent)]
    NoCertificates(#[from] NoCertificates),
    #[error(transparent)]
    InvalidProxy(#[from] InvalidProxy),
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    pub rule: Rule,
    pub message: String,
}

/// A request as Google gets it, but for the credential.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl GeminiClient {
    /// Sends to the paths below `base`.
    pub fn new(base: &Url, settings: &Settings) -> Result<Self, ConnectionError> {
        let prefix = base.path().trim_end_matches('/').to_owned();
        let is_local = base.host_str().is_some_and(is_local);
        if !is_local {
            proxy_variables::check(base)?;
        }
        Ok(Self {
            base: base.clone(),
            prefix,
            connections: RwLock::new(ConnectionPool::new(
                settings,
                is_local,
                tls::config(base)?,
                NameLookup::default(),
            )),
        })
    }

    /// The URL for a path; `None` when the library would not send exactly these bytes.
    pub fn url(&self, path_and_query: &str) -> Option<Url> {
        let (path, query) = path_and_query
            .split_once('?')
            .map_or((path_and_query, None), |(p, q)| (p, Some(q)));
        let mut url = self.base.clone();
        if self.prefix.is_empty() {
            url.set_path(path);
        } else {
            url.set_path(&format!("{}{path}", self.prefix));
        }
        url.set_query(query);
        let kept = url.path().ends_with(path) && url.query() == query;
        (kept && url.path().len() == self.prefix.len() + path.len()).then_some(url)
    }

    /// What a URL in an answer of Google's asks for, as a path and query for [`Self::url`]; `None` when it leads to anybody
    /// but the upstream. Google calls itself by its own name even where something stands between us and it.
    pub fn upstream_path(&self, url: &str) -> Option<String> {
        if url.starts_with('/') {
            return (!url.starts_with("//")).then(|| url.to_owned());
        }
        let url = Url::parse(url).ok()?;
        let is_ours = url.origin() == self.base.origin();
        let is_google = url.scheme() == "https" && url.host_str() == Some(GOOGLE_HOST);
        if !is_ours && !is_google {
            return None;
        }
        let path = url.path();
        let path = match path.strip_prefix(&self.prefix) {
            Some(below) if is_ours && below.starts_with('/') => below,
            _ => path,
        };
        let query = url.query().map(|query| format!("?{query}"));
        Some(format!("{path}{}", query.unwrap_or_default()))
    }

    /// Sends a request with a key and waits for the head of the answer.
    pub async fn send(
        &self,
        upstream_request: &UpstreamRequest,
        secret: &Secret,
    ) -> Result<(Response<Body>, StreamGuard), SendError> {
        let has_body = !upstream_request.body.is_empty() || upstream_request.method == Method::POST;
        let body = has_body.then(|| Body::from(upstream_request.body.clone()));
        self.send_with(upstream_request, body, secret).await
    }

    /// The same with this body in place of the request's own.
    pub async fn send_with(
        &self,
        upstream_request: &UpstreamRequest,
        body: Option<Body>,
        secret: &Secret,
    ) -> Result<(Response<Body>, StreamGuard), SendError> {
        let mut request = request_with_key(upstream_request, secret)?;
        // The library announces the length of every body but an empty one, without which Google's front end refuses a POST.
        if body
            .as_ref()
            .is_some_and(|body| body.size_hint().exact() == Some(0))
        {
            let nothing = HeaderValue::from_static("0");
            request.headers_mut().insert(CONTENT_LENGTH, nothing);
        }
        *request.body_mut() = body;
        let pooled = self.claim_client();
        let stream = StreamGuard(pooled.streams.clone());
        let answer = pooled
            .client
            .execute(request)
            .await
            .map_err(|error| SendError::from(&error))?;
        let answer = framed(answer.into())?;
        Ok((answer, stream))
    }

    /// Asks for a connection that is no longer HTTP's, and waits for the head of the answer. What the request shows is a key, or
    /// the ephemeral `token` that its client has shown, as Google's own client for Python does.
    pub async fn upgrade(
        &self,
        upstream_request: &UpstreamRequest,
        secret: &Secret,
        token: Option<&ResourceName>,
    ) -> Result<Response<Body>, SendError> {
        let mut request = request_with_key(upstream_request, secret)?;
        if let Some(token) = token {
            let token = format!("Token {token}");
            let credential = headers::credential_value(&token).expect("a name is plain text");
            request.headers_mut().remove(API_KEY);
            request.headers_mut().insert(AUTHORIZATION, credential);
        }
        let client = {
            let connections = self.connections.read();
            connections.upgrade_client.clone()
        };
        let answer = client.execute(request).await;
        Ok(answer.map_err(|error| SendError::from(&error))?.into())
    }

    /// Takes over settings; connections in use end in their own time.
    pub fn apply_settings(&self, settings: &Settings) {
        let mut connections = self.connections.write();
        if connections.connect_timeout_ms != settings.connect_timeout_ms
            || connections.http2 != settings.upstream_http2
        {
            *connections = ConnectionPool::new(
                settings,
                connections.is_local,
                connections.tls.clone(),
                connections.names.clone(),
            );
        }
    }

    /// The client for one more request, which is counted on it.
    fn claim_client(&self) -> PooledClient {
        let connections = self.connections.read();
        if let Some(pooled) = connections.claim_stream() {
            return pooled;
        }
        drop(connections);
        let mut connections = self.connections.write();
        if let Some(pooled) = connections.claim_stream() {
            return pooled;
        }
        let pooled = PooledClient::new(
            connections.connect_timeout_ms,
            connections.http2,
            connections.is_local,
            connections.tls.clone(),
            connections.names.clone(),
        );
        pooled.streams.fetch_add(1, Ordering::Relaxed);
        connections.clients.push(pooled.clone());
        pooled
    }
}

impl ConnectionPool {
    fn new(settings: &Settings, is_local: bool, tls: ClientConfig, names: NameLookup) -> Self {
        let (connect_timeout_ms, http2) = (settings.connect_timeout_ms, settings.upstream_http2);
        let first = PooledClient::new(
            connect_timeout_ms,
            http2,
            is_local,
            tls.clone(),
            names.clone(),
        );
        let upgrade_client = if http2 {
            PooledClient::new(
                connect_timeout_ms,
                false,
                is_local,
                tls.clone(),
                names.clone(),
            )
            .client
        } else {
            first.client.clone()
        };
        Self {
            connect_timeout_ms,
            http2,
            is_local,
            tls,
            names,
            clients: vec![first],
            upgrade_client,
        }
    }

    fn claim_stream(&self) -> Option<PooledClient> {
        let most = if self.http2 {
            STREAMS_PER_CONNECTION
        } else {
            usize::MAX
        };
        let claim = |pooled: &&PooledClient| {
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
        is_local: bool,
        mut tls: ClientConfig,
        names: NameLookup,
    ) -> Self {
        let protocol = if http2 { "h2" } else { "http/1.1" };
        tls.alpn_protocols = vec![protocol.into()];
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_millis(connect_timeout_ms))
            .dns_resolver(names)
            .tls_backend_preconfigured(tls);
        let builder = if http2 {
            // Known beforehand: while it still has to be found out, every request of a burst opens a connection.
            builder.http2_prior_knowledge().http2_adaptive_window(true)
        } else {
            builder.http1_only()
        };
        let builder = if is_local {
            builder.no_proxy()
        } else {
            builder
        };
        let client = builder
            .build()
            .expect("the options are constant and TLS is set up");
        Self {
            client,
            streams: Arc::default(),
        }
    }
}

/// The request with its credential, and without its body.
fn request_with_key(
    upstream_request: &UpstreamRequest,
    secret: &Secret,
) -> Result<Request, SendError> {
    let mut request = Request::new(
        upstream_request.method.clone(),
        upstream_request.url.clone(),
    );
    *request.headers_mut() = upstream_request.headers.clone();
    let credential = headers::credential_value(secret.expose()).ok_or_else(|| SendError {
        rule: Rule::Unauthenticated,
        message: "the upstream key has characters that no header can carry".to_owned(),
    })?;
    request.headers_mut().insert(API_KEY, credential);
    Ok(request)
}

/// Refuses an answer whose body cannot be delimited: one in a transfer coding other than `chunked`, or a 101 that was not
/// requested.
fn framed(answer: Response<Body>) -> Result<Response<Body>, SendError> {
    if answer.status().is_informational() || !headers::is_framed_plainly(answer.headers()) {
        return Err(SendError {
            rule: Rule::MalformedAnswer,
            message: "Gemini's answer has a transfer coding or status that was not requested"
                .to_owned(),
        });
    }
    Ok(answer)
}

impl From<&reqwest::Error> for SendError {
    fn from(error: &reqwest::Error) -> Self {
        Self {
            rule: rule_of_error(error),
            message: describe_error(error),
        }
    }
}

fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Which rule a failure of the way falls under.
pub fn rule_of_error(error: &reqwest::Error) -> Rule {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && let Some(number) = error.raw_os_error()
            && [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(number))
        {
            return Rule::TooManyOpenFiles;
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return Rule::MalformedAnswer;
        }
        source = cause.source();
    }
    if error.is_connect() {
        Rule::ConnectFailed
    } else {
        Rule::ConnectionBroken
    }
}

/// The error and its causes in one line, without the URL.
pub fn describe_error(error: &reqwest::Error) -> String {
    let mut message = if error.is_connect() {
        "could not connect to Gemini".to_owned()
    } else {
        "the connection to Gemini broke".to_owned()
    };
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gemini(base: Url) -> GeminiClient {
        GeminiClient::new(&base, &Settings::default()).unwrap()
    }

    #[test]
    fn only_this_machine_is_reached_past_the_proxies_of_the_environment() {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["generativelanguage.googleapis.com", "10.0.0.1", "local"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_url_of_googles_leads_to_our_upstream_or_nowhere() {
        let base = Url::parse("https://upstream.example:8443/base").unwrap();
        let gemini = gemini(base);

        let path = Some("/upload/v1beta/files?upload_id=x%2Dy");
        for url in [
            "/upload/v1beta/files?upload_id=x%2Dy",
            "https://upstream.example:8443/base/upload/v1beta/files?upload_id=x%2Dy",
            "https://upstream.example:8443/upload/v1beta/files?upload_id=x%2Dy",
            "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=x%2Dy",
        ] {
            assert_eq!(gemini.upstream_path(url).as_deref(), path, "{url}");
        }
        for url in [
            "https://upstream.example/upload/v1beta/files",
            "http://upstream.example:8443/upload/v1beta/files",
            "http://generativelanguage.googleapis.com/upload",
            "https://generativelanguage.googleapis.com.example/upload",
            "https://generativelanguage.googleapis.com:444@example.com/",
            "https://storage.googleapis.com/bucket",
            "//example.com/upload",
            "/\\example.com",
            "upload",
            "",
        ] {
            let path = gemini.upstream_path(url);
            let url = path.and_then(|path| gemini.url(&path));
            assert_eq!(url, None, "{url:?}");
        }
    }

    #[test]
    fn a_url_keeps_the_path_or_is_none() {
        let gemini = gemini(Url::parse("https://example.com/base").unwrap());

        for path in [
            "/v1beta/models/m:generateContent?alt=sse",
            "/v1/a%2Fb?x=%24y",
            "/v1/x?",
        ] {
            let url = gemini.url(path).unwrap();
            assert_eq!(url.as_str(), format!("https://example.com/base{path}"));
        }
        for path in [
            "/v1/a b", "/v1/a\"b", "/v1/{x}", "/v1/../x", "/v1/x?'", "/v1/x#y",
        ] {
            assert_eq!(gemini.url(path), None, "{path}");
        }
    }
}
