//! `GeminiClient`: the one place that sends to Google.

use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, DATE, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use rustix::io::Errno;
use rustls::ClientConfig;
use url::Url;

use crate::clock::{self, Timestamp};
use crate::gemini::connections::{Connections, RequestBody, StreamGuard};
use crate::gemini::egress::{self, Proxy};
use crate::gemini::headers::{self, API_KEY};
use crate::gemini::name_lookup::NameLookup;
use crate::gemini::proxy_variables::{self, InvalidProxy};
use crate::gemini::resources::name::{GOOGLE_HOST, ResourceName};
use crate::gemini::tls::{self, NoCertificates};
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::pool::health::clock_watch::{ClockFinding, ClockWatch};
use crate::pool::health::verdict::Rule;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// What is accepted where the client does not say.
const ANY_TYPE: HeaderValue = HeaderValue::from_static("*/*");

/// The client that sends to Google.
#[derive(Debug)]
pub struct GeminiClient {
    /// Parsed once: a host goes through the rules for international names each time.
    base: Url,
    scheme: Scheme,
    authority: Authority,
    /// The path of `base`, without a slash at its end.
    prefix: String,
    /// The credential for a proxy that gets each request itself.
    proxy_credential: Option<HeaderValue>,
    upstream: Uri,
    /// Read once: the certificates may be replaced on the disk at any moment.
    tls: ClientConfig,
    names: NameLookup,
    direct: Connections,
    /// What the dates of answers say of the clock of this machine.
    dates: Mutex<AnswerDates>,
    /// Those through the egress proxies of an admin.
    proxied: RwLock<HashMap<EgressProxyId, ProxiedConnections>>,
}

#[derive(Debug, Default)]
struct AnswerDates {
    /// The last one: further answers of the same second prove nothing more.
    last: Option<HeaderValue>,
    watch: ClockWatch,
}

/// The connections through one egress proxy.
#[derive(Debug)]
struct ProxiedConnections {
    /// For errors: the admin knows a proxy by it.
    label: String,
    address: ProxyAddress,
    connections: Arc<Connections>,
}

