//! `Gemini`: the one place that sends to Google.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use reqwest::{Body, Client, Request, Url, redirect};

use crate::gemini::headers::{self, API_KEY};
use crate::gemini::resource_name::{HOST, ResourceName};
use crate::pool::health::verdict::Rule;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// How many streams one HTTP/2 connection carries: Google's front ends allow about a hundred, and what is over the
/// limit waits unseen.
const STREAMS_PER_CONNECTION: usize = 80;

/// The way to Google.
#[derive(Debug)]
pub struct Gemini {
    /// Parsed once: a host goes through the rules for international names each time.
    base: Url,
    /// The path of `base`, without a slash at its end.
    prefix: String,
    lines: RwLock<Lines>,
}

/// The connections, as the settings want them.
#[derive(Debug)]
struct Lines {
    connect_timeout_ms: u64,
    http2: bool,
    /// Google is played on this machine, where no proxy of the environment leads.
    is_local: bool,
    /// With HTTP/1.1 one client, which opens a connection for each request under way. An HTTP/2 client keeps to one
    /// connection, so there are as many as the load needs.
    clients: Vec<Line>,
    /// Speaks HTTP/1.1, which alone can be left for a WebSocket.
    for_upgrades: Client,
}

#[derive(Debug, Clone)]
struct Line {
    client: Client,
    streams: Arc<AtomicUsize>,
}

/// Keeps count of a stream on its connection until it ends.
#[derive(Debug)]
pub struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unsent {
    pub rule: Rule,
    pub message: String,
}

/// A request as Google gets it, but for the credential.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Gemini {
    /// Sends to the paths below `base`.
    pub fn new(base: &Url, settings: &Settings) -> Self {
        let prefix = base.path().trim_end_matches('/').to_owned();
        let is_local = base.host_str().is_some_and(is_local);
        Self {
            base: base.clone(),
            prefix,
            lines: RwLock::new(Lines::new(settings, is_local)),
        }
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
    pub fn own_path(&self, url: &str) -> Option<String> {
        if url.starts_with('/') {
            return (!url.starts_with("//")).then(|| url.to_owned());
        }
        let url = Url::parse(url).ok()?;
        let is_ours = url.origin() == self.base.origin();
        let is_google = url.scheme() == "https" && url.host_str() == Some(HOST);
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
        outgoing: &Outgoing,
        secret: &Secret,
    ) -> Result<(Response<Body>, Stream), Unsent> {
        let has_body = !outgoing.body.is_empty() || outgoing.method == Method::POST;
        let body = has_body.then(|| Body::from(outgoing.body.clone()));
        self.send_with(outgoing, body, secret).await
    }

    /// The same with this body in place of the request's own.
    pub async fn send_with(
        &self,
        outgoing: &Outgoing,
        body: Option<Body>,
        secret: &Secret,
    ) -> Result<(Response<Body>, Stream), Unsent> {
        let mut request = keyed(outgoing, secret)?;
        // The library tells the length of every body but an empty one, without which Google's front end refuses a POST.
        if body
            .as_ref()
            .is_some_and(|body| body.size_hint().exact() == Some(0))
        {
            let nothing = HeaderValue::from_static("0");
            request.headers_mut().insert(CONTENT_LENGTH, nothing);
        }
        *request.body_mut() = body;
        let line = self.line();
        let stream = Stream(line.streams.clone());
        let answer = line
            .client
            .execute(request)
            .await
            .map_err(|error| Unsent::from(&error))?;
        Ok((answer.into(), stream))
    }

    /// Asks for a connection that is no longer HTTP's, and waits for the head of the answer. What the request shows is a key, or
    /// the ephemeral `token` that its client has shown, as Google's own client for Python does.
    pub async fn upgrade(
        &self,
        outgoing: &Outgoing,
        secret: &Secret,
        token: Option<&ResourceName>,
    ) -> Result<Response<Body>, Unsent> {
        let mut request = keyed(outgoing, secret)?;
        if let Some(token) = token {
            let token = format!("Token {token}");
            let credential = headers::credential(&token).expect("a name is plain text");
            request.headers_mut().remove(API_KEY);
            request.headers_mut().insert(AUTHORIZATION, credential);
        }
        let client = {
            let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
            lines.for_upgrades.clone()
        };
        let answer = client.execute(request).await;
        Ok(answer.map_err(|error| Unsent::from(&error))?.into())
    }

    /// Takes over settings; connections in use end in their own time.
    pub fn apply(&self, settings: &Settings) {
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if lines.connect_timeout_ms != settings.connect_timeout_ms
            || lines.http2 != settings.upstream_http2
        {
            *lines = Lines::new(settings, lines.is_local);
        }
    }

    /// The client for one more request, which is counted on it.
    fn line(&self) -> Line {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.with_room() {
            return line;
        }
        drop(lines);
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.with_room() {
            return line;
        }
        let line = Line::new(lines.connect_timeout_ms, lines.http2, lines.is_local);
        line.streams.fetch_add(1, Ordering::Relaxed);
        lines.clients.push(line.clone());
        line
    }
}

