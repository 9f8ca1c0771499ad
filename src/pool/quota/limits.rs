//! What is known of each project's quota: limits that Google named, use counted by us, and what follows from both.
//!
//! All of it is an estimate. Others may use the same project, and Google counts by clocks that nobody outside knows.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::health::verdict::{QuotaWindow, Retry, Rule, Violation};
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::windows::{DayWindow, MinuteWindow, QuotaAmount};

/// What a limit counts, over what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    RequestsPerMinute,
    TokensPerMinute,
    RequestsPerDay,
    TokensPerDay,
}

/// A limit for each measure; `None`: none is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaLimits([Option<u64>; 4]);

/// Requests and input tokens, of the running minute and of Google's running day.
#[derive(Debug, Clone, Default)]
pub struct QuotaUsage {
    minute: MinuteWindow,
    day: DayWindow,
}

/// What one project may use of one model, and what it has used.
#[derive(Debug, Clone, Default)]
pub struct ModelQuota {
    pub usage: QuotaUsage,
    observed: [ObservedLimit; 4],
    /// Requests that are counted already and have not ended yet.
    pub in_flight: u64,
    /// After the day was used up the first request goes alone: the reset is not instant everywhere.
    pub probes_after_reset: bool,
}

/// What a project's own answers say of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ObservedLimit {
    /// Nothing: what others with the same billing were told is presumed.
    #[default]
    Unknown,
    Limit(u64),
    /// More went through than is presumed, or a hand doubts it, so that nothing is.
    Contradicted,
}

/// Until when a limit keeps requests back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExhaustedLimit {
    pub until: Timestamp,
    pub measure: Measure,
}

impl Measure {
    pub const ALL: [Self; 4] = [
        Self::RequestsPerMinute,
        Self::TokensPerMinute,
        Self::RequestsPerDay,
        Self::TokensPerDay,
    ];

    /// The name in rows; never changes once released.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::RequestsPerDay => "requests_per_day",
            Self::TokensPerDay => "tokens_per_day",
        }
    }

    /// The measure with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }

    /// What a violation limits; `None` when it does not say over what time. Ids and metrics of limits on tokens have
    /// `Tokens` or `token_count` in them, as seen in 429 answers of 2026.
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
    /// Limits as settings give them, where 0 means none.
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
        let all = Measure::ALL.into_iter().zip(self.0);
        all.filter_map(|(measure, limit)| Some((measure, limit?)))
    }
}

impl QuotaUsage {
    /// Counts in the day that ends at `day_ends`.
    pub fn add(&mut self, amount: QuotaAmount, now: Timestamp, day_ends: Timestamp) {
        self.minute.add(amount, now);
        self.day.add(amount, day_ends);
    }

    /// Takes back what was counted at `at`, in the day that ends at `day_ends`.
    pub fn take_back(&mut self, amount: QuotaAmount, at: Timestamp, day_ends: Timestamp) {
        self.minute.take_back(amount, at);
        self.day.take_back(amount, day_ends);
    }

    /// Adds what an earlier run has counted in the day that ends at `day_ends`.
    pub fn restore_day(&mut self, amount: QuotaAmount, day_ends: Timestamp) {
        self.day.add(amount, day_ends);
    }

    /// Adds what an earlier run has sent at `at`, within the last minute.
    pub fn restore_minute(&mut self, amount: QuotaAmount, at: Timestamp) {
        self.minute.add(amount, at);
    }

    /// Google has said when its minute ends, which is better than our count.
    pub fn begin_minute(&mut self) {
        self.minute.clear();
    }

    /// What was counted at times that are to come counts in the running minute, and in the day that ends at `day_ends`.
    pub fn follow_clock_set_back(&mut self, now: Timestamp, day_ends: Timestamp) {
        self.minute.follow_clock_set_back(now);
        self.day.follow_clock_set_back(day_ends);
    }

    /// Adds what was counted elsewhere.
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

