//! JSON for programs: so far, whether the server is well.

pub mod health;
