//! How a client is told that its key has reached a limit.

use serde_json::{Value, json};

use crate::pool::admission::Denied;
use crate::pool::client_key::Limit;
use crate::pool::money::usd;
use crate::proxy::refuse::whole_seconds;

/// Which limit, how much of it is used, and when there is room again.
pub fn message(denied: &Denied) -> String {
    let (most, used) = (denied.most, denied.used);
    let told = match denied.limit {
        Limit::RequestsPerMinute => {
            let used = count(used, "request");
            format!("has sent {used} in the last minute and may send {most}")
        }
        Limit::RequestsPerDay => {
            let used = count(used, "request");
            format!("has sent {used} today and may send {most}")
        }
        Limit::TokensPerMinute => {
            let used = count(used, "token");
            format!("has used {used} in the last minute and may use {most}")
        }
        Limit::TokensPerDay => {
            let used = count(used, "token");
            format!("has used {used} today and may use {most}")
        }
        Limit::Concurrency => {
            let used = count(used, "request");
            format!("has {used} under way and may have {most}")
        }
        Limit::CostPerMonth => {
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
pub fn violation(denied: &Denied) -> Value {
    let (metric, id) = match denied.limit {
        Limit::RequestsPerMinute => ("requests", "ClientKeyRequestsPerMinute"),
        Limit::RequestsPerDay => ("requests", "ClientKeyRequestsPerDay"),
        Limit::TokensPerMinute => ("tokens", "ClientKeyTokensPerMinute"),
        Limit::TokensPerDay => ("tokens", "ClientKeyTokensPerDay"),
        Limit::Concurrency => ("requests", "ClientKeyConcurrentRequests"),
        // gemini-cli stops at `PerDay` and would go on asking at a month.
        Limit::CostPerMonth => ("cost", "ClientKeyCostPerDaysOfMonth"),
    };
    json!({
        "quotaMetric": format!("gemini-pool/client_key_{metric}"),
        "quotaId": id,
        "quotaValue": denied.most.to_string(),
    })
}

/// Whether it is no use to wait: not before tomorrow.
pub fn is_for_the_day(denied: &Denied) -> bool {
    match denied.limit {
        Limit::RequestsPerDay | Limit::TokensPerDay | Limit::CostPerMonth => true,
        Limit::RequestsPerMinute | Limit::TokensPerMinute | Limit::Concurrency => false,
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
                Limit::RequestsPerMinute,
                "has sent 12 requests in the last minute and may send 10",
            ),
            (
                Limit::RequestsPerDay,
                "has sent 12 requests today and may send 10",
            ),
            (
                Limit::TokensPerMinute,
                "has used 12 tokens in the last minute and may use 10",
            ),
            (
                Limit::TokensPerDay,
                "has used 12 tokens today and may use 10",
            ),
            (
                Limit::Concurrency,
                "has 12 requests under way and may have 10",
            ),
            (
                Limit::CostPerMonth,
                "has spent 0.000000012 USD this month and may spend 0.00000001",
            ),
        ];
        for (limit, told) in cases {
            let denied = Denied {
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
