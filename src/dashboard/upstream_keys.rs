//! `/upstream-keys`: the Gemini keys that requests are sent with.

pub mod bulk;
pub mod detail;
pub mod edit;
pub mod import;
pub mod job_progress;
pub mod key_labels;
pub mod list;
