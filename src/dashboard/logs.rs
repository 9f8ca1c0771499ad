//! `/logs`: the requests, found, watched and explained.

pub mod columns;
pub mod detail;
pub mod list;
pub mod live;
pub mod outcome_labels;
pub mod query;
