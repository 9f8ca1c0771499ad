//! The Debian package: what `Cargo.toml` puts into it exists, and its scripts are scripts.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Made by the build of a release.
const BUILT: &str = "target/";

#[test]
fn every_file_of_the_package_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let read = Command::new(cargo)
        .current_dir(root)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .output();
    let manifest: Value = serde_json::from_slice(&read.unwrap().stdout).unwrap();
    let deb = &manifest["packages"][0]["metadata"]["deb"];

    let assets = deb["assets"].as_array().unwrap();
    let sources = assets.iter().map(|asset| asset[0].as_str().unwrap());
    for source in sources.filter(|source| !source.starts_with(BUILT)) {
        let (file, _) = source.split_once('*').unwrap_or((source, ""));
        assert!(root.join(file).exists(), "{source}");
    }
    let conffile = deb["conf-files"][0].as_str().unwrap();
    let is_conffile = |asset: &Value| conffile.strip_prefix('/') == asset[1].as_str();
    assert!(assets.iter().any(is_conffile));
    for script in ["postinst", "postrm"] {
        let script = root.join("dist/debian").join(script);
        let checked = Command::new("/bin/sh").arg("-n").arg(&script).status();
        assert!(checked.unwrap().success(), "{}", script.display());
    }
}
