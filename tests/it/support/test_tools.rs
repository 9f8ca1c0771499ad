//! Tools that `tests/run` installs beside Rust. A test without its tool says that it is skipped.

use std::io::Write;

/// Reports that `subject` is skipped, because a tool for it is not installed. Panics if the variable `GEMINI_POOL_TEST_TOOLS` is
/// `required`, as `tests/run` sets it.
pub fn skip(subject: &str) {
    let are_required =
        std::env::var("GEMINI_POOL_TEST_TOOLS").is_ok_and(|tools| tools == "required");
    assert!(!are_required, "a tool is not installed: {subject}");
    // Standard error of passing tests is hidden if it is written with the print macros.
    let message = format!("skipped: {subject}, which tests/run installs\n");
    std::io::stderr().write_all(message.as_bytes()).unwrap();
}
