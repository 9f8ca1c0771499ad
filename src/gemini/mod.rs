//! All we know about Google's API. Pure, but for `transport`.

pub mod headers;
pub mod redact;
pub mod target;
pub mod transport;
