//! Background tasks that the server starts: each is a loop over a pass, and some have a file for a part of it.

pub mod back_up;
pub mod change_keys;
pub mod checkpoint;
pub mod dispatch_queue;
pub mod export_traces;
pub mod keep_bodies;
pub mod list_models;
pub mod log_pruner;
pub mod observe_alerts;
pub mod probe_database;
pub mod probe_egress;
pub mod prune_bodies;
pub mod prune_logs;
pub mod recheck_keys;
pub mod record_running;
pub mod reload;
pub mod reseal_secrets;
pub mod send_alerts;
pub mod sweep;
pub mod test_keys;
pub mod what_if;
