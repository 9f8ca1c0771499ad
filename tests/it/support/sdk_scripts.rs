//! Real clients: where `tests/run` has installed them, and how their programs are run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::test_tools;

/// An unused proxy: requests to other hosts than the pool's fail.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Time limit of a program: a slow machine uploads large files too.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The language of a set of clients.
#[derive(Debug, Clone, Copy)]
pub struct ScriptLanguage {
    /// The file with the pinned versions of a set.
    pins: &'static str,
    /// The interpreter for the programs of a set in this folder.
    program: fn(&Path) -> PathBuf,
}

pub const PYTHON: ScriptLanguage = ScriptLanguage {
    pins: "requirements.txt",
    // From the virtual environment.
    program: |folder| folder.join("bin/python"),
};
pub const JAVASCRIPT: ScriptLanguage = ScriptLanguage {
    pins: "package-lock.json",
    // From the machine.
    program: |_| PathBuf::from("node"),
};

/// The output of a client's program.
#[derive(Debug)]
pub struct ProgramOutput {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

/// The folder with the clients of a set, if they are installed.
pub fn installed(set: &str, language: ScriptLanguage) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/clients")
        .join(set);
    let pinned = std::fs::read(source(set).join(language.pins)).unwrap();
    let newest = std::fs::read(folder.join("installed")).is_ok_and(|made| made == pinned);
    let version = std::process::Command::new((language.program)(&folder))
        .arg("--version")
        .output();
    if newest && version.is_ok_and(|version| version.status.success()) {
        return Some(folder);
    }
    test_tools::skip(&format!("tests/clients/{set}"));
    None
}

/// A Python script with the clients in this folder.
pub fn python_command(folder: &Path, script: &str) -> Command {
    let mut command = Command::new((PYTHON.program)(folder));
    command.arg(source("python").join(script));
    command
}

/// A Node script with the clients in this folder.
pub fn node_command(folder: &Path, script: &str) -> Command {
    // Node searches for packages beside the script.
    for script in ["checks.mjs", script] {
        let text = std::fs::read(source("javascript").join(script)).unwrap();
        // Renamed into place: another test may be reading it.
        let mut copy = tempfile::NamedTempFile::new_in(folder).unwrap();
        copy.write_all(&text).unwrap();
        copy.persist(folder.join(script)).unwrap();
    }
    let mut command = Command::new((JAVASCRIPT.program)(folder));
    command.arg(folder.join(script));
    command
}

/// Runs a program with a minimal environment.
pub async fn run(mut program: Command) -> ProgramOutput {
    let given: Vec<_> = program
        .as_std()
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.unwrap().to_owned()))
        .collect();
    let home = tempfile::tempdir().unwrap();
    program
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("HTTP_PROXY", NOWHERE)
        .env("HTTPS_PROXY", NOWHERE)
        .envs(given)
        .kill_on_drop(true);
    let ended = tokio::time::timeout(TIMEOUT, program.output()).await;
    let output = ended
        .unwrap_or_else(|_| panic!("{program:?} does not end"))
        .unwrap();
    ProgramOutput {
        succeeded: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(folder)
}
