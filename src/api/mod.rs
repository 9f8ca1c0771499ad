//! JSON for programs: so far the server's health.

pub mod health;
