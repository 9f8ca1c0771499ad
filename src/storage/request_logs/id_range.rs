//! `LogPosition`, `IdRange`: which part of the log is listed, and in which direction.

use crate::pool::request_id::RequestId;
use crate::storage::request_logs::filter::LogFilter;

/// The position at which listing starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogPosition {
    #[default]
    Newest,
    OlderThan(RequestId),
    NewerThan(RequestId),
}

/// A range of ids: from `least` on, before `end`.
#[derive(Debug, Clone, Copy)]
pub struct IdRange {
    pub least: i64,
    pub end: i64,
    /// Oldest first.
    pub is_upwards: bool,
}

impl IdRange {
    pub fn of(filter: &LogFilter, position: LogPosition) -> Self {
        let mut range = Self {
            least: filter.since.map_or(0, |since| RequestId::first_at(since).0),
            end: filter
                .until
                .map_or(i64::MAX, |until| RequestId::first_at(until).0),
            is_upwards: matches!(position, LogPosition::NewerThan(_)),
        };
        match position {
            LogPosition::Newest => (),
            LogPosition::OlderThan(id) => range.end = range.end.min(id.0),
            LogPosition::NewerThan(id) => range.least = range.least.max(id.0.saturating_add(1)),
        }
        range
    }

    /// Removes the ids that have been read.
    pub fn advance(&mut self, last: i64) {
        if self.is_upwards {
            self.least = last + 1;
        } else {
            self.end = last;
        }
    }

    /// The id from which the next search continues.
    pub fn resume_position(self) -> RequestId {
        RequestId(if self.is_upwards {
            self.least - 1
        } else {
            self.end
        })
    }

    /// The direction of its `ORDER BY`.
    pub fn order(self) -> &'static str {
        if self.is_upwards { "" } else { " DESC" }
    }
}
