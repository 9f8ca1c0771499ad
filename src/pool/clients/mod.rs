//! Client keys: what they are, what they may use, and how failed authentication is slowed down.

pub mod admission;
pub mod auth_failures;
pub mod body_shares;
pub mod client_key;
pub mod imported_clients;
pub mod login_throttle;
pub mod one_time_secrets;
pub mod open_connections;
pub mod scopes;