/// Why no connection to the upstream can be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(transparent)]
    NoCertificates(#[from] NoCertificates),
    #[error(transparent)]
    InvalidProxy(#[from] InvalidProxy),
    #[error("{0} cannot be the upstream: it has no host, or one that no request can name")]
    InvalidUpstream(Url),
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
    pub url: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl GeminiClient {
    /// Sends to the paths below `base`.
    pub fn new(base: &Url, settings: &Settings) -> Result<Self, ConnectionError> {
        let prefix = base.path().trim_end_matches('/').to_owned();
        let upstream: Uri = base
            .as_str()
            .parse()
            .map_err(|_| ConnectionError::InvalidUpstream(base.clone()))?;
        let parts = upstream.clone().into_parts();
        let proxy = if base.host_str().is_some_and(is_local) {
            None
        } else {
            proxy_variables::check(base)?;
            egress::proxy_for(&upstream)
        };
        let (tls, names) = (tls::config(base)?, NameLookup::default());
        let invalid = || ConnectionError::InvalidUpstream(base.clone());
        let proxy_credential = egress::proxy_credential(&upstream, proxy.as_ref());
        let proxy = proxy.map(Proxy::of_environment);
        Ok(Self {
            base: base.clone(),
            scheme: parts.scheme.ok_or_else(invalid)?,
            authority: parts.authority.ok_or_else(invalid)?,
            prefix,
            proxy_credential,
            direct: Connections::new(settings, proxy, tls.clone(), names.clone()),
            dates: Mutex::default(),
            proxied: RwLock::default(),
            upstream,
            tls,
            names,
        })
    }

    /// The URL for a path; `None` when a URL library would not send exactly these bytes.
    pub fn url(&self, path_and_query: &str) -> Option<Uri> {
        if !is_plain(path_and_query) && !self.is_kept(path_and_query) {
            return None;
        }
        let path_and_query = if self.prefix.is_empty() {
            PathAndQuery::try_from(path_and_query)
        } else {
            PathAndQuery::try_from(format!("{}{path_and_query}", self.prefix))
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query.ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Whether the rules for URLs leave a path and its query as they are.
    fn is_kept(&self, path_and_query: &str) -> bool {
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
        let is_whole = url.path().len() == self.prefix.len() + path.len();
        is_whole && url.path().ends_with(path) && url.query() == query
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
        egress: Option<EgressProxyId>,
    ) -> Result<(Response<Incoming>, StreamGuard), SendError> {
        let mut request = self.request_with_key(upstream_request, secret, egress)?;
        let body = &upstream_request.body;
        if body.is_empty() && upstream_request.method == Method::POST {
            announce_nothing(request.headers_mut());
        }
        *request.body_mut() = Either::Left(Full::new(body.clone()));
        self.exchange(request, egress).await
    }

    /// Sends a GET without any key, and waits for the head of the answer.
    pub async fn send_without_key(
        &self,
        path: &str,
        egress: Option<EgressProxyId>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::new(Either::Left(Full::default()));
        self.add_own_headers(request.headers_mut(), egress);
        *request.uri_mut() = self.url(path).ok_or_else(|| SendError {
            rule: Rule::MalformedAnswer,
            message: format!("{path} cannot be part of a URL"),
        })?;
        let (answer, _stream) = self.exchange(request, egress).await?;
        Ok(answer)
    }

    /// The same through any proxy, over a connection of its own.
    pub async fn send_without_key_through(
        &self,
        path: &str,
        address: &ProxyAddress,
        settings: &Settings,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::new(Either::Left(Full::default()));
        request.headers_mut().insert(ACCEPT, ANY_TYPE);
        let unusable = || SendError {
            rule: Rule::ConnectFailed,
            message: "the address of the proxy cannot be used".to_owned(),
        };
        *request.uri_mut() = self.url(path).ok_or_else(unusable)?;
        let proxy = Proxy::of_row(address, &self.upstream).ok_or_else(unusable)?;
        let (tls, names) = (self.tls.clone(), self.names.clone());
        let connections = Connections::new(settings, Some(proxy), tls, names);
        let answer = connections.claim_stream().request(request).await;
        answer.map_err(|error| unsent(&error, None))
    }

    /// Host and port of the proxy that leads to Google.
    pub fn proxy_host(&self) -> Option<String> {
        self.direct.proxy_host()
    }

    /// The same with a body that is sent while it arrives.
    pub async fn send_streaming<B>(
        &self,
        upstream_request: &UpstreamRequest,
        body: B,
        secret: &Secret,
        egress: Option<EgressProxyId>,
    ) -> Result<(Response<Incoming>, StreamGuard), SendError>
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let mut request = self.request_with_key(upstream_request, secret, egress)?;
        if body.size_hint().exact() == Some(0) {
            announce_nothing(request.headers_mut());
        }
        *request.body_mut() = Either::Right(body.map_err(Into::into).boxed_unsync());
        self.exchange(request, egress).await
    }

    async fn exchange(
        &self,
        request: Request<RequestBody>,
        egress: Option<EgressProxyId>,
    ) -> Result<(Response<Incoming>, StreamGuard), SendError> {
        let stream = match egress {
            None => self.direct.claim_stream(),
            Some(id) => self.proxied(id)?.claim_stream(),
        };
        let sent = clock::now();
        let answer = stream.request(request).await;
        let answer = framed(answer.map_err(|error| self.unsent(&error, egress))?)?;
        self.compare_clock(sent, answer.headers());
        Ok((answer, stream))
    }

    /// Compares the clock of this machine with that of an answer.
    fn compare_clock(&self, sent: Timestamp, headers: &HeaderMap) {
        let mut dates = self.dates.lock();
        let date = headers.get(DATE);
        if dates.last.as_ref() == date {
            return;
        }
        dates.last = date.cloned();
        if let Some(date) = headers::date_of(headers) {
            dates.watch.add(sent, clock::now(), date);
        }
    }

    /// Whether the clock of this machine is right.
    pub fn clock_finding(&self) -> ClockFinding {
        self.dates.lock().watch.finding()
    }

    /// The connections through an egress proxy. One that was removed meanwhile has none: the request does not go past it.
    fn proxied(&self, id: EgressProxyId) -> Result<Arc<Connections>, SendError> {
        let proxied = self.proxied.read();
        let known = proxied.get(&id).map(|known| known.connections.clone());
        known.ok_or_else(|| SendError {
            rule: Rule::ConnectFailed,
            message: format!("egress proxy {id} was removed or disabled"),
        })
    }

    /// A request that got no answer, directly or through a proxy.
    fn unsent(&self, error: &ClientError, egress: Option<EgressProxyId>) -> SendError {
        let proxied = self.proxied.read();
        let label = egress.and_then(|id| Some(proxied.get(&id)?.label.as_str()));
        unsent(error, label)
    }

    /// Asks for a connection that is no longer HTTP's, and waits for the head of the answer. What the request shows is a key, or
    /// the ephemeral `token` that its client has shown, as Google's own client for Python does.
    pub async fn upgrade(
        &self,
        upstream_request: &UpstreamRequest,
        secret: &Secret,
        token: Option<&ResourceName>,
        egress: Option<EgressProxyId>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = self.request_with_key(upstream_request, secret, egress)?;
        if let Some(token) = token {
            let token = format!("Token {token}");
            let credential = headers::credential_value(&token).expect("a name is plain text");
            request.headers_mut().remove(API_KEY);
            request.headers_mut().insert(AUTHORIZATION, credential);
        }
        let answer = match egress {
            None => self.direct.upgrade(request).await,
            Some(id) => self.proxied(id)?.upgrade(request).await,
        };
        answer.map_err(|error| self.unsent(&error, egress))
    }

    /// The request with its credential, and without its body.
    fn request_with_key(
        &self,
        upstream_request: &UpstreamRequest,
        secret: &Secret,
        egress: Option<EgressProxyId>,
    ) -> Result<Request<RequestBody>, SendError> {
        let credential = headers::credential_value(secret.expose()).ok_or_else(|| SendError {
            rule: Rule::Unauthenticated,
            message: "the upstream key has characters that no header can carry".to_owned(),
        })?;
        let mut request = Request::new(Either::Left(Full::default()));
        *request.method_mut() = upstream_request.method.clone();
        *request.uri_mut() = upstream_request.url.clone();
        let headers = request.headers_mut();
        headers.clone_from(&upstream_request.headers);
        headers.insert(API_KEY, credential);
        self.add_own_headers(headers, egress);
        Ok(request)
    }

    /// Adds what every request has.
    fn add_own_headers(&self, headers: &mut HeaderMap, egress: Option<EgressProxyId>) {
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, ANY_TYPE);
        }
        // The proxies of an admin get their credential when a connection is opened.
        if egress.is_none()
            && let Some(credential) = &self.proxy_credential
        {
            headers.insert(PROXY_AUTHORIZATION, credential.clone());
        }
    }

    /// Takes over settings; connections in use end in their own time.
    pub fn apply_settings(&self, settings: &Settings) {
        self.direct.apply_settings(settings);
        for proxied in self.proxied.read().values() {
            proxied.connections.apply_settings(settings);
        }
    }

    /// Prepares connections through these egress proxies, before the first request is to go through one.
    pub fn add_egress(&self, rows: &[EgressProxy], settings: &Settings) {
        let mut proxied = self.proxied.write();
        for row in rows.iter().filter(|row| row.enabled) {
            if let Some(known) = proxied.get_mut(&row.id)
                && known.address == row.address
            {
                known.label.clone_from(&row.label);
                continue;
            }
            let proxy = Proxy::of_row(&row.address, &self.upstream);
            let Some(proxy) = proxy else {
                tracing::error!("egress proxy {}: its address cannot be used", row.id);
                proxied.remove(&row.id);
                continue;
            };
            let (tls, names) = (self.tls.clone(), self.names.clone());
            let connections = Connections::new(settings, Some(proxy), tls, names);
            let connections = ProxiedConnections {
                label: row.label.clone(),
                address: row.address.clone(),
                connections: Arc::new(connections),
            };
            proxied.insert(row.id, connections);
        }
    }

    /// Forgets all other proxies; connections through them end with their requests.
    pub fn retain_egress(&self, rows: &[EgressProxy]) {
        let is_enabled = |id| rows.iter().any(|row| row.id == id && row.enabled);
        self.proxied.write().retain(|id, _| is_enabled(*id));
    }
}

/// Announces the length of an empty body, without which Google's front end refuses a POST. The length of every other body
/// is announced by the library.
fn announce_nothing(headers: &mut HeaderMap) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
}

