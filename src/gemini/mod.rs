//! All we know about Google's API. Pure, but for `transport`, and `key_check`, which sends through it.

pub mod errors;
pub mod headers;
pub mod key_check;
pub mod live;
pub mod prices;
pub mod quota_estimate;
pub mod redact;
pub mod resources;
pub mod response;
pub mod target;
pub mod tls;
pub mod transport;
pub mod upload;
pub mod url;
