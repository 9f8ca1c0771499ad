//! Requests to receivers other than Google, through the proxy that the environment names; redirects are not followed.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::gemini::egress::{self, Egress, Proxy};
use crate::gemini::name_lookup::NameLookup;
use crate::gemini::tls;
use crate::gemini::transport::is_local;

/// Maximum number of bytes read of an answer.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// Sends requests to one receiver.
pub type ReceiverClient = Client<Egress, Full<Bytes>>;

/// A client of one receiver, and the credential of a proxy that gets each request itself. Fails with the reason.
pub fn client_of(
    url: &Url,
    connect_timeout: Duration,
) -> Result<(ReceiverClient, Option<HeaderValue>), String> {
    let uri: Uri = url
        .as_str()
        .parse()
        .map_err(|error| with_causes::<http::uri::InvalidUri>(&error))?;
    // A receiver on this machine is reached directly.
    let is_local = url.host_str().is_some_and(is_local);
    let proxy = egress::proxy_for(&uri).filter(|_| !is_local);
    let credential = egress::proxy_credential(&uri, proxy.as_ref());
    let tls = tls::config(url).map_err(|error| with_causes(&error))?;
    let egress = Egress::new(
        tls,
        NameLookup::default(),
        proxy.map(Proxy::of_environment),
        connect_timeout,
    );
    let client = Client::builder(TokioExecutor::new()).build(egress);
    Ok((client, credential))
}

/// The program and its version, as receivers see it.
pub fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("gemini-pool/", env!("CARGO_PKG_VERSION")))
}

/// Sends a body and returns the status and the beginning of the answer, or why there is none. `connect_timeout` limits the
/// connection only.
pub async fn post(
    url: &str,
    headers: HeaderMap,
    content_type: &'static str,
    body: Bytes,
    connect_timeout: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let url = Url::parse(url).map_err(|error| with_causes(&error))?;
    let uri: Uri = url
        .as_str()
        .parse()
        .map_err(|error| with_causes::<http::uri::InvalidUri>(&error))?;
    let (client, credential) = client_of(&url, connect_timeout)?;
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let content_type = HeaderValue::from_static(content_type);
    request.headers_mut().insert(CONTENT_TYPE, content_type);
    request.headers_mut().insert(USER_AGENT, user_agent());
    if let Some(credential) = credential {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, credential);
    }
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| with_causes(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
    // The status alone decides: a broken body changes nothing.
    let body = body.collect().await.map(Collected::to_bytes);
    Ok((status, body.unwrap_or_default()))
}

/// The error and its causes, from the outermost to the reason.
fn with_causes<E: Error>(error: &E) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts.join(": ")
}
