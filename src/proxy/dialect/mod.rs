//! The error shapes of the surfaces: each is a file, and this one selects by surface.

mod interactions;
pub mod live;
mod native;
mod openai;

use serde_json::Value;

use crate::gemini::target::Surface;
use crate::proxy::refusal::{Description, Refusal};

/// The body of a refusal in the form of the surface.
pub fn body(refusal: &Refusal, description: &Description, surface: Surface) -> String {
    let body = match surface {
        Surface::Native => native::body(refusal, description),
        Surface::OpenAi => openai::body(description),
        Surface::Interactions => interactions::body(refusal, description),
    };
    format!("{body:#}\n")
}

/// An error event that ends a stream whose upstream broke, in the surface's own form. After a `half_event` a blank line
/// closes that first.
pub fn stream_error(surface: Surface, half_event: bool, message: &str) -> String {
    let (line_end, name, data): (&str, &str, Value) = match surface {
        Surface::Native => ("\r\n", "", native::stream_error(message)),
        Surface::OpenAi => ("\n", "", openai::stream_error(message)),
        Surface::Interactions => ("\n", "event: error\n", interactions::stream_error(message)),
    };
    let close = if half_event { line_end } else { "" };
    format!("{close}{close}{name}data: {data}{line_end}{line_end}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::clients::admission::LimitReached;
    use crate::pool::clients::client_key::ClientLimit;

    #[test]
    fn a_used_up_day_makes_each_sdk_stop() {
        let refusal = Refusal::AllCoolingDown {
            model: "gemini-2.5-flash".into(),
            resource: String::new(),
            retry_after: Duration::from_millis(1_200),
            for_the_day: true,
        };

        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::Native), @r#"
        {
          "error": {
            "code": 429,
            "details": [
              {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                  {
                    "quotaDimensions": {
                      "model": "gemini-2.5-flash"
                    },
                    "quotaId": "GenerateRequestsPerDayPerProjectPerModel",
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests"
                  }
                ]
              },
              {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "2s"
              }
            ],
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s.",
            "status": "RESOURCE_EXHAUSTED"
          }
        }
        "#);
        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::OpenAi), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s.",
            "param": null,
            "type": "rate_limit_error"
          }
        }
        "#);
        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::Interactions), @r#"
        {
          "error": {
            "code": "quota_exceeded",
            "message": "gemini-pool: the quota for gemini-2.5-flash is used up for today on every key. Please retry in 2s."
          }
        }
        "#);
    }

    #[test]
    fn a_limit_makes_each_sdk_wait() {
        let refusal = Refusal::Limited(LimitReached {
            limit: ClientLimit::RequestsPerMinute,
            most: 10,
            used: 10,
            retry_after: Duration::from_millis(6_500),
        });

        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::Native), @r#"
        {
          "error": {
            "code": 429,
            "details": [
              {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                  {
                    "quotaId": "ClientKeyRequestsPerMinute",
                    "quotaMetric": "gemini-pool/client_key_requests",
                    "quotaValue": "10"
                  }
                ]
              },
              {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "7s"
              }
            ],
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s.",
            "status": "RESOURCE_EXHAUSTED"
          }
        }
        "#);
        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::OpenAi), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s.",
            "param": null,
            "type": "rate_limit_error"
          }
        }
        "#);
        insta::assert_snapshot!(body(&refusal, &refusal.describe(), Surface::Interactions), @r#"
        {
          "error": {
            "code": "rate_limit_exceeded",
            "message": "gemini-pool: this client key has sent 10 requests in the last minute and may send 10. Please retry in 7s."
          }
        }
        "#);
    }

    #[test]
    fn a_broken_stream_ends_with_an_error_event() {
        let cases = [
            (
                Surface::Native,
                true,
                "\r\n\r\ndata: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
            ),
            (
                Surface::Interactions,
                false,
                "event: error\ndata: {\"error\":{\"code\":\"unavailable\",\"message\":\"m\"},\"event_type\":\"error\"}\n\n",
            ),
        ];
        for (surface, half, expected) in cases {
            assert_eq!(stream_error(surface, half, "m"), expected);
        }
    }
}
