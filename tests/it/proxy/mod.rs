//! What clients of the proxy are promised.

mod balance;
mod failover;
mod retries;
