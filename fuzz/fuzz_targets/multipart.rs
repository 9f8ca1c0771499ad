#![no_main]
//! `cargo +nightly fuzz run multipart`

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::multipart(data));
