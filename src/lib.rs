//! gemini-pool: one reliable endpoint over many Gemini keys.

pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod gemini;
pub mod pool;
pub mod storage;
