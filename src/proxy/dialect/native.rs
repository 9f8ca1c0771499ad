//! Google's own error shape: `{"error": {"code", "message", "status", "details"}}`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::pool::clients::admission::LimitReached;
use crate::pool::clients::client_key::ClientLimit;
use crate::proxy::refusal::{Description, Refusal, whole_seconds};

pub fn body(refusal: &Refusal, description: &Description) -> Value {
    let violation = match refusal {
        Refusal::AllCoolingDown {
            model,
            for_the_day: true,
            ..
        } => {
            // gemini-cli stops at a violation per day and retries after any other (its googleQuotaErrors.ts).
            Some(json!({
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                "quotaId": "GenerateRequestsPerDayPerProjectPerModel",
                "quotaDimensions": {"model": model},
            }))
        }
        Refusal::Limited(denied) => Some(violation_of(denied)),
        _ => None,
    };
    let mut details = Vec::new();
    if let Some(violation) = violation {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [violation],
        }));
    }
    if let Some(wait) = description.retry_after {
        let delay = format!("{}s", whole_seconds(wait));
        details.push(
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}),
        );
    }
    let status = description.status;
    let mut error = json!({
        "code": status.as_u16(),
        "message": description.message,
        "status": rpc_status(status),
    });
    if !details.is_empty() {
        error["details"] = details.into();
    }
    json!({ "error": error })
}

pub fn stream_error(message: &str) -> Value {
    json!({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})
}

/// The limit in the form of Google's quotas.
fn violation_of(denied: &LimitReached) -> Value {
    let (metric, id) = match denied.limit {
        ClientLimit::RequestsPerMinute => ("requests", "ClientKeyRequestsPerMinute"),
        ClientLimit::RequestsPerDay => ("requests", "ClientKeyRequestsPerDay"),
        ClientLimit::TokensPerMinute => ("tokens", "ClientKeyTokensPerMinute"),
        ClientLimit::TokensPerDay => ("tokens", "ClientKeyTokensPerDay"),
        ClientLimit::Concurrency => ("requests", "ClientKeyConcurrentRequests"),
        // gemini-cli stops at `PerDay` and would retry at `PerMonth`.
        ClientLimit::CostPerMonth => ("cost", "ClientKeyCostPerDaysOfMonth"),
    };
    json!({
        "quotaMetric": format!("gemini-pool/client_key_{metric}"),
        "quotaId": id,
        "quotaValue": denied.most.to_string(),
    })
}

fn rpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        408 | 504 => "DEADLINE_EXCEEDED",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn gemini_cli_stops_exactly_at_the_limits_that_last_until_another_day() {
        for limit in ClientLimit::ALL.iter().copied() {
            let denied = LimitReached {
                limit,
                most: 10,
                used: 12,
                retry_after: Duration::from_secs(8),
            };
            // The text that gemini-cli searches for.
            let id = violation_of(&denied)["quotaId"].to_string();
            let stops = Refusal::Limited(denied).is_for_the_day();
            assert_eq!(id.contains("PerDay"), stops, "{id}");
        }
    }
}
