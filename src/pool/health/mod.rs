//! The health of keys, projects, models and our IP address: verdicts and their consequences.

pub mod address_throttle;
pub mod blame;
pub mod check_schedule;
pub mod circuit_breaker;
pub mod client_evidence;
pub mod clock_watch;
pub mod cooldown;
pub mod settle;
pub mod state_change;
pub mod upstream_watch;
pub mod verdict;
