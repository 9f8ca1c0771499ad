//! The models that a project lists, and when its list is read: once a day, a few at once, at a steady pace beyond that.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::ProjectId;

/// How long a list is taken as it was read.
pub const REFRESH_AFTER: Duration = Duration::from_hours(24);
/// How long after a list could not be read it is read again.
const RETRY_AFTER: Duration = Duration::from_hours(1);
/// How many lists are read at once after a pause.
const BURST: u64 = 64;
/// The time between lists beyond that. A list has some 40 KB: a pool of 50,000 projects reads 350 MB a day.
const PACE: Duration = Duration::from_secs(10);

/// A model as `models.list` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// Without `models/`.
    pub name: String,
    pub display_name: String,
    pub input_token_limit: Option<u32>,
    pub output_token_limit: Option<u32>,
    /// The operations that it supports, as in `generateContent`.
    pub methods: Vec<String>,
}

/// When the lists of projects are due, and how many may be read now.
#[derive(Debug)]
pub struct ModelListPace {
    due_at: HashMap<ProjectId, Timestamp>,
    /// Lists that may be read at `refilled_at`.
    allowed: u64,
    refilled_at: Timestamp,
}

impl ModelListPace {
    /// With the times at which the lists of projects were read.
    pub fn new(listed: impl IntoIterator<Item = (ProjectId, Timestamp)>, now: Timestamp) -> Self {
        let due = listed
            .into_iter()
            .map(|(project, at)| (project, at + REFRESH_AFTER));
        Self {
            due_at: due.collect(),
            allowed: BURST,
            refilled_at: now,
        }
    }

    /// The projects whose lists are due, in the order in which they became due: those that were never tried first. So lists that
    /// cannot be read do not keep others from being read.
    pub fn in_order<T>(
        &self,
        mut projects: Vec<(ProjectId, T)>,
        now: Timestamp,
    ) -> Vec<(ProjectId, T)> {
        let due_at = |project: ProjectId| self.due_at.get(&project).copied();
        projects.retain(|(project, _)| due_at(*project).is_none_or(|at| at <= now));
        projects.sort_by_key(|(project, _)| due_at(*project));
        projects
    }

    /// Whether the list of a project is to be read now. If so, it is not read again until it is due.
    pub fn take(&mut self, project: ProjectId, now: Timestamp) -> bool {
        let is_due = self.due_at.get(&project).is_none_or(|at| *at <= now);
        if !is_due {
            return false;
        }
        self.refill(now);
        if self.allowed == 0 {
            return false;
        }
        self.allowed -= 1;
        // Until the list is read.
        self.due_at.insert(project, now + RETRY_AFTER);
        true
    }

    /// Records that the list was read.
    pub fn has_read(&mut self, project: ProjectId, now: Timestamp) {
        self.due_at.insert(project, now + REFRESH_AFTER);
    }

    fn refill(&mut self, now: Timestamp) {
        let pace = u64::try_from(PACE.as_millis()).unwrap_or(1);
        let passed = u64::try_from((now - self.refilled_at).as_millis()).unwrap_or(0);
        let more = passed / pace;
        if self.allowed + more >= BURST {
            self.allowed = BURST;
            self.refilled_at = now;
        } else if more > 0 {
            self.allowed += more;
            self.refilled_at = self.refilled_at + Duration::from_millis(more * pace);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    #[test]
    fn a_list_is_read_once_a_day_and_sooner_after_a_failure() {
        let (listed, other) = (ProjectId(1), ProjectId(2));
        let mut pace = ModelListPace::new([(listed, NOW)], NOW);

        assert!(!pace.take(listed, NOW + REFRESH_AFTER - Duration::from_millis(1)));
        assert!(pace.take(listed, NOW + REFRESH_AFTER));
        assert!(pace.take(other, NOW));
        assert!(!pace.take(other, NOW));
        assert!(pace.take(other, NOW + RETRY_AFTER));
        pace.has_read(other, NOW);
        assert!(!pace.take(other, NOW + RETRY_AFTER));
    }

    #[test]
    fn lists_that_cannot_be_read_leave_others_their_turn() {
        let (failing, stale, new) = (ProjectId(1), ProjectId(2), ProjectId(3));
        let mut pace = ModelListPace::new([(stale, NOW)], NOW);
        let later = NOW + REFRESH_AFTER;
        assert!(pace.take(failing, later));
        let all = || vec![(failing, ()), (stale, ()), (new, ())];

        assert_eq!(pace.in_order(all(), later), [(new, ()), (stale, ())]);
        let again = later + RETRY_AFTER;
        let order = [(new, ()), (stale, ()), (failing, ())];
        assert_eq!(pace.in_order(all(), again), order);
    }

    proptest! {
        #[test]
        fn no_more_lists_are_read_than_the_pace_allows(steps in prop::collection::vec(0_u64..30_000, 1..400)) {
            let mut pace = ModelListPace::new([], NOW);
            let (mut now, mut read) = (NOW, 0);
            for (project, step) in (0..).zip(steps) {
                now = now + Duration::from_millis(step);
                read += u64::from(pace.take(ProjectId(project), now));
                let passed = u64::try_from((now - NOW).as_millis()).unwrap();
                prop_assert!(read <= BURST + passed / 10_000, "{read} in {passed} ms");
            }
        }
    }
}
