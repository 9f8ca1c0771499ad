//! What clients of the proxy are promised.

mod balance;
mod binding;
mod crash;
mod credentials;
mod database;
mod downloads;
mod entrance;
mod failover;
mod hangups;
mod http2;
mod limits;
mod live;
mod passing;
mod quota;
mod recordings;
mod redaction;
mod retries;
mod scopes;
mod streaming;
mod upload_sessions;
mod uploads;
mod waiting;
