//! Completions and manual pages are made from the commands, and a mistyped name is answered with the nearest.

use std::process::Stdio;

use crate::support::process::{command, run_command};

fn printed(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run_command(folder.path(), arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_gets_a_script_with_commands_and_settings() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);

        for name in ["upstream-keys", "undo", "--dry-run"] {
            let is_there = script.contains(name.trim_start_matches('-'));
            assert!(is_there, "{shell}: {name}");
        }
        // The generators for the other shells leave out what the help leaves out.
        let has_settings = ["bash", "zsh"].contains(&shell);
        assert!(!has_settings || script.contains("max_attempts"), "{shell}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");

    printed(&["man", pages.to_str().unwrap()]);

    for name in ["gemini-pool", "gemini-pool-logs-list", "gemini-pool-undo"] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(
            page.contains(".SH NAME") && page.contains(".SH OPTIONS"),
            "{name}: {page}"
        );
    }
    assert!(
        printed(&["man"]).contains(".TH gemini-pool 1"),
        "{}",
        printed(&["man"])
    );
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, nearest) in [
        (&["upstraem-keys", "list"][..], "'upstream-keys'"),
        (&["upstream-keys", "exprot"], "'export'"),
        (&["settings", "get", "max_atempts"], "'max_attempts'"),
        (&["logs", "list", "--retired"], "'--retried'"),
    ] {
        let mut command = command(folder.path());
        let output = command.args(arguments).stderr(Stdio::piped()).output();
        let output = output.unwrap();

        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(nearest), "{arguments:?}: {error}");
        assert!(!error.contains('\u{1b}'), "a pipe gets no colours: {error}");
    }
}