impl Lines {
    fn new(settings: &Settings, is_local: bool) -> Self {
        let (connect_timeout_ms, http2) = (settings.connect_timeout_ms, settings.upstream_http2);
        let first = Line::new(connect_timeout_ms, http2, is_local);
        let for_upgrades = if http2 {
            Line::new(connect_timeout_ms, false, is_local).client
        } else {
            first.client.clone()
        };
        Self {
            connect_timeout_ms,
            http2,
            is_local,
            clients: vec![first],
            for_upgrades,
        }
    }

    fn with_room(&self) -> Option<Line> {
        let most = if self.http2 {
            STREAMS_PER_CONNECTION
        } else {
            usize::MAX
        };
        let claim = |line: &&Line| {
            let more = |streams| Some(streams + 1).filter(|_| streams < most);
            line.streams
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok()
        };
        self.clients.iter().find(claim).cloned()
    }
}

impl Line {
    fn new(connect_timeout_ms: u64, http2: bool, is_local: bool) -> Self {
        // Installed once; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_millis(connect_timeout_ms));
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
            .expect("the TLS provider is installed and the options are constant");
        Self {
            client,
            streams: Arc::default(),
        }
    }
}

/// The request with its credential, and without its body.
fn keyed(outgoing: &Outgoing, secret: &Secret) -> Result<Request, Unsent> {
    let mut request = Request::new(outgoing.method.clone(), outgoing.url.clone());
    *request.headers_mut() = outgoing.headers.clone();
    let credential = headers::credential(secret.expose()).ok_or_else(|| Unsent {
        rule: Rule::Unauthenticated,
        message: "the upstream key has characters that no header can carry".to_owned(),
    })?;
    request.headers_mut().insert(API_KEY, credential);
    Ok(request)
}

impl From<&reqwest::Error> for Unsent {
    fn from(error: &reqwest::Error) -> Self {
        Self {
            rule: rule_of(error),
            message: describe(error),
        }
    }
}

fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Which rule a failure of the way falls under.
pub fn rule_of(error: &reqwest::Error) -> Rule {
    if error.is_connect() {
        return Rule::ConnectFailed;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return Rule::MalformedAnswer;
        }
        source = cause.source();
    }
    Rule::ConnectionBroken
}

/// The error and its causes in one line, without the URL.
pub fn describe(error: &reqwest::Error) -> String {
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
        let gemini = Gemini::new(&base, &Settings::default());

        let path = Some("/upload/v1beta/files?upload_id=x%2Dy");
        for url in [
            "/upload/v1beta/files?upload_id=x%2Dy",
            "https://upstream.example:8443/base/upload/v1beta/files?upload_id=x%2Dy",
            "https://upstream.example:8443/upload/v1beta/files?upload_id=x%2Dy",
            "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=x%2Dy",
        ] {
            assert_eq!(gemini.own_path(url).as_deref(), path, "{url}");
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
            let path = gemini.own_path(url);
            let url = path.and_then(|path| gemini.url(&path));
            assert_eq!(url, None, "{url:?}");
        }
    }

    #[test]
    fn a_url_keeps_the_path_or_is_none() {
        let gemini = Gemini::new(
            &Url::parse("https://example.com/base").unwrap(),
            &Settings::default(),
        );

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
