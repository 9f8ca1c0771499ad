//! gemini-pool: one reliable endpoint over many Gemini keys.

pub mod clock;
pub mod gemini;
pub mod pool;
