//! The commands, one per file: which words lead to which.

pub mod serve;
