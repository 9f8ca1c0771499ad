#![no_main]
//! `cargo +nightly fuzz run target`

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::target(data));
