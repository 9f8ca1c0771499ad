//! What programs that use the admin API are promised.

mod alerts;
mod authorization;
mod client_keys;
mod document;
mod logs;
mod metrics;
mod prometheus;
mod settings;
mod upstream_keys;
