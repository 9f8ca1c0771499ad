//! All we know about Google's API.

pub mod target;
