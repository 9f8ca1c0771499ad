//! All SQL, one file per table.

pub mod admins;
pub mod audit;
pub mod backup;
pub mod backups;
pub mod batch;
pub mod client_keys;
pub mod cooldowns;
pub mod db;
pub mod error;
pub mod installation;
pub mod lock;
pub mod paging;
pub mod projects;
pub mod pruned_logs;
pub mod quotas;
pub mod recorder;
pub mod request_logs;
pub mod revision;
pub mod settings;
pub mod sign_ins;
pub mod spending;
pub mod stats;
pub mod sums;
pub mod texts;
pub mod traffic;
pub mod upstream_keys;
