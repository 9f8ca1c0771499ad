//! Quotas: the limits of a project for a model in a minute and in a day.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::exhausted::{Exhausted, LimitKind};

/// The billing tier of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Free,
    Paid,
}

/// The limits of one project. A model that none of them names has none.
#[derive(Debug, Clone)]
pub struct ProjectQuota {
    pub tier: Tier,
    pub limits: Vec<ModelLimit>,
}

/// The limits of a model, or of several that share a beginning. A limit of 0 is Google's "limit: 0".
#[derive(Debug, Clone)]
pub struct ModelLimit {
    /// A model, or the beginning of several followed by `*`.
    pub model: String,
    pub requests_per_minute: Option<u64>,
    pub input_tokens_per_minute: Option<u64>,
    pub requests_per_day: Option<u64>,
}

impl ModelLimit {
    pub fn new(
        model: &str,
        requests_per_minute: Option<u64>,
        input_tokens_per_minute: Option<u64>,
        requests_per_day: Option<u64>,
    ) -> Self {
        Self {
            model: model.to_owned(),
            requests_per_minute,
            input_tokens_per_minute,
            requests_per_day,
        }
    }

    fn applies_to(&self, model: &str) -> bool {
        match self.model.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => self.model == model,
        }
    }
}

impl ProjectQuota {
    /// The free tier as seen in 429 bodies of public issues in 2026; Google publishes no table.
    pub fn free_tier() -> Self {
        let limit = |model, requests, tokens, per_day| {
            ModelLimit::new(model, Some(requests), Some(tokens), Some(per_day))
        };
        Self {
            tier: Tier::Free,
            limits: vec![
                limit("gemini-2.5-flash-lite*", 10, 250_000, 20),
                limit("gemini-3.1-flash-lite*", 15, 250_000, 500),
                limit("gemini-3.5-flash-lite*", 15, 250_000, 500),
                limit("gemini-2.5-flash*", 5, 250_000, 20),
                limit("gemini-3-flash*", 5, 250_000, 20),
                limit("gemini-3.5-flash*", 5, 250_000, 20),
                limit("gemini-3.6-flash*", 5, 250_000, 20),
                limit("gemini-3.7-flash*", 5, 250_000, 20),
                limit("gemini-3.8-flash*", 5, 250_000, 20),
                limit("gemini-2.5-pro*", 0, 0, 0),
                limit("gemini-3-pro*", 0, 0, 0),
                limit("gemini-3.1-pro*", 0, 0, 0),
                limit("gemini-2.0-flash*", 0, 0, 0),
                ModelLimit::new("gemini-embedding-*", Some(100), None, Some(1_000)),
                limit("gemma-3*", 30, 15_000, 14_400),
            ],
        }
    }

    /// The first paid tier, as far as 429 bodies have shown it.
    pub fn paid_tier() -> Self {
        let tokens = |model, tokens| ModelLimit::new(model, None, Some(tokens), None);
        Self {
            tier: Tier::Paid,
            limits: vec![
                tokens("gemini-2.5-flash*", 1_000_000),
                tokens("gemini-3.1-pro*", 1_000_000),
                tokens("gemini-3.7-flash*", 2_000_000),
                ModelLimit::new("gemini-embedding-*", Some(3_000), None, None),
            ],
        }
    }

    /// Only these limits, on every model.
    pub fn free(per_minute: Option<u64>, tokens: Option<u64>, per_day: Option<u64>) -> Self {
        Self {
            tier: Tier::Free,
            limits: vec![ModelLimit::new("*", per_minute, tokens, per_day)],
        }
    }
}

/// The usage of one request.
#[derive(Debug, Clone, Copy)]
pub struct QuotaCharge {
    pub is_embedding: bool,
    /// Each text of a batch of embeddings counts as one.
    pub requests: u64,
    pub input_tokens: u64,
}

/// The usage so far, by project and model.
#[derive(Default)]
pub struct QuotaCounters {
    used: Mutex<HashMap<(String, String), ModelUsage>>,
}

#[derive(Default)]
struct ModelUsage {
    minute: i64,
    requests: u64,
    tokens: u64,
    day: i64,
    requests_today: u64,
}

impl QuotaCounters {
    /// Counts a request, or returns the limit that it would exceed, without counting it.
    pub fn charge(
        &self,
        quota: &ProjectQuota,
        project: &str,
        model: &str,
        charge: QuotaCharge,
        now_ms: i64,
    ) -> Result<(), Exhausted> {
        let Some(limit) = quota.limits.iter().find(|limit| limit.applies_to(model)) else {
            return Ok(());
        };
        let mut all = self.used.lock();
        let used = all
            .entry((project.to_owned(), model.to_owned()))
            .or_default();
        let minute = now_ms.div_euclid(60_000);
        if used.minute != minute {
            (used.minute, used.requests, used.tokens) = (minute, 0, 0);
        }
        if limit.requests_per_day.is_some() {
            let day = pacific_day(now_ms);
            if used.day != day {
                (used.day, used.requests_today) = (day, 0);
            }
        }

        let over = |limit: Option<u64>, used: u64, more: u64| limit.filter(|l| used + more > *l);
        let exceeded: Vec<_> = [
            (
                LimitKind::RequestsPerMinute,
                over(limit.requests_per_minute, used.requests, charge.requests),
            ),
            (
                LimitKind::InputTokensPerMinute,
                over(
                    limit.input_tokens_per_minute,
                    used.tokens,
                    charge.input_tokens,
                ),
            ),
            (
                LimitKind::RequestsPerDay,
                over(limit.requests_per_day, used.requests_today, charge.requests),
            ),
        ]
        .into_iter()
        .filter_map(|(kind, limit)| Some((kind, limit?)))
        .collect();
        if exceeded.is_empty() {
            used.requests += charge.requests;
            used.tokens += charge.input_tokens;
            used.requests_today += charge.requests;
            return Ok(());
        }
        Err(Exhausted::new(&exceeded, quota.tier, charge, model, now_ms))
    }

    /// Resets all usage, as at midnight.
    pub fn reset(&self) {
        let mut used = self.used.lock();
        used.clear();
    }
}

/// The day in California, whose midnight resets Google's daily quotas.
fn pacific_day(now_ms: i64) -> i64 {
    static PACIFIC: OnceLock<TimeZone> = OnceLock::new();
    let zone = PACIFIC.get_or_init(|| {
        TimeZone::get("America/Los_Angeles").expect("the time zones are built into the program")
    });
    let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let offset_seconds = i64::from(zone.to_offset(now).seconds());
    (now.as_second() + offset_seconds).div_euclid(86_400)
}
