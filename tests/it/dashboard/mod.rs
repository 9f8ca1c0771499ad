//! The dashboard in a real browser, and attempts to use it without a session.

mod api_tokens;
mod backups;
mod bodies;
mod client_keys;
mod logs;
mod many_keys;
mod pages;
mod proxied;
mod routes;
mod settings;
mod sign_in;
mod status;
mod upstream_keys;
mod usage;
