//! The whole product without a Google key: a fake Google, its cast of keys, and clients.

pub mod fake_gemini;
pub mod keys;
pub mod traffic;
