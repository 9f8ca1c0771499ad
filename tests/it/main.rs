//! The program through its front door, against the fake Gemini.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod cli;
mod dashboard;
mod key_checks;
mod migration;
mod projects;
mod proxy;
mod retention;
mod sdk_clients;
mod sdk_live_sessions;
mod simulation;
mod stateful_resources;
mod structure;
mod support;
