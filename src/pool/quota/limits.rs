//! Quota of each project and model: limits named by Google, usage counted here, and what follows from both.
//!
//! All of it is an estimate: others may use the same project, and Google's windows begin at unknown times.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::pool::health::verdict::{QuotaWindow, Retry, Rule, Violation};
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::windows::{DayWindow, MinuteWindow, QuotaAmount};

/// What a limit counts, and in which window.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumString,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    RequestsPerMinute,
    TokensPerMinute,
    RequestsPerDay,
    TokensPerDay,
}

/// A limit per measure; `None`: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaLimits([Option<u64>; 4]);

/// Requests and input tokens in the sliding minute and in Google's running day.
#[derive(Debug, Clone, Default)]
pub struct QuotaUsage {
    minute: MinuteWindow,
    day: DayWindow,
}

/// Limits and usage of one model in one project.
#[derive(Debug, Clone, Default)]
pub struct ModelQuota {
    pub usage: QuotaUsage,
    observed: [ObservedLimit; 4],
    /// Requests counted that have not ended yet.
    pub in_flight: u64,
    /// After a used-up day one request at a time probes the reset, because Google does not reset all quotas at once.
    pub probes_after_reset: bool,
}

/// A limit as known from a project's own answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ObservedLimit {
    /// No answer named it: the limit of other projects with the same billing is inherited.
    #[default]
    Unknown,
    Limit(u64),
    /// Usage exceeded the inherited limit, or the admin reset it: no limit is assumed.
    Contradicted,
}

/// Until when a limit blocks requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExhaustedLimit {
    pub until: Timestamp,
    pub measure: Measure,
}

impl Measure {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in rows; never changes once released.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The measure of a violation; `None` when the violation has no known window. Ids and metrics of token limits
    /// contain `Tokens` or `token_count`, as seen in 429 answers of 2026.
    pub fn of(violation: &Violation) -> Option<Self> {
        let counts_tokens =
            violation.quota_id.contains("Token") || violation.metric.contains("token");
        match (violation.window, counts_tokens) {
            (QuotaWindow::Minute, false) => Some(Self::RequestsPerMinute),
            (QuotaWindow::Minute, true) => Some(Self::TokensPerMinute),
            (QuotaWindow::Day, false) => Some(Self::RequestsPerDay),
            (QuotaWindow::Day, true) => Some(Self::TokensPerDay),
            (QuotaWindow::Unknown, _) => None,
        }
    }

    pub fn is_daily(self) -> bool {
        match self {
            Self::RequestsPerMinute | Self::TokensPerMinute => false,
            Self::RequestsPerDay | Self::TokensPerDay => true,
        }
    }

    fn read(self, amount: &QuotaAmount) -> u64 {
        match self {
            Self::RequestsPerMinute | Self::RequestsPerDay => amount.requests,
            Self::TokensPerMinute | Self::TokensPerDay => amount.tokens,
        }
    }
}

impl QuotaLimits {
    /// Limits from settings, where 0 means no limit.
    pub fn of_settings(
        requests_per_minute: u64,
        tokens_per_minute: u64,
        requests_per_day: u64,
        tokens_per_day: u64,
    ) -> Self {
        let limits = [
            requests_per_minute,
            tokens_per_minute,
            requests_per_day,
            tokens_per_day,
        ];
        Self(limits.map(|limit| (limit > 0).then_some(limit)))
    }

    pub fn get(&self, measure: Measure) -> Option<u64> {
        self.0[measure as usize]
    }

    pub fn set(&mut self, measure: Measure, limit: Option<u64>) {
        self.0[measure as usize] = limit;
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn known(&self) -> impl Iterator<Item = (Measure, u64)> {
        let all = Measure::ALL.iter().copied().zip(self.0);
        all.filter_map(|(measure, limit)| Some((measure, limit?)))
    }
}

impl QuotaUsage {
    /// Counts an amount, in the day that ends at `day_ends`.
    pub fn add(&mut self, amount: QuotaAmount, now: Timestamp, day_ends: Timestamp) {
        self.minute.add(amount, now);
        self.day.add(amount, day_ends);
    }

    /// Subtracts an amount counted at `at`, in the day that ends at `day_ends`.
    pub fn take_back(&mut self, amount: QuotaAmount, at: Timestamp, day_ends: Timestamp) {
        self.minute.take_back(amount, at);
        self.day.take_back(amount, day_ends);
    }

    /// Restores usage of the day that ends at `day_ends` from the database.
    pub fn restore_day(&mut self, amount: QuotaAmount, day_ends: Timestamp) {
        self.day.add(amount, day_ends);
    }

    /// Restores usage at `at`, within the last minute, from the database.
    pub fn restore_minute(&mut self, amount: QuotaAmount, at: Timestamp) {
        self.minute.add(amount, at);
    }

