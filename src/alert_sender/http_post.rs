//! A POST to a receiver, through the proxy that the environment names; redirects are not followed.

use std::error::Error;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::alert_sender::send_error::{SEND_TIMEOUT, SendError};
use crate::gemini::egress::{self, Egress};
use crate::gemini::name_lookup::NameLookup;
use crate::gemini::tls;
use crate::gemini::transport::is_local;

/// Maximum number of bytes read of an answer.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;
/// Maximum number of characters of an answer in an error.
const QUOTED_CHARACTERS: usize = 120;

/// Sends a JSON text. Any status but 2xx is an error.
pub async fn post_json(url: &str, headers: HeaderMap, body: String) -> Result<(), SendError> {
    let (status, answer) = exchange(url, headers, body).await?;
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::GONE {
        return Err(SendError::Gone);
    }
    let quoted: String = answer.chars().take(QUOTED_CHARACTERS).collect();
    let quoted = quoted.split_whitespace().collect::<Vec<_>>().join(" ");
    let status = status.as_u16();
    Err(SendError::Failed(match quoted.as_str() {
        "" => format!("status {status}"),
        quoted => format!("status {status}: {quoted}"),
    }))
}

async fn exchange(
    url: &str,
    headers: HeaderMap,
    body: String,
) -> Result<(StatusCode, String), SendError> {
    let failed = |error: &dyn Error| SendError::Failed(with_causes(error));
    let url = Url::parse(url).map_err(|error| failed(&error))?;
    let uri: Uri = url.as_str().parse().map_err(|error| failed(&error))?;
    // A receiver on this machine is reached directly.
    let is_local = url.host_str().is_some_and(is_local);
    let proxy = egress::proxy_for(&uri).filter(|_| !is_local);
    let credential = egress::proxy_credential(&uri, proxy.as_ref());
    let tls = tls::config(&url).map_err(|error| failed(&error))?;
    let egress = Egress::new(tls, NameLookup::default(), proxy, SEND_TIMEOUT);
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(egress);
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    let agent = HeaderValue::from_static(concat!("gemini-pool/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    if let Some(credential) = credential {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, credential);
    }
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
    // The status alone decides: a broken body changes nothing.
    let body = body.collect().await.map(Collected::to_bytes);
    let body = body.unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The error and its causes, from the outermost to the reason.
fn with_causes(error: &dyn Error) -> String {
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
