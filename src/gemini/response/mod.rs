//! Reads a response beside the stream: events, JSON values, compression and token usage.

pub mod content_decoder;
pub mod events;
pub mod json;
pub mod json_values;
pub mod output_text;
pub mod reply_content;
pub mod tap;
pub mod usage;
