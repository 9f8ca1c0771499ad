//! All we know about Google's API.

pub mod json_scan;
pub mod target;
