//! What clients of the proxy are promised.

mod failover;
