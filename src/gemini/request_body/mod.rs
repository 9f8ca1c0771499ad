//! Reading a request's body: strictly, in one pass, for everything that is asked of it.

pub mod content;
mod encodings;
mod fields;
mod form_reader;
mod json_reader;
pub mod media;
pub mod reader;
pub mod unread;
