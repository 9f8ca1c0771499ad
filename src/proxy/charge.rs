//! `Charge`: the usage that a request is charged for, of what its answer reports.

use crate::clock::Timestamp;
use crate::gemini::prices::cost_nano_usd;
use crate::gemini::request_body::media::text_tokens;
use crate::gemini::resources::created::AsyncJobState;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::model_prices::ModelPrices;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;

/// The usage that a request is charged for.
#[derive(Debug)]
pub struct Charge {
    pub usage: TokenUsage,
    is_charged: bool,
    /// Whether the usage is an estimate: Google reported none.
    pub is_estimate: bool,
    pub tier: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
}

/// Usage and cost of answers that the client did not get.
#[derive(Debug, Default)]
pub struct DiscardedUsage {
    pub usage: TokenUsage,
    pub cost_nano_usd: i64,
    pub is_estimate: bool,
}

impl Charge {
    /// The charge of an answer. Every poll of a finished job reports the job's usage again: it is charged once, to the
    /// request that created the job or that first sees it done.
    ///
    /// `counted` holds the jobs whose usage is in a row already; `count_first` marks a job as counted and returns whether
    /// it was not before.
    pub fn of(
        outcome: Outcome,
        answered: &ResponseSummary,
        counted: &[String],
        count_first: impl FnOnce(&str) -> bool,
    ) -> Self {
        let mut charge = Self {
            usage: answered.usage,
            is_charged: answered.is_charged,
            is_estimate: false,
            tier: answered.service_tier.clone(),
            model: answered.model_version.clone(),
        };
        let Some(job) = &answered.observed.job else {
            return charge;
        };
        if job.state == AsyncJobState::Running {
            return charge;
        }
        if job.answers > 0 {
            charge.usage = job.usage;
            charge.is_charged = true;
            charge.tier = Some("batch".to_owned());
            charge.model.clone_from(&job.model);
        }
        let name = job.name.as_str();
        let mut resources = answered.observed.resources.iter();
        let is_created = resources.any(|resource| resource.name == job.name && resource.is_created);
        // A usage that was not reported completely is left to the next poll.
        let is_whole = charge.usage != TokenUsage::default() && outcome == Outcome::Success;
        let is_first = is_whole && count_first(name);
        let is_counted = counted.iter().any(|counted| counted == name);
        if !is_created && (!is_first || is_counted) {
            charge.usage = TokenUsage::default();
            charge.is_charged = false;
        }
        charge
    }

    /// Replaces unknown usage of an answer that succeeded, or that the client left, by an estimate. `prompt` is `None` for
    /// operations that are not billed in tokens; jobs report their usage later.
    pub fn estimate(&mut self, outcome: Outcome, prompt: Option<u64>, answered: &ResponseSummary) {
        let Some(prompt) = prompt else { return };
        let was_used = matches!(outcome, Outcome::Success | Outcome::ClientGone);
        if !was_used || self.usage != TokenUsage::default() || answered.observed.job.is_some() {
            return;
        }
        let output = text_tokens(answered.output_chars);
        self.usage = TokenUsage {
            prompt: Some(prompt),
            output: Some(output),
            total: Some(prompt.saturating_add(output)),
            ..TokenUsage::default()
        };
        (self.is_charged, self.is_estimate) = (true, true);
    }

