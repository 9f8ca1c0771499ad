//! Egress proxies: their addresses, scopes and states, and the choice of one for each request.

pub mod address;
pub mod choice;
pub mod condition;
pub mod proxies;
pub mod proxy;
