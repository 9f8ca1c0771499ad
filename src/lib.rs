#![doc = include_str!("ARCHITECTURE.md")]

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod gemini;
pub mod pool;
pub mod proxy;
pub mod server;
pub mod storage;
pub mod tasks;
pub mod waiting_room;
