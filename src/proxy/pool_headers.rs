//! Headers that the pool adds to an answer: `x-request-id`, and `x-pool-…` with attempts, time in the queue, fallback
//! model and remaining limits.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::pool::clients::client_key::ClientLimit;
use crate::pool::health::verdict::Rule;
use crate::pool::money::usd;
use crate::storage::request_logs::NewRequestLog;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_POOL_MODEL: HeaderName = HeaderName::from_static("x-pool-model");
const X_POOL_EMPTY_REPLIES: HeaderName = HeaderName::from_static("x-pool-empty-replies");
const X_POOL_HEDGED: HeaderName = HeaderName::from_static("x-pool-hedged");
const X_POOL_ATTEMPTS: HeaderName = HeaderName::from_static("x-pool-attempts");
const X_POOL_QUEUE_MS: HeaderName = HeaderName::from_static("x-pool-queue-ms");

/// The id, and whatever of these was done: another model that answered, empty replies that were not passed on, a second
/// attempt at the same time.
pub fn add_own_headers(headers: &mut HeaderMap, row: &NewRequestLog) {
    let id = HeaderValue::from_str(&row.id.to_string()).expect("an id is letters and digits");
    headers.insert(X_REQUEST_ID, id);
    let model = row.fallback_model.as_deref();
    if let Some(model) = model.and_then(|model| HeaderValue::from_str(model).ok()) {
        headers.insert(X_POOL_MODEL, model);
    }
    let count = |rule: Rule| {
        let is_rule = |name: &str| name == rule.name();
        let attempts = row.attempts.iter();
        attempts
            .filter(|attempt| attempt.rule.as_deref().is_some_and(is_rule))
            .count()
    };
    // The last attempt is the one that is answered.
    let is_answered = row.attempts.last().and_then(|last| last.rule.as_deref());
    let answered = usize::from(is_answered == Some(Rule::EmptyReply.name()));
    let empty = count(Rule::EmptyReply) - answered;
    if empty > 0 {
        headers.insert(X_POOL_EMPTY_REPLIES, HeaderValue::from(empty));
    }
    if count(Rule::HedgeCancelled) > 0 {
        headers.insert(X_POOL_HEDGED, HeaderValue::from_static("1"));
    }
}

/// How the request was served: its attempts, its time in the queue, and what the limits of its client key leave.
pub fn add_details(
    headers: &mut HeaderMap,
    row: &NewRequestLog,
    remaining: Vec<(ClientLimit, u64)>,
) {
    headers.insert(X_POOL_ATTEMPTS, HeaderValue::from(row.attempts.len()));
    headers.insert(X_POOL_QUEUE_MS, HeaderValue::from(row.wait_ms));
    for (limit, left) in remaining {
        headers.insert(remaining_header(limit), remaining_value(limit, left));
    }
}

fn remaining_header(limit: ClientLimit) -> HeaderName {
    HeaderName::from_static(match limit {
        ClientLimit::RequestsPerMinute => "x-pool-remaining-requests-per-minute",
        ClientLimit::RequestsPerDay => "x-pool-remaining-requests-per-day",
        ClientLimit::TokensPerMinute => "x-pool-remaining-tokens-per-minute",
        ClientLimit::TokensPerDay => "x-pool-remaining-tokens-per-day",
        ClientLimit::Concurrency => "x-pool-remaining-concurrency",
        ClientLimit::CostPerMonth => "x-pool-remaining-cost-per-month",
    })
}

/// Dollars for a limit on the cost.
fn remaining_value(limit: ClientLimit, left: u64) -> HeaderValue {
    match limit {
        ClientLimit::CostPerMonth => {
            HeaderValue::from_str(&usd(left)).expect("an amount is digits and a point")
        }
        ClientLimit::RequestsPerMinute
        | ClientLimit::RequestsPerDay
        | ClientLimit::TokensPerMinute
        | ClientLimit::TokensPerDay
        | ClientLimit::Concurrency => HeaderValue::from(left),
    }
}
