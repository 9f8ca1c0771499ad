//! What clients of the proxy are promised.

mod balance;
mod failover;
mod hangups;
mod redaction;
mod retries;
mod streaming;