    /// Clears the minute when Google names its end, which is more exact than our count.
    pub fn begin_minute(&mut self) {
        self.minute.clear();
    }

    /// Moves usage counted in the future to the running minute and to the day that ends at `day_ends`.
    pub fn follow_clock_set_back(&mut self, now: Timestamp, day_ends: Timestamp) {
        self.minute.follow_clock_set_back(now);
        self.day.follow_clock_set_back(day_ends);
    }

    /// Adds another usage.
    pub fn merge(&mut self, other: Self) {
        self.minute.merge(other.minute);
        self.day.merge(other.day);
    }

    pub fn used(&self, measure: Measure, now: Timestamp) -> u64 {
        let amount = if measure.is_daily() {
            self.day.used(now)
        } else {
            self.minute.used(now)
        };
        measure.read(&amount)
    }

    /// When the present usage no longer counts.
    pub fn resets_at(&self, measure: Measure, now: Timestamp, day_ends: Timestamp) -> Timestamp {
        self.falls_to(0, measure, now, day_ends)
    }

    /// When the usage is `most` or less.
    fn falls_to(
        &self,
        most: u64,
        measure: Measure,
        now: Timestamp,
        day_ends: Timestamp,
    ) -> Timestamp {
        if measure.is_daily() {
            return day_ends;
        }
        self.minute
            .falls_to(most, |amount| measure.read(amount), now)
    }

    /// The exhausted limit with the latest end; `None`: all limits have room.
    pub fn exhausted(
        &self,
        limits: &QuotaLimits,
        now: Timestamp,
        day_ends: Timestamp,
    ) -> Option<ExhaustedLimit> {
        let one = QuotaAmount {
            requests: 1,
            tokens: 1,
        };
        self.limit_without_room(limits, one, now, day_ends)
    }

    /// The limit that lacks room for `amount` the longest. An amount above the limit itself may be sent while nothing
    /// is used: Google decides.
    pub fn limit_without_room(
        &self,
        limits: &QuotaLimits,
        amount: QuotaAmount,
        now: Timestamp,
        day_ends: Timestamp,
    ) -> Option<ExhaustedLimit> {
        let full = limits.known().filter_map(|(measure, limit)| {
            let (used, more) = (self.used(measure, now), measure.read(&amount));
            if used == 0 && limit > 0 || used + more <= limit {
                return None;
            }
            // A limit of zero: the tier lacks the model. It is tried again after a day.
            let until = match limit {
                0 => day_ends,
                _ => self.falls_to(limit.saturating_sub(more), measure, now, day_ends),
            };
            Some(ExhaustedLimit { until, measure })
        });
        full.max_by_key(|full| full.until)
    }

    /// The largest used share of a daily limit, in thousandths. Minutes are too short to be shared out.
    pub fn share_of_day(&self, limits: &QuotaLimits, now: Timestamp) -> u16 {
        let daily = limits.known().filter(|(measure, _)| measure.is_daily());
        let shares = daily
            .map(|(measure, limit)| self.used(measure, now).saturating_mul(1_000) / limit.max(1));
        shares
            .max()
            .map_or(0, |share| u16::try_from(share).unwrap_or(u16::MAX))
    }
}

impl ModelQuota {
    /// The effective limits: those observed for this project, else the inherited ones.
    pub fn limits(&self, inherited: &QuotaLimits, now: Timestamp) -> QuotaLimits {
        let mut limits = *inherited;
        for measure in Measure::ALL.iter().copied() {
            let inherited = inherited.get(measure);
            let limit = match self.observed[measure as usize] {
                ObservedLimit::Limit(limit) => Some(limit),
                ObservedLimit::Contradicted => None,
                // Usage already contradicts the inherited limit.
                ObservedLimit::Unknown => {
                    inherited.filter(|limit| self.completed(measure, now) <= *limit)
                }
            };
            limits.set(measure, limit);
        }
        limits
    }

    /// Adds the quota of a project that turned out to be the same.
    pub fn merge(&mut self, other: Self) {
        self.usage.merge(other.usage);
        self.in_flight += other.in_flight;
        self.probes_after_reset |= other.probes_after_reset;
        for (observed, other) in self.observed.iter_mut().zip(other.observed) {
            if *observed == ObservedLimit::Unknown {
                *observed = other;
            }
        }
    }

    pub fn observed(&self, measure: Measure) -> ObservedLimit {
        self.observed[measure as usize]
    }

    /// Records an observed limit. A limit of zero is left to the project's cooldown, which ends.
    pub fn learn(&mut self, measure: Measure, observed: ObservedLimit) {
        if observed != ObservedLimit::Limit(0) {
            self.observed[measure as usize] = observed;
        }
    }

    /// Marks all limits as contradicted, at the admin's request.
    pub fn doubt_limits(&mut self) {
        self.observed = [ObservedLimit::Contradicted; 4];
    }

