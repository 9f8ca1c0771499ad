//! `/models`: what the pool offers.

pub mod detail;
pub mod labels;
pub mod list;
