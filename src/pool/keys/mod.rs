//! The upstream keys: what they are, which are ready, and which one a request leases.

pub mod clock_set_back;
pub mod fair_queue;
pub mod import;
pub mod imported_keys;
pub mod key_egress;
pub mod key_status;
pub mod lease;
pub mod limit_probe;
pub mod overview;
pub mod project_number;
pub mod project_quota;
pub mod quota_overview;
pub mod readiness;
pub mod ready_index;
pub mod registry;
pub mod running_cooldowns;
pub mod selection;
pub mod upstream_key;