    /// Lower bound of the usage of ended requests.
    fn completed(&self, measure: Measure, now: Timestamp) -> u64 {
        let in_flight = match measure {
            Measure::RequestsPerMinute | Measure::RequestsPerDay => self.in_flight,
            Measure::TokensPerMinute | Measure::TokensPerDay => 0,
        };
        self.usage.used(measure, now).saturating_sub(in_flight)
    }
}

/// Whether Google counts an attempt with this rule: not one refused for its quota or key, nor one that did not reach
/// Google.
pub fn is_counted(rule: Rule) -> bool {
    rule.retry() != Retry::FreeWithOtherKey
        && !matches!(rule, Rule::ConnectFailed | Rule::TooManyOpenFiles)
}

/// Limits of a model that projects inherit, per billing.
#[derive(Debug, Clone, Default)]
pub struct InheritedLimits([InheritedLimitsOfBilling; 3]);

/// The limits named for any project of one billing, and when they are probed again.
#[derive(Debug, Clone, Default)]
struct InheritedLimitsOfBilling {
    limits: QuotaLimits,
    /// Number of projects with a named limit since the last contradiction.
    confirmations: u32,
    probe_at: Option<Timestamp>,
    /// Since when each limit is inherited.
    since: [Option<Timestamp>; 4],
}

impl InheritedLimits {
    pub fn limits(&self, billing: Billing) -> &QuotaLimits {
        &self.0[billing as usize].limits
    }

    /// Records a limit that Google named for a project. Of different limits the largest is inherited: a project with
    /// less learns its own limit by one refusal, while a project with more would never learn it. Returns whether the
    /// inherited limit has grown.
    ///
    /// Projects with another billing are not affected; nor does a zero limit of a project with unknown billing count,
    /// because another may have a higher tier.
    pub fn learn(
        &mut self,
        billing: Billing,
        measure: Measure,
        limit: u64,
        now: Timestamp,
    ) -> bool {
        if billing == Billing::Unknown && limit == 0 {
            return false;
        }
        let known = &mut self.0[billing as usize];
        let before = known.limits.get(measure);
        let inherited = before.unwrap_or(0).max(limit);
        if before != Some(inherited) {
            known.since[measure as usize] = Some(now);
        }
        known.limits.set(measure, Some(inherited));
        known.probe_at = Some(now + wait_before_probe(known.confirmations));
        known.confirmations = known.confirmations.saturating_add(1);
        before.is_some_and(|before| before < inherited)
    }

    /// Since when a limit is inherited.
    pub fn since(&self, billing: Billing, measure: Measure) -> Option<Timestamp> {
        self.0[billing as usize].since[measure as usize]
    }

    /// Whether a project that is full by our count alone may be probed for a higher limit.
    pub fn may_be_probed(&self, billing: Billing, now: Timestamp) -> bool {
        let known = &self.0[billing as usize];
        !known.limits.is_empty() && known.probe_at.is_none_or(|at| at <= now)
    }

    /// Delays the next probe.
    pub fn probe_started(&mut self, billing: Billing, now: Timestamp) {
        let known = &mut self.0[billing as usize];
        known.probe_at = Some(now + wait_before_probe(known.confirmations));
    }

    /// Records that a project exceeded the inherited limit: others may have more too. A zero limit is no longer
    /// inherited. Returns whether it was.
    pub fn contradicted(&mut self, billing: Billing, measure: Measure) -> bool {
        let known = &mut self.0[billing as usize];
        known.confirmations = 0;
        known.probe_at = None;
        let was_nothing = known.limits.get(measure) == Some(0);
        if was_nothing {
            known.limits.set(measure, None);
        }
        was_nothing
    }

    /// Allows probes at once: their times come from a clock set back since.
    pub fn clear_probe_times(&mut self) {
        for known in &mut self.0 {
            known.probe_at = None;
        }
    }
}

/// The billing that a violation implies: ids and metrics of free-tier quotas contain it, as seen in 429 answers of
/// 2026.
pub fn billing_of(violation: &Violation) -> Option<Billing> {
    let says = |id: &str, metric: &str| {
        violation.quota_id.contains(id) || violation.metric.contains(metric)
    };
    if says("FreeTier", "free_tier") {
        Some(Billing::Free)
    } else if says("PaidTier", "paid_tier") {
        Some(Billing::Paid)
    } else {
        None
    }
}

/// None at first, then a minute, doubling to about two hours: probes cost little where all projects are alike, and find
/// a project with a higher limit soon.
fn wait_before_probe(confirmations: u32) -> Duration {
    match confirmations {
        0 => Duration::ZERO,
        _ => Duration::from_mins(1) * 2_u32.pow((confirmations - 1).min(7)),
    }
}

#[cfg(test)]
mod tests;
