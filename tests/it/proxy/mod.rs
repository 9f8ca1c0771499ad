//! What clients of the proxy are promised.

mod balance;
mod crash;
mod database;
mod failover;
mod hangups;
mod redaction;
mod retries;
mod streaming;
