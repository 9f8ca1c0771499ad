//! Resources that Google keeps for one project: which project serves a request because of them.

pub mod affinity;
pub mod recent_resources;
pub mod route_constraint;
