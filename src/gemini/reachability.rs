//! Checks whether Google can be reached, with a request that carries no key: any HTTP answer proves it.

use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, Response};
use hyper::body::Incoming;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::clock::Timestamp;
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
    let is_json =
        text(headers, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    Ok(Reachability {
        status: answer.status().as_u16(),
        is_json,
        server_time: text(headers, DATE).and_then(date),
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Parses the value of a `Date` header.
fn date(text: &str) -> Option<Timestamp> {
    let parsed = DateTimeParser::new().parse_timestamp(text);
    Some(parsed.ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_http_is_parsed() {
        let expected = "2026-11-22T08:49:37Z".parse().ok();

        assert_eq!(date("Sun, 22 Nov 2026 08:49:37 GMT"), expected);
        assert_eq!(date("yesterday"), None);
    }
}
