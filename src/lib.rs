//! gemini-pool: one reliable endpoint over many Gemini keys.

pub mod demo;
pub mod gemini;
pub mod pool;
