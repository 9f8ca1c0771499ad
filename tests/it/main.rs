//! The running server, tested over HTTP against the fake Gemini.
#![expect(clippy::unwrap_used, reason = "test helpers may panic")]

mod alerts;
mod api;
mod backup_schedule;
mod cli;
mod dashboard;
mod fuzz_corpus;
mod growth;
mod key_checks;
mod keys_at_rest;
mod log_filters;
mod migration;
mod migration_kills;
mod migration_steps;
mod packaging;
mod projects;
mod proxy;
mod retention;
mod sdk_clients;
mod sdk_live_sessions;
mod secrets;
mod simulation;
mod stateful_resources;
mod structure;
mod support;
mod undo;
mod wal_cuts;
