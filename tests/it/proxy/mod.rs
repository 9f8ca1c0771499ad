//! What clients of the proxy are promised.

mod browsers;
mod client_disconnects;
mod client_limits;
mod crash_recovery;
mod credentials;
mod database_unavailable;
mod downloads;
mod evidence;
mod failover;
mod framing;
mod http2;
mod key_queue;
mod live_sessions;
mod load_balancing;
mod project_affinity;
mod quota;
mod recordings;
mod redaction;
mod request_reading;
mod request_validation;
mod retries;
mod scopes;
mod streaming_bodies;
mod streaming_responses;
mod upload_sessions;
mod uploads;
