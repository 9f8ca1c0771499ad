//! Google's quotas: limits, usage, windows and Google's clock.

pub mod accounting;
pub mod forecast;
pub mod google_clock;
pub mod limits;
pub mod usage;
pub mod windows;
