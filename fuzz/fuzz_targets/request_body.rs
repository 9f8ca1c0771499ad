#![no_main]
//! `cargo +nightly fuzz run request_body`

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::request_body(data));
