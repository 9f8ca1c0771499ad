//! The dashboard in a real browser, and attempts to use it without a session.

mod alerts;
mod api_tokens;
mod backups;
mod bodies;
mod charts;
mod client_key_rotation;
mod client_keys;
mod keyboard;
mod lists;
mod log_histogram;
mod log_views;
mod logs;
mod many_keys;
mod models;
mod my_usage;
mod pages;
mod proxied;
mod quota;
mod routes;
mod search;
mod settings;
mod sign_in;
mod status;
mod try_it;
mod upstream_keys;
mod usage;
