//! Client keys and what protects the server from clients: limits, scopes, throttles of failed authentication, shares of
//! memory and of connections.

pub mod admission;
pub mod auth_failures;
pub mod body_shares;
pub mod client_key;
pub mod imported_clients;
pub mod login_throttle;
pub mod one_time_secrets;
pub mod open_connections;
pub mod scopes;
