//! `/models`: the models that the pool offers.

pub mod detail;
pub mod labels;
pub mod list;
