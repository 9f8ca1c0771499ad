//! `/upstream-keys`: the Gemini keys of the pool.

pub mod bulk;
pub mod bulk_action;
pub mod deleted;
pub mod detail;
pub mod edit;
pub mod export;
pub mod import;
pub mod job_progress;
pub mod key_labels;
pub mod list;
