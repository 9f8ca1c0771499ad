//! `/client-keys`: the keys that clients authenticate with.

pub mod bulk;
pub mod bulk_action;
pub mod change;
pub mod detail;
pub mod form;
pub mod key_labels;
pub mod limit_usage;
pub mod list;
pub mod rotate;