    /// The cost in billionths of a dollar; `None`: not known. `model` is the one that was asked for.
    pub fn cost_nano_usd(
        &self,
        model: Option<&str>,
        is_free: bool,
        own_prices: &ModelPrices,
        started_at: Timestamp,
    ) -> Option<i64> {
        if is_free {
            return Some(0);
        }
        if !self.is_charged {
            // Counting tokens is free; the cost of an answer without a token count is not known.
            return self.usage.total.map(|_| 0);
        }
        // An own price may be that of the name which was asked for, such as `gemini-flash-latest`.
        let asked = model.filter(|model| own_prices.find(model).is_some());
        let model = asked.or(self.model.as_deref()).or(model)?;
        let tier = self.tier.as_deref();
        cost_nano_usd(own_prices, model, &self.usage, tier, started_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::resources::created::{AsyncJob, ObservedResource, ObservedResources};
    use crate::gemini::resources::name::ResourceName;

    fn usage(total: u64) -> TokenUsage {
        TokenUsage {
            total: Some(total),
            ..TokenUsage::default()
        }
    }

    fn batch(progress: AsyncJobState, is_created: bool) -> ResponseSummary {
        let name = ResourceName::of_text("batches/b1").unwrap();
        ResponseSummary {
            observed: ObservedResources {
                resources: vec![ObservedResource {
                    name: name.clone(),
                    is_created,
                    expires_at: None,
                }],
                job: Some(AsyncJob {
                    name,
                    state: progress,
                    usage: usage(7),
                    answers: 2,
                    model: Some("m".to_owned()),
                }),
            },
            ..ResponseSummary::default()
        }
    }

    #[test]
    fn a_finished_batch_is_charged_to_one_request() {
        type Case<'a> = (AsyncJobState, bool, &'a [String], bool, Option<u64>);
        let counted = ["batches/b1".to_owned()];
        let cases: [Case; 5] = [
            (AsyncJobState::Running, false, &[], true, None),
            (AsyncJobState::Succeeded, false, &[], true, Some(7)),
            (AsyncJobState::Succeeded, false, &[], false, None),
            (AsyncJobState::Succeeded, false, &counted, true, None),
            (AsyncJobState::Succeeded, true, &counted, false, Some(7)),
        ];
        for (progress, is_created, counted, is_first, total) in cases {
            let answered = batch(progress, is_created);
            let charge = Charge::of(Outcome::Success, &answered, counted, |_| is_first);
            let case = (progress, is_created, counted, is_first);
            assert_eq!(charge.usage.total, total, "{case:?}");
        }
    }

    #[test]
    fn free_projects_and_token_counts_cost_nothing_and_unknown_usage_has_no_cost() {
        let charge = |total| {
            let answered = ResponseSummary {
                usage: total,
                ..ResponseSummary::default()
            };
            Charge::of(Outcome::Success, &answered, &[], |_| false)
        };
        let (own, at) = (ModelPrices::default(), Timestamp::from_millis(0));

        assert_eq!(
            charge(TokenUsage::default()).cost_nano_usd(Some("m"), true, &own, at),
            Some(0)
        );
        assert_eq!(
            charge(usage(5)).cost_nano_usd(Some("m"), false, &own, at),
            Some(0)
        );
        assert_eq!(
            charge(TokenUsage::default()).cost_nano_usd(Some("m"), false, &own, at),
            None
        );
    }

    #[test]
    fn unknown_usage_is_estimated_only_where_google_bills_tokens() {
        let unknown = ResponseSummary {
            output_chars: 40,
            ..ResponseSummary::default()
        };
        let counted = ResponseSummary {
            usage: usage(5),
            ..ResponseSummary::default()
        };
        let cases = [
            (Outcome::Success, Some(100), &unknown, Some(110), true),
            (Outcome::ClientGone, Some(100), &unknown, Some(110), true),
            (Outcome::Success, Some(100), &counted, Some(5), false),
            (Outcome::Success, None, &unknown, None, false),
            (Outcome::BrokenOff, Some(100), &unknown, None, false),
            (Outcome::ClientError, Some(100), &unknown, None, false),
        ];
        for (outcome, prompt, answered, total, is_estimate) in cases {
            let mut charge = Charge::of(outcome, answered, &[], |_| false);
            charge.estimate(outcome, prompt, answered);
            assert_eq!(
                (charge.usage.total, charge.is_estimate),
                (total, is_estimate),
                "{outcome:?} {prompt:?}"
            );
        }
        let running = batch(AsyncJobState::Running, true);
        let mut charge = Charge::of(Outcome::Success, &running, &[], |_| false);
        charge.estimate(Outcome::Success, Some(100), &running);
        assert!(!charge.is_estimate);
    }
}
