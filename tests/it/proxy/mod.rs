//! What clients of the proxy are promised.

mod balance;
mod crash;
mod credentials;
mod database;
mod entrance;
mod failover;
mod hangups;
mod http2;
mod recordings;
mod redaction;
mod retries;
mod streaming;
