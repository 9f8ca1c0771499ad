//! Real clients: where `tests/run` has installed them, and how their programs are run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// A proxy that nobody runs: what a client would send elsewhere than to the pool stays here.
const NOWHERE: &str = "http://127.0.0.1:9";

/// How long a program may take: a slow machine uploads large files too.
const TIMEOUT: Duration = Duration::from_mins(5);

/// In what a set of clients is written.
#[derive(Debug, Clone, Copy)]
pub struct ScriptLanguage {
    /// Where a set pins its versions.
    pins: &'static str,
    /// What runs the programs of a set installed in this folder.
    program: fn(&Path) -> PathBuf,
}

pub const PYTHON: ScriptLanguage = ScriptLanguage {
    pins: "requirements.txt",
    // The virtual environment's own.
    program: |folder| folder.join("bin/python"),
};
pub const JAVASCRIPT: ScriptLanguage = ScriptLanguage {
    pins: "package-lock.json",
    // The machine's.
    program: |_| PathBuf::from("node"),
};

/// What a client's program said.
#[derive(Debug)]
pub struct ProgramOutput {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Where the clients of a folder of pins are installed, if they are.
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
    let required = std::env::var("GEMINI_POOL_CLIENTS").is_ok_and(|clients| clients == "required");
    assert!(!required, "the clients of {set} are not installed");
    // The print macros would be heard by nobody, because the test passes.
    let left_out = format!("left out: tests/clients/{set}, which tests/run installs\n");
    std::io::stderr().write_all(left_out.as_bytes()).unwrap();
    None
}

/// A script for Python, with the clients installed in this folder.
pub fn python_command(folder: &Path, script: &str) -> Command {
    let mut command = Command::new((PYTHON.program)(folder));
    command.arg(source("python").join(script));
    command
}

/// A script for Node, with the clients installed in this folder.
pub fn node_command(folder: &Path, script: &str) -> Command {
    // Node looks for packages beside the script.
    for script in ["checks.mjs", script] {
        let text = std::fs::read(source("javascript").join(script)).unwrap();
        // Put there whole: another test may be reading it.
        let mut copy = tempfile::NamedTempFile::new_in(folder).unwrap();
        copy.write_all(&text).unwrap();
        copy.persist(folder.join(script)).unwrap();
    }
    let mut command = Command::new((JAVASCRIPT.program)(folder));
    command.arg(folder.join(script));
    command
}

/// Runs a program that knows nothing of the machine but what it needs.
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
