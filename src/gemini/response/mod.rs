//! Reads a response beside the stream: events, JSON values, compression and token usage.

pub mod events;
pub mod inflate;
pub mod json;
pub mod tap;
pub mod usage;
