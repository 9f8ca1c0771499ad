//! What clients of the proxy are promised.

mod balance;
mod failover;
mod redaction;
mod retries;
mod streaming;
