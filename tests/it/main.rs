//! The program through its front door, against the fake Gemini.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod belongings;
mod checks;
mod cli;
mod clients;
mod dashboard;
mod live_clients;
mod projects;
mod proxy;
mod retention;
mod simulation;
mod support;
