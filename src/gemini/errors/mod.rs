//! Google's errors: their fields, and the verdict that they lead to.

pub mod classify;
pub mod error_body;
