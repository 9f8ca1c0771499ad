//! Reads a request's body: strictly, and in one pass for all that the pool needs of it.

pub mod content;
mod encodings;
mod fields;
mod form_reader;
mod json_reader;
pub mod media;
pub mod reader;
pub mod unread;