/// Whether a path and its query are certain to be kept by the rules for URLs: there is no character that is escaped, and
/// no segment that could be one of dots.
fn is_plain(path_and_query: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~:@!$&()*+,;=".contains(&byte);
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    path.starts_with('/')
        && !path.contains("/.")
        && path.bytes().all(is_plain)
        && query.bytes().all(|byte| is_plain(byte) || byte == b'%')
}

/// Refuses an answer whose body cannot be delimited: one in a transfer coding other than `chunked`, or a 101 that was not
/// requested.
fn framed(answer: Response<Incoming>) -> Result<Response<Incoming>, SendError> {
    if answer.status().is_informational() || !headers::is_framed_plainly(answer.headers()) {
        return Err(SendError {
            rule: Rule::MalformedAnswer,
            message: "Gemini's answer has a transfer coding or status that was not requested"
                .to_owned(),
        });
    }
    Ok(answer)
}

/// A request that got no answer, directly or through the egress proxy of this label.
fn unsent(error: &ClientError, egress: Option<&str>) -> SendError {
    let (fallback, what) = if error.is_connect() {
        (Rule::ConnectFailed, "could not connect to Gemini")
    } else {
        (Rule::ConnectionBroken, BROKE)
    };
    let message = describe(what, error);
    SendError {
        rule: rule_of_causes(error).unwrap_or(fallback),
        message: match egress {
            None => message,
            Some(label) => format!("through egress proxy {label:?}: {message}"),
        },
    }
}

impl From<&hyper::Error> for SendError {
    /// Of an answer that had begun.
    fn from(error: &hyper::Error) -> Self {
        Self {
            rule: rule_of_causes(error).unwrap_or(Rule::ConnectionBroken),
            message: describe(BROKE, error),
        }
    }
}

const BROKE: &str = "the connection to Gemini broke";

pub fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The rule for a failure that one of the causes names.
fn rule_of_causes(error: &(dyn Error + 'static)) -> Option<Rule> {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && let Some(number) = error.raw_os_error()
            && [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(number))
        {
            return Some(Rule::TooManyOpenFiles);
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return Some(Rule::MalformedAnswer);
        }
        source = cause.source();
    }
    None
}

/// The error and its causes in one line.
fn describe(what: &str, error: &dyn Error) -> String {
    let mut message = format!("{what}: {error}");
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
            assert_eq!(url.to_string(), format!("https://example.com/base{path}"));
        }
        for path in [
            "/v1/a b", "/v1/a\"b", "/v1/{x}", "/v1/../x", "/v1/x?'", "/v1/x#y",
        ] {
            assert_eq!(gemini.url(path), None, "{path}");
        }
    }
}
