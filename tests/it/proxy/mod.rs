//! What clients of the proxy are promised.

mod balance;
mod binding;
mod crash;
mod credentials;
mod database;
mod entrance;
mod failover;
mod hangups;
mod http2;
mod limits;
mod quota;
mod recordings;
mod redaction;
mod retries;
mod scopes;
mod streaming;
mod waiting;
