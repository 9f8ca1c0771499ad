//! All we know about Google's API. Pure, but for `transport`.

pub mod classify;
pub mod error_body;
pub mod headers;
mod inflate;
pub mod json_scan;
pub mod redact;
pub mod target;
pub mod transport;
