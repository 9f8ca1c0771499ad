//! Tools of the tests that are not Rust's, which `tests/run` installs: what is tested with a missing one is skipped, and said.

use std::io::Write;

/// Says that what `subject` names is skipped, because its tool is not installed. Panics where each tool is required, which
/// `tests/run` asks for.
pub fn skip(subject: &str) {
    let are_required =
        std::env::var("GEMINI_POOL_TEST_TOOLS").is_ok_and(|tools| tools == "required");
    assert!(!are_required, "a tool is not installed: {subject}");
    // Standard error of passing tests is hidden if it is written with the print macros.
    let message = format!("skipped: {subject}, which tests/run installs\n");
    std::io::stderr().write_all(message.as_bytes()).unwrap();
}
