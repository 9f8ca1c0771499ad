//! The rules of lending: pure, without IO, clock or async.

pub mod checks;
pub mod client_key;
pub mod cooldown;
pub mod guessing;
pub mod import;
pub mod keys;
pub mod lease;
pub mod next_step;
pub mod outcome;
pub mod project;
pub mod quota_clock;
pub mod request_id;
pub mod secret;
pub mod selection;
pub mod settings;
pub mod upstream_key;
pub mod usage;
pub mod verdict;
