//! How a client is told that its key has reached a limit.

use serde_json::{Value, json};

use crate::pool::clients::admission::LimitReached;
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::money::usd;
use crate::proxy::refuse::whole_seconds;

/// Which limit, how much of it is used, and when there is room again.
pub fn message(denied: &LimitReached) -> String {
    let (most, used) = (denied.most, denied.used);
    let told = match denied.limit {
        ClientLimit::RequestsPerMinute => {
            let used = count(used, "request");
            format!("has sent {used} in the last minute and may send {most}")
        }
        ClientLimit::RequestsPerDay => {
            let used = count(used, "request");
            format!("has sent {used} today and may send {most}")
        }
        ClientLimit::TokensPerMinute => {
            let used = count(used, "token");
            format!("has used {used} in the last minute and may use {most}")
        }
        ClientLimit::TokensPerDay => {
            let used = count(used, "token");
            format!("has used {used} today and may use {most}")
        }
        ClientLimit::Concurrency => {
            let used = count(used, "request");
            format!("has {used} under way and may have {most}")
        }
        ClientLimit::CostPerMonth => {
            let (used, most) = (usd(used), usd(most));
            format!("has spent {used} USD this month and may spend {most}")
        }
    };
    // In Google's words, for those who look for them.
    let wait = whole_seconds(denied.retry_after);
    format!("gemini-pool: this client key {told}. Please retry in {wait}s.")
}

/// `1 request`, `2 requests`.
fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// The limit in the form of Google's quotas.
pub fn violation(denied: &LimitReached) -> Value {
    let (metric, id) = match denied.limit {
        ClientLimit::RequestsPerMinute => ("requests", "ClientKeyRequestsPerMinute"),
        ClientLimit::RequestsPerDay => ("requests", "ClientKeyRequestsPerDay"),
        ClientLimit::TokensPerMinute => ("tokens", "ClientKeyTokensPerMinute"),
        ClientLimit::TokensPerDay => ("tokens", "ClientKeyTokensPerDay"),
        ClientLimit::Concurrency => ("requests", "ClientKeyConcurrentRequests"),
        // gemini-cli stops at `PerDay` and would go on asking at a month.
        ClientLimit::CostPerMonth => ("cost", "ClientKeyCostPerDaysOfMonth"),
    };
    json!({
        "quotaMetric": format!("gemini-pool/client_key_{metric}"),
        "quotaId": id,
        "quotaValue": denied.most.to_string(),
    })
}

/// Whether it is no use to wait: not before tomorrow.
pub fn is_for_the_day(denied: &LimitReached) -> bool {
    match denied.limit {
        ClientLimit::RequestsPerDay | ClientLimit::TokensPerDay | ClientLimit::CostPerMonth => true,
        ClientLimit::RequestsPerMinute
        | ClientLimit::TokensPerMinute
        | ClientLimit::Concurrency => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_limit_is_told_in_its_own_words() {
        let cases = [
            (
                ClientLimit::RequestsPerMinute,
                "has sent 12 requests in the last minute and may send 10",
            ),
            (
                ClientLimit::RequestsPerDay,
                "has sent 12 requests today and may send 10",
            ),
            (
                ClientLimit::TokensPerMinute,
                "has used 12 tokens in the last minute and may use 10",
            ),
            (
                ClientLimit::TokensPerDay,
                "has used 12 tokens today and may use 10",
            ),
            (
                ClientLimit::Concurrency,
                "has 12 requests under way and may have 10",
            ),
            (
                ClientLimit::CostPerMonth,
                "has spent 0.000000012 USD this month and may spend 0.00000001",
            ),
        ];
        for (limit, told) in cases {
            let denied = LimitReached {
                limit,
                most: 10,
                used: 12,
                retry_after: Duration::from_millis(7_001),
            };
            let expected = format!("gemini-pool: this client key {told}. Please retry in 8s.");
            assert_eq!(message(&denied), expected);

            // What gemini-cli looks for.
            let id = violation(&denied)["quotaId"].as_str().unwrap().to_owned();
            assert_eq!(id.contains("PerDay"), is_for_the_day(&denied), "{id}");
        }
    }
}
