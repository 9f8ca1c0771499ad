//! `Exhausted`: Google's 429 when a quota is used up.

use std::fmt::Write;

use serde::Serialize;

use super::json;
use super::quota::{QuotaCharge, Tier};

/// What is used up, in Google's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Exhausted {
    violations: Vec<QuotaViolation>,
    retry_in: String,
    retry_delay: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "these are the names in the JSON")]
struct QuotaViolation {
    quota_metric: String,
    quota_id: String,
    quota_dimensions: Dimensions,
    /// Absent for 0: proto JSON drops zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Dimensions {
    location: &'static str,
    model: String,
}

/// Which limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    RequestsPerMinute,
    InputTokensPerMinute,
    RequestsPerDay,
}

impl Exhausted {
    pub fn new(
        exceeded: &[(LimitKind, u64)],
        tier: Tier,
        charge: QuotaCharge,
        model: &str,
        now_ms: i64,
    ) -> Self {
        // Seen in public issues: the quota may name the model unlike the URL does.
        let model = match model {
            "gemini-embedding-001" => "gemini-embedding-1.0",
            other => other,
        };
        let violations = exceeded.iter().map(|(kind, limit)| {
            let (quota_id, metric) = names(*kind, tier, charge.is_embedding);
            QuotaViolation {
                quota_metric: format!("generativelanguage.googleapis.com/{metric}"),
                quota_id: quota_id.to_owned(),
                quota_dimensions: Dimensions {
                    location: "global",
                    model: model.to_owned(),
                },
                quota_value: (*limit > 0).then(|| limit.to_string()),
            }
        });
        let violations = violations.collect();
        if exceeded
            .iter()
            .all(|(kind, _)| *kind == LimitKind::RequestsPerDay)
        {
            // The trap seen in public issues: the quota comes back at midnight, yet Google says seconds.
            return Self {
                violations,
                retry_in: "38.962214405s".to_owned(),
                retry_delay: "38s".to_owned(),
            };
        }
        let left_ms = 60_000 - now_ms.rem_euclid(60_000);
        Self {
            violations,
            retry_in: format!("{}.{:03}s", left_ms / 1000, left_ms % 1000),
            retry_delay: format!("{}s", left_ms / 1000),
        }
    }

    /// The body of the 429: as recorded for a paid project, with the ids of public issues for the others.
    pub fn body(&self) -> String {
        let mut message = "You exceeded your current quota, please check your plan and billing details. For more \
            information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your \
            current usage, head to: https://ai.dev/rate-limit. "
            .to_owned();
        for violation in &self.violations {
            let _ = write!(
                message,
                "\n* Quota exceeded for metric: {}, limit: {}, model: {}",
                violation.quota_metric,
                violation.quota_value.as_deref().unwrap_or("0"),
                violation.quota_dimensions.model
            );
        }
        let _ = write!(message, "\nPlease retry in {}.", self.retry_in);

        json::pretty(&Envelope {
            error: GoogleStatus {
                code: 429,
                message,
                status: "RESOURCE_EXHAUSTED",
                details: (
                    Detail {
                        kind: "type.googleapis.com/google.rpc.Help",
                        rest: Help {
                            links: [Link {
                                description: "Learn more about Gemini API quotas",
                                url: "https://ai.google.dev/gemini-api/docs/rate-limits",
                            }],
                        },
                    },
                    Detail {
                        kind: "type.googleapis.com/google.rpc.QuotaFailure",
                        rest: QuotaFailure {
                            violations: &self.violations,
                        },
                    },
                    Detail {
                        kind: "type.googleapis.com/google.rpc.RetryInfo",
                        rest: RetryInfo {
                            retry_delay: &self.retry_delay,
                        },
                    },
                ),
            },
        })
    }
}

/// The id and metric of a quota, as seen in recordings and public issues. No report shows the metric of a paid
/// project's embeddings: that one is made up.
fn names(kind: LimitKind, tier: Tier, is_embedding: bool) -> (&'static str, &'static str) {
    match (is_embedding, tier, kind) {
        (true, Tier::Free, LimitKind::RequestsPerDay) => (
            "EmbedContentRequestsPerDayPerProjectPerModel-FreeTier",
            "embed_content_free_tier_requests",
        ),
        (true, Tier::Free, LimitKind::RequestsPerMinute | LimitKind::InputTokensPerMinute) => (
            "EmbedContentRequestsPerMinutePerProjectPerModel-FreeTier",
            "embed_content_free_tier_requests",
        ),
        (true, Tier::Paid, _) => (
            "EmbedContentPerMinutePerProjectPerUserPerModel",
            "embed_content_requests",
        ),
        (false, Tier::Free, LimitKind::RequestsPerMinute) => (
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            "generate_content_free_tier_requests",
        ),
        (false, Tier::Free, LimitKind::InputTokensPerMinute) => (
            "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            "generate_content_free_tier_input_token_count",
        ),
        (false, Tier::Free, LimitKind::RequestsPerDay) => (
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "generate_content_free_tier_requests",
        ),
        (false, Tier::Paid, LimitKind::RequestsPerMinute) => (
            "GenerateRequestsPerMinutePerProjectPerModel",
            "generate_requests_per_model",
        ),
        (false, Tier::Paid, LimitKind::InputTokensPerMinute) => (
            "GenerateContentPaidTierInputTokensPerModelPerMinute",
            "generate_content_paid_tier_input_token_count",
        ),
        (false, Tier::Paid, LimitKind::RequestsPerDay) => (
            "GenerateRequestsPerDayPerProjectPerModel",
            "generate_requests_per_model_per_day",
        ),
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    error: T,
}

#[derive(Serialize)]
struct GoogleStatus<D> {
    code: u16,
    message: String,
    status: &'static str,
    details: D,
}

#[derive(Serialize)]
struct Detail<T> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Help {
    links: [Link; 1],
}

#[derive(Serialize)]
struct Link {
    description: &'static str,
    url: &'static str,
}

#[derive(Serialize)]
struct QuotaFailure<'a> {
    violations: &'a [QuotaViolation],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryInfo<'a> {
    retry_delay: &'a str,
}
