//! All we know about Google's API. Pure, but for `transport`.

pub mod births;
pub mod check;
pub mod classify;
pub mod demand;
pub mod error_body;
pub mod event_reader;
pub mod headers;
mod inflate;
pub mod json_scan;
pub mod listing;
pub mod live;
pub mod prices;
pub mod redact;
pub mod references;
pub mod resource_name;
pub mod tap;
pub mod target;
pub mod transport;
pub mod upload;
mod usage;
