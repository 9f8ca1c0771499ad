//! `/logs`: searching, watching and inspecting requests.

pub mod bodies;
pub mod body_text;
pub mod columns;
pub mod detail;
pub mod export;
pub mod filters;
pub mod histogram;
pub mod list;
pub mod live;
pub mod outcome_labels;
pub mod query;
pub mod views;
