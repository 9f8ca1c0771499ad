//! The rules of lending: pure, without IO, clock or async.

pub mod admission;
pub mod calendar;
pub mod client_key;
pub mod cooldown;
pub mod guessing;
pub mod import;
pub mod keys;
pub mod lease;
pub mod money;
pub mod next_step;
pub mod outcome;
pub mod quota_clock;
pub mod request_id;
pub mod scopes;
pub mod secret;
pub mod selection;
pub mod settings;
pub mod upstream_key;
pub mod usage;
pub mod verdict;
pub mod window;
