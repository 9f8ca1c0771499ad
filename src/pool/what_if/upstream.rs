//! Google in a replay: it counts against the known limits, repeats used-up quotas of projects without one, and fails as
//! often as it did in the same minute.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::health::verdict::{Fault, QuotaWindow, Rule, Verdict, Violation};
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::{Measure, QuotaLimits, QuotaUsage};
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::what_if::ReplayInput;

const MINUTE: Duration = Duration::from_mins(1);

/// A model of a project.
type ProjectModel = (ProjectId, usize);

#[derive(Debug, Default)]
pub struct ReplayedUpstream {
    limits: HashMap<ProjectModel, QuotaLimits>,
    usage: HashMap<ProjectModel, QuotaUsage>,
    /// Of projects without a known limit: from when until when quota was used up.
    used_up: HashMap<ProjectModel, Vec<(Timestamp, Timestamp, Rule)>>,
    failures: HashMap<(usize, Timestamp), MinuteOfModel>,
}

/// The attempts for a model in a minute.
#[derive(Debug, Default)]
struct MinuteOfModel {
    attempts: u64,
    failed: u64,
    rule: Option<Rule>,
    /// What is owed of a failure, in attempts.
    owed: u64,
}

impl ReplayedUpstream {
    pub fn new(input: &ReplayInput) -> Self {
        let mut upstream = Self::default();
        for known in &input.limits {
            let limits = upstream.limits.entry((known.project, known.model));
            limits.or_default().set(known.measure, Some(known.limit));
        }
        let project_of: HashMap<_, _> = input
            .keys
            .iter()
            .map(|key| (key.id, key.project_id))
            .collect();
        if let Some(first) = input.requests.first() {
            let day_ends = end_of_google_day(first.at);
            for used in &input.used {
                if let Some(project) = project_of.get(&used.key) {
                    let usage = upstream.usage.entry((*project, used.model)).or_default();
                    usage.restore_day(used.amount, day_ends);
                }
            }
        }
        for attempt in &input.attempts {
            let key = (attempt.project, attempt.model);
            let minute = upstream
                .failures
                .entry((attempt.model, minute_of(attempt.at)));
            let minute = minute.or_default();
            minute.attempts += 1;
            match attempt.rule.fault() {
                Fault::ProjectModel if !upstream.limits.contains_key(&key) => {
                    let until = match attempt.rule {
                        Rule::QuotaPerMinute => attempt.at + MINUTE,
                        Rule::QuotaWithoutDetail => attempt.at + Duration::from_secs(10),
                        _ => end_of_google_day(attempt.at),
                    };
                    let spans = upstream.used_up.entry(key).or_default();
                    spans.push((attempt.at, until, attempt.rule));
                }
                Fault::Model | Fault::Soft => {
                    minute.failed += 1;
                    minute.rule = Some(attempt.rule);
                }
                _ => {}
            }
        }
        upstream
    }

    /// The verdict on an attempt.
    pub fn answer(
        &mut self,
        project: ProjectId,
        model: usize,
        amount: QuotaAmount,
        now: Timestamp,
    ) -> Verdict {
        if let Some(rule) = self.failure(model, now) {
            return Verdict {
                status: Some(503),
                ..Verdict::without_answer(rule, String::new())
            };
        }
        let key = (project, model);
        let day_ends = end_of_google_day(now);
        let usage = self.usage.entry(key).or_default();
        if let Some(limits) = self.limits.get(&key)
            && let Some(full) = usage.limit_without_room(limits, amount, now, day_ends)
        {
            return exhausted(full.measure, limits.get(full.measure), full.until, now);
        }
        let spans = self.used_up.get(&key).into_iter().flatten();
        let span = spans.filter(|(from, until, _)| *from <= now && now < *until);
        if let Some((_, until, rule)) = span.max_by_key(|(_, until, _)| *until) {
            return Verdict {
                status: Some(429),
                retry_delay: Some(*until - now),
                ..Verdict::without_answer(*rule, String::new())
            };
        }
        usage.add(amount, now, day_ends);
        Verdict {
            status: Some(200),
            ..Verdict::without_answer(Rule::Success, String::new())
        }
    }

    /// The failure of a model in a minute, as often among the attempts as it was.
    fn failure(&mut self, model: usize, now: Timestamp) -> Option<Rule> {
        let minute = self.failures.get_mut(&(model, minute_of(now)))?;
        minute.owed += minute.failed;
        if minute.owed < minute.attempts || minute.failed == 0 {
            return None;
        }
        minute.owed -= minute.attempts;
        minute.rule
    }
}

fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - at.as_millis().rem_euclid(60_000))
}

/// A 429 that names the limit.
fn exhausted(measure: Measure, limit: Option<u64>, until: Timestamp, now: Timestamp) -> Verdict {
    let (rule, window) = if measure.is_daily() {
        (Rule::QuotaPerDay, QuotaWindow::Day)
    } else {
        (Rule::QuotaPerMinute, QuotaWindow::Minute)
    };
    let quota_id = match measure {
        Measure::RequestsPerMinute | Measure::RequestsPerDay => "Requests",
        Measure::TokensPerMinute | Measure::TokensPerDay => "InputTokens",
    };
    Verdict {
        status: Some(429),
        retry_delay: Some(until - now),
        violations: vec![Violation {
            quota_id: quota_id.to_owned(),
            metric: String::new(),
            model: None,
            window,
            limit,
        }],
        ..Verdict::without_answer(rule, String::new())
    }
}