    /// When what is used now will count no more.
    pub fn resets_at(&self, measure: Measure, now: Timestamp, day_ends: Timestamp) -> Timestamp {
        match measure {
            Measure::RequestsPerMinute => self.minute.falls_to(0, |amount| amount.requests, now),
            Measure::TokensPerMinute => self.minute.falls_to(0, |amount| amount.tokens, now),
            Measure::RequestsPerDay | Measure::TokensPerDay => day_ends,
        }
    }

    /// The limit that keeps requests back the longest; `None`: all leave room.
    pub fn exhausted(
        &self,
        limits: &QuotaLimits,
        now: Timestamp,
        day_ends: Timestamp,
    ) -> Option<ExhaustedLimit> {
        self.limit_without_room(
            limits,
            QuotaAmount {
                requests: 1,
                tokens: 1,
            },
            now,
            day_ends,
        )
    }

    /// The limit that has no room for `amount`, for the longest. What is larger than the limit itself may go where nothing
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
            let until = match measure {
                // Whatever it counts, the tier has none of this model; a day is when that is looked at again.
                _ if limit == 0 => day_ends,
                Measure::RequestsPerMinute => {
                    self.minute
                        .falls_to(limit.saturating_sub(more), |amount| amount.requests, now)
                }
                Measure::TokensPerMinute => {
                    self.minute
                        .falls_to(limit.saturating_sub(more), |amount| amount.tokens, now)
                }
                Measure::RequestsPerDay | Measure::TokensPerDay => day_ends,
            };
            Some(ExhaustedLimit { until, measure })
        });
        full.max_by_key(|full| full.until)
    }

    /// The largest share, in thousandths, that is used of a day's limit. Minutes do not count: they are over before
    /// anything could be shared out by them.
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
    /// The limits that hold: those named to this project, else those presumed.
    pub fn limits(&self, inherited: &QuotaLimits, now: Timestamp) -> QuotaLimits {
        let mut limits = *inherited;
        for measure in Measure::ALL {
            let inherited = inherited.get(measure);
            let limit = match self.observed[measure as usize] {
                ObservedLimit::Limit(limit) => Some(limit),
                ObservedLimit::Contradicted => None,
                // What went through already contradicts.
                ObservedLimit::Unknown => {
                    inherited.filter(|limit| self.completed(measure, now) <= *limit)
                }
            };
            limits.set(measure, limit);
        }
        limits
    }

    /// Takes over what was known of the same project under another name.
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

    /// Takes note of what the project's own answers say. Having nothing at all is a matter of its cooldown, which ends.
    pub fn learn(&mut self, measure: Measure, observed: ObservedLimit) {
        if observed != ObservedLimit::Limit(0) {
            self.observed[measure as usize] = observed;
        }
    }

    /// A hand has said that nothing of what is known is true.
    pub fn doubt_limits(&mut self) {
        self.observed = [ObservedLimit::Contradicted; 4];
    }

    /// What was counted and has ended, at least.
    fn completed(&self, measure: Measure, now: Timestamp) -> u64 {
        let in_flight = match measure {
            Measure::RequestsPerMinute | Measure::RequestsPerDay => self.in_flight,
            Measure::TokensPerMinute | Measure::TokensPerDay => 0,
        };
        self.usage.used(measure, now).saturating_sub(in_flight)
    }
}

/// Whether Google counts an attempt that came to `rule`: not what it refused for its quota or its key, nor what never
/// reached it.
pub fn is_counted(rule: Rule) -> bool {
    rule.retry() != Retry::FreeWithOtherKey && rule != Rule::ConnectFailed
}

/// What projects of each billing are presumed to be allowed of one model.
#[derive(Debug, Clone, Default)]
pub struct InheritedLimits([InheritedLimitsOfBilling; 3]);

