//! Checks whether Google can be reached, with a request that carries no key: any HTTP answer proves it.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::clock::Timestamp;
use crate::gemini::headers::date_of;
use crate::gemini::transport::{GeminiClient, SendError};
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::verdict::Rule;
use crate::pool::settings::Settings;

/// Google refuses it without a key, and counts nothing.
const PATH: &str = "/v1beta/models?pageSize=1";
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer to a request without a key.
#[derive(Debug)]
pub struct Reachability {
    pub status: u16,
    /// Whether the answer is JSON, as Gemini's are.
    pub is_json: bool,
    /// The clock of the server that answered, in whole seconds.
    pub server_time: Option<Timestamp>,
}

/// Sends one request without a key, through this egress proxy or directly.
pub async fn check(
    gemini: &GeminiClient,
    egress: Option<EgressProxyId>,
) -> Result<Reachability, SendError> {
    reached(timeout(TIMEOUT, gemini.send_without_key(PATH, egress)).await)
}

/// The same through a proxy that need not be one of the pool's, over a connection of its own.
pub async fn check_through(
    gemini: &GeminiClient,
    settings: &Settings,
    address: &ProxyAddress,
) -> Result<Reachability, SendError> {
    let sent = gemini.send_without_key_through(PATH, address, settings);
    reached(timeout(TIMEOUT, sent).await)
}

fn reached(
    answer: Result<Result<Response<Incoming>, SendError>, Elapsed>,
) -> Result<Reachability, SendError> {
    let answer = answer.map_err(|_| SendError {
        rule: Rule::AnswerTimeout,
        message: "no answer came in time".to_owned(),
    })??;
    let headers = answer.headers();
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    Ok(Reachability {
        status: answer.status().as_u16(),
        is_json,
        server_time: date_of(headers),
    })
}
