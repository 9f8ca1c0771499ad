//! The dashboard, as admins use it in a real browser and as others try to.

mod backups;
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
