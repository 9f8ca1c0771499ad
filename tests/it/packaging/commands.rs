//! The commands of the pages, run as they stand there on a small database.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::packaging::documents::{pages, shell_blocks};
use crate::support::process::command;

/// Parts of lines that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("serve", "runs until it is stopped"),
    ("logs tail", "runs until it is stopped"),
    ("doctor  ", "tests the way to Google"),
    ("doctor --rebuild-rollups", "tests the way to Google"),
    ("upstream-keys test", "asks Google"),
    (
        "set-password",
        "the database has no admin before a server has started",
    ),
    ("prune --until 30d   ", "asks first"),
    ("undo 42", "the number is an example"),
    ("VERSION", "a name to be replaced"),
    (" /etc/", "writes to the system"),
    (" /usr/", "writes to the system"),
    ("/var/", "reads from the system"),
    ("fpath", "writes to the home folder"),
    ("~/", "writes to the home folder"),
    ("sudo", "is another user"),
    ("docker", "is in a container"),
];
/// The keys that the pages name are at most this.
const KEYS: usize = 20;

fn made_up_key(number: usize) -> String {
    format!("AIzaSyMadeUp{number:027}")
}

/// A folder as the pages assume it: keys, a client key, changed settings, a backup, files to import.
fn prepare() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_gemini-pool"), path("bin/gemini-pool")).unwrap();
    let keys: Vec<_> = (0..KEYS).map(made_up_key).collect();
    fs::write(path("keys.txt"), keys.join("\n")).unwrap();
    fs::write(path("EXPORT"), keys.join("\n")).unwrap();
    // The name does not matter; databases of other pools are imported in `cli/other_pools.rs`.
    fs::write(path("OTHER.db"), r#"ALLOWED_TOKENS=["sk-one"]"#).unwrap();
    fs::write(path("keys.json"), format!("[{:?}]", keys[0])).unwrap();
    fs::write(path("keys.csv"), format!("key,label\n{},first\n", keys[0])).unwrap();
    fs::write(path(".env"), format!("GEMINI_API_KEYS={}\n", keys[0])).unwrap();
    for line in [
        "gemini-pool migrate",
        "gemini-pool upstream-keys add < keys.txt",
        "gemini-pool client-keys create test",
        "gemini-pool settings set max_attempts 5",
        "gemini-pool backup copy.db",
        "gemini-pool master-key generate old-key",
        "gemini-pool master-key generate new-key",
    ] {
        let done = run(folder.path(), line);
        assert!(done.status.success(), "{line}: {}", errors(&done));
    }
    folder
}

fn run(folder: &Path, line: &str) -> Output {
    let program = command(folder);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-e", "-c", line]).env_clear();
    shell.current_dir(folder).env("PATH", "bin:/usr/bin:/bin");
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.stdin(Stdio::null()).output().unwrap()
}

/// Whether a line runs the program, perhaps with variables.
fn is_of_program(line: &str) -> bool {
    let mut words = line.split(' ');
    words.find(|word| !word.contains('=')) == Some("gemini-pool")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.path().join(entry.file_name());
        if entry.path().is_dir() {
            symlink(entry.path(), target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    to
}

#[test]
fn the_commands_of_the_pages_work() {
    let prepared = prepare();
    let (mut done, mut wrong) = (Vec::new(), Vec::new());
    for page in pages() {
        for line in shell_blocks(&page).iter().flat_map(|block| block.lines()) {
            let is_ours = is_of_program(line) || line.contains("&& gemini-pool ");
            let is_run = !NOT_RUN.iter().any(|(part, _)| line.contains(part));
            // A line that is on several pages is run once.
            if !is_ours || !is_run || done.contains(&line.to_owned()) {
                continue;
            }
            let mut filled = line.to_owned();
            for number in KEYS.. {
                if !filled.contains("AIza...") {
                    break;
                }
                filled = filled.replacen("AIza...", &made_up_key(number), 1);
            }
            let folder = copy(prepared.path());
            for (command, made) in [("backup ", "copy.db"), ("generate ", "new-key")] {
                if filled.contains(&format!("{command}{made}")) {
                    fs::remove_file(folder.path().join(made)).unwrap();
                }
            }
            if filled.contains("MASTER_KEY_FILE=old-key") {
                let encrypt = "MASTER_KEY_FILE=old-key gemini-pool master-key encrypt";
                let encrypted = run(folder.path(), encrypt);
                assert!(encrypted.status.success(), "{}", errors(&encrypted));
            }
            let output = run(folder.path(), &filled);
            if !output.status.success() {
                let page = page.display();
                wrong.push(format!("{page}: {line}: {}", errors(&output)));
            }
            done.push(line.to_owned());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(done.len() > 40, "{done:#?}");
}
