//! `Storm`: Google refuses everybody at once without saying why, which is about our address and not about a key.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::gate::{Gate, Pause};
use crate::pool::upstream_key::ProjectId;

/// Within how long the refusals must come.
pub const STORM_SPAN: Duration = Duration::from_secs(5);
/// From how many projects at least.
const PROJECTS: usize = 5;
/// From how many of a hundred of those that were tried.
const PERCENT: usize = 80;
/// How long nothing is sent in a storm.
const PAUSE: Pause = Pause {
    first: Duration::from_secs(2),
    most: Duration::from_mins(1),
};

/// What came of the last attempts, and whether it is a storm.
#[derive(Debug, Default)]
pub struct Storm {
    /// The attempts of the last seconds: when, with which project, and whether it was refused without a reason.
    recent: VecDeque<(Timestamp, ProjectId, bool)>,
    pub gate: Option<Gate>,
}

/// What an attempt told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// The storm began with this attempt: the refusals of the last [`STORM_SPAN`] were nobody's.
    Begins,
    /// A refusal that is no project's fault.
    Goes,
    /// Google answers again.
    Ends,
}

impl Storm {
    /// Takes note of an attempt that Google answered; `refused`: with a 429 that names no quota.
    pub fn note(
        &mut self,
        project: ProjectId,
        refused: bool,
        began: Timestamp,
        now: Timestamp,
        chance: f64,
    ) -> Weather {
        if let Some(gate) = &mut self.gate {
            let is_news = gate.is_news(began);
            return match (refused, is_news) {
                (true, true) => {
                    gate.close_again(now, PAUSE, chance);
                    Weather::Goes
                }
                (true, false) => Weather::Goes,
                (false, true) => {
                    self.gate = None;
                    Weather::Ends
                }
                (false, false) => Weather::Calm,
            };
        }
        while self
            .recent
            .front()
            .is_some_and(|(at, ..)| now - *at > STORM_SPAN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((now, project, refused));
        if !refused {
            return Weather::Calm;
        }
        let projects = |only_refused: bool| {
            let recent = self.recent.iter();
            let projects = recent.filter(|(.., refused)| *refused || !only_refused);
            projects
                .map(|(_, project, _)| *project)
                .collect::<HashSet<_>>()
                .len()
        };
        let refused = projects(true);
        if refused < PROJECTS || refused * 100 < projects(false) * PERCENT {
            return Weather::Calm;
        }
        self.recent.clear();
        self.gate = Some(Gate::close(now, PAUSE, chance));
        Weather::Begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn note(storm: &mut Storm, project: i64, refused: bool, ms: u64) -> Weather {
        let now = START + Duration::from_millis(ms);
        storm.note(ProjectId(project), refused, now, now, 0.5)
    }

    #[test]
    fn five_projects_refused_at_once_are_a_storm() {
        let mut storm = Storm::default();

        let seen: Vec<_> = (0..6)
            .map(|n| note(&mut storm, n % 5, true, 10 * n.unsigned_abs()))
            .collect();

        assert_eq!(seen[..4], [Weather::Calm; 4]);
        assert_eq!(seen[4..], [Weather::Begins, Weather::Goes]);
    }

    #[test]
    fn refusals_are_no_storm_while_others_succeed_or_when_they_come_slowly() {
        let mut mixed = Storm::default();
        for project in 10..13 {
            note(&mut mixed, project, false, 0);
        }
        let among_others: Vec<_> = (0..8).map(|n| note(&mut mixed, n, true, 1)).collect();
        let mut slow = Storm::default();
        let slowly = (0..9).map(|n| note(&mut slow, n, true, 1_500 * n.unsigned_abs()));

        assert_eq!(
            among_others,
            [Weather::Calm; 8],
            "8 of 11 are fewer than 80 of 100"
        );
        assert!(slowly.into_iter().all(|weather| weather == Weather::Calm));
    }

    #[test]
    fn a_storm_goes_on_until_one_request_succeeds() {
        let mut storm = Storm::default();
        for n in 0..5 {
            note(&mut storm, n, true, 0);
        }

        assert_eq!(note(&mut storm, 7, true, 2_000), Weather::Goes);
        let gate = storm.gate.unwrap();
        assert_eq!(
            gate.admits(START + Duration::from_millis(5_999)),
            Err(START + Duration::from_secs(6))
        );
        assert_eq!(note(&mut storm, 7, false, 6_000), Weather::Ends);
        assert_eq!(storm.gate, None);
    }
}
