//! The dependencies have the licences, sources and versions that `deny.toml` allows.

use std::path::Path;
use std::process::Command;

use crate::support::test_tools;

#[test]
fn licences_sources_and_versions_are_those_that_are_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/cargo-deny/bin/cargo-deny");
    if !program.exists() {
        return test_tools::skip("cargo-deny");
    }
    let checked = Command::new(program)
        .current_dir(root)
        .args(["--locked", "check", "licenses", "bans", "sources"])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{report}");
    let summary = String::from_utf8_lossy(&checked.stdout);
    assert!(
        summary.contains("bans ok, licenses ok, sources ok"),
        "{summary}{report}"
    );
}
