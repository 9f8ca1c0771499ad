//! What operators at a terminal are promised.

mod certificates;
mod completions;
mod doctor;
mod egress_proxies;
mod egress_proxy;
mod export_keys;
mod export_logs;
mod files;
mod import_keys;
mod open_files;
mod other_pools;
mod prune_logs;
mod remote;
mod remote_keys;
mod settings;
mod start;
mod test_keys;
pub mod versions;
