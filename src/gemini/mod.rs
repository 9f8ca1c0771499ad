//! All we know about Google's API.

pub mod classify;
pub mod error_body;
pub mod event_reader;
pub mod inflate;
pub mod json_scan;
pub mod prices;
pub mod tap;
pub mod target;
pub mod usage;
