//! Beside the requests: each a loop over a pass.

pub mod change_keys;
pub mod checkpoint;
pub mod lend_waiting;
pub mod probe;
pub mod prune_logs;
pub mod recheck_keys;
pub mod record_running;
pub mod reload;
pub mod sweep;
pub mod test_keys;
