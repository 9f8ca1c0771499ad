#![no_main]
//! `cargo +nightly fuzz run key_import`

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::key_import(data));
