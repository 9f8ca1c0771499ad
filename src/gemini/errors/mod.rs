//! Google's errors: their fields, and their classification.

pub mod classify;
pub mod error_body;
