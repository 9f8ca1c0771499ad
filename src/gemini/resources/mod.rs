//! Resources, each of which belongs to one project: their names, and how requests and responses name them.

pub mod created;
pub mod listing;
pub mod name;
