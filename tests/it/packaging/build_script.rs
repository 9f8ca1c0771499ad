//! `--version` names the commit and the date of a release build, wherever its source comes from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::command;

const LEAP_DAY: &str = "1835395200";

struct BuildScript {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl BuildScript {
    fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("build");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build.rs");
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let done = Command::new(compiler)
            .args(["--edition", "2024", "-o"])
            .args([&program, &source])
            .status();
        assert!(done.unwrap().success());
        Self { folder, program }
    }

    /// An empty folder for a source tree.
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.folder.path().join(name);
        fs::create_dir_all(&tree).unwrap();
        tree
    }

    fn version(&self, tree: &Path, variables: &[(&str, &str)]) -> String {
        let mut script = Command::new(&self.program);
        script
            .current_dir(tree)
            .env("CARGO_MANIFEST_DIR", tree)
            .env("CARGO_PKG_VERSION", "1.2.3")
            .env("PROFILE", "release")
            .env("SOURCE_DATE_EPOCH", LEAP_DAY)
            .env_remove("GEMINI_POOL_COMMIT")
            .envs(variables.iter().copied());
        let output = script.output().unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        let version = output
            .lines()
            .find_map(|line| line.strip_prefix("cargo:rustc-env=GEMINI_POOL_VERSION="));
        version.unwrap().to_owned()
    }
}

/// Makes a checkout with one commit. Returns the first characters of its id.
fn make_checkout(folder: &Path) -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(folder)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"]);
        let output = git.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "one"]);
    git(&["rev-parse", "HEAD"])[..12].to_owned()
}

#[test]
fn the_version_names_the_commit_of_its_source_or_none() {
    let script = BuildScript::compile();

    let checkout = script.tree("checkout");
    let commit = make_checkout(&checkout);
    assert_eq!(
        script.version(&checkout, &[]),
        format!("1.2.3 (commit {commit}, built 2028-02-29)")
    );

    // An archive that was unpacked below another project.
    let archive = script.tree("checkout/archive");
    assert_eq!(script.version(&archive, &[]), "1.2.3 (built 2028-02-29)");

    let package = script.tree("package");
    let info = r#"{
  "git": {
    "sha1": "0123456789abcdef0123456789abcdef01234567"
  },
  "path_in_vcs": ""
}"#;
    fs::write(package.join(".cargo_vcs_info.json"), info).unwrap();
    let of_package = "1.2.3 (commit 0123456789ab, built 2028-02-29)";
    assert_eq!(script.version(&package, &[]), of_package);

    let named = script.version(&archive, &[("GEMINI_POOL_COMMIT", "feedfacefeedface")]);
    assert_eq!(named, "1.2.3 (commit feedfacefeed, built 2028-02-29)");

    // Its commits compile nothing again.
    let other_profile = script.version(&checkout, &[("PROFILE", "debug")]);
    assert_eq!(other_profile, "1.2.3 (not a release build)");
}

#[test]
fn the_build_date_is_a_date_of_the_calendar() {
    let script = BuildScript::compile();
    let tree = script.tree("tree");
    for (seconds, date) in [
        ("0", "1970-01-01"),
        ("951782399", "2000-02-28"),
        ("951782400", "2000-02-29"),
        ("951868800", "2000-03-01"),
        ("1798761599", "2026-12-31"),
        ("1798761600", "2027-01-01"),
        ("4107542400", "2100-03-01"),
    ] {
        let version = script.version(&tree, &[("SOURCE_DATE_EPOCH", seconds)]);
        assert_eq!(version, format!("1.2.3 (built {date})"));
    }
}

#[test]
fn the_program_prints_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = command(folder.path());
    let output = program
        .arg("--version")
        .stdout(std::process::Stdio::piped())
        .output();
    let printed = String::from_utf8(output.unwrap().stdout).unwrap();

    let beginning = concat!("gemini-pool ", env!("CARGO_PKG_VERSION"), " (");
    assert!(printed.starts_with(beginning), "{printed}");
}
