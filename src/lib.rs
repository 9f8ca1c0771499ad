//! gemini-pool: one reliable endpoint over many Gemini keys.

pub mod gemini;
pub mod pool;