/// What was told to any project of one billing, and when that is put to the test again.
#[derive(Debug, Clone, Default)]
struct InheritedLimitsOfBilling {
    limits: QuotaLimits,
    /// How many projects were told a limit since the last one that had more.
    confirmations: u32,
    probe_at: Option<Timestamp>,
}

impl InheritedLimits {
    pub fn limits(&self, billing: Billing) -> &QuotaLimits {
        &self.0[billing as usize].limits
    }

    /// Google has named a limit to a project. Of different limits the largest is presumed: who has less is told so once,
    /// while who has more would never be. Returns whether more is presumed than before.
    ///
    /// Nothing follows for projects with another billing, nor, where the billing is not known, from one's having nothing
    /// at all: the next may well be of a tier that has more.
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
        known.limits.set(measure, Some(inherited));
        known.probe_at = Some(now + wait_before_probe(known.confirmations));
        known.confirmations = known.confirmations.saturating_add(1);
        before.is_some_and(|before| before < inherited)
    }

    /// Whether a project that is full by our count alone may be tried, to see whether it has more.
    pub fn may_be_probed(&self, billing: Billing, now: Timestamp) -> bool {
        let known = &self.0[billing as usize];
        !known.limits.is_empty() && known.probe_at.is_none_or(|at| at <= now)
    }

    /// One test is enough for a while.
    pub fn probe_started(&mut self, billing: Billing, now: Timestamp) {
        let known = &mut self.0[billing as usize];
        known.probe_at = Some(now + wait_before_probe(known.confirmations));
    }

    /// A project had more than was presumed: others may have more too. That nobody has anything is not presumed any more.
    /// Returns whether that was presumed.
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

    /// Tests at times that a wrong clock told may come at once.
    pub fn clear_probe_times(&mut self) {
        for known in &mut self.0 {
            known.probe_at = None;
        }
    }
}

/// The billing that a violation tells of: the ids and metrics of quotas of the free tier say so, as seen in 429 answers of
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

