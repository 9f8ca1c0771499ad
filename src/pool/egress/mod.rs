//! Egress proxies: which of them a request goes through, and which of them work.

pub mod address;
pub mod choice;
pub mod condition;
pub mod proxies;
pub mod proxy;
