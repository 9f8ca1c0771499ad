//! The rules of lending: pure, without IO, clock or async.

pub mod outcome;
pub mod quota_clock;
pub mod usage;
pub mod verdict;