/// At once, then a minute, doubling to about two hours: of a pool whose projects are all alike the tests cost next to
/// nothing, and one that has more is found soon.
fn wait_before_probe(confirmations: u32) -> Duration {
    match confirmations {
        0 => Duration::ZERO,
        _ => Duration::from_mins(1) * 2_u32.pow((confirmations - 1).min(7)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const ONE: QuotaAmount = QuotaAmount {
        requests: 1,
        tokens: 100,
    };

    fn midnight() -> Timestamp {
        NOW + Duration::from_hours(5)
    }

    fn limits(per_minute: u64, tokens: u64, per_day: u64) -> QuotaLimits {
        QuotaLimits::of_settings(per_minute, tokens, per_day, 0)
    }

    #[test]
    fn a_violation_names_its_measure() {
        let cases = [
            (
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                QuotaWindow::Minute,
                Some(Measure::RequestsPerMinute),
            ),
            (
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
                QuotaWindow::Minute,
                Some(Measure::TokensPerMinute),
            ),
            (
                "GenerateContentPaidTierInputTokensPerModelPerMinute",
                QuotaWindow::Minute,
                Some(Measure::TokensPerMinute),
            ),
            (
                "GenerateRequestsPerDayPerProjectPerModel",
                QuotaWindow::Day,
                Some(Measure::RequestsPerDay),
            ),
            (
                "GenerateContentInputTokensPerModelPerDay-FreeTier",
                QuotaWindow::Day,
                Some(Measure::TokensPerDay),
            ),
            (
                "EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier",
                QuotaWindow::Day,
                Some(Measure::RequestsPerDay),
            ),
            ("Something", QuotaWindow::Unknown, None),
        ];
        for (quota_id, window, expected) in cases {
            let violation = Violation {
                quota_id: quota_id.to_owned(),
                metric: String::new(),
                model: None,
                window,
                limit: None,
            };
            assert_eq!(Measure::of(&violation), expected, "{quota_id}");
        }
    }

    #[test]
    fn the_limit_that_lasts_longest_keeps_requests_back() {
        let mut usage = QuotaUsage::default();
        let limits = limits(2, 1_000, 3);
        let mut full = Vec::new();
        for _ in 0..3 {
            full.push(
                usage
                    .exhausted(&limits, NOW, midnight())
                    .map(|full| full.measure),
            );
            usage.add(ONE, NOW, midnight());
        }

        assert_eq!(full, [None, None, Some(Measure::RequestsPerMinute)]);
        let day = ExhaustedLimit {
            until: midnight(),
            measure: Measure::RequestsPerDay,
        };
        assert_eq!(usage.exhausted(&limits, NOW, midnight()), Some(day));
        assert_eq!(usage.share_of_day(&limits, NOW), 1_000);
        assert_eq!(
            usage.exhausted(&limits, midnight(), midnight() + Duration::from_hours(24)),
            None
        );
    }

    #[test]
    fn a_batch_goes_where_there_is_room_for_all_of_it_or_where_nothing_is_used() {
        let limits = limits(0, 0, 1_000);
        let texts = |requests| QuotaAmount {
            requests,
            tokens: 0,
        };
        let mut usage = QuotaUsage::default();

        assert_eq!(
            usage.limit_without_room(&limits, texts(2_000), NOW, midnight()),
            None
        );
        usage.add(texts(960), NOW, midnight());
        assert_eq!(
            usage.limit_without_room(&limits, texts(40), NOW, midnight()),
            None
        );
        assert!(
            usage
                .limit_without_room(&limits, texts(41), NOW, midnight())
                .is_some()
        );
    }

    #[test]
    fn a_limit_of_another_project_is_presumed_until_contradicted() {
        let mut quota = ModelQuota::default();
        let inherited = limits(0, 0, 2);
        let limit = |quota: &ModelQuota| quota.limits(&inherited, NOW).get(Measure::RequestsPerDay);

        assert_eq!(limit(&quota), Some(2));
        for _ in 0..3 {
            quota.usage.add(ONE, NOW, midnight());
            quota.in_flight += 1;
        }
        assert_eq!(
            limit(&quota),
            Some(2),
            "what is under way may yet be refused"
        );
        quota.in_flight = 0;
        assert_eq!(limit(&quota), None, "three went through");
        quota.learn(Measure::RequestsPerDay, ObservedLimit::Limit(3));
        assert_eq!(limit(&quota), Some(3));
        quota.learn(Measure::RequestsPerDay, ObservedLimit::Contradicted);
        assert_eq!(limit(&quota), None);
    }

    #[test]
    fn what_is_presumed_is_tested_more_rarely_the_more_often_it_was_confirmed() {
        let mut inherited = InheritedLimits::default();
        assert!(
            !inherited.may_be_probed(Billing::Free, NOW),
            "there is nothing to test"
        );

        let mut now = NOW;
        let waits: Vec<_> = (0..9)
            .map(|_| {
                inherited.learn(Billing::Free, Measure::RequestsPerDay, 20, now);
                let minutes = (0..1_000).find(|minutes| {
                    inherited.may_be_probed(Billing::Free, now + Duration::from_mins(*minutes))
                });
                now = now + Duration::from_mins(minutes.unwrap());
                minutes.unwrap()
            })
            .collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(inherited.limits(Billing::Paid), &QuotaLimits::default());

        inherited.contradicted(Billing::Free, Measure::RequestsPerDay);
        assert!(inherited.may_be_probed(Billing::Free, NOW));
    }

    #[test]
    fn of_different_limits_the_largest_is_presumed() {
        let mut inherited = InheritedLimits::default();
        for limit in [20, 500, 20] {
            inherited.learn(Billing::Unknown, Measure::RequestsPerDay, limit, NOW);
        }

        assert_eq!(
            inherited
                .limits(Billing::Unknown)
                .get(Measure::RequestsPerDay),
            Some(500)
        );
    }
}
